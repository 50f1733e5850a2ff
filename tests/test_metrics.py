"""The port of metrics: what was written is read back, once each, by those whose it is."""

import asyncio
import contextlib
import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.backends import RejectedError, UnavailableError
from shared.backends.google.monitoring import CloudMetrics
from shared.backends.local import StateError
from shared.backends.local_metrics import LocalMetrics
from shared.backends.metrics import (
    BOUNDS,
    LATENCIES,
    MOST_POINTS,
    REQUESTS,
    Distribution,
    Measured,
    Metric,
    Metrics,
    Point,
    Reading,
)
from tests.support.monitoring import Monitoring

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
LABELS = ("org_a", "test", "GET", "/v1/patients", "200", "", "key_a", "2026-11-22")


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def labels(**changed: str) -> tuple[str, ...]:
    return tuple(
        changed.get(name, value) for name, value in zip(REQUESTS.labels, LABELS, strict=True)
    )


def point(
    value: int | Distribution,
    end: float,
    start: float | None = None,
    metric: Metric = REQUESTS,
    **changed: str,
) -> Point:
    return Point(metric, labels(**changed), at(end - 1 if start is None else start), at(end), value)


def took(*milliseconds: float) -> Distribution:
    counts = [0] * (len(BOUNDS) + 1)
    for each in milliseconds:
        counts[sum(bound <= each for bound in BOUNDS)] += 1
    return Distribution(len(milliseconds), sum(milliseconds), tuple(counts))


def reading(metric: Metric = REQUESTS, **chosen: Any) -> Reading:
    asked = {"organisation": "org_a", "modes": ("test",), "start": NOON, "end": at(180)}
    return Reading(metric, **{**asked, "step": MINUTE, **chosen})


@dataclass
class Port:
    """The port of metrics, on one backend."""

    metrics: Metrics
    runner: asyncio.Runner

    def write(self, *points: Point, task: str = "task") -> None:
        """Write points, each by itself."""
        for each in points:
            self.runner.run(self.metrics.write(task, [each]))

    def read(self, asked: Reading) -> list[Measured]:
        return self.runner.run(self.metrics.read(asked))

    def total(self, asked: Reading) -> int | Distribution:
        """Read what all steps say together."""
        (one,) = self.read(replace(asked, step=asked.end - asked.start))
        return one.value


@pytest.fixture(params=["local", "google"])
def port(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Port]:
    with asyncio.Runner() as runner, contextlib.ExitStack() as stack:
        if request.param == "local":
            yield Port(LocalMetrics(str(tmp_path)), runner)
            return
        writes = itertools.count()
        running = Monitoring(now=lambda: at(120 + 5 * next(writes)))
        stack.callback(running.stop)
        metrics = CloudMetrics("tested", "ally", call_timeout=5, address=running.address)
        stack.callback(lambda: runner.run(metrics.close()))
        yield Port(metrics, runner)


def test_counts_are_summed_by_step_and_group(port: Port) -> None:
    port.write(
        point(3, 10),
        point(4, 20),
        point(5, 30, status="400"),
        point(6, 70, route="/v1/tasks"),
        point(7, 70),
    )
    assert port.read(reading(by=("status",))) == [
        Measured(("200",), NOON, 7),
        Measured(("400",), NOON, 5),
        Measured(("200",), at(60), 13),
    ]


def test_what_ends_with_a_reading_is_in_it_and_what_ends_as_it_begins_is_not(port: Port) -> None:
    port.write(point(1, 0), point(2, 180), point(4, 182))
    assert port.read(reading()) == [Measured((), at(120), 2)]


def test_a_later_point_of_the_same_start_takes_the_place_of_the_earlier(port: Port) -> None:
    port.write(point(3, 10, 9), point(took(2, 900), 10, 9, LATENCIES))
    assert port.read(reading()) == [Measured((), NOON, 3)]
    port.write(point(5, 70, 9), point(took(2, 900, 901), 70, 9, LATENCIES))
    assert port.total(reading()) == 5
    assert port.total(reading(LATENCIES)) == took(2, 900, 901)
    with contextlib.suppress(RejectedError):  # it may be refused, too
        port.write(point(3, 10, 9))
    assert port.total(reading()) == 5


def test_points_of_several_tasks_and_starts_are_added(port: Port) -> None:
    for task in ("one", "two"):
        port.write(point(3, 10), point(took(1, 5), 10, metric=LATENCIES), task=task)
        port.write(point(4, 40), point(took(5, 80), 40, metric=LATENCIES), task=task)
    assert port.read(reading()) == [Measured((), NOON, 14)]
    assert port.read(reading(LATENCIES)) == [Measured((), NOON, took(1, 1, 5, 5, 5, 5, 80, 80))]


def test_the_edges_of_the_buckets_are_theirs_upwards(port: Port) -> None:
    edges = took(0.5, 1, 1.25, BOUNDS[-1] * 2)
    assert edges.buckets[:3] == (1, 1, 1)
    assert edges.buckets[-1] == 1
    port.write(point(edges, 10, metric=LATENCIES))
    (found,) = port.read(reading(LATENCIES))
    assert found.value == edges


def test_nobody_reads_what_is_anothers(port: Port) -> None:
    port.write(
        point(8, -1),
        point(1, 10),
        point(2, 10, organisation="org_b"),
        point(4, 10, mode="live"),
        point(16, 182),
    )
    assert port.read(reading()) == [Measured((), NOON, 1)]
    both = port.read(reading(modes=("test", "live"), by=("mode",)))
    assert both == [Measured(("live",), NOON, 4), Measured(("test",), NOON, 1)]
    for name in ("org_", "org_c", "", "%", 'org_a" OR "1" = "1', 'org_c", "org_a', "\\"):
        assert port.read(reading(organisation=name)) == []


def test_a_reading_is_of_what_labels_must_be(port: Port) -> None:
    port.write(point(1, 10), point(2, 10, status="404"), point(4, 10, route="/v1/tasks"))
    asked = reading(where=(("status", ("200", "404")), ("route", ("/v1/patients",))))
    assert port.read(asked) == [Measured((), NOON, 3)]
    for value in ('404", "200', "200' OR '1' = '1", "\\", '404\\" OR "'):
        assert port.read(reading(where=(("status", (value,)),))) == []


def test_what_is_written_at_once_is_read_together(port: Port) -> None:
    many = [point(1, 10, route=f"/v1/{number}") for number in range(MOST_POINTS)]
    port.runner.run(port.metrics.write("task", many))
    found = port.read(reading(by=("route", "organisation")))
    assert len(found) == MOST_POINTS
    assert found == sorted(found, key=lambda each: each.group)


@pytest.mark.parametrize("asked", [{"by": ("patient",)}, {"where": (("patient", ("p_1",)),)}])
def test_a_label_that_there_is_not_is_a_fault(asked: Any) -> None:
    with pytest.raises(ValueError, match="patient"):
        reading(**asked)


def test_local_metrics_are_kept_for_ninety_days(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    old, new = now - timedelta(days=91), now - timedelta(days=89)
    asked = reading(start=old - MINUTE, end=now, step=timedelta(days=1))
    written = [Point(REQUESTS, LABELS, end - MINUTE, end, 1) for end in (old, new)]
    with asyncio.Runner() as runner:
        before = Port(LocalMetrics(str(tmp_path)), runner)
        before.write(*written)
        assert len(before.read(asked)) == 2
        (left,) = Port(LocalMetrics(str(tmp_path)), runner).read(asked)
    assert left.at > old


@pytest.mark.parametrize("content", [b"no database", b""])
def test_a_file_that_is_not_ours_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "metrics.sqlite"
    file.write_bytes(content * 1000)
    if not content:
        with closing(sqlite3.connect(file)) as other:
            other.execute("PRAGMA user_version = 99")
    with pytest.raises(StateError, match=r"metrics\.sqlite is broken or not ours"):
        LocalMetrics(str(tmp_path))


def test_local_metrics_that_cannot_be_written_say_so(tmp_path: Path) -> None:
    with asyncio.Runner() as runner:
        port = Port(LocalMetrics(str(tmp_path)), runner)
        with closing(sqlite3.connect(tmp_path / "metrics.sqlite")) as other:
            other.execute("DROP TABLE points")
        with pytest.raises(UnavailableError, match="OperationalError"):
            port.write(point(1, 10))
        with pytest.raises(UnavailableError, match="OperationalError"):
            port.read(reading())
