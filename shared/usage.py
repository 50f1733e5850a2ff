"""Usage: what one organisation's callers and end users did, counted in steps of time.

A reader of usage is bound to its organisation and modes, as a store is: no parameter of a request
names either, so none can ask for another's. Steps lie on the clock in UTC, days too.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import chain
from typing import Annotated, Any, Literal, NamedTuple, get_args

from pydantic import Field

from shared import ids, rollups
from shared.activity import Kind, active
from shared.audit import Log
from shared.backends import Storage
from shared.backends.metrics import (
    BYTES_IN,
    BYTES_OUT,
    FRONT_END_EVENTS,
    FRONT_END_TIMINGS,
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
from shared.errors import ApiError, invalid
from shared.fields import Line, Moment, Shape, Timestamp, Whole, known
from shared.forms import wrong
from shared.keys import ApiKey
from shared.models import Model
from shared.settings import Mode
from shared.sketches import Sketch
from shared.spans import DAY, RESOLUTIONS, Resolution, SpanQuery
from shared.tables import Cell

MOST_GROUPS = 50
MOST_VALUES = 10_000
"""Steps of all groups together that are shown: with many steps there are fewer groups, for whoever
asks for both would keep everybody else waiting for a second."""
KEYS_OF_A_FILTER = 25
"""Cloud Monitoring takes filters of 2,048 characters, of which a key is 30."""
END_USERS = "end-users"
"""What stands for the key where end users called."""
_KEY = f"{ids.pattern(ApiKey.prefix)}|^{END_USERS}$"
_OFFERED = "Choose one of those that are offered."
OTHER = "other"
"""The group of all that are not among the largest."""

Grouping = Literal["route", "status", "code", "key", "mode", "version", "name"]
LABELS: Mapping[str, tuple[str, ...]] = {"route": ("method", "route")}
"""The labels that make a group, where it is not one of the same name."""
Filter = Literal["route", "status", "keyId"]


class Measure(NamedTuple):
    """What usage can be asked for: a part of a metric, or who was active."""

    counted: Metric | Kind
    unit: str
    by: tuple[Grouping, ...] = ()
    """What it can be grouped by."""
    first: Grouping | None = None
    """What it is grouped by unless the caller says."""
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()
    """What labels must be for it to be of this measure."""
    filters: tuple[Filter, ...] = ()
    """By what it can be narrowed down."""

    @property
    def resolutions(self) -> tuple[Resolution, ...]:
        """The resolutions that there are of it: who was active is known by the day."""
        return RESOLUTIONS if isinstance(self.counted, Metric) else ("1d",)


def _requests(
    metric: Metric, unit: str, *statuses: int, by: tuple[Grouping, ...] = (), first: Any = None
) -> Measure:
    """Return a measure of requests, or of those that were answered with some statuses."""
    grouped: tuple[Grouping, ...] = (*by, "route", "status", "key", "mode", "version")
    where = (("status", tuple(map(str, statuses))),) if statuses else ()
    return Measure(metric, unit, grouped, first, where, get_args(Filter))


def _events(metric: Metric, unit: str, kind: str) -> Measure:
    """Return a measure of what happened in front ends, by its name."""
    return Measure(metric, unit, ("name", "mode"), "name", (("kind", (kind,)),))


MetricName = Literal[
    "requests",
    "errors",
    "latency",
    "rate_limited",
    "bytes_in",
    "bytes_out",
    "active_end_users",
    "active_visitors",
    "front_end_views",
    "front_end_errors",
    "front_end_timings",
    "booking_funnel",
]
MEASURES: Mapping[MetricName, Measure] = {
    "requests": _requests(REQUESTS, "requests"),
    "errors": _requests(REQUESTS, "requests", *TYPES, by=("code",), first="code"),
    "latency": _requests(LATENCIES, "ms"),
    "rate_limited": _requests(REQUESTS, "requests", 429, by=("code",)),
    "bytes_in": _requests(BYTES_IN, "bytes"),
    "bytes_out": _requests(BYTES_OUT, "bytes"),
    "active_end_users": Measure("end_user", "people"),
    "active_visitors": Measure("visitor", "people"),
    "front_end_views": _events(FRONT_END_EVENTS, "events", "view"),
    "front_end_errors": _events(FRONT_END_EVENTS, "events", "error"),
    "front_end_timings": _events(FRONT_END_TIMINGS, "ms", "timing"),
    "booking_funnel": _events(FRONT_END_EVENTS, "events", "step"),
}


class UsageQuery(SpanQuery):
    """What to count, over which time, and how finely."""

    metric: MetricName = "requests"
    """What is counted."""
    by: Grouping | None = None
    """What makes a series of its own; all is one if left out, but errors are told by their code."""
    route: Annotated[Line, Shape(examples=["GET /v1/patients/{patient}"])] | None = None
    """Only requests of a route: its method and template."""
    status: Annotated[Whole, Field(ge=100, le=599)] | None = None
    """Only requests that were answered with a status."""
    keyId: Annotated[str, Shape(pattern=_KEY)] | None = None
    """Only requests that were made with a key, or, for `end-users`, by those."""

    def problems(self, now: datetime) -> Iterator[ApiError]:
        """Yield all that is wrong: with the time, and with what the metric has not."""
        yield from super().problems(now)
        measure = MEASURES[self.metric]
        if self.by is not None and self.by not in measure.by:
            can = f"must be {' or '.join(measure.by)}" if measure.by else "is not possible"
            yield wrong("by", f"{can} for {self.metric}", _OFFERED)
        for name in get_args(Filter):
            if getattr(self, name) is not None and name not in measure.filters:
                yield wrong(name, f"is not possible for {self.metric}", _OFFERED)
        if self.route is not None and not self.route.partition(" ")[2].startswith("/"):
            reason = "must be a method and a template, such as GET /v1/patients/{patient}"
            yield wrong("route", reason)
        if self.keyId not in (None, END_USERS) and not ApiKey.accepts(str(self.keyId)):
            yield wrong("keyId", f"must be the id of a key, or {END_USERS}")

    def where(self) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yield what some labels must be."""
        if self.route is not None:
            method, _, template = self.route.partition(" ")
            yield "method", (method,)
            yield "route", (template,)
        if self.status is not None:
            yield "status", (str(self.status),)
        if self.keyId is not None:
            yield "key", (self.keyId,)


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
        if found is NOTHING:  # as most steps of many are
            return None
        p50, p95, p99 = (found.percentile(percent) for percent in (50, 95, 99))
        if p50 is None or p95 is None or p99 is None:
            return None
        return cls(p50=round(p50, 1), p95=round(p95, 1), p99=round(p99, 1))


class UsagePoint(Model):
    """One step of time."""

    at: Moment
    """The beginning of the step."""
    value: Annotated[int, Shape(examples=[42])]
    """What was counted in it; of times, how many were measured."""
    percentiles: Percentiles | None
    """Of times, where there was something to measure; else null."""


class UsageSeries(Model):
    """What was counted of one group."""

    group: Annotated[str, Shape(examples=["GET /v1/patients/{patient}"])] | None
    """What its requests have in common, in what `by` says; null where all are one. `other` are all
    groups beyond the 50 largest, or beyond fewer where there are more than 200 steps."""
    total: Annotated[int, Shape(examples=[1234])]
    """What was counted over the whole range; who was active on several days counts once."""
    percentiles: Percentiles | None
    """Of times, those of the whole range; else null."""
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
    """What is counted: `requests`, `bytes`, `events` or `people`; of times `ms`, in which the
    percentiles are."""
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
        timed = self.unit == "ms"
        names = list(Percentiles.model_fields) if timed else []
        yield ["at", *([self.by] if self.by else []), "value", *names]
        for series in self.series:
            for point in series.points:
                at = point.model_dump(include={"at"})["at"]
                told = [getattr(point.percentiles, name, None) for name in names]
                yield [at, *([series.group] if self.by else []), point.value, *told]


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
        problems = list(query.problems(self._now))
        if problems:
            raise invalid(problems)
        measure = MEASURES[query.metric]
        span = query.span(measure.resolutions, self._now)
        by = query.by or measure.first
        moments = span.moments()
        if isinstance(measure.counted, Metric):
            reading = Reading(
                metric=measure.counted,
                organisation=self._organisation,
                modes=self._modes,
                start=span.start,
                end=span.end,
                step=span.step,
                by=() if by is None else LABELS.get(by, (by,)),
                where=(*measure.where, *query.where()),
            )
            most = min(MOST_GROUPS, MOST_VALUES // len(moments))
            measured = await (
                self._by_key(reading, most) if by == "key" else self._measure(reading)
            )
            series = _series(measured, moments, most, grouped=by is not None)
        else:
            series = [await self._active(measure.counted, moments)]
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
            series=series,
        )

    async def _active(self, kind: Kind, days: Sequence[datetime]) -> UsageSeries:
        """Tell how many were active on each day, and on any of them: each counts once."""
        found = await active(
            self._storage, self._organisation, self._modes, [day.date() for day in days]
        )
        sketches = {day: each[kind] for day, each in found.items()}
        points = [
            UsagePoint(at=day, value=each.count() if each else 0, percentiles=None)
            for day in days
            for each in [sketches.get(day.date())]
        ]
        total = Sketch().merge(sketches.values()).count()
        return UsageSeries(group=None, total=total, percentiles=None, points=points)

    async def _by_key(self, reading: Reading, most: int) -> list[Measured]:
        """Read what was counted by key: that of the largest, and of all others together.

        Which are the largest is asked first. An organisation may have any number of keys, so all
        steps of each of them would be any number of megabytes.
        """
        metric = REQUESTS if reading.metric is LATENCIES else reading.metric  # as many, and smaller
        asked = replace(reading, metric=metric)
        if reading.step == DAY:
            found = await self._measure(asked)
        else:
            found = await self._metrics.read(replace(asked, step=reading.end - reading.start))
        totals = Counter[str]()
        for (key,), _, value in found:
            totals[key] += value.count if isinstance(value, Distribution) else value
        if len(totals) <= most:
            return await self._measure(reading)
        ranked = sorted(totals, key=lambda key: (key == OTHER, -totals[key], key))[:most]
        shown: list[Measured] = []
        for first in range(0, most, KEYS_OF_A_FILTER):
            keys = tuple(ranked[first : first + KEYS_OF_A_FILTER])
            where = (*reading.where, ("key", keys))
            shown += await self._measure(replace(reading, where=where))
        whole = await self._measure(replace(reading, by=()))  # later, so it is no less
        return [*shown, *_rest(whole, shown)]

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


def _rest(whole: Iterable[Measured], shown: Iterable[Measured]) -> Iterator[Measured]:
    """Yield what there is of a whole beside the groups that are shown, as one group."""
    apart: dict[datetime, Any] = {}
    for _, at, value in shown:
        apart[at] = apart[at] + value if at in apart else value
    for _, at, value in whole:
        yield Measured((OTHER,), at, value - apart[at] if at in apart else value)


def _series(
    found: Iterable[Measured], moments: Sequence[datetime], most: int, *, grouped: bool
) -> list[UsageSeries]:
    """Return what was found, the largest group first; what is beyond so many is one."""
    groups: defaultdict[str | None, _Group] = defaultdict(_Group)
    for labels, at, value in found:
        groups[_name(labels) if grouped else None].add(at, value)
    if not grouped:
        return [groups[None].series(None, moments)]
    ranked = sorted(groups.items(), key=lambda each: (-each[1].total, each[0] or ""))
    named = [each for each in ranked if each[0] != OTHER]
    rest = _Group()
    for _, beyond in [*named[most:], *(each for each in ranked if each[0] == OTHER)]:
        rest.merge(beyond)
    shown = [*named[:most], *([(OTHER, rest)] if rest.counts else [])]
    return [group.series(name, moments) for name, group in shown]


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
