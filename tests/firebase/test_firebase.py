"""End users who sign in to the real Firebase Authentication emulator."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.provision import connect_tenant
from tests.support.id_tokens import PROJECTS
from tests.support.inprocess import InProcess
from tests.support.processes import Process, free_port
from tests.support.serving import PATIENT, Backing, Json, Partner, Server

HERE = Path(__file__).parent
PROJECT = PROJECTS["test"]


class Firebase:
    """The emulator in a process of its own, and what its REST interface does."""

    def __init__(self, folder: Path) -> None:
        settings = json.loads((HERE / "firebase.json").read_text())
        for name in ("auth", "hub", "logging"):
            settings["emulators"][name]["port"] = free_port()
        (folder / "firebase.json").write_text(json.dumps(settings))
        self.address = f"127.0.0.1:{settings['emulators']['auth']['port']}"
        command = HERE / "node_modules" / ".bin" / "firebase"
        self.process = Process(
            [
                *(str(command), "emulators:start", "--only", "auth", "--project", PROJECT),
                *("--config", str(folder / "firebase.json")),
            ],
            folder / "firebase.log",
            dict(os.environ),
        )
        self.process.wait_until(self._answers, "The Firebase emulator", 120)

    def _answers(self) -> bool:
        try:
            return httpx.get(f"http://{self.address}/").is_success
        except httpx.HTTPError:
            return False

    def _post(self, path: str, body: Json, **options: Any) -> Json:
        url = f"http://{self.address}/identitytoolkit.googleapis.com/{path}"
        answer = httpx.post(url, json=body, **options)
        answer.raise_for_status()
        told: Json = answer.json()
        return told

    def make_tenant(self) -> str:
        body = {"displayName": "test-health", "allowPasswordSignup": True}
        owner = {"Authorization": "Bearer owner"}
        made = self._post(f"v2/projects/{PROJECT}/tenants", body, headers=owner)
        return str(made["tenantId"])

    def enter(self, how: str, tenant: str | None, email: str) -> str:
        """Sign a user up (`signUp`) or in (`signInWithPassword`), and return the ID token."""
        body: dict[str, Any] = {"email": email, "password": "correct horse"}
        if tenant is not None:
            body["tenantId"] = tenant
        body["returnSecureToken"] = True
        return str(self._post(f"v1/accounts:{how}", body, params={"key": "any"})["idToken"])


@pytest.fixture(scope="module")
def firebase(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Firebase]:
    running = Firebase(tmp_path_factory.mktemp("firebase"))
    yield running
    running.process.stop()


@pytest.fixture(scope="module")
def partner(firebase: Firebase, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Partner]:
    """A partner of a server that takes the emulator's tokens, with a tenant of its own there."""
    folder = tmp_path_factory.mktemp("state")
    backing = Backing(
        {
            "ALLY_BACKEND": "local",
            "ALLY_STATE": str(folder),
            "ALLY_LOG": str(folder / "requests.jsonl"),
            "ALLY_FIREBASE_TEST": PROJECT,
        }
    )
    server = Server(backing, folder, FIREBASE_AUTH_EMULATOR_HOST=firebase.address)
    yield backing.partner(server)
    server.stop()
    backing.close()


def connect(partner: Partner, tenant: str) -> None:
    organisation = partner.organisation.id
    partner.backing.run(lambda service: connect_tenant(service, "test", organisation, tenant))


def test_a_user_who_signs_up_in_the_organisations_tenant_can_call(
    firebase: Firebase, partner: Partner
) -> None:
    tenant = firebase.make_tenant()
    token = firebase.enter("signUp", tenant, "ada@example.com")
    send = partner.server.send
    assert send("GET", "/v1/patients", token).json()["error"]["code"] == "tenant_unknown"
    connect(partner, tenant)
    patient = send("POST", "/v1/patients", token, json=PATIENT).json()
    other = firebase.enter("signUp", tenant, "grace@example.com")
    path = f"/v1/patients/{patient['id']}"
    assert send("GET", path, token).json() == patient
    assert send("GET", path, other).json()["error"]["code"] == "resource_missing"
    assert partner.get(path) == patient

    # In another tenant, in none, and where the emulator's tokens are not taken.
    foreign = firebase.enter("signUp", firebase.make_tenant(), "ada@example.com")
    nowhere = firebase.enter("signUp", None, "ada@example.com")
    for stranger in (foreign, nowhere):
        assert send("GET", path, stranger).json()["error"]["code"] == "tenant_unknown"
    strict = InProcess(partner.backing, token)
    assert strict.call("GET", path, 401)["error"]["code"] == "token_invalid"

    # A session that is ended, and the next one.
    ended = partner.post(f"/v1/end_users/{patient['endUserId']}/revoke")
    assert ended["endUserId"] == patient["endUserId"]
    deadline = time.monotonic() + 15
    while send("GET", path, token).status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert send("GET", path, token).json()["error"]["code"] == "token_revoked"
    time.sleep(1.1)  # a session's beginning is told in whole seconds
    again = firebase.enter("signInWithPassword", tenant, "ada@example.com")
    assert send("GET", path, again).json() == patient
