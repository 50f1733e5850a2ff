"""The stand-in for Cloud Monitoring is as strict as Google, and reads as Google does."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.api.metric_pb2 import MetricDescriptor
from google.cloud import monitoring_v3
from google.cloud.monitoring_v3.services.metric_service.transports import MetricServiceGrpcTransport

from shared.backends.metrics import Distribution
from tests.conftest import google_environment
from tests.support.aligning import aligned
from tests.support.emulator import Emulator
from tests.support.monitoring import Fault, Monitoring
from tests.support.processes import ROOT
from tests.support.secret_manager import SecretManager
from tests.support.time_series import Kept, Points, RefusedError

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
Call = Any
Change = Callable[[Any], Any]


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def a_series(call: Call, start: float = 0, end: float = 1, name: str = "requests") -> Any:
    """Add a good series to a call."""
    series = call.time_series.add(metric_kind=MetricDescriptor.CUMULATIVE)
    series.metric.type = f"custom.googleapis.com/ally/{name}"
    series.metric.labels.update(organisation="org_a", mode="test")
    series.resource.type = "generic_task"
    series.resource.labels.update(
        project_id="p", location="europe-west2", namespace="ally", job="j", task_id="t"
    )
    point = series.points.add()
    point.interval.start_time.FromDatetime(at(start))
    point.interval.end_time.FromDatetime(at(end))
    if name == "latencies":
        series.value_type = MetricDescriptor.DISTRIBUTION
        held = point.value.distribution_value
        held.count, held.mean = 3, 5
        held.bucket_options.exponential_buckets.num_finite_buckets = 2
        held.bucket_options.exponential_buckets.growth_factor = 2
        held.bucket_options.exponential_buckets.scale = 1
        held.bucket_counts.extend([0, 1, 2, 0])
    else:
        series.value_type = MetricDescriptor.INT64
        point.value.int64_value = 7
    return series


def a_call(*series: tuple[float, float]) -> Call:
    """Return a good call."""
    call = monitoring_v3.CreateTimeSeriesRequest.pb()(name="projects/p")
    for start, end in series:
        a_series(call, start, end)
    return call


class Passing:
    """A clock that says what it is told."""

    def __init__(self) -> None:
        self.seconds = 2.0

    def __call__(self) -> datetime:
        return at(self.seconds)


def label(key: str, value: str) -> Change:
    return lambda series: series.metric.labels.update({key: value})


def interval(start: float, end: float) -> Change:
    def change(series: Any) -> None:
        series.points[0].interval.start_time.FromDatetime(at(start))
        series.points[0].interval.end_time.FromDatetime(at(end))

    return change


WRONG: dict[str, Change] = {
    "name": lambda series: setattr(series.metric, "type", "custom.googleapis.com/ally/a-b"),
    "not custom": lambda series: setattr(series.metric, "type", "run.googleapis.com/requests"),
    "gauge": lambda series: setattr(series, "metric_kind", MetricDescriptor.GAUGE),
    "double": lambda series: setattr(series, "value_type", MetricDescriptor.DOUBLE),
    "value": lambda series: setattr(series, "value_type", MetricDescriptor.DISTRIBUTION),
    "31 labels": lambda series: series.metric.labels.update({f"l{n}": "" for n in range(29)}),
    "label's name": label("Mode", "test"),
    "label's length": label("mode", "x" * 1025),
    "resource": lambda series: setattr(series.resource, "type", "global"),
    "resource's label": lambda series: series.resource.labels.update(zone="a"),
    "resource's lack": lambda series: series.resource.labels.pop("task_id"),
    "project": lambda series: series.resource.labels.update(project_id="q"),
    "two points": lambda series: series.points.append(series.points[0]),
    "no time": interval(1, 1),
    "backwards": interval(2, 1),
    "too old": interval(-90_001, -90_000),
    "the future": interval(301, 303),
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_wrong_series_is_refused_and_the_others_of_its_call_are_kept(change: Change) -> None:
    points = Points(Passing())
    call = a_call((0, 1))
    change(call.time_series[0])
    good = a_series(call, 0, 1, "bytes_in")
    with pytest.raises(RefusedError):
        points.create(call)
    assert [series.metric for series in points.series] == [good.metric.type]
    assert len(points.refusals) == 1


DISTORTED: dict[str, Change] = {
    "sum": lambda held: setattr(held, "count", 4),
    "below zero": lambda held: held.bucket_counts.__setitem__(slice(0, 2), [-1, 2]),
    "too many": lambda held: held.bucket_counts.append(0),
    "no options": lambda held: held.ClearField("bucket_options"),
    "growth": lambda held: setattr(held.bucket_options.exponential_buckets, "growth_factor", 1),
    "deviation": lambda held: setattr(held, "sum_of_squared_deviation", -1),
}


@pytest.mark.parametrize("change", DISTORTED.values(), ids=DISTORTED)
def test_a_distribution_that_does_not_fit_is_refused(change: Change) -> None:
    points = Points(Passing())
    call = a_call()
    change(a_series(call, name="latencies").points[0].value.distribution_value)
    with pytest.raises(RefusedError):
        points.create(call)
    call = a_call()
    a_series(call, name="latencies")
    points.create(call)


def test_a_call_has_200_series_at_most_and_none_twice() -> None:
    points = Points(Passing())
    many = a_call(*[(0, 1)] * 201)
    for number, series in enumerate(many.time_series):
        series.metric.labels.update(mode=str(number))
    twice = a_call((0, 1), (0, 1))
    for call in (many, twice, a_call()):
        with pytest.raises(RefusedError):
            points.create(call)
    assert points.series == {}
    del many.time_series[200:]
    points.create(many)
    assert len(points.series) == 200


@pytest.mark.parametrize(
    ("later", "span", "value"),
    [
        (4.9, (0, 5), 8),  # too soon
        (6, (0, 1), 8),  # no later end
        (6, (1, 5), 8),  # a new start that is not after the last end
        (6, (0.5, 5), 8),
        (6, (0, 5), 6),  # less than there was
    ],
)
def test_a_point_that_does_not_follow_the_last_is_refused(
    later: float, span: tuple[float, float], value: int
) -> None:
    clock = Passing()
    points = Points(clock)
    points.create(a_call((0, 1)))
    clock.seconds += later
    wrong = a_call(span)
    wrong.time_series[0].points[0].value.int64_value = value
    with pytest.raises(RefusedError):
        points.create(wrong)
    clock.seconds += 6
    points.create(a_call((0, 5)))
    clock.seconds += 6
    points.create(a_call((5.001, 6)))
    assert points.totals("requests") == {(): 14}


@pytest.mark.parametrize("change", [label("code", ""), lambda each: each.metric.labels.pop("mode")])
def test_a_metric_keeps_its_labels(change: Change) -> None:
    clock = Passing()
    points = Points(clock)
    points.create(a_call((0, 1)))
    clock.seconds += 6
    other = a_call((2, 3))
    change(other.time_series[0])
    with pytest.raises(RefusedError, match="first point"):
        points.create(other)


# --- Reading -------------------------------------------------------------------------------------


def grown(*points: tuple[float, float, Any], end: float = 180) -> dict[int, Any]:
    kept = [Kept(at(start), at(ended), value, NOON) for start, ended, value in points]
    return dict(aligned(kept, NOON, at(end), MINUTE))


def test_growth_is_even_within_a_point_and_adds_up_over_the_periods() -> None:
    assert grown((10, 20, 7)) == {2: 7}
    assert grown((30, 90, 10)) == {2: 5, 1: 5}
    assert grown((30, 150, 7)) == {2: 1, 1: 4, 0: 2}  # 1.75, 3.5 and 1.75
    assert grown((10, 20, 7), (10, 80, 19)) == {2: 7 + 8, 1: 4}
    assert grown((10, 20, 7), (70, 80, 19)) == {2: 7, 1: 19}
    assert grown((-60, 60, 10), (170, 190, 10)) == {2: 5, 0: 5}


def test_a_distribution_grows_bucket_by_bucket() -> None:
    found = grown((30, 90, Distribution(4, 10.0, (2, 2))), end=120)
    assert found == {1: Distribution(2, 5.0, (1, 1)), 0: Distribution(2, 5.0, (1, 1))}


# --- On the wire ---------------------------------------------------------------------------------


@pytest.fixture
def standing_in() -> Iterator[tuple[Monitoring, monitoring_v3.MetricServiceClient]]:
    """A stand-in, and Google's own client of it."""
    running = Monitoring(Passing())
    channel = grpc.insecure_channel(running.address)
    yield (
        running,
        monitoring_v3.MetricServiceClient(transport=MetricServiceGrpcTransport(channel=channel)),
    )
    channel.close()
    running.stop()


def test_it_fails_as_it_is_told_before_after_and_half_way(standing_in: Any) -> None:
    running, client = standing_in
    running.fail(Fault(), Fault(grpc.StatusCode.INTERNAL, done=1), Fault(done=0.5))
    for number, kept in enumerate((0, 2, 3)):
        call = a_call((0, 1), (0, 1))
        for place, series in enumerate(call.time_series):
            series.metric.labels.update(mode=f"{number}.{place}")
        with pytest.raises(Exception, match="told to fail"):
            client.create_time_series(call)
        assert len(running.points.series) == kept
    client.create_time_series(a_call((0, 1)))
    with pytest.raises(Exception, match="less than 5 s"):
        client.create_time_series(a_call((0, 2)))
    assert len(running.refusals) == 1
    assert running.calls == 5


def test_it_lists_what_a_filter_names_by_groups_in_pages(standing_in: Any) -> None:
    _, client = standing_in
    call = a_call((0, 1), (0, 1), (0, 1))
    for series, mode in zip(call.time_series, ("test", "live", "other"), strict=True):
        series.metric.labels.update(mode=mode)
    client.create_time_series(call)

    def listed(chosen: str, *by: str, **changed: Any) -> dict[str, int]:
        request = monitoring_v3.ListTimeSeriesRequest(
            name="projects/p",
            filter=f'metric.type = "custom.googleapis.com/ally/requests"{chosen}',
            interval={"start_time": NOON, "end_time": at(60)},
            aggregation={
                "alignment_period": {"seconds": 60},
                "per_series_aligner": "ALIGN_DELTA",
                "cross_series_reducer": "REDUCE_SUM",
                "group_by_fields": by,
            },
            page_size=1,
            **changed,
        )
        return {
            series.metric.labels.get("mode", ""): series.points[0].value.int64_value
            for series in client.list_time_series(request)
        }

    assert listed("") == {"": 21}
    assert listed("", "metric.labels.mode") == {"test": 7, "live": 7, "other": 7}
    two = ' AND metric.labels.mode = one_of("test", "live")'
    assert listed(two, "metric.labels.mode") == {"test": 7, "live": 7}
    assert listed(' AND metric.labels.mode = "a\\" OR \\"b"') == {}
    for wrong in (' OR metric.labels.mode = "test"', " AND", ' AND metric.labels.mode = "a" "b"'):
        with pytest.raises(Exception, match="not understood"):
            listed(wrong)


def test_a_start_imports_nothing_of_it(emulator: Emulator, secret_manager: SecretManager) -> None:
    script = """
import asyncio, sys
from shared.service import open_service
from shared.settings import load
asyncio.run(open_service(load()))
print("google.cloud.firestore_v1" in sys.modules, "google.cloud.monitoring_v3" in sys.modules)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, **google_environment(emulator, secret_manager)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.split() == ["True", "False"]
