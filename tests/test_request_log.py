"""The request log: what a partner sees of its requests afterwards, on both backends."""

import time

import pytest

from tests.support.serving import PATIENT, Json, Partner

pytestmark = pytest.mark.usefixtures("log_sink")


def logged(partner: Partner, request_id: str, within: float = 10) -> Json:
    """Return a request of the log, once it is there."""
    deadline = time.monotonic() + within
    while True:
        answer = partner.send("GET", f"/v1/requests/{request_id}")
        if answer.status_code == 200:
            found: Json = answer.json()
            return found
        assert time.monotonic() < deadline, "the request does not come to the log"
        time.sleep(0.05)


def test_a_request_is_in_the_log_within_ten_seconds(partner: Partner) -> None:
    sent = partner.send("POST", "/v1/patients", json=PATIENT, headers={"Idempotency-Key": "k"})
    found = logged(partner, sent.headers["Request-Id"])
    patient = sent.json()["id"]
    assert found | {"milliseconds": 0, "createdAt": "", "updatedAt": "", "idempotencyKey": ""} == {
        "id": sent.headers["Request-Id"],
        "object": "request",
        "livemode": False,
        "createdAt": "",
        "updatedAt": "",
        "method": "POST",
        "route": "/v1/patients",
        "status": 200,
        "code": None,
        "key": partner.api_key.id,
        "endUser": None,
        "address": "127.0.0.1",
        "version": sent.headers["Ally-Version"],
        "idempotencyKey": "",
        "milliseconds": 0,
        "bytesIn": len(sent.request.content),
        "bytesOut": len(sent.content),
        "objects": [patient],
    }
