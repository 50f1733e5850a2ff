"""The main job, end to end: from a test key to a booked appointment, and its cancellation."""

import pytest

from tests.support.serving import OUTSIDE, PATIENT, POSTCODE, Json, Partner


def test_a_partner_books_reads_and_cancels_an_appointment(partner: Partner) -> None:
    patient = partner.create_patient(externalRef="our-17")
    task = partner.task()
    window = partner.windows(task)[0]

    booked = partner.post("/v1/appointments", partner.request(patient, task, window))
    assert booked["object"] == "appointment"
    assert booked["status"] == "scheduled"
    assert booked["livemode"] is False
    assert booked["window"]["startAt"] == window["startAt"]
    assert partner.get(f"/v1/appointments/{booked['id']}") == booked
    assert partner.get("/v1/appointments")["data"] == [booked]

    reason = {"cancellingEntity": "patient", "reasonCode": "patient_unwell", "note": "Flu"}
    cancelled = partner.post(f"/v1/appointments/{booked['id']}/cancel", reason)
    assert cancelled["appointmentId"] == booked["id"]
    assert partner.get(f"/v1/appointments/{booked['id']}/cancellation") == cancelled
    assert partner.get(f"/v1/appointments/{booked['id']}")["status"] == "cancelled"


def test_the_place_is_taken_by_booking_and_given_back_by_cancelling(partner: Partner) -> None:
    task = partner.task()
    window = partner.windows(task)[0]
    booked = partner.post(
        "/v1/appointments", partner.request(partner.create_patient(), task, window)
    )

    def remaining() -> int:
        return sum(
            each["remaining"] for each in partner.windows(task) if each["id"] == window["id"]
        )

    assert remaining() == window["remaining"] - 1
    partner.cancel(booked)
    assert remaining() == window["remaining"]


def test_a_second_cancellation_is_refused_and_changes_nothing(partner: Partner) -> None:
    booked = partner.book()
    first = partner.cancel(booked)
    error = partner.cancel(booked, 402)["error"]
    assert error["code"] == "appointment_already_cancelled"
    assert partner.get(f"/v1/appointments/{booked['id']}/cancellation") == first


def test_the_cancellation_of_an_appointment_that_stands_does_not_exist(partner: Partner) -> None:
    booked = partner.book()
    partner.get(f"/v1/appointments/{booked['id']}/cancellation", 404)


def test_outside_coverage_is_a_clear_answer(partner: Partner) -> None:
    task = partner.task()
    assert partner.get("/v1/coverage", postcode=OUTSIDE)["covered"] is False
    assert partner.get("/v1/coverage", postcode=POSTCODE, taskId=task["id"])["covered"] is True
    error = partner.get("/v1/availability", 402, taskId=task["id"], postcode=OUTSIDE)["error"]
    assert error["code"] == "not_in_coverage"
    assert error["param"] == "postcode"


def test_an_organisation_lists_and_gets_itself(partner: Partner) -> None:
    listed = partner.get("/v1/organisations")
    assert listed["object"] == "list"
    assert [each["id"] for each in listed["data"]] == [partner.organisation.id]
    assert partner.get(f"/v1/organisations/{partner.organisation.id}") == listed["data"][0]


def test_a_new_organisation_has_the_standard_tasks_in_test_mode(partner: Partner) -> None:
    tasks = {each["name"]: each for each in partner.get("/v1/tasks")["data"]}
    assert set(tasks) == {"Venepuncture", "Wound dressing", "Suture removal", "Blood pressure"}
    coding = tasks["Venepuncture"]["steps"][0]["coding"]
    assert coding["code"] == "28520004"
    assert partner.get(f"/v1/tasks/{tasks['Venepuncture']['id']}") == tasks["Venepuncture"]


@pytest.mark.parametrize("method", ["POST", "PATCH"])
def test_an_update_changes_what_it_names_and_leaves_the_rest(partner: Partner, method: str) -> None:
    patient = partner.create_patient(note="Knock loudly", metadata={"ward": "7", "bed": "2"})
    changed = partner.call(
        method,
        f"/v1/patients/{patient['id']}",
        json={"lastName": "King", "note": "", "metadata": {"bed": "", "floor": "3"}},
    )
    assert changed["lastName"] == "King"
    assert changed["firstName"] == PATIENT["firstName"]
    assert changed["note"] is None
    assert changed["metadata"] == {"ward": "7", "floor": "3"}
    assert changed["createdAt"] == patient["createdAt"]
    assert partner.get(f"/v1/patients/{patient['id']}") == changed


def test_a_patient_is_deleted_once(partner: Partner) -> None:
    patient = partner.create_patient()
    path = f"/v1/patients/{patient['id']}"
    assert partner.call("DELETE", path) == {
        "id": patient["id"],
        "object": "patient",
        "deleted": True,
    }
    assert partner.call("DELETE", path, 404)["error"]["code"] == "resource_missing"
    partner.get(path, 404)


def test_a_patient_who_is_expected_somewhere_cannot_be_deleted(partner: Partner) -> None:
    booked = partner.book()
    path = f"/v1/patients/{booked['patientId']}"
    error = partner.call("DELETE", path, 402)["error"]
    assert error["code"] == "patient_has_appointments"
    partner.cancel(booked)
    partner.call("DELETE", path)


def test_of_several_appointments_to_come_the_soonest_keeps_a_patient(partner: Partner) -> None:
    patient, task = partner.create_patient(), partner.task()
    windows = partner.windows(task)
    booked = [
        partner.post("/v1/appointments", partner.request(patient, task, window))
        for window in (windows[-1], windows[0], windows[len(windows) // 2])
    ]
    error = partner.call("DELETE", f"/v1/patients/{patient['id']}", 402)["error"]
    assert booked[1]["id"] in error["message"]


def test_two_appointments_of_one_patient_never_overlap(partner: Partner) -> None:
    live = partner.live()
    patient, task = live.create_patient(), live.task()
    hours = {hour: live.live_window(days_ahead=2, hour=hour).id for hour in (9, 10, 11, 12, 13)}

    def book(hour: int, status: int = 200) -> Json:
        request = live.request(patient, task, {"id": hours[hour]})
        return live.post("/v1/appointments", request, status)

    first = book(11)  # each takes two hours
    for hour in (10, 11, 12):
        error = book(hour, 402)["error"]
        assert error["code"] == "appointment_overlaps"
        assert first["id"] in error["message"]
    book(9)
    book(13)
    live.cancel(first)
    book(11)
