"""The request log: what was asked by the API or in the dashboard, and what became of it."""

import re
from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

from functions.dashboard.days import DaysQuery
from functions.dashboard.links import names_of, place_of, places_of
from functions.dashboard.portal import portal
from shared.backends import TERMS, Condition
from shared.catalogue import CATALOGUE, TITLES
from shared.fields import Line
from shared.portals import Form, View, Visit
from shared.requests import OF_API, LoggedRequest, RequestQuery, find_request, list_requests
from shared.visits import page_for


class LogQuery(DaysQuery, RequestQuery):
    """Requests as the page is asked for them."""

    object: Line | None = None
    """Only those that showed or changed this object, whoever asked."""
    sought: ClassVar[Sequence[str]] = ("object", *RequestQuery.sought)
    by: Literal["api", "all"] = "api"
    """Those by the API alone, unless one asks for all, for one caller's or for an object's."""

    def equalities(self) -> list[Condition]:
        """Return what the fields ask for; where none says who asked, those by the API."""
        found = [each for each in super().equalities() if each[0] != "by"]
        anybody = self.by == "all" or self.principal is not None
        if anybody or self.object is not None or self.idempotencyKey is not None:
            return found
        others = [each for each in found if each[0] != TERMS]
        term = f"{OF_API} {self.statusClass}" if self.statusClass else OF_API
        return [*others, (TERMS, "contains", term)]


@portal.get("/{mode}/requests", permission="requests:read")
async def index(visit: Visit, query: Form[LogQuery]) -> View:
    """List requests, newest first."""
    page = await page_for(
        query, lambda asked: list_requests(visit.store, asked.hashed(visit.keyring, visit.store))
    )
    callers = [each.principal[1] for each in page.data]
    names = await names_of(visit, callers)
    return visit.page(
        "requests/list.html",
        title="Requests",
        status=400 if query.errors else 200,
        form=query,
        page=page,
        names=names,
        callers=places_of(visit, callers, names),
    )


@portal.get("/{mode}/requests/{request}", permission="requests:read")
async def show(visit: Visit, request: str) -> View:
    """Show one request in full."""
    found = await find_request(visit.store, request)
    caller = found.principal[1]
    names = await names_of(visit, [caller])
    return visit.page(
        "requests/show.html",
        title=f"{found.method} {found.route}",
        request=found,
        names=names,
        meaning=TITLES.get(found.status, "It worked"),
        told=_told(found.code),
        callers=places_of(visit, [caller], names),
        places={each: place_of(visit, each) for each in found.objects},
        curl=_curl(found, visit.settings.url),
    )


def _told(code: str | None) -> Mapping[str, str] | None:
    """Return what the catalogue says of a code; a line that is older may have one that has gone."""
    entry = CATALOGUE.get(code or "")
    if entry is None:
        return None
    message = re.sub(r": [^:{}]*\{\w+\}\.", ".", entry.message)
    return {"message": _general(message), "fix": _general(entry.fix), "page": entry.page}


GENERAL = {"name": "a field", "noun": "object", "which": "", "what": "request", "existing": ""}
"""What stands for a fact of the case, such as a parameter's name: those are not kept."""


def _general(sentence: str) -> str:
    """Return a sentence of the catalogue without the facts of a case; nothing, without it is none.

    `{name} {reason}.` is nothing but facts.
    """
    general = re.sub(r"\{(\w+)\}", lambda found: GENERAL.get(found[1], found[0]), sentence)
    return "" if "{" in general else general[:1].upper() + general[1:]


PREFIXES = {
    "patient": "p",
    "appointment": "apt",
    "task": "tsk",
    "organisation": "org",
    "api_key": "key",
    "request": "req",
}
"""What ids begin with, by the argument of paths that is one."""


def _curl(request: LoggedRequest, url: str) -> str:
    """Return the call that asks the same again, as far as it is known; no key is in it."""
    if not request.route.startswith("/v1/"):
        return ""

    def fill(matched: re.Match[str]) -> str:
        prefix = PREFIXES.get(matched[1])
        named = [each for each in request.objects if each.partition("_")[0] == prefix]
        return named[0] if named else matched[0].upper()

    path = re.sub(r"\{(\w+)\}", fill, request.route)
    lines = [f'curl "{url}{path}"', '-H "Authorization: $ALLY_KEY"']
    if request.method != "GET":
        lines.insert(0, f"curl -X {request.method} {lines.pop(0).removeprefix('curl ')}")
    if request.bytesIn:
        lines.append('-H "Content-Type: application/json"')
        lines.append("-d '{ … what you sent: we do not keep it … }'")
    return " \\\n  ".join(lines)
