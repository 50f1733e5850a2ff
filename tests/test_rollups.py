"""Days that are rolled up: the same numbers as those that were counted, from documents."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from shared import ids, rollups, usage
from shared.backends import OURS, Key, Put, UnavailableError, new_marker
from shared.backends.metrics import REQUESTS, Point
from shared.errors import ApiError
from shared.exchange import VERSION
from shared.rollups import MODES, RollUp
from shared.service import Service
from shared.settings import Mode
from tests.support.counted import KEYS, Counted, count, put, some, totals
from tests.support.inprocess import InProcess, WatchedMetrics
from tests.support.serving import Json, Partner

NOW = datetime(2026, 11, 22, 0, 40, tzinfo=UTC)
TODAY = NOW.replace(hour=0, minute=0)
DAY = timedelta(days=1)
YESTERDAY = date(2026, 11, 21)


def rolled(partner: Partner, act: Callable[[RollUp], Awaitable[Any]], **settings: int) -> Any:
    """Do something with what rolls up, of this partner alone."""

    async def run(service: Service) -> Any:
        metrics = Mine(service.metrics, organisation=partner.organisation.id)
        return await act(RollUp(metrics, service.storage, NOW, **settings))

    return partner.backing.run(run)


@dataclass
class Mine(WatchedMetrics):
    """Metrics in which there is one organisation, since others' tests count in them too."""

    organisation: str = ""

    async def organisations(self, start: datetime, end: datetime) -> list[str]:
        found = await self.metrics.organisations(start, end)
        return [each for each in found if each == self.organisation]


def observer(partner: Partner) -> tuple[InProcess, WatchedMetrics]:
    """Return a caller at a moment, and what it reads of the metrics."""
    api = InProcess(partner.backing, partner.key)
    api.at = NOW
    api.call("GET", "/v1/organisations")  # the key is known from here on
    return api, api.metrics


QUESTIONS: list[Json] = [
    {"by": "route"},
    {"by": "key", "route": "GET /v1/tasks"},
    {"metric": "errors"},
    {"metric": "rate_limited", "by": "key"},
    {"metric": "latency"},
    {"metric": "latency", "by": "route", "keyId": KEYS[0]},
    {"metric": "latency", "by": "key"},
    {"metric": "bytes_out", "by": "status"},
]


def answers(api: InProcess) -> list[Json]:
    return [api.call("GET", "/v1/usage", params={"period": "30d", **asked}) for asked in QUESTIONS]


def roll(partner: Partner, days: list[date], **settings: int) -> None:
    async def run(rolling: RollUp) -> None:
        for day in days:
            await rolling.run(day)

    rolled(partner, run, **settings)


def test_days_that_are_rolled_up_are_as_they_were_counted(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MOST_GROUPS", 3)  # there is more to each, and so a rest
    count(partner, some(1, NOW, timedelta(days=20), number=120))
    api, watched = observer(partner)
    counted = answers(api)
    whole = {(datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))}
    assert not {(each.start, each.end) for each in watched.readings} - whole
    days = [YESTERDAY - n * DAY for n in range(29)]
    roll(partner, days)
    watched.readings.clear()
    assert answers(api) == counted
    assert {(each.start, each.end) for each in watched.readings} == {(TODAY, TODAY + DAY)}
    roll(partner, days[:3])  # again, with the same end
    assert answers(api) == counted


def test_a_day_is_rolled_up_for_both_modes(partner: Partner) -> None:
    live = partner.live()
    at = TODAY - DAY / 2
    count(partner, [Counted(at, took=(1, 2)), Counted(at, took=(3,), mode="live")])
    roll(partner, [YESTERDAY])
    for seer, number in ((partner, 2), (live, 1)):
        api, watched = observer(seer)
        asked = {"startAt": "2026-11-21", "endAt": "2026-11-22"}
        assert totals(api.call("GET", "/v1/usage", params=asked)) == {None: number}
        shown = api.call("GET", "/v1/usage", params={**asked, "resolution": "1d"})
        assert totals(shown) == {None: number}
        assert [each.step for each in watched.readings] == [timedelta(minutes=15)]


def test_the_last_two_days_are_due_and_what_is_missing_once_it_is_over(partner: Partner) -> None:
    forget(partner, YESTERDAY - 3 * DAY)
    roll(partner, [YESTERDAY - n * DAY for n in range(3)])
    due: list[date] = rolled(partner, RollUp.due)
    assert due[-2:] == [YESTERDAY - DAY, YESTERDAY]
    assert YESTERDAY - 2 * DAY not in due
    assert YESTERDAY - 3 * DAY in due
    assert min(due) >= YESTERDAY - 30 * DAY
    assert due == sorted(due)
    with pytest.raises(ApiError, match="parameter_invalid"):
        roll(partner, [YESTERDAY + DAY])


def test_a_day_that_was_forgotten_is_read_where_it_was_counted_and_told(partner: Partner) -> None:
    count(partner, [Counted(TODAY - 2.5 * DAY), Counted(TODAY - 9.5 * DAY, took=(1, 2))])
    api, watched = observer(partner)
    forget(partner, YESTERDAY - 2 * DAY)
    roll(partner, [YESTERDAY - n * DAY for n in range(29) if n != 2])
    assert totals(api.call("GET", "/v1/usage", params={"period": "30d"})) == {None: 3}
    forgotten = TODAY - 3 * DAY
    assert [(each.start, each.end) for each in watched.readings] == [
        (forgotten, forgotten + DAY),
        (TODAY, TODAY + DAY),
    ]
    told = partner.lines("usage_gap")[-1]
    assert (told["severity"], told["days"]) == ("WARNING", ["2026-11-19"])
    roll(partner, [YESTERDAY - 2 * DAY])
    watched.readings.clear()
    assert totals(api.call("GET", "/v1/usage", params={"period": "30d"})) == {None: 3}
    assert [(each.start, each.end) for each in watched.readings] == [(TODAY, TODAY + DAY)]


def forget(partner: Partner, day: date, mode: Mode = "test") -> None:
    """Let nobody know any more that a day is rolled up in a mode."""

    async def act(service: Service) -> None:
        key = Key(mode, OURS, "usage_days", rollups.DAYS)
        (found,) = await service.storage.get([key])
        if found is None:
            return
        days = [each for each in found.data["days"] if each != day.isoformat()]
        put = Put(key, {**found.data, "days": days}, found.version)
        marker = new_marker(mode, OURS, ids.mint("roll", NOW), NOW)
        await service.storage.commit([put, marker], marker.key)

    partner.backing.run(act)


def test_what_is_too_long_for_a_document_lies_in_several(partner: Partner) -> None:
    made = [
        Counted(TODAY - DAY / 2, took=(1,) * (number + 1), route=f"GET /v1/things{number}")
        for number in range(40)
    ]
    count(partner, made)
    roll(partner, [YESTERDAY], largest=1000)
    api, watched = observer(partner)
    asked = {"startAt": "2026-11-21", "resolution": "1d", "by": "route"}
    api.watched.forget()
    shown = api.call("GET", "/v1/usage", params=asked)
    assert totals(shown) == {each.route: each.number for each in made}
    first, rest = api.watched.gets
    assert first == 3  # which days are rolled up, and two days
    assert rest == 2
    assert [(each.start, each.end) for each in watched.readings] == [(TODAY, TODAY + DAY)]


def test_of_many_series_the_largest_are_kept_apart_and_the_total_is_right(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "MOST_ROWS", 5)
    made = [
        Counted(TODAY - DAY / 2, took=(1,) * (number + 1), route=f"GET /v1/things{number}")
        for number in range(20)
    ]
    count(partner, made)
    roll(partner, [YESTERDAY])
    api, _ = observer(partner)
    asked = {"startAt": "2026-11-21", "resolution": "1d", "by": "route"}
    largest = {each.route: each.number for each in made[-5:]}
    rest = sum(each.number for each in made[:-5])
    for metric in ("requests", "latency"):
        shown = api.call("GET", "/v1/usage", params={**asked, "metric": metric})
        assert totals(shown) == {**largest, "other": rest}


def test_ninety_days_are_one_get_and_what_is_not_rolled_up(partner: Partner) -> None:
    roll(partner, [YESTERDAY - n * DAY for n in range(5)])
    api, watched = observer(partner)
    api.watched.forget()
    shown = api.call("GET", "/v1/usage", params={"period": "90d"})
    assert len(shown["series"][0]["points"]) == 90
    assert api.watched.gets == [91]
    rest = [(each.start, each.end) for each in watched.readings]
    assert rest[-1] == (TODAY, TODAY + DAY)
    assert rest[0][0] == TODAY - 89 * DAY


def test_steps_of_less_than_a_day_are_read_where_they_were_counted(partner: Partner) -> None:
    roll(partner, [YESTERDAY])
    api, watched = observer(partner)
    api.watched.forget()
    api.call("GET", "/v1/usage", params={"period": "7d"})
    assert api.watched.gets == []
    assert len(watched.readings) == 1


def test_roll_ups_end_after_four_hundred_days(partner: Partner) -> None:
    count(partner, [Counted(TODAY - DAY / 2)])
    roll(partner, [YESTERDAY])
    place = f"{YESTERDAY}.requests.0"

    async def act(service: Service) -> datetime | None:
        key = Key("test", partner.organisation.id, "usage_days", place)
        (found,) = await service.storage.get([key])
        return found.expires if found else None

    assert partner.backing.run(act) == TODAY - DAY + timedelta(days=400)


def test_the_worker_rolls_up_a_day_or_what_is_missing(partner: Partner) -> None:
    count(partner, [Counted(TODAY - DAY / 2, took=(1, 2, 3))])
    roll(partner, [YESTERDAY - n * DAY for n in range(1, 30)])
    for mode in MODES:
        forget(partner, YESTERDAY, mode)
    api, watched = observer(partner)
    forget(partner, YESTERDAY - 2 * DAY)
    first = api.call("POST", "/worker/roll_up", json={})
    assert first == {"days": ["2026-11-19", "2026-11-20", "2026-11-21"]}
    api.watched.forget()
    again = api.call("POST", "/worker/roll_up", json={})
    assert again == {"days": ["2026-11-20", "2026-11-21"]}
    assert api.watched.commits == []  # nothing had changed
    one = api.call("POST", "/worker/roll_up", json={"day": "2026-11-21"})
    assert one == {"days": ["2026-11-21"]}
    api.call("POST", "/worker/roll_up", 400, json={"day": "2026-11-22"})
    watched.readings.clear()
    asked = {"startAt": "2026-11-21", "resolution": "1d"}
    assert totals(api.call("GET", "/v1/usage", params=asked)) == {None: 3}
    assert [(each.start, each.end) for each in watched.readings] == [(TODAY, TODAY + DAY)]


def test_a_roll_up_that_fails_is_done_again(partner: Partner) -> None:
    day = YESTERDAY - 2 * DAY
    count(partner, [Counted(TODAY - 2.5 * DAY)])
    for mode in MODES:
        forget(partner, day, mode)
    api, watched = observer(partner)
    told, failure = {"day": day.isoformat()}, UnavailableError("told to fail")
    watched.failing = failure
    api.call("POST", "/worker/roll_up", 503, json=told)
    watched.failing, api.watched.failing = None, {"commit": failure}
    api.call("POST", "/worker/roll_up", 503, json=told)
    api.watched.failing = {}
    assert day in rolled(partner, RollUp.due)
    api.call("POST", "/worker/roll_up", json=told)
    assert day not in rolled(partner, RollUp.due)


def test_what_a_flush_that_failed_adds_to_a_day_hours_later_is_rolled_up_the_night_after(
    partner: Partner,
) -> None:
    """Cloud Monitoring spreads such a point over both days."""
    live = partner.live()
    labels = (live.organisation.id, "live", "GET", "/v1/tasks", "200", "", "key_late", VERSION)
    roll(live, [YESTERDAY])
    late = Point(REQUESTS, labels, TODAY - timedelta(hours=3), TODAY + timedelta(hours=9), 1200)
    put(live.backing, [late])
    api, _ = observer(live)
    api.at = NOW + DAY
    done = api.call("POST", "/worker/roll_up", json={})["days"]
    for mode in MODES:
        forget(live, TODAY.date(), mode)  # for other tests that day is not over
    assert done[-2:] == ["2026-11-21", "2026-11-22"]
    shown = api.call("GET", "/v1/usage", params={"startAt": "2026-11-21", "resolution": "1d"})
    assert totals(shown) == {None: 1200}
