"""Windows that are true: right days across the clock changes, right places, right refusals."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import ValidationError

from shared import ids
from tests.support.inprocess import InProcess
from tests.support.serving import OUTSIDE, POSTCODE, REASON, Json, Partner, tomorrow

LONDON = ZoneInfo("Europe/London")
SOUTH_LONDON = "SW11 1AA"


@pytest.fixture
def api(partner: Partner) -> InProcess:
    return InProcess(partner.backing, partner.key)


def search(api: InProcess, task: Json, **params: Any) -> list[Json]:
    """Return all windows, page by page."""
    found: list[Json] = []
    query = {"taskId": task["id"], "postcode": POSTCODE, "limit": 100, **params}
    while True:
        page = api.call("GET", "/v1/availability", params=query)
        found += page["data"]
        if not page["has_more"]:
            return found
        query["starting_after"] = page["data"][-1]["id"]


def moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


@pytest.mark.parametrize(
    "now",
    [
        datetime(2027, 3, 20, 12, tzinfo=UTC),  # clocks go forward on the 28th
        datetime(2027, 10, 23, 23, 30, tzinfo=UTC),  # London is a day ahead; back on the 31st
        datetime(2027, 6, 1, 7, 59, tzinfo=UTC),
    ],
)
def test_windows_are_at_the_same_hours_in_london_over_three_weeks(
    api: InProcess, partner: Partner, now: datetime
) -> None:
    api.at = now
    windows = search(api, partner.task())
    today = now.astimezone(LONDON).date()
    days = set()
    for window in windows:
        start, end = moment(window["startAt"]), moment(window["endAt"])
        local = start.astimezone(LONDON)
        assert (local.minute, local.hour % 2) == (0, 0)
        assert 8 <= local.hour <= 18
        assert end - start == timedelta(hours=2)
        assert start > now
        assert window["timezone"] == "Europe/London"
        assert 1 <= window["remaining"] <= 50
        days.add((local.date() - today).days)
    assert min(days) >= 0
    assert max(days) in (19, 20)  # the last day may be a Sunday
    starts = [window["startAt"] for window in windows]
    assert starts == sorted(starts)
    assert len({window["id"] for window in windows}) == len(windows)


def test_windows_are_between_the_days_that_are_asked_for(api: InProcess, partner: Partner) -> None:
    api.at = datetime(2027, 3, 26, 12, tzinfo=UTC)
    task = partner.task()
    found = search(api, task, fromDate="2027-03-27", toDate="2027-03-29")
    days = {moment(window["startAt"]).astimezone(LONDON).date().isoformat() for window in found}
    assert days == {"2027-03-27", "2027-03-29"}  # the 28th is a Sunday
    assert [each for each in search(api, task) if each in found] == found
    for far in ("2027-05-01", "9999-12-31"):
        assert search(api, task, fromDate=far) == []


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"fromDate": "2027-04-02", "toDate": "2027-04-01"}, "toDate"),
        ({"toDate": "2027-03-25"}, "toDate"),
        ({"fromDate": "tomorrow"}, "fromDate"),
        ({"postcode": "SW1A"}, "postcode"),
        ({"postcode": ""}, "postcode"),
        ({"taskId": ""}, "taskId"),
    ],
)
def test_a_search_that_cannot_be_is_refused(
    api: InProcess, partner: Partner, params: Json, wrong: str
) -> None:
    api.at = datetime(2027, 3, 26, 12, tzinfo=UTC)
    query = {"taskId": partner.task()["id"], "postcode": POSTCODE, **params}
    error = api.call("GET", "/v1/availability", 400, params=query)["error"]
    assert error["param"] == wrong


@pytest.mark.parametrize("limit", [1, 7, 100])
def test_pages_of_windows_meet_each_once_in_both_directions(
    api: InProcess, partner: Partner, limit: int
) -> None:
    api.at = datetime(2027, 3, 20, 12, tzinfo=UTC)
    task = partner.task()
    every = search(api, task)
    assert search(api, task, limit=limit) == every
    query = {
        "taskId": task["id"],
        "postcode": POSTCODE,
        "limit": limit,
        "ending_before": every[-1]["id"],
    }
    backwards: list[Json] = []
    while True:
        page = api.call("GET", "/v1/availability", params=query)
        backwards = page["data"] + backwards
        if not page["has_more"]:
            break
        query["ending_before"] = page["data"][0]["id"]
    assert backwards == every[:-1]


def test_a_full_window_is_not_offered_and_pages_go_on_past_it(
    api: InProcess, partner: Partner
) -> None:
    task = partner.task()
    before = partner.windows(task)
    full = next(each for each in before if each["remaining"] == 1)
    partner.book(full)
    after = partner.windows(task)
    assert after == [each for each in before if each != full]
    assert search(api, task, limit=1, fromDate=tomorrow()) == after


def test_each_organisation_has_a_supply_of_its_own_in_test_mode(
    partner: Partner, other: Partner
) -> None:
    mine = {window["id"] for window in partner.windows(partner.task())}
    theirs = {window["id"] for window in other.windows(other.task())}
    assert mine.isdisjoint(theirs)
    assert {window["id"] for window in partner.windows(partner.task())} == mine


def test_looking_at_windows_writes_nothing(partner: Partner) -> None:
    before = partner.documents()
    partner.windows(partner.task())
    assert partner.documents() == before


def test_a_window_serves_its_own_area_alone(partner: Partner) -> None:
    task = partner.task()
    window = partner.windows(task)[0]
    request = partner.request(partner.create_patient(), task, window)
    for untouched in (True, False):
        elsewhere = {"address": {**request["location"]["address"], "postcode": SOUTH_LONDON}}
        error = partner.post("/v1/appointments", {**request, "location": elsewhere}, 402)["error"]
        assert error["code"] == "window_unsuitable"
        if untouched:  # and now that somebody has claimed a place, it is stored
            partner.post("/v1/appointments", request)
    outside = {"address": {**request["location"]["address"], "postcode": OUTSIDE}}
    error = partner.post("/v1/appointments", {**request, "location": outside}, 402)["error"]
    assert (error["code"], error["param"]) == ("not_in_coverage", "location[address][postcode]")


def test_a_window_that_has_begun_cannot_be_booked(api: InProcess, partner: Partner) -> None:
    task = partner.task()
    window = partner.windows(task)[0]
    request = partner.request(partner.create_patient(), task, window)
    api.at = moment(window["startAt"])
    error = api.call("POST", "/v1/appointments", 402, json=request)["error"]
    assert error["code"] == "window_unavailable"
    assert window["id"] not in {each["id"] for each in search(api, task)}
    api.at -= timedelta(seconds=1)
    api.call("POST", "/v1/appointments", json=request)


def test_a_forged_window_does_not_exist(partner: Partner) -> None:
    task = partner.task()
    window = partner.windows(task)[0]["id"]
    start, tail = ids.split(window)
    forgeries = [
        window[:-1] + ("0" if window[-1] != "0" else "1"),
        ids.place("win", start + timedelta(hours=1), tail),
        ids.place("win", start + timedelta(days=400), tail),
    ]
    patient = partner.create_patient()
    for forged in forgeries:
        request = partner.request(patient, task, {"id": forged})
        error = partner.post("/v1/appointments", request, 404)["error"]
        assert (error["code"], error["param"]) == ("resource_missing", "windowId")


# --- Live mode -----------------------------------------------------------------------------------


def test_live_windows_are_shared_and_bound_by_area_skill_and_time(
    partner: Partner, other: Partner
) -> None:
    mine, theirs = partner.live(), other.live()
    anything = mine.live_window(days_ahead=3, hour=9, capacity=2)
    blood_only = mine.live_window(days_ahead=3, hour=13, procedures=["28520004"])
    elsewhere = mine.live_window(days_ahead=3, hour=15, area="leeds")
    past = mine.live_window(days_ahead=-1)
    created = {anything.id, blood_only.id, elsewhere.id, past.id}

    def offered(caller: Partner, name: str) -> set[str]:
        return {each["id"] for each in caller.windows(caller.task(name))} & created

    assert offered(mine, "Venepuncture") == {anything.id, blood_only.id}
    assert offered(theirs, "Wound dressing") == {anything.id}

    patient, dressing = mine.create_patient(), mine.task("Wound dressing")
    refused = {elsewhere.id: "window_unsuitable", blood_only.id: "window_unsuitable"}
    for window, code in {**refused, past.id: "window_unavailable"}.items():
        request = mine.request(patient, dressing, {"id": window})
        assert mine.post("/v1/appointments", request, 402)["error"]["code"] == code

    mine.post("/v1/appointments", mine.request(patient, dressing, {"id": anything.id}))
    (seen,) = (each for each in theirs.windows(theirs.task()) if each["id"] == anything.id)
    assert (seen["remaining"], seen["livemode"]) == (1, True)


def test_a_search_past_many_full_windows_makes_few_queries(partner: Partner) -> None:
    live = partner.live()
    for day in range(1, 9):
        for hour in range(8, 18):
            live.live_window(day, hour, capacity=1, area="cardiff", claims={"x": None})
    free = live.live_window(days_ahead=10, area="cardiff")
    api = InProcess(live.backing, live.key)
    params = {"taskId": live.task()["id"], "postcode": "CF10 1AA", "limit": 1}
    page = api.call("GET", "/v1/availability", params=params)
    assert [each["id"] for each in page["data"]] == [free.id]
    assert len(api.watched.queries) < 10


@pytest.mark.parametrize("capacity", [-1, 51])
def test_a_window_has_at_most_fifty_places(partner: Partner, capacity: int) -> None:
    with pytest.raises(ValidationError):
        partner.live().live_window(capacity=capacity)


def test_an_expired_claim_frees_its_place_without_a_sweep(partner: Partner) -> None:
    live = partner.live()
    now = datetime.now(UTC)
    window = live.live_window(
        capacity=2,
        claims={"hold_old": now - timedelta(minutes=1), "hold_new": now + timedelta(minutes=10)},
    )
    task = live.task()
    (seen,) = (each for each in live.windows(task) if each["id"] == window.id)
    assert seen["remaining"] == 1
    booked = live.post(
        "/v1/appointments", live.request(live.create_patient(), task, {"id": window.id})
    )
    stored = live.stored_window(window.id)
    assert stored is not None
    assert set(stored.claims) == {"hold_new", booked["id"]}
    another = live.request(live.create_patient(), task, {"id": window.id})
    assert live.post("/v1/appointments", another, 402)["error"]["code"] == "window_unavailable"


def test_an_inactive_task_cannot_be_requested(partner: Partner) -> None:
    live = partner.live()
    task = live.inactive_task()
    window = live.live_window()
    request = live.request(live.create_patient(), task, {"id": window.id})
    assert live.post("/v1/appointments", request, 402)["error"]["code"] == "task_inactive"
    params = {"taskId": task["id"], "postcode": POSTCODE}
    assert live.get("/v1/availability", 402, **params)["error"]["code"] == "task_inactive"
    assert live.get("/v1/coverage", **params)["covered"] is False


@pytest.mark.parametrize(
    ("before", "chargeable"), [(timedelta(hours=24), False), (timedelta(hours=23), True)]
)
def test_a_cancellation_in_the_last_24_hours_is_chargeable(
    api: InProcess, partner: Partner, before: timedelta, chargeable: bool
) -> None:
    booked = partner.book(partner.windows(partner.task())[-1])
    api.at = moment(booked["window"]["startAt"]) - before
    made = api.call("POST", f"/v1/appointments/{booked['id']}/cancel", json=REASON)
    assert made["chargeable"] is chargeable
