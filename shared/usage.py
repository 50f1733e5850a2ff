"""Usage: what one organisation's callers and end users did, counted in steps of time.

A reader of usage is bound to its organisation and modes, as a store is: no parameter of a request
names either, so none can ask for another's. Steps lie on the clock in UTC, days too.
"""

import asyncio
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Annotated, Literal, NamedTuple, get_args

from pydantic import Field

from shared import rollups
from shared.audit import Log
from shared.backends import Storage
from shared.backends.metrics import (
    BYTES_IN,
    BYTES_OUT,
    LATENCIES,
    NOTHING,
    REQUESTS,
    Distribution,
    Measured,
    Metric,
    Metrics,
    Reading,
)
from shared.catalogue import TYPES
from shared.errors import invalid
from shared.fields import Line, Moment, Shape, Timestamp, When, Whole, known
from shared.forms import wrong
from shared.keys import ApiKey
from shared.models import Model
from shared.rollups import DAY
from shared.settings import Mode
from shared.tables import Cell

STEPS: Mapping[str, timedelta] = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": DAY,
}
"""How long a step of each resolution is."""
FEW_STEPS, MOST_STEPS = 200, 750
"""Steps of a range whose resolution is left to us, and of any, at most."""
REACH, FINE_REACH = timedelta(days=90), timedelta(days=40)
"""How far back one can ask, and for steps of less than a day: Cloud Monitoring keeps each point for
six weeks, and after that one for ten minutes."""
MOST_GROUPS = 50
END_USERS = "end-users"
"""What stands for the key where end users called."""
OTHER = "other"
"""The group of all that are not among the first MOST_GROUPS."""

PERIODS: Mapping[str, timedelta] = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
Period = Literal["1h", "6h", "24h", "7d", "30d", "90d"]
Resolution = Literal["1m", "5m", "15m", "1h", "1d"]
Grouping = Literal["route", "status", "code", "key", "mode", "version"]
LABELS: Mapping[str, tuple[str, ...]] = {"route": ("method", "route")}
"""The labels that make a group, where it is not one of the same name."""


class Measure(NamedTuple):
    """What usage can be asked for: a metric, or a part of one that `where` takes out of it."""

    metric: Metric
    unit: str
    by: tuple[Grouping, ...]
    """What it can be grouped by."""
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    first: Grouping | None = None
    """What it is grouped by unless the caller says."""


_REQUEST: tuple[Grouping, ...] = ("route", "status", "key", "mode", "version")
_REFUSAL: tuple[Grouping, ...] = ("code", *_REQUEST)
_ERRORS = tuple(str(status) for status in TYPES)
MEASURES: Mapping[str, Measure] = {
    "requests": Measure(REQUESTS, "requests", _REQUEST),
    "errors": Measure(REQUESTS, "requests", _REFUSAL, (("status", _ERRORS),), "code"),
    "latency": Measure(LATENCIES, "ms", _REQUEST),
    "rate_limited": Measure(REQUESTS, "requests", _REFUSAL, (("status", ("429",)),)),
    "bytes_in": Measure(BYTES_IN, "bytes", _REQUEST),
    "bytes_out": Measure(BYTES_OUT, "bytes", _REQUEST),
}
MetricName = Literal["requests", "errors", "latency", "rate_limited", "bytes_in", "bytes_out"]


class UsageQuery(Model):
    """What to count, over which time, and how finely."""

    metric: MetricName = "requests"
    """What is counted."""
    by: Grouping | None = None
    """What makes a series of its own; all is one if left out, but errors are told by their code."""
    period: Period | None = None
    """The time until now. Not together with `startAt`; 24 hours if both are left out."""
    startAt: When | None = None
    """The beginning of the time, within the last 90 days; the step that it is in counts in full."""
    endAt: When | None = None
    """The end of the time, now if left out; the step that it is in counts in full."""
    resolution: Resolution | None = None
    """How long a step is; what fits the time if left out. There are at most 750 steps, and those of
    less than a day reach back 40 days."""
    route: Annotated[Line, Shape(examples=["GET /v1/patients/{patient}"])] | None = None
    """Only requests of a route: its method and template."""
    status: Annotated[Whole, Field(ge=100, le=599)] | None = None
    """Only requests that were answered with a status."""
    keyId: Line | None = None
    """Only requests that were made with a key, or, for `end-users`, by those."""


class Percentiles(Model):
    """The milliseconds within which 50, 95 and 99 in 100 were done.

    They are right to within an eighth from 1 ms to 70 s, and half a millisecond below; what took
    longer shows as 70 s.
    """

    p50: Annotated[float, Shape(examples=[9.8])]
    """What half of them took at most."""
    p95: Annotated[float, Shape(examples=[29.9])]
    """What 95 in 100 took at most."""
    p99: Annotated[float, Shape(examples=[58.3])]
    """What 99 in 100 took at most."""

    @classmethod
    def of(cls, found: Distribution) -> "Percentiles | None":
        """Return those of a distribution, if anything is in it."""
        p50, p95, p99 = (found.percentile(percent) for percent in (50, 95, 99))
        if p50 is None or p95 is None or p99 is None:
            return None
        return cls(p50=round(p50, 1), p95=round(p95, 1), p99=round(p99, 1))


class UsagePoint(Model):
    """One step of time."""

    at: Moment
    """The beginning of the step."""
    value: Annotated[int, Shape(examples=[42])]
    """What was counted in it; of latency, how many requests were measured."""
    percentiles: Percentiles | None
    """Of latency, where there was something to measure; else null."""


class UsageSeries(Model):
    """What was counted of one group."""

    group: Annotated[str, Shape(examples=["GET /v1/patients/{patient}"])] | None
    """What its requests have in common, in what `by` says; null where all are one. `other` are all
    groups beyond the 50 largest."""
    total: Annotated[int, Shape(examples=[1234])]
    """What was counted over the whole time."""
    percentiles: Percentiles | None
    """Of latency, those of the whole time; else null."""
    points: list[UsagePoint]
    """Every step, the first of them first."""


class Usage(Model):
    """How the API was used. It is worked out and not kept, so it has no times of its own."""

    id: Annotated[str, Shape(examples=["usage_requests"])]
    object: str = "usage"
    livemode: bool
    createdAt: Timestamp | None = None
    updatedAt: Timestamp | None = None
    metric: Annotated[str, known(MetricName)]
    """What was counted."""
    by: Annotated[str, known(Grouping)] | None
    """What makes a series of its own; null where all is one."""
    unit: Annotated[str, Shape(examples=["requests"])]
    """What is counted: `requests`, `bytes`; of latency `ms`, in which the percentiles are."""
    startAt: Moment
    """The beginning of the first step."""
    endAt: Moment
    """The end of the last step. Where that is to come, the last step is not over."""
    resolution: Annotated[str, known(Resolution)]
    """How long a step is. Days are those of UTC."""
    asOf: Moment
    """Up to when counts are complete, as far as the API can know: what an instance has counted and
    not passed on, for nobody has called it since, is counted when it next works or ends."""
    series: list[UsageSeries]
    """The largest group first."""

    def rows(self) -> Iterator[Sequence[Cell]]:
        """Return the columns and rows of the table: one for each step of each series."""
        timed = self.metric == "latency"
        names = list(Percentiles.model_fields) if timed else []
        yield ["at", *([self.by] if self.by else []), "value", *names]
        for series in self.series:
            for point in series.points:
                at = point.model_dump(include={"at"})["at"]
                told = [getattr(point.percentiles, name, None) for name in names]
                yield [at, *([series.group] if self.by else []), point.value, *told]


class Span(NamedTuple):
    """A range of time on the clock: whole steps."""

    start: datetime
    end: datetime
    resolution: Resolution

    @property
    def step(self) -> timedelta:
        """How long a step is."""
        return STEPS[self.resolution]

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return (self.end - self.start) // self.step

    def moments(self) -> list[datetime]:
        """Return the beginning of each step."""
        return [self.start + number * self.step for number in range(self.steps)]


def span_of(query: UsageQuery, now: datetime) -> Span:
    """Return the steps that a query asks for, or refuse with what is wrong with it."""
    if query.startAt is None:
        if query.endAt is not None:
            raise invalid([wrong("endAt", "needs startAt as well")])
        return _fitted(query, None, now, now)
    problems = []
    if query.period is not None:
        problems.append(wrong("period", "cannot be sent together with startAt"))
    if query.startAt < now - REACH:
        problems.append(wrong("startAt", f"must be within the last {REACH.days} days"))
    if query.startAt >= now:
        problems.append(wrong("startAt", "must be in the past"))
    if query.endAt is not None and query.endAt <= query.startAt:
        problems.append(wrong("endAt", "must be after startAt"))
    if problems:
        raise invalid(problems)
    return _fitted(query, query.startAt, min(query.endAt or now, now), now)


def _fitted(query: UsageQuery, start: datetime | None, end: datetime, now: datetime) -> Span:
    """Return the steps of a range, or of a period that ends with the step of `end`."""
    spans = []
    for resolution in get_args(Resolution):
        step = STEPS[resolution]
        last = _floor(end, step) + (step if _floor(end, step) < end else timedelta())
        first = last - PERIODS[query.period or "24h"] if start is None else _floor(start, step)
        fine = step < DAY and (start or first) < now - FINE_REACH
        spans.append((Span(first, last, resolution), fine))
    if query.resolution is None:
        return next(span for span, fine in spans if not fine and span.steps <= FEW_STEPS)
    span, fine = next(each for each in spans if each[0].resolution == query.resolution)
    if fine:
        reason = f"reaches back {FINE_REACH.days} days if it is less than 1d: ask for 1d"
        raise invalid([wrong("resolution", reason)])
    if span.steps > MOST_STEPS:
        best = next(each.resolution for each, fine in spans if each.steps <= MOST_STEPS)
        reason = f"makes more than {MOST_STEPS} steps of this time: ask for {best}, or less time"
        raise invalid([wrong("resolution", reason)])
    if not span.steps:
        reason = f"is longer than the time: ask for {spans[0][0].resolution}"
        raise invalid([wrong("resolution", reason)])
    return span


def _floor(moment: datetime, step: timedelta) -> datetime:
    """Return the beginning of the step that a moment is in, by the clock in UTC."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step


class _Group:
    """What was found of one group: how much in each step, and how long it took."""

    def __init__(self) -> None:
        self.counts: defaultdict[datetime, int] = defaultdict(int)
        self.times: defaultdict[datetime, Distribution] = defaultdict(lambda: NOTHING)

    @property
    def total(self) -> int:
        return sum(self.counts.values())

    def add(self, at: datetime, value: int | Distribution) -> None:
        if isinstance(value, Distribution):
            self.times[at] += value
            value = value.count
        self.counts[at] += value

    def merge(self, other: "_Group") -> None:
        for at, count in other.counts.items():
            self.counts[at] += count
        for at, times in other.times.items():
            self.times[at] += times

    def series(self, name: str | None, moments: Sequence[datetime]) -> UsageSeries:
        """Return the group as it is shown, with what happened in each step."""
        return UsageSeries(
            group=name,
            total=self.total,
            percentiles=Percentiles.of(sum(self.times.values(), NOTHING)),
            points=[
                UsagePoint(
                    at=at,
                    value=self.counts.get(at, 0),
                    percentiles=Percentiles.of(self.times.get(at, NOTHING)),
                )
                for at in moments
            ],
        )


class Reader:
    """Reads the usage of one organisation in some modes, at one moment.

    `behind` is how old what was counted may be before it can be read.
    """

    def __init__(
        self,
        metrics: Metrics,
        storage: Storage,
        log: Log,
        *,
        organisation: str,
        modes: tuple[Mode, ...],
        now: datetime,
        behind: timedelta,
    ) -> None:
        self._metrics = metrics
        self._storage = storage
        self._log = log
        self._organisation = organisation
        self._modes = modes
        self._now = now
        self._behind = behind

    async def read(self, query: UsageQuery) -> Usage:
        """Return what a query asks for, or refuse it. Raises UnavailableError."""
        span = span_of(query, self._now)
        measure = MEASURES[query.metric]
        by = query.by or measure.first
        if by is not None and by not in measure.by:
            reason = f"must be {' or '.join(measure.by)} for {query.metric}"
            raise invalid([wrong("by", reason)])
        reading = Reading(
            metric=measure.metric,
            organisation=self._organisation,
            modes=self._modes,
            start=span.start,
            end=span.end,
            step=span.step,
            by=() if by is None else LABELS.get(by, (by,)),
            where=(*measure.where, *_filters(query)),
        )
        groups: defaultdict[str | None, _Group] = defaultdict(_Group)
        if by is None:
            groups[None] = _Group()
        for group, at, value in await self._measure(reading):
            groups[_name(group) if by else None].add(at, value)
        moments = span.moments()
        return Usage(
            id=f"usage_{query.metric}",
            livemode="live" in self._modes,
            metric=query.metric,
            by=by,
            unit=measure.unit,
            startAt=span.start,
            endAt=span.end,
            resolution=span.resolution,
            asOf=self._now - self._behind,
            series=[group.series(name, moments) for name, group in _largest(groups)],
        )

    async def _measure(self, reading: Reading) -> list[Measured]:
        """Read what was counted: days that are rolled up from there, all else from the metrics."""
        if reading.step != DAY:
            return await self._metrics.read(reading)
        rolled = await rollups.read(self._storage, reading, self._now)
        if rolled.gaps:
            days = [day.date().isoformat() for day in rolled.gaps]
            self._log.write(self._now, "usage_gap", {"severity": "WARNING", "days": days})
        rest = [replace(reading, start=a, end=b) for a, b in _between(reading, rolled.days)]
        read = await asyncio.gather(*map(self._metrics.read, rest))
        return [*rolled.measured, *chain.from_iterable(read)]


def _between(reading: Reading, rolled: Set[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Yield the beginning and the end of each row of days that are not rolled up."""
    start = reading.start
    while start < reading.end:
        end = start
        while end < reading.end and end not in rolled:
            end += DAY
        if start < end:
            yield start, end
        start = end + DAY


def _name(group: Sequence[str]) -> str:
    """Return the name of a group; an instance that meets too many counts some together as OTHER."""
    return OTHER if OTHER in group else " ".join(group)


def _filters(query: UsageQuery) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield what some labels must be, or refuse what none can be."""
    if query.route is not None:
        method, _, template = query.route.partition(" ")
        if not template.startswith("/"):
            reason = "must be a method and a template, such as GET /v1/patients/{patient}"
            raise invalid([wrong("route", reason)])
        yield "method", (method,)
        yield "route", (template,)
    if query.status is not None:
        yield "status", (str(query.status),)
    if query.keyId is not None:
        if query.keyId != END_USERS and not ApiKey.accepts(query.keyId):
            reason = f"must be the id of a key, or {END_USERS}"
            raise invalid([wrong("keyId", reason)])
        yield "key", (query.keyId,)


def _largest(groups: Mapping[str | None, _Group]) -> list[tuple[str | None, _Group]]:
    """Return the groups in their order, the largest first; what is beyond MOST_GROUPS is one."""
    ranked = sorted(groups.items(), key=lambda each: (-each[1].total, each[0] or ""))
    named = [each for each in ranked if each[0] != OTHER]
    rest = _Group()
    for _, group in [*named[MOST_GROUPS:], *(each for each in ranked if each[0] == OTHER)]:
        rest.merge(group)
    return [*named[:MOST_GROUPS], *([(OTHER, rest)] if rest.counts else [])]
