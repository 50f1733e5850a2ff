"""Usage of front ends: who was there, what was seen, what went wrong, how far bookings went."""

import asyncio
from collections.abc import Sequence

from functions.dashboard.figures import (
    PERCENTILES,
    UNKNOWN,
    Curves,
    Entry,
    Funnel,
    Groups,
    Ranking,
    Section,
    Tile,
    compared,
    counts,
    every,
    group_of,
    largest,
    moments,
    number,
    percentiles_of,
    slowness,
)
from functions.dashboard.questions import Questions
from shared.charts import Series, told
from shared.design import words
from shared.front_ends import EVENTS
from shared.usage import MetricName

STAGES = [name for kind, _, name in (event.partition(".") for event in EVENTS) if kind == "step"]
STAGES.remove("abandoned")
"""The steps of a booking, in their order."""
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
        title="Timings (p95)",
        moments=moments(usage),
        series=slowness(usage, words),
        unit="ms",
    )


async def waits(questions: Questions) -> Ranking:
    """Return how long people waited, over the whole time."""
    usage = await questions.ask("front_end_timings")
    names = [words(group_of(series)) for series in usage.series]
    return Ranking(
        name="waits",
        title="Timings",
        head="What",
        counted="Times",
        more=PERCENTILES,
        entries=[
            Entry(name, name, each.total, percentiles_of(each.percentiles))
            for name, each in zip(names, usage.series, strict=True)
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
    series = largest(usage, words)
    return Curves(name=name, title=title, moments=moments(usage), series=series)
