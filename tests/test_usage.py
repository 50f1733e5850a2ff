"""`GET /v1/usage`: the numbers are those that were counted, by step and group, on both backends."""

import asyncio
from collections import Counter
from datetime import datetime, timedelta
from math import ceil

import pytest

from shared import usage
from shared.activity import Activity
from shared.backends import UnavailableError
from shared.backends.google.monitoring import CloudMetrics
from shared.backends.metrics import (
    FRONT_END_EVENTS,
    FRONT_END_TIMINGS,
    REQUESTS,
    Distribution,
    Measured,
    Metric,
    Reading,
)
from shared.catalogue import CATALOGUE
from shared.exchange import VERSION
from shared.service import Service
from tests.support.counted import (
    KEYS,
    NOW,
    USAGE,
    Counted,
    caller,
    count,
    distribution,
    point_of,
    put,
    read,
    some,
    totals,
    within,
)
from tests.support.inprocess import InProcess
from tests.support.monitoring import Monitoring
from tests.support.serving import PATIENT, Json, Partner, problems

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.mark.parametrize("by", [None, "route", "status", "key", "version"])
def test_the_numbers_are_those_that_were_counted(partner: Partner, by: str | None) -> None:
    made = some(1)
    count(partner, made)
    asked: Json = {} if by is None else {"by": by}
    shown = read(partner, period="24h", **asked)
    expected: Counter[str | None] = Counter()
    for each in within(made, shown):
        expected[each.group(by)] += each.number
    assert totals(shown) == expected
    steps: Counter[tuple[str | None, datetime]] = Counter()
    for each in within(made, shown):
        since = each.at - datetime.fromisoformat(shown["startAt"])
        step = ceil(since / timedelta(minutes=15)) - 1
        steps[each.group(by), NOW.replace(minute=15, second=0) - DAY + step * HOUR / 4] += (
            each.number
        )
    found = {
        (series["group"], datetime.fromisoformat(point["at"])): point["value"]
        for series in shown["series"]
        for point in series["points"]
        if point["value"]
    }
    assert found == steps
    ranked = [(-series["total"], series["group"] or "") for series in shown["series"]]
    assert ranked == sorted(ranked)


def test_each_metric_counts_its_part(partner: Partner) -> None:
    made = some(2)
    count(partner, made)
    whole = read(partner, period="24h")
    mine = within(made, whole)
    refused = [each for each in mine if each.code]
    codes: Counter[str | None] = Counter()
    for each in refused:
        codes[each.code] += each.number
    assert totals(read(partner, metric="errors")) == codes
    assert totals(read(partner, metric="errors", by="status")) == Counter(
        {str(CATALOGUE[str(code)].status): number for code, number in codes.items()}
    )
    limited = {None: codes["rate_limited"]}
    assert totals(read(partner, metric="rate_limited")) == limited
    bytes_in = sum(each.number * each.bytes_each for each in mine)
    assert totals(read(partner, metric="bytes_in")) == {None: bytes_in}
    assert totals(read(partner, metric="bytes_out")) == {None: bytes_in * 2}
    units = {name: read(partner, metric=name)["unit"] for name in usage.MEASURES}
    assert units["bytes_in"] == units["bytes_out"] == "bytes"
    assert units["latency"] == "ms"
    assert units["requests"] == units["errors"] == units["rate_limited"] == "requests"


def test_a_request_is_counted_under_all_that_is_known_of_it(partner: Partner) -> None:
    partner.patch_organisation(endUserPermissions=["tasks:read"])
    api = InProcess(partner.backing, partner.key)
    sent = [api.send("POST", "/v1/patients", json=body) for body in (PATIENT, {})]
    api.key = partner.end_user("ada").key
    sent.append(api.send("GET", "/v1/tasks"))
    partner.backing.run(lambda _: api.meter.close())
    api.key = partner.key

    def ask(metric: str, route: str, **asked: str) -> Json:
        asked |= {"metric": metric, "route": route, "period": "7d"}
        return api.call("GET", USAGE, params=asked)

    def told(*asked: str, **by: str) -> dict[str | None, int]:
        return totals(ask(*asked, **by))

    made = "POST /v1/patients"
    assert told("requests", made, by="status") == {"200": 1, "400": 1}
    assert told("requests", made, by="version") == {VERSION: 2}
    assert told("requests", made, by="key") == {partner.api_key.id: 2}
    assert told("requests", "GET /v1/tasks", by="key") == {"end-users": 1}
    assert told("errors", made) == {"parameter_missing": 1}
    times = {each["requestId"]: each["milliseconds"] for each in partner.lines()}
    longest = max(times[each.headers["Request-Id"]] for each in sent[:2])
    (latency,) = ask("latency", made)["series"]
    assert latency["total"] == 2
    assert latency["percentiles"]["p99"] == pytest.approx(longest, rel=0.13, abs=0.55)
    assert told("bytes_in", made) == {None: sum(len(each.request.content) for each in sent)}
    assert told("bytes_out", made) == {None: sum(len(each.content) for each in sent[:2])}


def test_filters_take_a_part(partner: Partner) -> None:
    made = some(3)
    count(partner, made)
    mine = within(made, read(partner))
    for asked, meant in (
        ({"route": "POST /v1/patients"}, lambda each: each.route == "POST /v1/patients"),
        ({"status": 429}, lambda each: each.status == 429),
        ({"keyId": KEYS[1]}, lambda each: each.key == KEYS[1]),
        ({"keyId": "end-users"}, lambda each: each.key == "end-users"),
        (
            {"keyId": KEYS[0], "route": "GET /v1/tasks"},
            lambda each: (each.key, each.route) == (KEYS[0], "GET /v1/tasks"),
        ),
    ):
        expected = sum(each.number for each in mine if meant(each))
        assert totals(read(partner, **asked)) == {None: expected}
    assert totals(read(partner, metric="errors", status=200)) == {}


def test_percentiles_are_right_to_within_an_eighth(partner: Partner) -> None:
    made = some(4)
    count(partner, made)
    shown = read(partner, metric="latency", by="route", period="24h", resolution="1h")
    assert shown["series"]
    for series in shown["series"]:
        mine = [each for each in within(made, shown) if each.route == series["group"]]
        check(series, [time for each in mine for time in each.took])
        for point in series["points"]:
            start = datetime.fromisoformat(point["at"])
            of_step = [each for each in mine if start < each.at <= start + HOUR]
            check(point, [time for each in of_step for time in each.took])


def check(shown: Json, times: list[float]) -> None:
    """Hold percentiles against those of all the times, sorted."""
    assert shown.get("value", shown.get("total")) == len(times)
    if not times:
        assert shown["percentiles"] is None
        return
    for percent in (50, 95, 99):
        exact = sorted(times)[ceil(len(times) * percent / 100) - 1]
        found = shown["percentiles"][f"p{percent}"]
        # What is shown has one decimal.
        assert abs(found - exact) <= max(exact / 8, 0.5) + 0.05


@pytest.mark.parametrize("took", [0.0, 0.4, 1.0, 1.25, 9.99, 70_000.0])
def test_percentiles_at_the_edges_of_buckets(took: float) -> None:
    found = distribution([took]).percentile(99)
    assert found is not None
    assert abs(found - took) <= max(took / 8, 0.5)


def test_what_took_longer_than_the_last_bucket_shows_as_its_beginning() -> None:
    assert distribution([3_600_000.0]).percentile(50) == pytest.approx(70_064.9, rel=1e-5)
    nothing: Distribution = distribution([])
    assert nothing.percentile(50) is None
    rounded = Distribution(1, 0.5, nothing.buckets)  # half of a point, as Cloud Monitoring may say
    assert rounded.percentile(50) is None


def test_a_key_sees_its_own_mode_alone(partner: Partner) -> None:
    made = some(5)
    live = partner.live()
    count(partner, made)
    for seer in (partner, live):
        shown = read(seer, by="mode")
        expected = sum(each.number for each in within(made, shown, seer.mode))
        assert totals(shown) == {seer.mode: expected}
        assert shown["livemode"] == (seer.mode == "live")


def test_nothing_counted_is_zero_in_every_step_and_no_group(partner: Partner) -> None:
    shown = read(partner, period="1h")
    (series,) = shown["series"]
    assert (series["group"], series["total"], series["percentiles"]) == (None, 0, None)
    assert [point["value"] for point in series["points"]] == [0] * 60
    assert read(partner, by="route")["series"] == []
    (timed,) = read(partner, metric="latency", period="1h")["series"]
    assert {str(point["percentiles"]) for point in timed["points"]} == {"None"}


@pytest.mark.parametrize("by", ["route", "key"])
def test_groups_beyond_fifty_are_one_and_no_count_is_lost(partner: Partner, by: str) -> None:
    made = [
        Counted(
            NOW - timedelta(hours=1 + number % 5),
            took=(1 + number,) * (number % 60 + 1),
            route=f"GET /v1/things{number:03}",
            key=f"key_{number:022}",
        )
        for number in range(70)
    ]
    made.append(made[0]._replace(route="other other", key="other"))  # as of an instance's overflow
    count(partner, made)
    ranked = sorted(made[:-1], key=lambda each: (-each.number, each.group(by)))
    largest, rest = ranked[: usage.MOST_GROUPS], [*ranked[usage.MOST_GROUPS :], made[-1]]
    for metric in ("requests", "latency"):
        shown = read(partner, metric=metric, by=by)
        *named, other = shown["series"]
        assert [series["group"] for series in named] == [each.group(by) for each in largest]
        assert (other["group"], other["total"]) == (usage.OTHER, sum(each.number for each in rest))
        assert sum(totals(shown).values()) == sum(each.number for each in made)
    times = distribution([took for each in rest for took in each.took])
    assert other["percentiles"] == {
        f"p{n}": round(times.percentile(n) or 0, 1) for n in (50, 95, 99)
    }


def test_of_many_keys_no_more_is_held_than_is_shown(partner: Partner) -> None:
    """An organisation may have any number of them, and each step of each takes half a kilobyte."""
    longest = "GET /v1/" + "x" * 200
    keys = [f"key_{number:022}" for number in range(70)]
    count(partner, [Counted(NOW - HOUR, key=key, route=longest, status=402) for key in keys])
    api = caller(partner)
    for asked in ({"metric": "latency"}, {"metric": "errors", "route": longest, "status": 402}):
        api.call("GET", USAGE, params={"by": "key", "period": "6h", "resolution": "1m", **asked})
    for each in api.metrics.readings:
        one_step = each.end - each.start == each.step
        assert one_step or each.by == () or len(dict(each.where)["key"]) <= usage.KEYS_OF_A_FILTER


def test_with_many_steps_there_are_fewer_groups_and_no_count_is_lost(partner: Partner) -> None:
    """Whoever asks for both keeps nobody waiting."""
    made = [
        Counted(NOW - HOUR, took=(1,) * (number + 1), route=f"GET /v1/things{number:03}")
        for number in range(30)
    ]
    count(partner, made)
    shown = read(partner, by="route", period="6h", resolution="1m")
    assert [len(series["points"]) for series in shown["series"]] == [360] * 28
    assert totals(shown)[usage.OTHER] == 1 + 2 + 3
    assert sum(totals(shown).values()) == sum(each.number for each in made)


def test_what_an_instance_could_not_count_apart_is_other(partner: Partner) -> None:
    other = Counted(NOW - HOUR, route="other other", code="other", key="other")
    count(partner, [other._replace(status=200), Counted(NOW - HOUR)])
    assert totals(read(partner, by="route")) == {"GET /v1/patients": 1, "other": 1}


# --- Front ends ---------------------------------------------------------------------------------


def test_what_happens_in_front_ends_is_told_by_its_name(partner: Partner) -> None:
    whose = (partner.organisation.id, "test")
    happened: list[tuple[Metric, tuple[str, ...], int | Distribution]] = [
        (FRONT_END_EVENTS, (*whose, "view", "home"), 7),
        (FRONT_END_EVENTS, (*whose, "view", "other"), 9),
        (FRONT_END_EVENTS, (*whose, "step", "window_chosen"), 3),
        (FRONT_END_EVENTS, (*whose, "step", "booked"), 2),
        (FRONT_END_EVENTS, (*whose, "error", "network"), 1),
        (FRONT_END_EVENTS, (whose[0], "live", "view", "home"), 50),
        (FRONT_END_TIMINGS, (*whose, "timing", "booking"), distribution([100, 200, 300])),
    ]
    at = NOW - HOUR
    put(
        partner.backing, [point_of(metric, labels, at, value) for metric, labels, value in happened]
    )
    views = read(partner, metric="front_end_views")
    assert (views["by"], views["unit"]) == ("name", "events")
    assert totals(views) == {"home": 7, "other": 9}
    assert totals(read(partner, metric="front_end_views", by="mode")) == {"test": 16}
    assert totals(read(partner, metric="booking_funnel")) == {"window_chosen": 3, "booked": 2}
    assert totals(read(partner, metric="front_end_errors")) == {"network": 1}
    (timed,) = read(partner, metric="front_end_timings")["series"]
    assert (timed["group"], timed["total"]) == ("booking", 3)
    assert abs(timed["percentiles"]["p50"] - 200) <= 200 / 8


def test_who_was_active_is_counted_by_the_day_and_over_all_days_once(partner: Partner) -> None:
    hashed = InProcess(partner.backing, partner.key).keyring.hash
    seen = [(0, "ada"), (0, "ada"), (0, "joan"), (1, "ada"), (6, "mary"), (8, "anne")]

    async def see(service: Service) -> None:
        activity = Activity(service.storage, hashed)
        for days, who in seen:
            at = NOW - days * DAY
            activity.see("test", partner.organisation.id, "end_user", who, at)
            activity.see("test", partner.organisation.id, "visitor", who, at)
        activity.see("live", partner.organisation.id, "end_user", "grace", NOW)
        await activity.flush(NOW)

    partner.backing.run(see)
    shown = read(partner, metric="active_end_users", period="7d")
    assert (shown["resolution"], shown["unit"], shown["by"]) == ("1d", "people", None)
    (series,) = shown["series"]
    assert [point["value"] for point in series["points"]] == [1, 0, 0, 0, 0, 1, 2]
    assert series["total"] == 3
    (visitors,) = read(partner, metric="active_visitors", period="7d")["series"]
    assert visitors["total"] == 4  # who comes again on another day is another
    (today,) = read(partner, metric="active_end_users")["series"]
    assert today["total"] == 2


# --- What cannot be told --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "param", "fix"),
    [
        ({"metric": "patients"}, "metric", "requests"),
        ({"by": "patient"}, "by", "route"),
        ({"by": "code"}, "by", "route or status or key or mode or version"),
        ({"period": "2h"}, "period", "24h"),
        ({"resolution": "2m"}, "resolution", "15m"),
        ({"period": "24h", "resolution": "1m"}, "resolution", "ask for 5m"),
        ({"period": "90d", "resolution": "1h"}, "resolution", "ask for 1d"),
        ({"period": "1h", "resolution": "1d"}, "resolution", "ask for 1m"),
        ({"startAt": "2026-10-12T10:00:00Z", "resolution": "1h"}, "resolution", "ask for 1d"),
        ({"startAt": "2026-11-20T10:00:00Z", "resolution": "1m"}, "resolution", "ask for 5m"),
        ({"period": "1h", "startAt": "2026-11-20"}, "period", "startAt"),
        ({"endAt": "2026-11-20"}, "endAt", "startAt"),
        ({"startAt": "2026-11-20", "endAt": "2026-11-20"}, "endAt", "after startAt"),
        ({"startAt": "2026-08-24T10:07:29Z"}, "startAt", "90 days"),
        ({"startAt": "2026-11-22T10:07:30Z"}, "startAt", "past"),
        ({"startAt": "yesterday"}, "startAt", "2026-11-22T09:30:00Z"),
        ({"route": "/v1/patients"}, "route", "GET /v1/patients"),
        ({"status": "4xx"}, "status", "whole number"),
        ({"status": 99}, "status", "100"),
        ({"keyId": "p_0000000000000000000000"}, "keyId", "id of a key"),
        ({"metric": "active_end_users", "period": "6h"}, "period", "24h"),
        ({"metric": "active_end_users", "resolution": "1h"}, "resolution", "ask for 1d"),
        ({"metric": "active_end_users", "by": "mode"}, "by", "is not possible"),
        ({"metric": "front_end_views", "by": "route"}, "by", "name or mode"),
        ({"metric": "front_end_views", "route": "GET /v1/tasks"}, "route", "not possible"),
        ({"metric": "booking_funnel", "status": 200}, "status", "not possible"),
        ({"organisation": "org_0000000000000000000000"}, "organisation", ""),
    ],
)
def test_what_cannot_be_asked_is_told_with_a_way_out(
    partner: Partner, asked: Json, param: str, fix: str
) -> None:
    error = caller(partner).call("GET", USAGE, 400, params=asked)["error"]
    assert list(problems(error)) == [param]
    assert fix in error["message"]


def test_all_that_is_wrong_is_told_at_once(partner: Partner) -> None:
    asked = {"endAt": "2026-11-20", "by": "name", "route": "x", "keyId": "y"}
    error = caller(partner).call("GET", USAGE, 400, params=asked)["error"]
    assert list(problems(error)) == ["endAt", "by", "route", "keyId"]


def test_what_cannot_be_read_now_is_worth_asking_for_again(partner: Partner) -> None:
    api = caller(partner)
    api.metrics.failing = UnavailableError("told to fail")
    answer = api.send("GET", USAGE)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


def test_of_a_metric_that_nobody_was_counted_in_there_is_nothing() -> None:
    """Cloud Monitoring knows a metric from its first point on, and says NOT_FOUND before."""
    cloud = Monitoring()

    async def ask() -> tuple[list[Measured], list[str]]:
        metrics = CloudMetrics("p", "usage", call_timeout=5, address=cloud.address)
        reading = Reading(REQUESTS, "org_a", ("test",), NOW - HOUR, NOW, HOUR)
        found = await metrics.read(reading), await metrics.organisations(NOW - HOUR, NOW)
        await metrics.close()
        return found

    assert asyncio.run(ask()) == ([], [])
    cloud.stop()


def test_a_page_of_more_than_four_megabytes_is_read(partner: Partner) -> None:
    """It is longer than what gRPC takes by itself, as many distributions are."""
    long = "x" * 5_000_000
    count(partner, [Counted(NOW - HOUR, route=f"GET /{long}")])
    assert totals(read(partner, by="route", period="6h")) == {f"GET /{long}": 1}


def test_end_users_do_not_see_usage(partner: Partner) -> None:
    error = partner.end_user("ada").get(USAGE, 403)["error"]
    assert error["code"] == "end_users_not_served"
