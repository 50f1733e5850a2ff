"""What was counted is written once: whatever fails, whenever, and however the process ends."""

import asyncio
from collections import Counter
from datetime import timedelta
from itertools import pairwise
from typing import Any

import grpc
import grpc.aio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import metering
from shared.backends.google.monitoring import WRITE_TIMEOUT
from shared.backends.metrics import (
    FRONT_END_EVENTS,
    FRONT_END_TIMINGS,
    MOST_POINTS,
)
from shared.metering import (
    LONGEST_END,
    LONGEST_LAST,
    MOST_OF_ONE,
    MOST_SERIES,
    OTHER,
    PATIENCE,
    SPACING,
)
from tests.support.metered import (
    FAILED,
    FROZEN,
    HANGING,
    INTERVAL,
    LOST,
    Metered,
    broken,
    timer,
    took,
)
from tests.support.monitoring import Fault
from tests.support.scale import examples
from tests.support.virtual_time import run


def test_what_is_counted_is_written_when_a_request_finds_the_interval_elapsed() -> None:
    async def act() -> None:
        metered = Metered()
        for _ in range(5):
            await metered.request()
        assert metered.wire.calls == []
        await asyncio.sleep(INTERVAL)
        assert metered.wire.calls == []  # nothing runs between requests
        await metered.request()
        assert len(metered.wire.calls) == 1
        assert sum(metered.kept().values()) == 5
        assert len(metered.meter._counted) == 1  # the request that began it comes with the next

    run(act())


def test_a_request_waits_for_its_flush_for_50_ms_at_most_and_no_other_request_waits() -> None:
    async def act() -> None:
        metered = Metered()
        metered.count()
        metered.wire.faults = [HANGING]
        await asyncio.sleep(INTERVAL)
        waits = await asyncio.gather(*(metered.request(seconds=0.001) for _ in range(20)))
        assert waits[0] == pytest.approx(PATIENCE) == pytest.approx(0.05)
        assert waits[1:] == [0.0] * 19
        assert len(metered.wire.calls) == 1  # there is one flush at a time
        await asyncio.sleep(WRITE_TIMEOUT + INTERVAL)
        assert await metered.request() == 0.0
        await metered.meter.close()
        metered.check()

    run(act())


@pytest.mark.parametrize("fault", [FAILED, LOST, HANGING, FROZEN, Fault(done=0.5)])
def test_what_failed_is_written_again_once(fault: Fault) -> None:
    async def act() -> None:
        metered = Metered()
        metered.wire.faults = [fault, fault, None]
        for _ in range(5):
            for route in ("/v1/patients", "/v1/tasks"):
                await metered.request(route)
            await asyncio.sleep(INTERVAL + WRITE_TIMEOUT)
        await metered.meter.close()
        metered.check()

    run(act())


def test_a_series_is_forgotten_when_it_is_kept_and_nothing_comes_of_it() -> None:
    async def act() -> None:
        metered = Metered()
        metered.count()
        metered.wire.faults = [FAILED]
        for expected in (1, 0):
            await asyncio.sleep(INTERVAL)
            flush = metered.meter.enter()
            assert flush is not None
            await flush
            assert len(metered.meter._ledger.unsure) == expected
            assert metered.meter._counted == {}
        metered.check()

    run(act())


def test_points_span_a_second_at_most_of_one_minute_unless_they_were_unsure() -> None:
    async def act() -> None:
        await asyncio.sleep(0.4)
        metered = Metered()
        metered.wire.faults = [None, FAILED, None]
        for _ in range(8):
            await metered.request()
            await asyncio.sleep(INTERVAL)
        await metered.meter.close()
        for points in metered.wire.points.series.values():
            for point in points[:1] + points[2:]:
                assert point.end - point.start <= timedelta(seconds=1)
                last = point.end - timedelta(microseconds=1)  # a step includes its end
                assert point.start.minute == last.minute
            assert all(after.start > before.end for before, after in pairwise(points))
        metered.check()

    run(act())


def test_many_series_go_in_calls_that_are_small_enough_and_few_at_once() -> None:
    async def act() -> None:
        metered = Metered()
        for number in range(1000):
            metered.count(f"/v1/{number}")
        metered.wire.faults = [Fault(grpc.StatusCode.OK, done=1, delay=0.1)] * 20
        await metered.meter.close()
        assert [len(sent.time_series) for sent in metered.wire.sent] == [MOST_POINTS] * 20
        assert max(Counter(metered.wire.calls).values()) == 4
        metered.check()

    run(act())


def test_beyond_a_number_of_series_an_organisation_has_one_for_all_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(metering, "MOST_SERIES", 10)

    async def act() -> None:
        metered = Metered()
        metered.wire.faults = [FAILED] * 3
        for _ in range(3):
            for number in range(30):
                for organisation in ("org_a", "org_b"):
                    metered.count(f"/v1/{number}", organisation=organisation)
            await asyncio.sleep(INTERVAL)
            flush = metered.meter.enter()
            assert flush is not None
            await flush
        assert len(metered.meter._ledger.unsure) <= 10 + 2  # that many, and the others' two
        await metered.meter.close()
        kept = metered.wire.points.totals("requests", "organisation", "mode")
        assert kept == {("org_a", "test"): 90, ("org_b", "test"): 90}
        others = metered.wire.points.totals("requests", "organisation", "route", "status")
        assert others["org_a", OTHER, OTHER] == others["org_b", OTHER, OTHER] == 75
        assert metered.wire.points.refusals == []

    run(act())


def test_a_request_that_ends_with_the_process_waits_3_s_at_most_for_what_hangs() -> None:
    async def act() -> None:
        metered = Metered()
        await metered.meter.close()
        metered.meter._activity.flush = lambda _: asyncio.sleep(3600)  # type: ignore[assignment, method-assign]  # Firestore does not answer
        assert await metered.request() == pytest.approx(LONGEST_LAST) == pytest.approx(3.0)
        metered.check()

    run(act())


def test_an_organisation_with_many_series_leaves_others_theirs_and_its_other_mode() -> None:
    async def act() -> None:
        metered = Metered()
        for number in range(MOST_SERIES):
            metered.count(f"/v1/{number}", organisation="org_a")
        metered.count(status="402", organisation="org_a", mode="live")
        metered.count(status="402", organisation="org_b")
        await metered.meter.close()
        kept = metered.wire.points.totals("requests", "organisation", "route", "status")
        assert kept["org_a", OTHER, OTHER] == MOST_SERIES - MOST_OF_ONE
        assert kept["org_a", "/v1/patients", "402"] == kept["org_b", "/v1/patients", "402"] == 1

    run(act())


def test_other_things_than_requests_are_counted_and_timed() -> None:
    async def act() -> None:
        metered = Metered()
        seen, timed = ("org_a", "test", "view", "booking"), ("org_a", "test", "timing", "load")
        metered.meter.add(FRONT_END_EVENTS, seen)
        metered.meter.add(FRONT_END_EVENTS, seen, 4)
        for milliseconds in (3, 40):
            metered.meter.observe(FRONT_END_TIMINGS, timed, milliseconds)
        await metered.meter.close()
        points = metered.wire.points
        assert points.totals("front_end_events", *FRONT_END_EVENTS.labels) == {seen: 5}
        assert points.totals("front_end_timings", *FRONT_END_TIMINGS.labels) == {timed: 2}
        (held,) = (
            kept for series, (kept,) in points.series.items() if series.metric.endswith("timings")
        )
        assert held.value == took(3, 40)
        assert points.refusals == []

    run(act())


# --- When it goes wrong --------------------------------------------------------------------------


def test_each_flush_that_fails_leaves_one_line_that_names_nothing_of_anybody() -> None:
    async def act() -> None:
        metered = Metered()
        for number in range(200):
            metered.count(f"/v1/{number}")
        metered.wire.faults = [FAILED, LOST, FAILED, FAILED]
        await asyncio.sleep(INTERVAL)
        flush = metered.meter.enter()
        assert flush is not None
        await flush
        told = {"severity": "WARNING", "type": "UnavailableError", "message": "UNAVAILABLE"}
        assert metered.log.written == [("metering", {**told, "unsure": 200})]
        await metered.meter.close()
        assert len(metered.log.written) == 1
        metered.check()

    run(act())


def test_what_nobody_expected_is_told_and_loses_nothing_either() -> None:
    async def act() -> None:
        metered = Metered()
        metered.count()
        write, metered.wire.write = metered.wire.write, broken  # type: ignore[method-assign]  # the only way to break what never breaks
        await asyncio.sleep(INTERVAL)
        flush = metered.meter.enter()
        assert flush is not None
        await flush
        told = {"severity": "WARNING", "type": "TypeError", "unsure": 1}
        assert metered.log.written == [("metering", told)]
        metered.wire.write = write  # type: ignore[method-assign]  # as before
        await metered.meter.close()
        metered.check()

    run(act())


# --- The end -------------------------------------------------------------------------------------


def test_at_the_end_the_unsent_goes_at_once_and_the_unsure_5_s_after_its_attempt() -> None:
    async def act() -> None:
        metered = Metered()
        metered.count(times=3)
        metered.wire.faults = [LOST]
        await asyncio.sleep(INTERVAL)
        flush = metered.meter.enter()
        assert flush is not None
        await flush
        metered.count(times=4)
        failed = timer()
        await asyncio.sleep(1)
        await metered.meter.close()
        assert metered.wire.calls == pytest.approx([failed, failed + 1, failed + SPACING])
        tasks = [sent.time_series[0].resource.labels["task_id"] for sent in metered.wire.sent]
        assert tasks[0] == tasks[2] != tasks[1]
        metered.check()

    run(act())


def test_at_the_end_a_flush_that_is_under_way_is_waited_for() -> None:
    async def act() -> None:
        metered = Metered()
        metered.count()
        metered.wire.faults = [Fault(grpc.StatusCode.OK, done=1, delay=1)]
        await asyncio.sleep(INTERVAL)
        metered.meter.enter()
        await asyncio.sleep(0.5)
        metered.count()
        began = timer()
        await metered.meter.close()
        assert timer() == began + 0.5
        metered.check()

    run(act())


def test_an_end_takes_9_s_at_most_and_tells_what_may_be_lost() -> None:
    async def act() -> None:
        metered = Metered()
        metered.wire.faults = [HANGING] * 3
        metered.count("/v1/a")
        await asyncio.sleep(INTERVAL)
        metered.meter.enter()
        await asyncio.sleep(0.1)
        metered.count("/v1/b")
        began = timer()
        metered.wire.faults = [HANGING] * 100
        await metered.meter.close()
        assert timer() - began <= LONGEST_END + 1e-6
        assert [facts["unsure"] for _, facts in metered.log.written][-1] >= 1
        assert metered.kept() == {}

    run(act())


def test_a_request_that_ends_after_the_last_flush_is_written_before_its_answer() -> None:
    async def act() -> None:
        metered = Metered()
        begun = [asyncio.create_task(metered.request(seconds=n)) for n in (1, 1, 2)]
        await asyncio.sleep(0)
        metered.count()
        await metered.meter.close()
        assert sum(metered.kept().values()) == 1
        await asyncio.gather(*begun)
        assert sum(metered.kept().values()) == 4
        metered.check()

    run(act())


# --- Whatever happens ----------------------------------------------------------------------------

FAULTS = st.builds(
    Fault,
    st.sampled_from([grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.INTERNAL]),
    st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    st.sampled_from([0.0, 0.0, 0.2, 2.0, 60.0]),
)
STEPS = st.one_of(
    st.tuples(st.just("count"), st.integers(0, 4)),
    st.tuples(st.just("request"), st.sampled_from([0.0, 0.01, 3.0])),
    st.tuples(st.just("sleep"), st.sampled_from([0.1, 4.0, INTERVAL, 90.0])),
    st.tuples(st.just("fault"), FAULTS),
)


@settings(max_examples=examples(150))
@given(st.lists(STEPS, max_size=40), st.booleans())
def test_whatever_fails_all_is_kept_once_and_nothing_refused(
    steps: list[tuple[str, Any]], recovered: bool
) -> None:
    async def act() -> None:
        metered = Metered()
        requests = []
        for kind, value in steps:
            if kind == "count":
                metered.count(f"/v1/{value}", value + 1)
            elif kind == "request":
                requests.append(asyncio.create_task(metered.request(seconds=value)))
            elif kind == "sleep":
                await asyncio.sleep(value)
            else:
                metered.wire.faults.append(value)
        if recovered:
            metered.wire.faults.clear()
        await metered.meter.close()
        await asyncio.gather(*requests)
        assert metered.wire.points.refusals == []
        lost = metered.counted - metered.kept()
        assert metered.kept() <= metered.counted
        if recovered:
            assert not lost
        else:  # what the last attempt did not bring is what its line tells of
            unsure = [facts["unsure"] for _, facts in metered.log.written]
            assert not lost or unsure

    run(act())
