"""Races over HTTPS: many callers at once for the same place, or with the same key."""

import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from tests.support.serving import REASON, Json, Partner

CALLERS = 50
PLACES = 5


def at_once(partner: Partner, calls: list[dict[str, Any]]) -> list[httpx.Response]:
    """Make all the calls at the same time and return their answers in order."""
    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(lambda call: partner.send("POST", **call), calls))


def outcomes(answers: list[httpx.Response]) -> Counter[tuple[int, str]]:
    return Counter(
        (answer.status_code, answer.json().get("error", {}).get("code", "")) for answer in answers
    )


@pytest.fixture(params=["test", "live"])
def booker(request: pytest.FixtureRequest, partner: Partner) -> Partner:
    return partner if request.param == "test" else partner.live()


def window_with(partner: Partner, places: int) -> Json:
    """Return an open window with a number of places: a simulated one, or one made for the test."""
    if partner.mode == "live":
        return {"id": partner.live_window(capacity=places).id}
    return next(each for each in partner.windows(partner.task()) if each["remaining"] == places)


def test_of_many_bookings_for_few_places_exactly_as_many_succeed(booker: Partner) -> None:
    task, window = booker.task(), window_with(booker, PLACES)
    patients = [booker.create_patient() for _ in range(CALLERS)]
    answers = at_once(
        booker,
        [
            {"path": "/v1/appointments", "json": booker.request(patient, task, window)}
            for patient in patients
        ],
    )
    assert outcomes(answers) == {(200, ""): PLACES, (402, "window_unavailable"): CALLERS - PLACES}
    booked = {answer.json()["id"] for answer in answers if answer.status_code == 200}
    stored = booker.stored_window(window["id"])
    assert stored is not None
    assert set(stored.claims) == booked
    listed = booker.get("/v1/appointments", limit=100)["data"]
    assert {each["id"] for each in listed} == booked


def test_of_many_retries_with_one_key_one_takes_effect(booker: Partner) -> None:
    task, window = booker.task(), window_with(booker, PLACES)
    request = booker.request(booker.create_patient(), task, window)
    call = {
        "path": "/v1/appointments",
        "json": request,
        "headers": {"Idempotency-Key": str(uuid.uuid4())},
    }
    answers = at_once(booker, [call] * CALLERS)
    counted = outcomes(answers)
    assert set(counted) <= {(200, ""), (409, "lock_timeout")}
    succeeded = [answer for answer in answers if answer.status_code == 200]
    assert len({answer.content for answer in succeeded}) == 1
    firsts = [each for each in succeeded if "Idempotent-Replayed" not in each.headers]
    assert len(firsts) == 1
    stored = booker.stored_window(window["id"])
    assert stored is not None
    assert set(stored.claims) == {succeeded[0].json()["id"]}
    assert len(booker.get("/v1/appointments")["data"]) == 1


def test_of_many_bookings_of_one_patient_at_one_time_one_succeeds(partner: Partner) -> None:
    task, window = partner.task(), window_with(partner, PLACES)
    request = partner.request(partner.create_patient(), task, window)
    answers = at_once(partner, [{"path": "/v1/appointments", "json": request}] * 10)
    assert outcomes(answers) == {(200, ""): 1, (402, "appointment_overlaps"): 9}


def test_of_many_cancellations_one_takes_effect_and_one_place_comes_back(partner: Partner) -> None:
    task, window = partner.task(), window_with(partner, PLACES)
    first, second = (
        partner.post("/v1/appointments", partner.request(partner.create_patient(), task, window))
        for _ in range(2)
    )
    call = {"path": f"/v1/appointments/{first['id']}/cancel", "json": REASON}
    counted = outcomes(at_once(partner, [call] * 10))
    assert counted == {(200, ""): 1, (402, "appointment_already_cancelled"): 9}
    stored = partner.stored_window(window["id"])
    assert stored is not None
    assert set(stored.claims) == {second["id"]}


def test_a_booking_and_a_deletion_of_the_patient_never_both_succeed(partner: Partner) -> None:
    task = partner.task()
    for window in partner.windows(task)[:6]:
        patient = partner.create_patient()
        request = partner.request(patient, task, window)
        with ThreadPoolExecutor(2) as pool:
            booking = pool.submit(partner.send, "POST", "/v1/appointments", json=request)
            deletion = pool.submit(partner.send, "DELETE", f"/v1/patients/{patient['id']}")
        statuses = (booking.result().status_code, deletion.result().status_code)
        assert statuses in {(200, 402), (404, 200)}


def claimed(partner: Partner, windows: list[Json]) -> Counter[str]:
    """Count the places that each claimant has in some windows."""
    stored = [partner.stored_window(window["id"]) for window in windows]
    return Counter(claimant for window in stored if window for claimant in window.claims)


def test_moves_and_cancellations_of_one_appointment_leave_it_one_place_or_none(
    booker: Partner,
) -> None:
    if booker.mode == "live":
        # Of one place each, which the appointment itself may already have.
        windows = [{"id": booker.live_window(hour=hour, capacity=1).id} for hour in (8, 11, 14)]
    else:
        windows = booker.windows(booker.task())[:3]
    reason = {"cancellingEntity": "patient", "reasonCode": "other"}
    for cancellations in (0, 2):
        booked = booker.book(windows[0])
        path = f"/v1/appointments/{booked['id']}"
        moves = [
            {"path": f"{path}/reschedule", "json": {"windowId": window["id"]}}
            for window in windows * 2
        ]
        cancels = [{"path": f"{path}/cancel", "json": reason}] * cancellations
        answers = at_once(booker, [*moves, *cancels])
        counted = outcomes(answers[: len(moves)])
        assert set(counted) <= {(200, ""), (402, "appointment_not_reschedulable")}
        held = claimed(booker, windows)[booked["id"]]
        now = booker.get(path)
        if cancellations:
            ended = {(200, ""): 1, (402, "appointment_already_cancelled"): 1}
            assert outcomes(answers[len(moves) :]) == ended
            assert (held, now["status"]) == (0, "cancelled")
            booker.call("DELETE", f"/v1/patients/{booked['patientId']}")  # no time is kept
        else:
            assert counted == {(200, ""): len(moves)}
            assert held == 1
            at = [each for each in windows if each["id"] == now["windowId"]]
            assert claimed(booker, at)[booked["id"]] == 1
            booker.cancel(booked)


def test_of_many_who_move_to_the_last_places_exactly_as_many_succeed(partner: Partner) -> None:
    windows = partner.windows(partner.task())
    target = next(each for each in windows if each["remaining"] == 1)
    old = next(each for each in windows if each["remaining"] == PLACES)
    booked = [partner.book(old) for _ in range(PLACES)]
    answers = at_once(
        partner,
        [
            {
                "path": f"/v1/appointments/{each['id']}/reschedule",
                "json": {"windowId": target["id"]},
            }
            for each in booked
        ],
    )
    assert outcomes(answers) == {(200, ""): 1, (402, "window_unavailable"): PLACES - 1}
    assert set(claimed(partner, [old, target]).values()) == {1}
    assert len(claimed(partner, [target])) == 1


def test_of_two_appointments_of_a_patient_that_move_to_one_time_one_succeeds(
    partner: Partner,
) -> None:
    task = partner.task()
    first, second, target = [w for w in partner.windows(task) if w["remaining"] > 1][:3]
    patient = partner.create_patient()
    booked = [
        partner.post("/v1/appointments", partner.request(patient, task, window))
        for window in (first, second)
    ]
    calls = [
        {"path": f"/v1/appointments/{each['id']}/reschedule", "json": {"windowId": target["id"]}}
        for each in booked
    ]
    assert outcomes(at_once(partner, calls)) == {(200, ""): 1, (402, "appointment_overlaps"): 1}
    assert set(claimed(partner, [first, second, target]).values()) == {1}
