"""`GET /v1/usage` over time: periods, ranges, steps, and how fresh it is."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from shared import spans
from tests.support.counted import NOW, USAGE, Counted, caller, count, read
from tests.support.serving import Json, Partner

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize(
    ("period", "resolution", "start", "end"),
    [
        ("1h", "1m", "2026-11-22T09:08", "2026-11-22T10:08"),
        ("6h", "5m", "2026-11-22T04:10", "2026-11-22T10:10"),
        ("24h", "15m", "2026-11-21T10:15", "2026-11-22T10:15"),
        ("7d", "1h", "2026-11-15T11:00", "2026-11-22T11:00"),
        ("30d", "1d", "2026-10-24T00:00", "2026-11-23T00:00"),
        ("90d", "1d", "2026-08-25T00:00", "2026-11-23T00:00"),
    ],
)
def test_a_period_ends_with_the_step_that_it_is(
    partner: Partner, period: str, resolution: spans.Resolution, start: str, end: str
) -> None:
    shown = read(partner, period=period)
    moments = (f"{start}:00.000Z", f"{end}:00.000Z")
    assert (shown["resolution"], shown["startAt"], shown["endAt"]) == (resolution, *moments)
    (series,) = shown["series"]
    assert series["points"][0]["at"] == shown["startAt"]
    gaps = {
        datetime.fromisoformat(after["at"]) - datetime.fromisoformat(before["at"])
        for before, after in pairwise(series["points"])
    }
    assert gaps == {spans.STEPS[resolution]}
    last = datetime.fromisoformat(series["points"][-1]["at"])
    assert last + spans.STEPS[resolution] == datetime.fromisoformat(shown["endAt"])


@pytest.mark.parametrize(
    "now",
    [
        datetime(2026, 3, 29, 0, 59, 59, 999_999, tzinfo=UTC),  # London's clocks go forward
        datetime(2026, 3, 29, 1, 0, tzinfo=UTC),
        datetime(2026, 10, 25, 0, 30, tzinfo=UTC),  # and back
        datetime(2026, 10, 25, 1, 30, tzinfo=UTC),
        datetime(2026, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(2027, 1, 1, tzinfo=UTC),
        datetime(2028, 2, 29, 0, 0, 0, 1, tzinfo=UTC),
    ],
)
def test_every_period_has_its_steps_on_any_day(partner: Partner, now: datetime) -> None:
    for period, length in spans.PERIODS.items():
        shown = read(partner, now, period=period)
        start, end = (datetime.fromisoformat(shown[name]) for name in ("startAt", "endAt"))
        step = spans.STEPS[shown["resolution"]]
        assert end - start == length
        assert end - step < now <= end
        assert (start - start.replace(hour=0, minute=0)) % step == timedelta()
        assert len(shown["series"][0]["points"]) == length // step


def test_a_step_ends_with_the_moment_of_its_end(partner: Partner) -> None:
    noon = datetime(2026, 11, 22, 12, tzinfo=UTC)
    instant = timedelta(milliseconds=1)
    count(partner, [Counted(noon, took=(1,)), Counted(noon + instant, took=(1, 2))])
    (series,) = read(partner, noon + HOUR, period="6h", resolution="1h")["series"]
    told = {point["at"]: point["value"] for point in series["points"] if point["value"]}
    assert told == {"2026-11-22T11:00:00.000Z": 1, "2026-11-22T12:00:00.000Z": 2}


def test_a_range_is_made_of_the_whole_steps_that_it_touches(partner: Partner) -> None:
    shown = read(
        partner, startAt="2026-11-20T22:59:59Z", endAt="2026-11-21T01:00:01+01:00", resolution="1h"
    )
    assert (shown["startAt"], shown["endAt"]) == (
        "2026-11-20T22:00:00.000Z",
        "2026-11-21T01:00:00.000Z",
    )
    days = read(partner, startAt="2026-11-01", endAt="2026-11-20", resolution="1d")
    assert len(days["series"][0]["points"]) == 19


def test_a_range_ends_now_at_the_latest(partner: Partner) -> None:
    endings: list[Json] = [{}, {"endAt": "2099-01-01"}]
    for asked in endings:
        shown = read(partner, startAt="2026-11-22T10:00:00Z", **asked)
        assert (shown["resolution"], shown["endAt"]) == ("1m", "2026-11-22T10:08:00.000Z")


def test_the_oldest_range_is_that_of_ninety_days(partner: Partner) -> None:
    oldest = NOW - 90 * DAY
    shown = read(partner, startAt=oldest.isoformat())
    assert shown["startAt"] == "2026-08-24T00:00:00.000Z"
    assert shown["resolution"] == "1d"
    fine = read(partner, startAt=(NOW - 40 * DAY).isoformat(), endAt=(NOW - 39 * DAY).isoformat())
    assert fine["resolution"] == "15m"
    coarse = read(
        partner, startAt=(NOW - 41 * DAY).isoformat(), endAt=(NOW - 41 * DAY + HOUR).isoformat()
    )
    assert coarse["resolution"] == "1d"


def test_as_of_admits_what_is_not_flushed_yet(partner: Partner) -> None:
    api = caller(partner, metering_interval=45)
    shown = api.call("GET", USAGE)
    delay = api._service.metrics.delay
    assert datetime.fromisoformat(shown["asOf"]) == NOW - timedelta(seconds=45) - delay
