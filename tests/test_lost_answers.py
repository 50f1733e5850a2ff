"""When the answers of commits get lost, nothing is lost and nothing is doubled."""

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from shared.backends.google.firestore import SHARE_OF_ONE_TRY
from tests.conftest import google_environment
from tests.support.dropping_proxy import DroppingProxy
from tests.support.emulator import Emulator
from tests.support.scale import examples
from tests.support.secret_manager import SecretManager
from tests.support.serving import PATIENT, Backing, Json, Partner, Server

CALLERS = 8
SECONDS = 6
"""What the server gives a verb of storage."""
LIVES = examples(8)


@pytest.fixture(params=["refused", "silent", "late"])
def proxied(
    request: pytest.FixtureRequest,
    emulator: Emulator,
    secret_manager: SecretManager,
    tmp_path: Path,
) -> Iterator[tuple[DroppingProxy, Partner]]:
    """A server of whose commits many are answered too late, or never, or by a broken line."""
    backing = Backing(
        {
            **google_environment(emulator, secret_manager),
            "ALLY_LOG": str(tmp_path / "requests.jsonl"),
        }
    )
    late = 1.5 * SECONDS * SHARE_OF_ONE_TRY  # the first try is given up, the second is under way
    proxy = DroppingProxy(emulator.address, nth=3, loss=request.param, late=late)
    environment = {"FIRESTORE_EMULATOR_HOST": proxy.address, "ALLY_STORAGE_TIMEOUT": str(SECONDS)}
    server = Server(backing, tmp_path, **environment)
    yield proxy, backing.partner(server)
    server.stop()
    proxy.stop()
    backing.close()


def test_nothing_is_lost_nothing_is_doubled_and_nothing_comes_back(
    proxied: tuple[DroppingProxy, Partner],
) -> None:
    proxy, partner = proxied
    task = partner.task()
    windows = partner.windows(task)[:LIVES]

    def live(number: int) -> tuple[Json, Json]:
        """Create, change and book; every other caller sends keys and every other one cancels."""
        headers = [{}, {"Idempotency-Key": str(uuid.uuid4())}][number % 2]
        patient = partner.post(
            "/v1/patients",
            {**_patient(number)},
            headers={key: f"{value}-p" for key, value in headers.items()},
        )
        changed = partner.post(f"/v1/patients/{patient['id']}", {"note": f"Changed {number}"})
        assert changed["note"] == f"Changed {number}"
        booked = partner.post(
            "/v1/appointments", partner.request(patient, task, windows[number]), headers=headers
        )
        if number % 4 < 2:
            partner.cancel(booked)
        return patient, booked

    def end(number: int) -> None:
        """Create and delete: a deletion whose answer was lost is a deletion."""
        patient = partner.post("/v1/patients", _patient(number))
        assert partner.call("DELETE", f"/v1/patients/{patient['id']}")["deleted"] is True
        partner.get(f"/v1/patients/{patient['id']}", 404)

    with ThreadPoolExecutor(2 * CALLERS) as pool:  # all wait for most of the time
        ended = pool.map(end, range(CALLERS))
        made = list(pool.map(live, range(len(windows))))
        list(ended)

    assert proxy.dropped >= len(windows)
    patients = partner.get("/v1/patients", limit=100)["data"]
    assert {each["id"] for each in patients} == {patient["id"] for patient, _ in made}
    assert len(patients) == len(made)
    appointments = partner.get("/v1/appointments", limit=100)["data"]
    assert {each["id"] for each in appointments} == {booked["id"] for _, booked in made}
    for number, (_, booked) in enumerate(made):
        stored = partner.stored_window(booked["windowId"])
        assert stored is not None
        assert set(stored.claims) == (set() if number % 4 < 2 else {booked["id"]})


def _patient(number: int) -> Json:
    return {**PATIENT, "externalRef": str(number)}
