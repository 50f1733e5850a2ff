"""Usage: pages of how programs use the API, and of how people use an organisation's front ends."""

import asyncio
from collections.abc import Mapping, Sequence
from shlex import quote
from typing import Any
from urllib.parse import urlencode

from functions.dashboard.api_usage import API
from functions.dashboard.figures import Ranking, Section
from functions.dashboard.front_end_usage import FRONT_ENDS
from functions.dashboard.portal import portal
from functions.dashboard.questions import PERIODS, Asked, Questions
from shared import Content
from shared.catalogue import TITLES, TYPES
from shared.clock import isoformat
from shared.errors import ApiError
from shared.keys import ApiKey
from shared.portals import Form, View, Visit
from shared.tables import CSV, as_csv

STATUSES = (200, *sorted(TYPES))
"""The statuses that one can ask for."""
TIME = ("period", "startAt", "endAt", "resolution")
"""The parameters that both sections have."""


@portal.get("/{mode}/usage", permission="usage:read")
async def show(visit: Visit, query: Form[Asked]) -> View:
    """Show how programs use the API."""
    return await _page(visit, query, API)


@portal.get("/{mode}/usage/front_ends", permission="usage:read")
async def show_front_ends(visit: Visit, query: Form[Asked]) -> View:
    """Show how people use front ends."""
    return await _page(visit, query, FRONT_ENDS)


@portal.get("/{mode}/usage/tables/{figure}", permission="usage:read")
async def table(visit: Visit, query: Asked, figure: str) -> View:
    """Return the numbers of one figure as CSV."""
    build = {**API.figures, **FRONT_ENDS.figures}.get(figure)
    if build is None:
        raise ApiError("route_unknown")
    query.check(visit.now)
    async with _questions(visit, query) as questions:
        found = await build(questions)
    if found is None:
        raise ApiError("route_unknown")
    name = (("Content-Disposition", f'attachment; filename="{figure}-{visit.mode}.csv"'),)
    return visit.file(Content(f"{CSV}; charset=utf-8", as_csv(found).decode(), name, 0))


async def _page(visit: Visit, form: Form[Asked], section: Section) -> View:
    """Show a section, or what is wrong with what was asked for."""
    asked = form.value
    if asked is not None:
        with form.blaming():
            asked.check(visit.now)
    time = {name: text for name, text in visit.parameters.items() if name in TIME}
    shown: dict[str, Any] = {
        "title": "Usage",
        "of_time": _query(time),
        "of_all": _query(visit.parameters),
        "form": form,
        "section": section,
        "asked": asked or Asked(),
        "periods": PERIODS,
        "statuses": [(status, f"{status} {TITLES.get(status, 'OK')}") for status in STATUSES],
        "call": _call(visit, asked or Asked(), section),
        "tiles": [],
        "known": {},
    }
    if form.value is None:
        return visit.page("usage/show.html", status=400, **shown)
    async with _questions(visit, form.value) as questions:
        tiles, *found = await asyncio.gather(
            section.tiles(questions), *(build(questions) for build in section.figures.values())
        )
        shown |= {"as_of": questions.as_of, "compares": questions.compares}
    figures = [figure for figure in found if figure is not None]
    shown |= {"tiles": tiles, "figures_shown": figures}
    shown["known"] = {
        figure.name: [(entry.group, entry.name) for entry in figure.entries]
        for figure in figures
        if isinstance(figure, Ranking)
    }
    return visit.page("usage/show.html", **shown)


def _query(parameters: Mapping[str, str]) -> str:
    return f"?{urlencode(parameters)}" if parameters else ""


def _call(visit: Visit, asked: Asked, section: Section) -> str:
    """Return how the first figure of a section is asked for in the API."""
    moments = {name: isoformat(at) for name in ("startAt", "endAt") if (at := getattr(asked, name))}
    told = {"metric": section.metric, **visit.parameters, **moments}
    options = [
        f"  --data-urlencode {quote(f'{name}={text}')}" for name, text in told.items() if text
    ]
    url = f"{visit.settings.url}/v1/usage"
    return " \\\n".join([f'curl -G {url} -H "Authorization: $ALLY_KEY"', *options])


def _questions(visit: Visit, asked: Asked) -> Questions:
    """Return what asks for the page's mode; split by mode, for all that the visitor may see."""
    user = visit.user
    live = user.session.secondFactor and user.account.activation == "active"

    async def name_keys(ids: Sequence[str]) -> Mapping[str, str]:
        if not user.may("api_keys:read"):
            return {}
        return {each.id: each.name for each in (await visit.store.related(ApiKey, ids)).values()}

    wider = visit.usage("test", "live") if live else visit.usage(visit.mode)
    return Questions(asked, visit.now, visit.usage(visit.mode), wider, name_keys)
