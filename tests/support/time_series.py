"""What Cloud Monitoring takes, and how it keeps it.

Its rules are those of Google's reference of `timeSeries.create`, of "Quotas and limits" and of
"User-defined metrics". Each series of a call is refused for itself: the others are still written.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from google.api.metric_pb2 import MetricDescriptor

from shared import clock
from shared.backends.metrics import Distribution
from tests.support import leaks

PREFIX = "custom.googleapis.com/"
GENERIC_TASK = {"project_id", "location", "namespace", "job", "task_id"}
MOST_SERIES = 200
MOST_LABELS = 30
SPACING = timedelta(seconds=5)
OLDEST = timedelta(hours=25)
NEWEST = timedelta(minutes=5)
CUMULATIVE = MetricDescriptor.CUMULATIVE
INT64, DISTRIBUTION = MetricDescriptor.INT64, MetricDescriptor.DISTRIBUTION

Value = int | Distribution
Labels = tuple[tuple[str, str], ...]


class Series(NamedTuple):
    """What makes a series one."""

    metric: str
    labels: Labels
    resource: Labels

    @property
    def project(self) -> str:
        return f"projects/{dict(self.resource)['project_id']}"

    def label(self, name: str) -> str:
        return dict(self.labels).get(name, "")


class Kept(NamedTuple):
    """A point of a series, and when it was written."""

    start: datetime
    end: datetime
    value: Value
    written: datetime


class RefusedError(Exception):
    """A series, or a whole call, that Google would not take."""


@dataclass
class Points:
    """All points that were written, and the rules of writing them."""

    now: clock.Clock = clock.now
    series: dict[Series, list[Kept]] = field(default_factory=dict)
    places: dict[tuple[str, str], dict[str, list[Series]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(list))
    )
    """The series of each project and metric, by their organisation."""
    refusals: list[str] = field(default_factory=list)
    described: dict[tuple[str, str], tuple[int, int, frozenset[str]]] = field(default_factory=dict)
    """Kind, type of value and labels of each project's metric, as its first point said."""

    def create(self, request: Any) -> None:
        """Write what can be written of a call; raise RefusedError if that is not all of it."""
        wrong = self._refuse_call(request) if request.time_series else ["there are no series"]
        if not wrong:
            for each in request.time_series:
                try:
                    self._write(request.name, each)
                except RefusedError as refusal:
                    wrong.append(f"{each.metric.type}: {refusal}")
        if wrong:
            self.refusals += wrong
            raise RefusedError("; ".join(wrong))

    @staticmethod
    def _refuse_call(request: Any) -> list[str]:
        if len(request.time_series) > MOST_SERIES:
            return [f"{len(request.time_series)} series in one call"]
        most = Counter(map(_series, request.time_series)).most_common(1)
        return [f"{most[0][0].metric}: twice in one call"] if most[0][1] > 1 else []

    def _write(self, project: str, each: Any) -> None:
        series = _series(each)
        if series not in self.series:
            leaks.witness(series)
        _check_metric(each)
        _check_resource(each.resource, project)
        described = (each.metric_kind, each.value_type, frozenset(each.metric.labels))
        if self.described.setdefault((project, series.metric), described) != described:
            raise RefusedError("its kind, its type or its labels are not those of its first point")
        if len(each.points) != 1:
            raise RefusedError(f"{len(each.points)} points")
        interval = each.points[0].interval
        point = Kept(
            interval.start_time.ToDatetime(UTC),
            interval.end_time.ToDatetime(UTC),
            _value(each.points[0].value, each.value_type),
            self.now(),
        )
        earlier = self.series.get(series)
        _check_time(point, earlier[-1] if earlier else None)
        self.keep(series, point)

    def keep(self, series: Series, point: Kept) -> None:
        """Keep a point as it is, whatever its time."""
        if series not in self.series:
            place = self.places[series.project, series.metric]
            place[series.label("organisation")].append(series)
        self.series.setdefault(series, []).append(point)

    def of(
        self, project: str, metrics: Iterable[str], organisations: Iterable[str] | None
    ) -> Iterator[Series]:
        """Yield the series of some metrics of a project: of some organisations, or of all."""
        for metric in metrics:
            place = self.places.get((project, metric), {})
            for each in place if organisations is None else organisations:
                yield from place.get(each, ())

    def totals(self, metric: str, *labels: str) -> Counter[tuple[str, ...]]:
        """Add up all counts of a metric exactly, by some labels: of each start, the last value."""
        sums: Counter[tuple[str, ...]] = Counter()
        for series, points in self.series.items():
            if series.metric == f"{PREFIX}ally/{metric}":
                last = {point.start: point.value for point in points}
                group = tuple(map(series.label, labels))
                for value in last.values():
                    sums[group] += value if isinstance(value, int) else value.count
        return sums


def _series(each: Any) -> Series:
    return Series(
        each.metric.type,
        tuple(sorted(each.metric.labels.items())),
        tuple(sorted(each.resource.labels.items())),
    )


def _check_metric(each: Any) -> None:
    name = each.metric.type
    if not re.fullmatch(r"custom\.googleapis\.com(/[a-zA-Z0-9_]+)+", name) or len(name) > 200:
        raise RefusedError("not the name of a custom metric")
    if each.metric_kind != CUMULATIVE or each.value_type not in (INT64, DISTRIBUTION):
        raise RefusedError("neither a cumulative count nor a cumulative distribution")
    if len(each.metric.labels) > MOST_LABELS:
        raise RefusedError(f"{len(each.metric.labels)} labels")
    for key, value in each.metric.labels.items():
        if not re.fullmatch(r"[a-z][a-zA-Z0-9_]{0,99}", key):
            raise RefusedError(f"{key} is no name of a label")
        if len(value) > 1024:
            raise RefusedError(f"{len(value)} characters in the label {key}")


def _check_resource(resource: Any, project: str) -> None:
    labels = dict(resource.labels)
    if resource.type != "generic_task" or labels.keys() != GENERIC_TASK:
        raise RefusedError(f"{resource.type} with the labels {sorted(labels)}")
    if f"projects/{labels['project_id']}" != project:
        raise RefusedError("a resource of another project")
    if not re.fullmatch(r"[a-z]+-[a-z]+\d", labels["location"]) or not all(labels.values()):
        raise RefusedError("a resource without a place or a name")


def _check_time(point: Kept, last: Kept | None) -> None:
    if point.start >= point.end:
        raise RefusedError("it starts when it ends, or later")
    if point.end < point.written - OLDEST or point.end > point.written + NEWEST:
        raise RefusedError("it is too old, or of the future")
    if last is None:
        return
    if point.written - last.written < SPACING:
        raise RefusedError("less than 5 s after the last point of the series")
    if point.end <= last.end:
        raise RefusedError("it ends before the last point of the series, or with it")
    if point.start == last.start:
        if _count(point.value) < _count(last.value):
            raise RefusedError("it says less than the last point of the same start")
    elif point.start <= last.end:
        raise RefusedError("it starts before the last point of the series ends, or with its end")


def _count(value: Value) -> int:
    return value if isinstance(value, int) else value.count


def _value(value: Any, kind: int) -> Value:
    if value.WhichOneof("value") != ("int64_value" if kind == INT64 else "distribution_value"):
        raise RefusedError("a value of another type than it says")
    if kind == INT64:
        count: int = value.int64_value
        return count
    held = value.distribution_value
    options = held.bucket_options.exponential_buckets
    if not (options.num_finite_buckets > 0 and options.growth_factor > 1 and options.scale > 0):
        raise RefusedError("buckets that are none")
    if len(held.bucket_counts) > options.num_finite_buckets + 2:
        raise RefusedError("more buckets than it says")
    if sum(held.bucket_counts) != held.count or min(held.bucket_counts, default=0) < 0:
        raise RefusedError("buckets that do not add up")
    if (held.count == 0 and held.mean != 0) or held.sum_of_squared_deviation < 0:
        raise RefusedError("a mean of nothing, or a deviation below zero")
    missing = options.num_finite_buckets + 2 - len(held.bucket_counts)
    return Distribution(held.count, held.mean * held.count, (*held.bucket_counts, *(0,) * missing))
