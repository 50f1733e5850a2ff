"""How Cloud Monitoring reads cumulative series: filtered, aligned, reduced, in pages.

A point says how much there was from its start to its end; between two points of one start, and from
a start to the first point, the amount grows evenly (Google's reference of `Aggregation.Aligner`).
ALIGN_DELTA takes the difference over each period; periods go backwards from the interval's end.
"""

import json
import math
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Any

from google.api.metric_pb2 import MetricDescriptor
from google.cloud.monitoring_v3 import types

from shared.backends.metrics import Distribution
from tests.support.time_series import Kept, Points, Series, Value

LONGEST_FILTER = 2048
Aligner, Reducer = types.Aggregation.Aligner, types.Aggregation.Reducer
MOST_OF_A_PAGE = 100_000
MICROSECOND = timedelta(microseconds=1)
COUNT, TOTAL = -1, -2
Parts = dict[int, Fraction]
"""A count; or the sum of a distribution, and what is in each bucket."""
_TEXT = r'"(?:[^"\\]|\\.)*"'
_NAME = r"metric\.type|(?:metric|resource)\.labels\.\w+"
_TERM = re.compile(rf"({_NAME}) = ({_TEXT}|one_of\({_TEXT}(?:, {_TEXT})*\))")


class UnreadableError(Exception):
    """A question that Google would refuse, or that this stand-in has not learnt to answer."""


def read(request: Any, points: Points) -> Any:
    """Answer a call of ListTimeSeries."""
    aggregation = request.aggregation
    if aggregation.per_series_aligner != Aligner.ALIGN_DELTA:
        raise UnreadableError("aligned otherwise than by ALIGN_DELTA")
    if aggregation.cross_series_reducer != Reducer.REDUCE_SUM:
        raise UnreadableError("reduced otherwise than by REDUCE_SUM")
    period = aggregation.alignment_period.ToTimedelta()
    if period < timedelta(minutes=1):
        raise UnreadableError("an alignment period of less than a minute")
    by = [each.removeprefix("metric.labels.") for each in aggregation.group_by_fields]
    if any(re.fullmatch(r"\w+", each) is None for each in by):
        raise UnreadableError("grouped by what is no label of a metric")
    start = request.interval.start_time.ToDatetime(UTC)
    end = request.interval.end_time.ToDatetime(UTC)
    sums: dict[tuple[str, tuple[str, ...]], dict[int, list[Value]]] = defaultdict(dict)
    for each in _found(request, points):
        group = sums[each.metric, tuple(map(each.label, by))]
        for back, value in aligned(points.series[each], start, end, period):
            group.setdefault(back, []).append(value)
    flat = [
        (metric, labels, back, _added(values))
        for (metric, labels), windows in sums.items()
        for back, values in sorted(windows.items())
    ]
    first, size = int(request.page_token or 0), request.page_size or MOST_OF_A_PAGE
    answer = types.ListTimeSeriesResponse.pb()()
    for metric, labels, back, value in flat[first : first + size]:
        named = dict(zip(by, labels, strict=True))
        last = answer.time_series[-1] if answer.time_series else None
        if last is None or (last.metric.type, dict(last.metric.labels)) != (metric, named):
            last = answer.time_series.add(metric_kind=MetricDescriptor.DELTA)
            last.metric.type = metric
            last.metric.labels.update(named)
        point = last.points.add()
        point.interval.start_time.FromDatetime(end - (back + 1) * period)
        point.interval.end_time.FromDatetime(end - back * period)
        _encode(value, point.value)
    if first + size < len(flat):
        answer.next_page_token = str(first + size)
    return answer


def _found(request: Any, points: Points) -> Iterator[Series]:
    """Yield the series of a project that a filter names."""
    text = request.filter
    if len(text) > LONGEST_FILTER:
        raise UnreadableError(f"a filter of {len(text)} characters")
    terms: list[tuple[str, list[str]]] = []
    while term := _TERM.match(text):
        terms.append((term[1], [json.loads(each) for each in re.findall(_TEXT, term[2])]))
        text = text[term.end() :].removeprefix(" AND ")
    if text or [name for name, _ in terms].count("metric.type") != 1:
        raise UnreadableError("a filter that is not understood, or not of one metric")
    metrics, organisations = (
        next((allowed for name, allowed in terms if name == wanted), None)
        for wanted in ("metric.type", "metric.labels.organisation")
    )
    for each in points.of(request.name, metrics or (), organisations):
        known = {
            "metric.type": each.metric,
            **{f"metric.labels.{name}": value for name, value in each.labels},
            **{f"resource.labels.{name}": value for name, value in each.resource},
        }
        if all(known.get(name, "") in allowed for name, allowed in terms):
            yield each


def aligned(
    points: Sequence[Kept], start: datetime, end: datetime, period: timedelta
) -> Iterator[tuple[int, Value]]:
    """Yield how much a series grew in each period, counted back from the last, if it has any.

    What is a part of one is rounded so that the periods add up to the whole.
    """
    if points[-1].end <= start - period or points[0].start >= end:  # as of most series
        return
    grown: dict[int, Parts] = defaultdict(lambda: defaultdict(Fraction))
    for began, ended, parts in _growth(points):
        back = max(0, (end - ended) // period)
        while (high := end - back * period) > max(began, start):
            span = min(ended, high) - max(began, high - period)
            for place, amount in parts.items():
                grown[back][place] += (
                    amount * Fraction(span / MICROSECOND) / Fraction((ended - began) / MICROSECOND)
                )
            back += 1
    sofar: Parts = defaultdict(Fraction)
    for back in sorted(grown, reverse=True):
        before = {place: math.floor(sofar[place]) for place in grown[back]}
        for place, amount in grown[back].items():
            sofar[place] += amount
        whole = {place: math.floor(sofar[place]) - before[place] for place in before}
        yield back, _joined(points[0].value, whole, grown[back][TOTAL])


def _growth(points: Sequence[Kept]) -> Iterator[tuple[datetime, datetime, Parts]]:
    """Yield from when to when a series grew, and by what."""
    last: Kept | None = None
    for point in points:
        parts = _parts(point.value)
        if last is None or last.start != point.start:
            yield point.start, point.end, parts
        else:
            earlier = _parts(last.value)
            more = {place: amount - earlier.get(place, 0) for place, amount in parts.items()}
            yield last.end, point.end, more
        last = point


def _parts(value: Value) -> Parts:
    if isinstance(value, int):
        return {COUNT: Fraction(value)}
    filled = {place: Fraction(count) for place, count in enumerate(value.buckets) if count}
    return {TOTAL: Fraction(value.total), **filled}


def _joined(like: Value, whole: Mapping[int, int], total: Fraction) -> Value:
    if isinstance(like, int):
        return whole[COUNT]
    buckets = tuple(whole.get(place, 0) for place in range(len(like.buckets)))
    return Distribution(sum(buckets), float(total), buckets)


def _added(values: Sequence[Value]) -> Value:
    counts = [value for value in values if isinstance(value, int)]
    if counts:
        return sum(counts)
    held = [value for value in values if isinstance(value, Distribution)]
    buckets = tuple(map(sum, zip(*(value.buckets for value in held), strict=True)))
    return Distribution(sum(buckets), sum(value.total for value in held), buckets)


def _encode(value: Value, into: Any) -> None:
    if isinstance(value, int):
        into.int64_value = value
        return
    held = into.distribution_value
    held.count = value.count
    held.mean = value.total / value.count if value.count else 0
    held.bucket_counts.extend(value.buckets)
