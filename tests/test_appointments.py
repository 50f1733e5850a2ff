"""What can be done with an appointment once it is booked: changed, moved, cancelled."""

from datetime import datetime, timedelta

import pytest

from tests.support.inprocess import InProcess
from tests.support.serving import ADDRESS, OUTSIDE, Json, Partner, problems

ELSEWHERE = "LS1 1AA"


@pytest.fixture
def windows(partner: Partner) -> list[Json]:
    """Open windows at different times, each with several places."""
    return [each for each in partner.windows(partner.task()) if each["remaining"] > 2]


def path(appointment: Json) -> str:
    return f"/v1/appointments/{appointment['id']}"


def remaining(partner: Partner, window: Json) -> int:
    return sum(
        each["remaining"] for each in partner.windows(partner.task()) if each["id"] == window["id"]
    )


# --- Changing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_appointment_is_changed_in_what_is_named(partner: Partner, method: str) -> None:
    booked = partner.book()
    wanted = {
        "phone": "+447400654321",
        "location": {"address": {**ADDRESS, "line1": "11 Example Street"}},
        "note": "Ring twice.",
        "externalRef": "A-17",
        "metadata": {"ward": "7"},
    }
    changed = partner.call(method, path(booked), json=wanted)
    for name in ("phone", "note", "externalRef", "metadata"):
        assert changed[name] == wanted[name]
    assert changed["location"]["address"]["line1"] == "11 Example Street"
    assert changed["windowId"] == booked["windowId"]
    assert changed["updatedAt"] > booked["updatedAt"]
    assert partner.get(path(booked)) == changed
    unset = partner.call(method, path(booked), json={"note": "", "metadata": {"ward": ""}})
    assert (unset["note"], unset["metadata"], unset["externalRef"]) == (None, {}, "A-17")


@pytest.mark.parametrize("name", ["patientId", "taskId", "windowId", "status", "data"])
def test_what_makes_an_appointment_another_one_cannot_be_changed(
    partner: Partner, name: str
) -> None:
    error = partner.post(path(partner.book()), {name: "x"}, 400)["error"]
    assert problems(error) == {name: "parameter_unknown"}


@pytest.mark.parametrize(
    ("postcode", "code"), [(OUTSIDE, "not_in_coverage"), (ELSEWHERE, "window_unsuitable")]
)
def test_an_appointment_stays_in_the_area_of_its_window(
    partner: Partner, postcode: str, code: str
) -> None:
    booked = partner.book()
    moved = {"location": {"address": {**ADDRESS, "postcode": postcode}}}
    error = partner.post(path(booked), moved, 402)["error"]
    assert (error["code"], error["param"]) == (code, "location[address][postcode]")
    assert partner.get(path(booked)) == booked


def test_of_a_cancelled_appointment_only_the_partners_own_facts_change(partner: Partner) -> None:
    booked = partner.book()
    partner.cancel(booked)
    changed = partner.post(path(booked), {"externalRef": "x", "metadata": {"a": "b"}})
    assert (changed["externalRef"], changed["metadata"]) == ("x", {"a": "b"})
    error = partner.post(path(booked), {"externalRef": "y", "note": "x"}, 402)["error"]
    assert (error["code"], error["param"]) == ("appointment_not_changeable", "note")
    assert partner.get(path(booked))["externalRef"] == "x"


# --- Moving --------------------------------------------------------------------------------------


def test_a_rescheduled_appointment_gives_one_place_back_and_takes_another(
    partner: Partner, windows: list[Json]
) -> None:
    old, new = windows[:2]
    booked = partner.book(old)
    moved = partner.post(f"{path(booked)}/reschedule", {"windowId": new["id"]})
    assert (moved["id"], moved["status"]) == (booked["id"], "scheduled")
    assert moved["windowId"] == new["id"]
    assert moved["window"] == {name: new[name] for name in ("id", "startAt", "endAt", "timezone")}
    assert partner.get(path(booked)) == moved
    assert remaining(partner, old) == old["remaining"]
    assert remaining(partner, new) == new["remaining"] - 1
    # The patient's time is the new one too.
    again = partner.request({"id": booked["patientId"]}, partner.task(), new)
    error = partner.post("/v1/appointments", again, 402)["error"]
    assert error["code"] == "appointment_overlaps"
    partner.post("/v1/appointments", {**again, "windowId": old["id"]})


def test_rescheduling_to_the_same_window_keeps_its_place(
    partner: Partner, windows: list[Json]
) -> None:
    booked = partner.book(windows[0])
    moved = partner.post(f"{path(booked)}/reschedule", {"windowId": booked["windowId"]})
    assert moved["window"] == booked["window"]
    assert remaining(partner, windows[0]) == windows[0]["remaining"] - 1


def test_rescheduling_never_makes_one_patients_appointments_overlap(
    partner: Partner, windows: list[Json]
) -> None:
    first = partner.book(windows[0])
    task = partner.task()
    patient = {"id": first["patientId"]}
    second = partner.post("/v1/appointments", partner.request(patient, task, windows[1]))
    target = {"windowId": first["windowId"]}
    error = partner.post(f"{path(second)}/reschedule", target, 402)["error"]
    assert error["code"] == "appointment_overlaps"
    assert first["id"] in error["message"]
    assert partner.get(path(second)) == second
    assert remaining(partner, windows[0]) == windows[0]["remaining"] - 1


def test_a_window_that_is_full_unsuitable_or_unknown_is_no_place_to_move_to(
    partner: Partner,
) -> None:
    live = partner.live()
    start, full = live.live_window(capacity=1), live.live_window(hour=12, capacity=0)
    elsewhere = live.live_window(hour=15, area="leeds")
    booked = live.book({"id": start.id})
    move = f"{path(booked)}/reschedule"
    for window, status, code in (
        (full.id, 402, "window_unavailable"),
        (elsewhere.id, 402, "window_unsuitable"),
        ("win_" + "0" * 22, 404, "resource_missing"),
        ("nonsense", 404, "resource_missing"),
    ):
        error = live.post(move, {"windowId": window}, status)["error"]
        assert (error["code"], error["param"]) == (code, "windowId")
    assert live.get(path(booked)) == booked
    stored = live.stored_window(start.id)
    assert stored is not None
    assert set(stored.claims) == {booked["id"]}


def test_what_can_still_be_done_is_told_and_true(partner: Partner, windows: list[Json]) -> None:
    booked = partner.book(windows[0])
    assert (booked["canReschedule"], booked["canCancel"]) == (True, True)
    begun = InProcess(partner.backing, partner.key)
    begun.at = datetime.fromisoformat(booked["window"]["startAt"])
    seen = begun.call("GET", path(booked))
    assert (seen["canReschedule"], seen["canCancel"]) == (False, True)
    target = {"windowId": windows[-1]["id"]}
    refused = begun.call("POST", f"{path(booked)}/reschedule", 402, json=target)["error"]
    assert refused["code"] == "appointment_not_reschedulable"
    partner.cancel(booked)
    (seen,) = partner.get("/v1/appointments")["data"]
    assert (seen["canReschedule"], seen["canCancel"]) == (False, False)


# --- Cancelling ----------------------------------------------------------------------------------


def test_the_reasons_for_cancelling_are_listed_with_a_hint_of_the_charge(partner: Partner) -> None:
    listed = partner.get("/v1/cancellation_reasons", limit=100)
    assert (listed["object"], listed["has_more"]) == ("list", False)
    charges = {each["code"]: each["charge"] for each in listed["data"]}
    assert charges["practitioner_cancelled"] == "never"
    assert charges["patient_not_present"] == "always"
    assert charges["patient_unwell"] == "within_notice"
    assert {"practitioner_delayed", "cannot_find_location"} <= set(charges)
    for each in listed["data"]:
        assert each["object"] == "cancellation_reason"
        assert each["description"]
    paged = [each["code"] for each in partner.everything("/v1/cancellation_reasons", limit=2)]
    assert paged == list(charges)
    ids = [each["id"] for each in listed["data"]]
    back = partner.get("/v1/cancellation_reasons", limit=2, ending_before=ids[4])
    assert ([each["id"] for each in back["data"]], back["has_more"]) == (ids[2:4], True)


def test_every_listed_reason_can_be_given(partner: Partner) -> None:
    for reason in partner.get("/v1/cancellation_reasons", limit=100)["data"]:
        booked = partner.book()
        sent = {"cancellingEntity": "organisation", "reasonCode": reason["code"], "note": "x"}
        cancelled = partner.post(f"{path(booked)}/cancel", sent)
        assert (cancelled["reasonCode"], cancelled["note"]) == (reason["code"], "x")


@pytest.mark.parametrize(
    ("reason", "hours", "notice", "chargeable"),
    [
        ("patient_unwell", 24.01, 24, False),
        ("patient_unwell", 24, 24, False),
        ("patient_unwell", 23.99, 24, True),
        ("patient_unwell", 40, 48, True),  # the organisation's agreement decides
        ("patient_unwell", 1, 0, False),
        ("practitioner_cancelled", 1, 24, False),
        ("patient_not_present", 100, 24, True),
    ],
)
def test_a_cancellation_is_chargeable_by_its_reason_and_the_agreement(
    partner: Partner, reason: str, hours: float, notice: int, chargeable: bool
) -> None:
    partner.change_organisation(cancellationNoticeHours=notice)
    booked = partner.book()
    api = InProcess(partner.backing, partner.key)
    start = datetime.fromisoformat(booked["window"]["startAt"])
    api.at = start - timedelta(hours=hours)
    sent = {"cancellingEntity": "patient", "reasonCode": reason}
    cancelled = api.call("POST", f"{path(booked)}/cancel", json=sent)
    assert cancelled["chargeable"] is chargeable
    assert partner.get(f"{path(booked)}/cancellation") == cancelled
