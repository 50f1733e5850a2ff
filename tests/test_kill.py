"""kill -9 of the server in the middle of a stream of requests: what was acknowledged is there."""

import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import BACKENDS, environment_of
from tests.support.serving import PATIENT, Backing, Json, Partner, Server

KILLS = int(os.environ.get("ALLY_KILLS", "2"))
KILLS_EACH = 5
"""Kills that one organisation lives through: the emulator is slow where one has very much."""
CALLERS = 6


@pytest.fixture(params=BACKENDS)
def mortal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Server]:
    """A server that may be killed, on a backing of its own."""
    backing = Backing(environment_of(request, tmp_path))
    server = Server(backing, tmp_path)
    yield server
    server.stop()
    backing.close()


class Stream:
    """Callers that book without end, and what each was told or is still unsure of."""

    def __init__(self, partner: Partner, task: Json, windows: list[Json]) -> None:
        self.partner = partner
        self.task = task
        self.windows = windows
        self.acknowledged: dict[str, Json] = {}
        self.unsure: list[tuple[str, Json, str]] = []
        self.problems: list[str] = []
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._call) for _ in range(CALLERS)]

    def run_until_killed(self, seconds: float) -> None:
        for thread in self._threads:
            thread.start()
        while not self.acknowledged and not self.problems:
            time.sleep(0.01)
        time.sleep(seconds)
        self.partner.server.process.kill()
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _call(self) -> None:
        with httpx.Client(
            base_url=self.partner.server.url,
            verify=self.partner.server.tls(),
            headers={"Authorization": str(self.partner.key)},
            timeout=10,
        ) as client:
            while not self._ended.is_set():
                self._book(client)

    def _book(self, client: httpx.Client) -> None:
        patient = self._send(client, "/v1/patients", {**PATIENT, "externalRef": uuid.uuid4().hex})
        if patient is not None:
            window = random.choice(self.windows)
            request = self.partner.request(patient, self.task, window, externalRef=uuid.uuid4().hex)
            self._send(client, "/v1/appointments", request)

    def _send(self, client: httpx.Client, path: str, body: Json) -> Json | None:
        key = uuid.uuid4().hex
        try:
            answer = client.post(path, json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            self.unsure.append((path, body, key))
            return None
        made: Json = answer.json()
        if answer.status_code == 200:
            self.acknowledged[made["id"]] = made
            return made
        if made["error"]["code"] != "window_unavailable":
            self.problems.append(answer.text)
        return None


def test_every_acknowledged_object_is_there_once_and_no_place_leaks(mortal: Server) -> None:
    for first in range(0, KILLS, KILLS_EACH):
        partner = mortal.backing.partner(mortal).live()
        acknowledged: dict[str, Json] = {}
        for number in range(first, min(first + KILLS_EACH, KILLS)):
            acknowledged |= book_through_a_kill(partner, day=number % 20 + 1)
        check_what_is_stored(partner, acknowledged)


def book_through_a_kill(partner: Partner, day: int) -> dict[str, Json]:
    """Book until the server is killed, start it again, and finish what was left in doubt."""
    windows = [partner.live_window(day, hour, capacity=50) for hour in range(6, 22)]
    stream = Stream(partner, partner.task(), [{"id": window.id} for window in windows])
    stream.run_until_killed(random.uniform(0.4, 1.2))
    partner.server.close()
    partner.server.start()
    assert stream.problems == []
    acknowledged = stream.acknowledged
    for path, body, key in stream.unsure:  # a retry finishes, and never doubles
        answer = partner.send("POST", path, json=body, headers={"Idempotency-Key": key})
        if answer.status_code == 200:
            acknowledged[answer.json()["id"]] = answer.json()
        else:
            assert answer.json()["error"]["code"] == "window_unavailable", answer.text
    return acknowledged


def check_what_is_stored(partner: Partner, acknowledged: dict[str, Json]) -> None:
    """Insist that it is what was acknowledged, each object once, with exactly its claims."""
    stored = [
        each
        for path in ("/v1/patients", "/v1/appointments")
        for each in partner.everything(path, limit=100)
    ]
    assert len({each["id"] for each in stored}) == len(stored)
    assert {each["id"]: each for each in stored} == acknowledged
    references = [each["externalRef"] for each in stored]
    assert len(set(references)) == len(references)

    booked = [each for each in stored if each["object"] == "appointment"]
    claims = {
        (window.id, claimant)
        for window_id in {each["windowId"] for each in booked}
        if (window := partner.stored_window(window_id))
        for claimant in window.claims
    }
    assert claims == {(each["windowId"], each["id"]) for each in booked}
