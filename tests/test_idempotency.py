"""Retries with an Idempotency-Key: one object, the same answer, and nothing shared by accident."""

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.inprocess import InProcess
from tests.support.serving import PATIENT, REASON, Partner

NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)


def keyed(key: str | None = None) -> dict[str, Any]:
    return {"headers": {"Idempotency-Key": key or str(uuid.uuid4())}}


def test_a_retry_gets_the_same_answer_and_makes_nothing(partner: Partner) -> None:
    options = keyed()
    first = partner.send("POST", "/v1/patients", json=PATIENT, **options)
    again = partner.send("POST", "/v1/patients", json=PATIENT, **options)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert "Idempotent-Replayed" not in first.headers
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["Request-Id"] != first.headers["Request-Id"]
    assert len(partner.get("/v1/patients")["data"]) == 1


def test_a_form_and_a_json_body_of_the_same_meaning_are_the_same_request(partner: Partner) -> None:
    options = keyed()
    first = partner.call("POST", "/v1/patients", json=PATIENT, **options)
    assert partner.call("POST", "/v1/patients", data=PATIENT, **options) == first


def test_the_order_of_parameters_makes_no_other_request(partner: Partner) -> None:
    options = keyed()
    body = {**PATIENT, "metadata": {"ward": "7", "bed": "2"}}
    turned = {**dict(reversed(PATIENT.items())), "metadata": {"bed": "2", "ward": "7"}}
    first = partner.post("/v1/patients", body, **options)
    assert partner.post("/v1/patients", turned, **options) == first

    options = keyed()
    task = partner.task()
    booking = partner.request(partner.create_patient(), task, partner.windows(task)[0])
    for expand in (["patient", "task"], ["task", "patient"]):
        booked = partner.post("/v1/appointments", {**booking, "expand": expand}, **options)
        assert (booked["patient"]["object"], booked["task"]["object"]) == ("patient", "task")


def test_a_quoted_key_is_the_same_as_a_bare_one(partner: Partner) -> None:
    first = partner.post("/v1/patients", PATIENT, **keyed("abc"))
    assert partner.post("/v1/patients", PATIENT, **keyed('"abc"')) == first


def test_another_body_or_path_is_refused_and_names_the_object(partner: Partner) -> None:
    options = keyed()
    made = partner.post("/v1/patients", PATIENT, **options)
    other_body = {**PATIENT, "firstName": "Mary"}
    for path, body in [("/v1/patients", other_body), (f"/v1/patients/{made['id']}", {"note": "x"})]:
        error = partner.post(path, body, 400, **options)["error"]
        assert error["type"] == "idempotency_error"
        assert error["code"] == "idempotency_key_reused"
        assert made["id"] in error["message"]
    assert partner.get(f"/v1/patients/{made['id']}") == made


@pytest.mark.parametrize("key", ["", '""', "x" * 256, "caf\u00e9", "tab\there"])
def test_a_key_that_is_no_key_is_refused(partner: Partner, key: str) -> None:
    headers = {"Idempotency-Key": key.encode("latin-1")}
    answer = partner.send("POST", "/v1/patients", json=PATIENT, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["error"]["code"] == "idempotency_key_invalid"
    assert partner.get("/v1/patients")["data"] == []


def test_a_refused_request_stores_nothing_and_its_key_is_free(partner: Partner) -> None:
    options = keyed()
    before = partner.documents()
    partner.post("/v1/patients", {**PATIENT, "phone": "12"}, 400, **options)
    partner.post("/v1/patients/p_" + "0" * 22, {"note": "x"}, 404, **options)
    assert partner.documents() == before
    partner.post("/v1/patients", PATIENT, **options)


def test_a_402_replays_even_after_the_world_has_changed(partner: Partner) -> None:
    task = partner.task()
    window = next(each for each in partner.windows(task) if each["remaining"] == 1)
    winner = partner.post(
        "/v1/appointments", partner.request(partner.create_patient(), task, window)
    )
    request, options = partner.request(partner.create_patient(), task, window), keyed()
    refused = partner.send("POST", "/v1/appointments", json=request, **options)
    assert refused.status_code == 402
    partner.cancel(winner)

    again = partner.send("POST", "/v1/appointments", json=request, **options)
    assert (again.status_code, again.content) == (402, refused.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    partner.post("/v1/appointments", request, **keyed())


def test_the_booking_that_took_the_last_place_succeeds_again(partner: Partner) -> None:
    task = partner.task()
    window = next(each for each in partner.windows(task) if each["remaining"] == 1)
    request, options = partner.request(partner.create_patient(), task, window), keyed()
    booked = partner.post("/v1/appointments", request, **options)
    assert partner.post("/v1/appointments", request, **options) == booked


def test_an_update_and_a_cancellation_replay_too(partner: Partner) -> None:
    booked, options = partner.book(), keyed()
    path = f"/v1/appointments/{booked['id']}/cancel"
    first = partner.post(path, REASON, **options)
    assert partner.post(path, REASON, **options) == first

    patient, options = f"/v1/patients/{booked['patientId']}", keyed()
    changed = partner.post(patient, {"note": "one"}, **options)
    partner.post(patient, {"note": "two"})
    assert partner.post(patient, {"note": "one"}, **options) == changed
    assert partner.get(patient)["note"] == "two"


def test_a_key_belongs_to_one_organisation_and_one_mode(partner: Partner, other: Partner) -> None:
    options = keyed()
    made = {
        caller.post("/v1/patients", PATIENT, **options)["id"]
        for caller in (partner, other, partner.live())
    }
    assert len(made) == 3


def test_two_secret_keys_of_an_organisation_share_their_replays(partner: Partner) -> None:
    options = keyed()
    first = partner.post("/v1/patients", PATIENT, **options)
    assert partner.with_key({"*": "write"}).post("/v1/patients", PATIENT, **options) == first


def test_an_end_user_never_sees_the_replay_of_another_or_of_the_organisation(
    partner: Partner,
) -> None:
    options, made = keyed(), []
    for caller in (partner, partner.end_user("ada"), partner.end_user("grace")):
        first = caller.send("POST", "/v1/patients", json=PATIENT, **options)
        again = caller.send("POST", "/v1/patients", json=PATIENT, **options)
        assert "Idempotent-Replayed" not in first.headers
        assert again.json() == first.json()
        made.append(first.json()["id"])
    assert len(set(made)) == 3


def test_the_permission_is_checked_before_a_replay(partner: Partner) -> None:
    options = keyed()
    partner.post("/v1/patients", PATIENT, **options)
    reader = partner.with_key({"patients": "read"})
    error = reader.post("/v1/patients", PATIENT, 403, **options)["error"]
    assert error["code"] == "permission_missing"


def test_what_retries_remember_of_a_patient_goes_with_the_patient(partner: Partner) -> None:
    options = keyed()
    patient = partner.post("/v1/patients", PATIENT, **options)
    path = f"/v1/patients/{patient['id']}"
    partner.post(path, {"note": "x"}, **keyed())
    partner.call("DELETE", path)
    assert {collection for collection, _ in partner.documents()}.isdisjoint({"replays", "patients"})
    made = partner.post("/v1/patients", PATIENT, **options)
    assert made["id"] != patient["id"]


@pytest.mark.parametrize(
    ("later", "replayed"),
    [(timedelta(hours=23, minutes=59), True), (timedelta(hours=24, minutes=1), False)],
)
def test_a_key_is_kept_for_24_hours(partner: Partner, later: timedelta, replayed: bool) -> None:
    api = InProcess(partner.backing, partner.key)
    api.at, options = NOW, keyed()

    def create() -> Any:
        return api.call("POST", "/v1/patients", json=PATIENT, **options)["id"]

    first = create()
    api.at = NOW + later
    second = create()
    assert (second == first) is replayed
    assert create() == second  # and the new record is kept in turn
