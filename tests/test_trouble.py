"""When something else fails: a clear answer in the envelope, nothing written, nothing let slip."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from shared.backends import ConflictError, UnavailableError
from tests.conftest import google_environment
from tests.support.emulator import Emulator
from tests.support.inprocess import InProcess
from tests.support.processes import free_port
from tests.support.secret_manager import SecretManager
from tests.support.serving import PATIENT, Backing, Json, Partner, Server

SECRET_VALUE = "Zanzibar-Value"


@pytest.fixture
def api(partner: Partner) -> InProcess:
    return InProcess(partner.backing, partner.key)


def log_lines(partner: Partner) -> list[Json]:
    log = Path(partner.backing.environment["ALLY_LOG"])
    return [json.loads(line) for line in log.read_text().splitlines()]


def test_a_crash_is_a_500_in_the_envelope_and_its_line_quotes_nothing(
    api: InProcess, partner: Partner
) -> None:
    api.fail("commit", RuntimeError(SECRET_VALUE))
    answer = api.send("POST", "/v1/patients", json=PATIENT)
    assert answer.status_code == 500
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("api_error", "internal_error")
    request_id = answer.headers["Request-Id"]
    assert request_id in error["fix"]
    assert "support@" in error["fix"]
    (crash,) = (
        line
        for line in log_lines(partner)
        if line["kind"] == "crash" and line["requestId"] == request_id
    )
    assert crash["type"] == "RuntimeError"
    assert any("api.py" in where for where in crash["where"])
    assert SECRET_VALUE not in answer.text + json.dumps(crash)


@pytest.mark.parametrize("verb", ["get", "query", "commit"])
def test_storage_that_does_not_answer_is_a_503_that_says_to_try_again(
    api: InProcess, partner: Partner, verb: str
) -> None:
    patient = partner.create_patient()["id"]
    calls = {
        "get": ("GET", f"/v1/patients/{patient}"),
        "query": ("GET", "/v1/patients"),
        "commit": ("POST", f"/v1/patients/{patient}"),
    }
    method, path = calls[verb]
    api.fail(verb, UnavailableError("told to"))
    answer = api.send(method, path, json={"note": "x"} if method == "POST" else None)
    assert answer.status_code == 503
    assert answer.json()["error"]["code"] == "temporarily_unavailable"
    assert int(answer.headers["Retry-After"]) > 0
    assert partner.get(f"/v1/patients/{patient}")["note"] is None


def test_contention_without_end_is_a_409_and_never_a_500(api: InProcess, partner: Partner) -> None:
    api.settings["lock_timeout"] = 0.3
    api.fail("commit", ConflictError("told to"))
    began = time.monotonic()
    answer = api.send("POST", "/v1/patients", json=PATIENT, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "lock_timeout"
    assert answer.headers["Retry-After"]
    assert time.monotonic() - began < 5
    assert partner.get("/v1/patients")["data"] == []
    api.fail("commit", None)
    api.call("POST", "/v1/patients", json=PATIENT, headers={"Idempotency-Key": "k"})


def test_behind_the_gateway_the_key_is_in_the_forwarded_header_alone(
    api: InProcess, partner: Partner
) -> None:
    api.settings["behind_gateway"] = True
    key = str(partner.key)
    assert api.send("GET", "/v1/tasks").status_code == 401  # its Authorization is the gateway's own
    forwarded = {"X-Forwarded-Authorization": f"Bearer {key}", "Authorization": "Bearer google.jwt"}
    assert api.send("GET", "/v1/tasks", headers=forwarded).status_code == 200


# --- Google's services ---------------------------------------------------------------------------


@pytest.fixture
def google(
    emulator: Emulator, secret_manager: SecretManager, tmp_path: Path
) -> Iterator[tuple[SecretManager, Partner]]:
    """A server of its own on the google backend, which believes a key for half a second."""
    environment = {
        **google_environment(emulator, secret_manager),
        "ALLY_LOG": str(tmp_path / "requests.jsonl"),
        "ALLY_KEY_CACHE": "0.5",
        "ALLY_STORAGE_TIMEOUT": "1",
    }
    backing = Backing(environment)
    server = Server(backing, tmp_path)
    yield secret_manager, backing.partner(server)
    secret_manager.failing = None
    server.stop()
    backing.close()


def test_without_secret_manager_nobody_is_let_in_who_is_not_known(
    google: tuple[SecretManager, Partner],
) -> None:
    manager, partner = google
    partner.get("/v1/tasks")
    for failure in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.PERMISSION_DENIED):
        manager.failing = failure
        time.sleep(0.6)
        answer = partner.send("GET", "/v1/tasks")
        assert answer.status_code == 503
        assert answer.headers["Retry-After"]
        manager.failing = None
        partner.get("/v1/tasks")


def test_without_firestore_every_answer_is_a_503_in_the_envelope(
    secret_manager: SecretManager, emulator: Emulator, tmp_path: Path
) -> None:
    environment = google_environment(emulator, secret_manager)
    backing = Backing(environment)
    nowhere = {
        "FIRESTORE_EMULATOR_HOST": f"127.0.0.1:{free_port()}",
        "ALLY_STORAGE_TIMEOUT": "1",
        "ALLY_LOG": str(tmp_path / "requests.jsonl"),
    }
    server = Server(backing, tmp_path, **nowhere)
    try:
        partner = backing.partner(server)
        for method, path in (("GET", "/v1/tasks"), ("POST", "/v1/patients")):
            answer = partner.send(method, path, json=PATIENT if method == "POST" else None)
            assert answer.status_code == 503
            assert answer.json()["error"]["code"] == "temporarily_unavailable"
    finally:
        server.stop()
        backing.close()
