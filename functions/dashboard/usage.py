"""Usage: how an organisation's programs use the API, and how people use its front ends."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from shlex import quote
from typing import Any, NamedTuple
from urllib.parse import urlencode

from functions.dashboard.figures import (
    PERIODS,
    UNKNOWN,
    Asked,
    Curves,
    Entry,
    Figure,
    Funnel,
    Questions,
    Ranking,
    Tile,
    compared,
    counts,
    moments,
    overall,
    percentile,
    share,
)
from functions.dashboard.portal import portal
from shared import Content
from shared.catalogue import TITLES, TYPES
from shared.charts import MOST_SERIES, Series, told
from shared.clock import isoformat
from shared.design import words
from shared.errors import ApiError
from shared.front_ends import EVENTS
from shared.keys import ApiKey
from shared.portals import Form, View, Visit
from shared.tables import CSV, as_csv
from shared.usage import END_USERS, OTHER, MetricName, Usage, UsageSeries

STATUSES = (200, *sorted(TYPES))
"""The statuses that one can ask for."""
STAGES = [name for kind, _, name in (event.partition(".") for event in EVENTS) if kind == "step"]
STAGES.remove("abandoned")
"""The steps of a booking, in their order."""
TIME = ("period", "startAt", "endAt", "resolution")
PERCENTILES = ("p50", "p95", "p99")
Groups = Callable[[str | None], bool]
"""What tells some groups from others."""
KEPT_APART = MOST_SERIES - 1
"""Groups that have a line of their own; what is beyond them is one."""


class Section(NamedTuple):
    """A page of usage: its numbers at a glance, and its figures by name."""

    title: str
    metric: MetricName
    """What is asked for where one asks the API."""
    tiles: Callable[[Questions], Awaitable[Sequence[Tile]]]
    figures: Mapping[str, Callable[[Questions], Awaitable[Figure | None]]]


# --- The API -------------------------------------------------------------------------------------


def every(_: str | None) -> bool:
    """Take all groups."""
    return True


def succeeded(status: str | None) -> bool:
    """Tell whether a status is that of a success."""
    return str(status).startswith("2")


def refused(status: str | None) -> bool:
    """Tell whether a status says that the caller was wrong."""
    return str(status).startswith("4")


def failed(status: str | None) -> bool:
    """Tell whether a status says that we were wrong."""
    return str(status).startswith("5")


def limited(status: str | None) -> bool:
    """Tell whether a status says that there were too many requests."""
    return status == "429"


def number(
    name: str,
    title: str,
    now: Sequence[int],
    before: Sequence[int] | None,
    then: str,
    *,
    of: Sequence[int] | None = None,
) -> Tile:
    """Return the tile of a sum: compared with the one before, and as a share of another."""
    total = sum(now)
    part = f"{share(total, sum(of))} of requests" if of is not None else ""
    difference = compared(total, None if before is None else sum(before), then)
    said = ", ".join(each for each in (part, difference) if each)
    return Tile(name=name, title=title, value=told(total, "count"), words=said, values=now)


async def glance(questions: Questions) -> Sequence[Tile]:
    """Return the numbers of the API: requests, how they ended, how long they took."""
    (now, before), (took, took_before) = await asyncio.gather(
        questions.both("requests", "status"), questions.both("latency")
    )
    then, every = questions.asked.named_before(), counts(now)

    def part(name: str, title: str, of: Groups) -> Tile:
        was = None if before is None else counts(before, of)
        return number(name, title, counts(now, of), was, then, of=every)

    was = None if before is None else counts(before)
    slow = overall(took, "p95")
    slow_before = None if took_before is None else overall(took_before, "p95")
    return [
        number("all", "Requests", every, was, then),
        part("succeeded", "Success", succeeded),
        part("refused", "Refused (4xx)", refused),
        part("failed", "Failed (5xx)", failed),
        Tile(
            name="slow",
            title="95 in 100 within",
            value=UNKNOWN if slow is None else told(slow, "ms"),
            words=compared(slow, slow_before, then, timed=True),
            values=percentile(took, "p95"),
            unit="ms",
        ),
        part("limited", "Rate limited (429)", limited),
    ]


async def requests(questions: Questions) -> Curves:
    """Return all requests, or those of each group."""
    by = questions.asked.by
    if by is not None:
        usage = await questions.ask("requests", by)
        return Curves(
            name="requests",
            title=f"Requests by {by}",
            moments=moments(usage),
            series=_largest(usage, await _namer(questions, usage)),
        )
    now, before = await questions.both("requests", "status")
    return Curves(
        name="requests",
        title="Requests",
        moments=moments(now),
        series=[Series("Requests", counts(now)), *_before(questions, before, counts)],
    )


async def answers(questions: Questions) -> Curves:
    """Return how requests ended."""
    usage = await questions.ask("requests", "status")
    kinds = {"Success": succeeded, "4xx": refused, "5xx": failed}
    return Curves(
        name="answers",
        title="Success and errors",
        moments=moments(usage),
        series=[Series(name, counts(usage, of)) for name, of in kinds.items()],
    )


async def latency(questions: Questions) -> Curves:
    """Return how long requests took: three percentiles, or one of each group."""
    by = questions.asked.by
    if by is not None:
        usage = await questions.ask("latency", by)
        return Curves(
            name="latency",
            title=f"Latency by {by}: 95 in 100 within",
            moments=moments(usage),
            series=_slowness(usage, await _namer(questions, usage)),
            unit="ms",
        )
    now, before = await questions.both("latency")
    return Curves(
        name="latency",
        title="Latency",
        moments=moments(now),
        series=[
            *(Series(name, percentile(now, name)) for name in PERCENTILES),
            *_before(questions, before, lambda usage: percentile(usage, "p95"), "p95 in "),
        ],
        unit="ms",
        words="Within how many milliseconds 50, 95 and 99 of 100 requests were answered.",
    )


async def rate_limited(questions: Questions) -> Curves:
    """Return the requests beyond the limit of a key."""
    now, before = await questions.both("requests", "status")
    return Curves(
        name="rate_limited",
        title="Rate limit hits",
        words="Requests that were refused with 429, for there were too many of them.",
        moments=moments(now),
        series=[
            Series("Requests", counts(now, limited)),
            *_before(questions, before, lambda usage: counts(usage, limited)),
        ],
    )


async def routes(questions: Questions) -> Ranking:
    """Return the routes that were called, and how long each took."""
    found, took = questions.ask("requests", "route"), questions.ask("latency", "route")
    slow = {series.group: series.percentiles for series in (await took).series}
    return Ranking(
        name="routes",
        title="Top routes",
        head="Route",
        counted="Requests",
        more=PERCENTILES,
        entries=[
            Entry(_group(series), _group(series), series.total, _told(slow.get(series.group)))
            for series in (await found).series
        ],
    )


async def codes(questions: Questions) -> Ranking:
    """Return the codes of errors."""
    usage = await questions.ask("errors")
    return Ranking(
        name="codes",
        title="Errors by code",
        head="Code",
        counted="Requests",
        entries=[Entry(_group(each), _group(each), each.total) for each in usage.series],
    )


async def keys(questions: Questions) -> Ranking:
    """Return who called: keys, and all end users as one."""
    usage = await questions.ask("requests", "key")
    names = await _namer(questions, usage)
    return Ranking(
        name="keys",
        title="Requests by key",
        head="Key",
        counted="Requests",
        entries=[Entry(_group(each), names(_group(each)), each.total) for each in usage.series],
    )


API = Section(
    "API",
    "requests",
    glance,
    {
        "requests": requests,
        "answers": answers,
        "latency": latency,
        "rate_limited": rate_limited,
        "routes": routes,
        "codes": codes,
        "keys": keys,
    },
)


# --- Front ends ----------------------------------------------------------------------------------

BY_DAY = "People are counted by the day: choose 24 hours or more."


async def front_end_glance(questions: Questions) -> Sequence[Tile]:
    """Return the numbers of front ends: who was there, what was seen, what went wrong."""
    then = questions.asked.named_before()

    async def people(metric: MetricName, name: str, title: str) -> Tile:
        if not questions.by_day:
            return Tile(name=name, title=title, value=UNKNOWN, words=BY_DAY, values=[None])
        now, before = await questions.both(metric)
        # Who comes on several days is one of the whole time, so that is no sum of days.
        total, was = now.series[0].total, before.series[0].total if before else None
        said = compared(total, was, then)
        values = counts(now)
        return Tile(name=name, title=title, value=told(total, "count"), words=said, values=values)

    async def events(metric: MetricName, name: str, title: str, of: Groups = every) -> Tile:
        now, before = await questions.both(metric)
        was = None if before is None else counts(before, of)
        return number(name, title, counts(now, of), was, then)

    return await asyncio.gather(
        people("active_end_users", "people", "People signed in"),
        people("active_visitors", "visitors", "Visitors"),
        events("front_end_views", "seen", "Pages seen"),
        events("booking_funnel", "booked", "Booked", lambda step: step == STAGES[-1]),
        events("front_end_errors", "wrong", "Errors"),
    )


async def active(questions: Questions) -> Curves | None:
    """Return who was active each day; None where the time is shorter than one."""
    if not questions.by_day:
        return None
    signed_in, visitors = await asyncio.gather(
        questions.ask("active_end_users"), questions.ask("active_visitors")
    )
    return Curves(
        name="active",
        title="Active people",
        moments=moments(signed_in),
        series=[Series("Signed in", counts(signed_in)), Series("Visitors", counts(visitors))],
        words="On each day everybody counts once.",
    )


async def booking(questions: Questions) -> Funnel:
    """Return how far bookings went."""
    usage = await questions.ask("booking_funnel")
    totals = {series.group: series.total for series in usage.series}
    abandoned = told(totals.get("abandoned", 0), "count")
    return Funnel(
        name="booking",
        title="Booking funnel",
        stages=[(words(step), totals.get(step, 0)) for step in STAGES],
        words=f"How often each step was taken. Abandoned by a click: {abandoned}.",
    )


async def views(questions: Questions) -> Curves:
    """Return the pages that were seen."""
    return await _happened(questions, "front_end_views", "views", "Pages seen")


async def problems(questions: Questions) -> Curves:
    """Return what went wrong in front ends."""
    return await _happened(questions, "front_end_errors", "problems", "Errors in front ends")


async def timings(questions: Questions) -> Curves:
    """Return how long people waited."""
    usage = await questions.ask("front_end_timings")
    return Curves(
        name="timings",
        title="Timings: 95 in 100 within",
        moments=moments(usage),
        series=_slowness(usage, words),
        unit="ms",
    )


async def waits(questions: Questions) -> Ranking:
    """Return how long people waited, over the whole time."""
    usage = await questions.ask("front_end_timings")
    return Ranking(
        name="waits",
        title="Timings",
        head="What",
        counted="Times",
        more=PERCENTILES,
        entries=[
            Entry(words(_group(each)), words(_group(each)), each.total, _told(each.percentiles))
            for each in usage.series
        ],
    )


FRONT_ENDS = Section(
    "Front ends",
    "front_end_views",
    front_end_glance,
    {
        "active": active,
        "booking": booking,
        "views": views,
        "problems": problems,
        "timings": timings,
        "waits": waits,
    },
)


async def _happened(questions: Questions, metric: MetricName, name: str, title: str) -> Curves:
    usage = await questions.ask(metric)
    series = _largest(usage, words)
    return Curves(name=name, title=title, moments=moments(usage), series=series)


# --- Series --------------------------------------------------------------------------------------


def _before(
    questions: Questions,
    before: Usage | None,
    values: Callable[[Usage], Sequence[float | None]],
    what: str = "",
) -> list[Series]:
    """Return the series of the time before, where that is kept."""
    then = questions.asked.named_before()
    name = f"{what}{then}" if what else words(then)
    return [] if before is None else [Series(name, values(before), before=True)]


def _largest(usage: Usage, name_of: Callable[[str], str]) -> list[Series]:
    """Return the largest groups, and all others as one; zero, where there is none."""
    named = [series for series in usage.series if series.group != OTHER][:KEPT_APART]
    apart = {series.group for series in named}
    found = [
        Series(name_of(_group(each)), [point.value for point in each.points]) for each in named
    ]
    rest = counts(usage, lambda group: group not in apart)
    return [*found, Series("Other", rest)] if any(rest) or not found else found


def _slowness(usage: Usage, name_of: Callable[[str], str]) -> list[Series]:
    """Return within how long 95 in 100 were done, of the largest groups."""
    groups = [_group(series) for series in usage.series][:MOST_SERIES]
    found = [Series(name_of(group), percentile(usage, "p95", group)) for group in groups]
    return found or [Series("p95", [None] * len(moments(usage)))]


async def _namer(questions: Questions, usage: Usage) -> Callable[[str], str]:
    """Return what names a group: a key as its organisation calls it, for who may know."""
    if usage.by != "key":
        return str
    ids = [series.group for series in usage.series if series.group and ApiKey.accepts(series.group)]
    names = {END_USERS: "End users", **await questions.names(ids)}
    return lambda group: names.get(group, group)


def _group(series: UsageSeries) -> str:
    """Return the name of a series' group; the line of a request without a label has none."""
    return series.group or "none"


def _told(percentiles: Any) -> tuple[float | None, ...]:
    return tuple(getattr(percentiles, name, None) for name in PERCENTILES)


# --- Pages ---------------------------------------------------------------------------------------


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
        try:
            asked.check(visit.now)
        except ApiError as refusal:
            form.blame(refusal)
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
