"""When something else fails: a clear answer in the envelope, nothing written, nothing let slip."""

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import grpc
import httpx
import pytest

from shared import service as held
from shared.backends import ConflictError, UnavailableError
from shared.backends.local import LocalSecrets
from tests.conftest import google_environment
from tests.support.emulator import Emulator
from tests.support.inprocess import InProcess
from tests.support.processes import ROOT, free_port
from tests.support.secret_manager import SecretManager
from tests.support.serving import PATIENT, Backing, Partner, Server
from tests.support.waiting import until

SECRET_VALUE = "Zanzibar-Value"


def code(answer: httpx.Response) -> str:
    """Return the code of a refusal, or nothing."""
    return str(answer.json()["error"]["code"]) if answer.is_error else ""


@pytest.fixture
def api(partner: Partner) -> InProcess:
    return InProcess(partner.backing, partner.key)


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
    (crash,) = (line for line in partner.lines("crash") if line["requestId"] == request_id)
    assert crash["type"] == "RuntimeError"
    assert any("api.py" in where for where in crash["where"])
    assert SECRET_VALUE not in answer.text + json.dumps(crash)


def test_no_answer_leaves_without_its_line(partner: Partner, tmp_path: Path) -> None:
    server = Server(partner.backing, tmp_path, ALLY_STATE=str(tmp_path), ALLY_LOG="/dev/full")
    try:
        answer = server.send("GET", "/v1/tasks", partner.key)
        assert answer.status_code == 503
        assert answer.json()["error"]["code"] == "temporarily_unavailable"
        assert "OSError" in server.process.output.read_text()
    finally:
        server.stop()


def test_a_function_without_settings_answers_in_the_envelope() -> None:
    """As the functions framework starts it in production, but with nothing configured."""
    script = """
import asyncio, httpx
from functions_framework.aio import create_asgi_app
app = create_asgi_app("tasks", "functions/tasks/main.py")
async def call():
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="https://x") as client:
        answer = await client.get("/v1/tasks")
    print(answer.status_code, answer.json()["error"]["code"], answer.headers["request-id"])
asyncio.run(call())
"""
    ran = subprocess.run(
        [sys.executable, "-c", script],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "ALLY_BACKEND": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    crash, answer = ran.stdout.splitlines()
    assert json.loads(crash)["type"] == "SettingError"
    assert answer.startswith("500 internal_error req_")


def test_requests_that_come_together_first_open_one_service(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cloud Run sends an instance all that waited for its start: each waits for the pepper."""
    monkeypatch.setenv("ALLY_BACKEND", "local")
    monkeypatch.setenv("ALLY_STATE", str(tmp_path))
    monkeypatch.setenv("ALLY_LOG", str(tmp_path / "log"))
    monkeypatch.setattr(held, "_close_before_the_end", lambda _: None)
    read = LocalSecrets.read

    async def slowly(self: LocalSecrets, name: str) -> bytes | None:
        await asyncio.sleep(0.01)
        return await read(self, name)

    monkeypatch.setattr(LocalSecrets, "read", slowly)

    async def act() -> None:
        opened = await asyncio.gather(*(held.current() for _ in range(5)))
        assert all(each is opened[0] for each in opened)
        await opened[0].close()

    try:
        asyncio.run(act())
    finally:
        held.use(None)


def test_a_caller_who_leaves_in_the_middle_is_no_crash(partner: Partner) -> None:
    context = partner.server.tls()
    with (
        socket.create_connection(("127.0.0.1", partner.server.port), 5) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as caller,
    ):
        head = f"POST /v1/patients HTTP/1.1\r\nHost: x\r\nAuthorization: {partner.key}\r\n"
        caller.sendall(f"{head}Content-Length: 100\r\n\r\n{{".encode())
        caller.unwrap()

    def codes() -> list[str]:
        mine = [each for each in partner.lines() if each.get("principal") == partner.api_key.id]
        return [each["code"] for each in mine if each["route"] == "/v1/patients"]

    until(codes, "no line tells of it")
    assert codes() == ["body_malformed"]


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


def test_contention_without_end_is_a_409_and_never_a_500(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key, lock_timeout=0.3)
    api.fail("commit", ConflictError("told to"))
    answer = api.send("POST", "/v1/patients", json=PATIENT, headers={"Idempotency-Key": "k"})
    assert answer.status_code == 409
    assert answer.json()["error"]["code"] == "lock_timeout"
    assert answer.headers["Retry-After"]
    assert partner.get("/v1/patients")["data"] == []
    api.fail("commit", None)
    api.call("POST", "/v1/patients", json=PATIENT, headers={"Idempotency-Key": "k"})


def test_behind_the_gateway_the_key_is_in_the_forwarded_header_alone(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key, behind_gateway=True)
    key = str(partner.key)
    assert api.send("GET", "/v1/tasks").status_code == 401  # its Authorization is the gateway's own
    forwarded = {"X-Forwarded-Authorization": f"Bearer {key}", "Authorization": "Bearer google.jwt"}
    assert api.send("GET", "/v1/tasks", headers=forwarded).status_code == 200


# --- Google's services ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_google(
    emulator: Emulator, secret_manager: SecretManager, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Partner]:
    """A server of its own, which believes a key for half a second."""
    folder = tmp_path_factory.mktemp("google")
    backing = Backing(
        {
            **google_environment(emulator, secret_manager),
            "ALLY_LOG": str(folder / "requests.jsonl"),
            "ALLY_KEY_CACHE": "0.5",
        }
    )
    server = Server(backing, folder, ALLY_STORAGE_TIMEOUT="5")
    yield backing.partner(server)
    server.stop()
    backing.close()


@pytest.fixture
def google(on_google: Partner, secret_manager: SecretManager) -> Iterator[Partner]:
    yield on_google
    secret_manager.recover()


@pytest.mark.parametrize(
    "trouble",
    ["UNAVAILABLE", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED", "INTERNAL", "slow"],
)
def test_without_secret_manager_known_keys_go_on_and_others_are_not_let_in(
    google: Partner, secret_manager: SecretManager, trouble: str
) -> None:
    google.get("/v1/tasks")
    unknown = google.with_key({"*": "read"})
    if trouble == "slow":
        secret_manager.dawdle(30)
    else:
        secret_manager.failing = grpc.StatusCode[trouble]
    time.sleep(0.6)  # until the known one is looked at again
    google.get("/v1/tasks")
    with ThreadPoolExecutor(2) as pool:
        keys = (unknown.key, unknown.key[:-30] + "0" * 30)
        answers = list(pool.map(lambda key: google.server.send("GET", "/v1/tasks", key), keys))
    for answer in answers:
        assert (answer.status_code, code(answer)) == (503, "temporarily_unavailable")
        assert int(answer.headers["Retry-After"]) > 0
    for key in (google.key[:-30] + "0" * 30, f"test_{'0' * 24}.{'0' * 30}"):
        assert code(google.server.send("GET", "/v1/tasks", key)) == "key_invalid"
    google.get("/v1/tasks")
    secret_manager.recover()
    unknown.get("/v1/tasks")


def test_a_secret_that_is_not_to_be_seen_yet_is_let_in_once_it_is(
    google: Partner, secret_manager: SecretManager
) -> None:
    google.get("/v1/tasks")
    late = google.with_key({"*": "read"})
    secret_manager.unaware = True
    assert code(late.send("GET", "/v1/tasks")) == "key_invalid"
    time.sleep(0.6)
    google.get("/v1/tasks")
    assert code(late.send("GET", "/v1/tasks")) == "key_invalid"
    secret_manager.recover()
    time.sleep(0.6)  # until it is asked for again
    late.get("/v1/tasks")


def test_a_secret_that_outlives_its_key_opens_nothing(
    google: Partner, secret_manager: SecretManager
) -> None:
    ended = google.with_key({"*": "read"})
    administrator = google.administrator()
    administrator.post(f"/v1/api_keys/{ended.api_key.id}/revoke")
    before = secret_manager.reads
    assert code(ended.send("GET", "/v1/tasks")) == "key_revoked"
    assert secret_manager.reads == before + 1  # it was served all the same


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


def test_a_body_that_does_not_end_is_given_up_and_changes_nothing(partner: Partner) -> None:
    async def slowly() -> AsyncIterator[bytes]:
        yield b"firstName=Ada"
        await asyncio.sleep(60)

    api = InProcess(partner.backing, partner.key, body_timeout=0.05)
    before = api.call("GET", "/v1/patients")["data"]
    refused = api.call("POST", "/v1/patients", 400, content=slowly())["error"]
    assert refused["code"] == "body_malformed"
    assert "they did not end within 0.05 seconds" in refused["message"]
    assert api.call("GET", "/v1/patients")["data"] == before
