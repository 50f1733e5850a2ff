"""Usage of the API: requests, how they ended, how long they took, and who made them."""

import asyncio
from collections.abc import Sequence

from functions.dashboard.figures import (
    PERCENTILES,
    UNKNOWN,
    Curves,
    Entry,
    Groups,
    Ranking,
    Section,
    Tile,
    compared,
    counts,
    group_of,
    largest,
    moments,
    namer,
    number,
    overall,
    percentile,
    percentiles_of,
    series_before,
    slowness,
)
from functions.dashboard.questions import Questions
from shared.charts import Series, told


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
            title="Latency (p95)",
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
            series=largest(usage, await namer(questions, usage)),
        )
    now, before = await questions.both("requests", "status")
    return Curves(
        name="requests",
        title="Requests",
        moments=moments(now),
        series=[Series("Requests", counts(now)), *series_before(questions, before, counts)],
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
            title=f"Latency by {by} (p95)",
            moments=moments(usage),
            series=slowness(usage, await namer(questions, usage)),
            unit="ms",
        )
    now, before = await questions.both("latency")
    return Curves(
        name="latency",
        title="Latency",
        moments=moments(now),
        series=[
            *(Series(name, percentile(now, name)) for name in PERCENTILES),
            *series_before(questions, before, lambda usage: percentile(usage, "p95"), "p95 in "),
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
            *series_before(questions, before, lambda usage: counts(usage, limited)),
        ],
    )


async def routes(questions: Questions) -> Ranking:
    """Return the routes that were called, and how long each took."""
    found, took = questions.ask("requests", "route"), questions.ask("latency", "route")
    slow = {series.group: percentiles_of(series.percentiles) for series in (await took).series}
    unknown = percentiles_of(None)
    entries = [
        Entry(group_of(each), group_of(each), each.total, slow.get(each.group, unknown))
        for each in (await found).series
    ]
    return Ranking(
        name="routes",
        title="Top routes",
        head="Route",
        counted="Requests",
        more=PERCENTILES,
        entries=entries,
    )


async def codes(questions: Questions) -> Ranking:
    """Return the codes of errors."""
    usage = await questions.ask("errors")
    return Ranking(
        name="codes",
        title="Errors by code",
        head="Code",
        counted="Requests",
        entries=[Entry(group_of(each), group_of(each), each.total) for each in usage.series],
    )


async def keys(questions: Questions) -> Ranking:
    """Return who called: keys, and all end users as one."""
    usage = await questions.ask("requests", "key")
    names = await namer(questions, usage)
    return Ranking(
        name="keys",
        title="Top keys",
        head="Key",
        counted="Requests",
        entries=[Entry(group_of(each), names(group_of(each)), each.total) for each in usage.series],
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
