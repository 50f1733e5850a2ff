"""The port of metrics: what was written is read back, once each, by those whose it is."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared.backends.local_metrics import LocalMetrics
from shared.backends.metrics import (
    BOUNDS,
    LATENCIES,
    REQUESTS,
    Distribution,
    Measured,
    Metric,
    Metrics,
    Point,
    Reading,
)

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


@pytest.fixture
def metrics(tmp_path: Path) -> LocalMetrics:
    return LocalMetrics(str(tmp_path))


def kept(metrics: Metrics, asked: Reading, *written: Point) -> list[Measured]:
    async def act() -> list[Measured]:
        await metrics.write("task", written)
        return await metrics.read(asked)

    return asyncio.run(act())


def test_counts_are_summed_by_step_and_group(metrics: LocalMetrics) -> None:
    found = kept(
        metrics,
        reading(by=("status",)),
        point(3, 10),
        point(4, 20),
        point(5, 30, status="400"),
        point(6, 70, route="/v1/tasks"),
        point(7, 70),
    )
    assert found == [
        Measured(("200",), NOON, 7),
        Measured(("400",), NOON, 5),
        Measured(("200",), at(60), 13),
    ]


def test_a_later_point_of_the_same_start_takes_the_place_of_the_earlier(
    metrics: LocalMetrics,
) -> None:
    assert kept(metrics, reading(), point(3, 10, 9)) == [Measured((), NOON, 3)]
    assert kept(metrics, reading(), point(5, 70, 9)) == [Measured((), at(60), 5)]
    late = point(3, 10, 9)
    assert kept(metrics, reading(), late) == [Measured((), at(60), 5)]


def test_a_later_point_of_the_same_start_takes_the_place_of_the_earlier_distribution(
    metrics: LocalMetrics,
) -> None:
    asked = reading(LATENCIES)
    kept(metrics, asked, point(took(2, 900), 10, 9, LATENCIES))
    found = kept(metrics, asked, point(took(2, 900, 901), 70, 9, LATENCIES))
    assert found == [Measured((), at(60), took(2, 900, 901))]


def test_points_of_several_tasks_and_starts_are_added(metrics: LocalMetrics) -> None:
    async def act() -> list[Measured]:
        for task in ("one", "two"):
            await metrics.write(task, [point(3, 10), point(took(1, 5), 10, metric=LATENCIES)])
            await metrics.write(task, [point(4, 40), point(took(5, 80), 40, metric=LATENCIES)])
        return [*await metrics.read(reading()), *await metrics.read(reading(LATENCIES))]

    assert asyncio.run(act()) == [
        Measured((), NOON, 14),
        Measured((), NOON, took(1, 1, 5, 5, 5, 5, 80, 80)),
    ]


def test_the_edges_of_the_buckets_are_theirs_upwards(metrics: LocalMetrics) -> None:
    edges = took(0.5, 1, 1.25, BOUNDS[-1] * 2)
    assert edges.buckets[:3] == (1, 1, 1)
    assert edges.buckets[-1] == 1
    (found,) = kept(metrics, reading(LATENCIES), point(edges, 10, metric=LATENCIES))
    assert found.value == edges


def test_nobody_reads_what_is_anothers(metrics: LocalMetrics) -> None:
    written = (
        point(1, 10),
        point(2, 10, organisation="org_b"),
        point(4, 10, mode="live"),
        point(8, -1),
        point(16, 180),
    )
    assert kept(metrics, reading(), *written) == [Measured((), NOON, 1)]
    both = kept(metrics, reading(modes=("test", "live"), by=("mode",)))
    assert both == [Measured(("live",), NOON, 4), Measured(("test",), NOON, 1)]
    for name in ("org_", "org_c", "", "%", 'org_a" OR "1" = "1'):
        assert kept(metrics, reading(organisation=name)) == []


def test_a_reading_is_of_what_labels_must_be(metrics: LocalMetrics) -> None:
    written = (point(1, 10), point(2, 10, status="404"), point(4, 10, route="/v1/tasks"))
    asked = reading(where=(("status", ("200", "404")), ("route", ("/v1/patients",))))
    assert kept(metrics, asked, *written) == [Measured((), NOON, 3)]
    for value in ('200" OR "', "200' OR '1' = '1", "\\"):
        assert kept(metrics, reading(where=(("status", (value,)),))) == []


@pytest.mark.parametrize("asked", [{"by": ("patient",)}, {"where": (("patient", ("p_1",)),)}])
def test_a_label_that_there_is_not_is_a_fault(asked: Any) -> None:
    with pytest.raises(ValueError, match="patient"):
        reading(**asked)


def test_what_was_written_is_there_after_a_restart_for_ninety_days(tmp_path: Path) -> None:
    now = datetime.now(UTC)
    old, new = now - timedelta(days=91), now - timedelta(days=89)
    asked = reading(start=old - MINUTE, end=now, step=timedelta(days=1))
    written = [Point(REQUESTS, LABELS, end - MINUTE, end, 1) for end in (old, new)]
    assert len(kept(LocalMetrics(str(tmp_path)), asked, *written)) == 2
    (left,) = asyncio.run(LocalMetrics(str(tmp_path)).read(asked))
    assert left.at > old
