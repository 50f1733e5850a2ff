"""The unmodified client of the stripe package is an oracle of the conventions that we keep."""

import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import requests
import stripe

from tests.support import conformity
from tests.support.serving import ADDRESS, OUTSIDE, PATIENT, POSTCODE, Partner

PATIENTS = 250
ANOTHER = {**PATIENT, "firstName": "Mary"}


class StripeCaller:
    """A StripeClient that calls the server, for resources that it does not know itself."""

    def __init__(self, session: requests.Session, partner: Partner, key: object) -> None:
        self.session = session
        self._client = stripe.StripeClient(
            str(key),
            base_addresses={"api": partner.server.url},
            http_client=stripe.RequestsClient(session=session),
            max_network_retries=0,
        )

    def call(self, method: str, path: str, **params: Any) -> Any:
        answer = self._client.raw_request(method, path, **params)
        return self._client.deserialize(answer, params, api_mode="V1")


@pytest.fixture
def caller(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> Iterator[StripeCaller]:
    monkeypatch.setattr(stripe, "ca_bundle_path", str(partner.server.certificate))
    with conformity.session() as session:
        yield StripeCaller(session, partner, partner.key)


def test_the_client_walks_the_flow_with_nested_forms(caller: StripeCaller) -> None:
    patient = caller.call(
        "post", "/v1/patients", **PATIENT, address=ADDRESS, metadata={"ward": "7"}
    )
    assert patient.address.postcode == POSTCODE
    updated = caller.call(
        "post", f"/v1/patients/{patient.id}", note="Knock loudly", metadata={"bed": "2"}
    )
    assert (updated.note, updated.metadata.ward, updated.metadata.bed) == ("Knock loudly", "7", "2")
    assert caller.call("post", f"/v1/patients/{patient.id}", note="").note is None

    tasks = caller.call("get", "/v1/tasks")
    task = next(each for each in tasks.data if each.name == "Venepuncture")
    windows = caller.call("get", "/v1/availability", taskId=task.id, postcode=POSTCODE)
    booked = caller.call(
        "post",
        "/v1/appointments",
        patientId=patient.id,
        taskId=task.id,
        windowId=windows.data[0].id,
        phone=PATIENT["phone"],
        location={"address": ADDRESS},
    )
    assert booked.status == "scheduled"
    assert booked.window.startAt == windows.data[0].startAt
    cancelled = caller.call(
        "post",
        f"/v1/appointments/{booked.id}/cancel",
        cancellingEntity="patient",
        reasonCode="patient_unwell",
    )
    assert cancelled.appointmentId == booked.id
    assert caller.call("delete", f"/v1/patients/{patient.id}").deleted is True


def test_auto_paging_meets_every_patient_once_in_both_directions(
    partner: Partner, caller: StripeCaller
) -> None:
    made = [partner.create_patient(externalRef=str(n))["id"] for n in range(PATIENTS)]
    newest_first = made[::-1]

    listed = caller.call("get", "/v1/patients", limit=100)
    assert [each.id for each in listed.auto_paging_iter()] == newest_first

    backwards = caller.call("get", "/v1/patients", limit=37, ending_before=newest_first[-1])
    assert [each.id for each in backwards.auto_paging_iter()] == made[1:]


def test_a_retried_post_makes_one_object(partner: Partner, caller: StripeCaller) -> None:
    key = str(uuid.uuid4())
    first = caller.call("post", "/v1/patients", **PATIENT, idempotency_key=key)
    again = caller.call("post", "/v1/patients", **PATIENT, idempotency_key=key)
    assert again.id == first.id
    assert len(partner.get("/v1/patients")["data"]) == 1


def code(refusal: stripe.StripeError) -> str | None:
    """Return the error's code, which the client keeps on some classes in the error object alone."""
    return refusal.error.code if refusal.error else None


def test_each_refusal_raises_the_class_of_the_contract(
    partner: Partner, caller: StripeCaller
) -> None:
    task = partner.task()
    reader = StripeCaller(caller.session, partner, partner.with_key({"*": "read"}).key)
    stranger = StripeCaller(caller.session, partner, "test_" + "0" * 24 + "." + "0" * 30)
    key = str(uuid.uuid4())
    caller.call("post", "/v1/patients", **PATIENT, idempotency_key=key)

    with pytest.raises(stripe.InvalidRequestError) as refused:
        caller.call("post", "/v1/patients", firstName="A")
    assert refused.value.http_status == 400
    assert (refused.value.code, refused.value.param) == ("parameter_invalid", "firstName")

    with pytest.raises(stripe.AuthenticationError) as unknown:
        stranger.call("get", "/v1/patients")
    assert code(unknown.value) == "key_invalid"

    with pytest.raises(stripe.CardError) as declined:
        caller.call("get", "/v1/availability", taskId=task["id"], postcode=OUTSIDE)
    assert declined.value.code == "not_in_coverage"

    with pytest.raises(stripe.PermissionError) as forbidden:
        reader.call("post", "/v1/patients", **PATIENT)
    assert code(forbidden.value) == "permission_missing"

    with pytest.raises(stripe.InvalidRequestError) as missing:
        caller.call("get", "/v1/patients/p_" + "0" * 22)
    assert (missing.value.http_status, missing.value.code) == (404, "resource_missing")

    with pytest.raises(stripe.IdempotencyError) as reused:
        caller.call("post", "/v1/patients", **ANOTHER, idempotency_key=key)
    assert code(reused.value) == "idempotency_key_reused"
    assert str(reused.value.request_id).startswith("req_")
