"""kill -9 of server and worker while jobs are made and done, and a queue that loses and doubles.

Every job of an acknowledged change takes effect, and none twice.
"""

import itertools
import os
import random
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from shared.jobs import FailedJob
from tests.conftest import BACKENDS, environment_of
from tests.support.attended import Attended, misbehaving
from tests.support.notes import Count, Note
from tests.support.scale import SEED
from tests.support.serving import Partner
from tests.support.waiting import until

KILLS = int(os.environ.get("ALLY_KILLS", "2"))
KILLS_EACH = 20
"""Kills that one organisation lives through."""
CALLERS = 4
PATIENCE = 100
"""Seconds in which jobs that nobody kills any more are done."""


@pytest.fixture(params=BACKENDS)
def attended(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Attended]:
    running = Attended(environment_of(request, tmp_path), tmp_path)
    yield running
    running.stop()


class Writers:
    """Callers that make notes until they are told to end, each until it is acknowledged."""

    def __init__(self, attended: Attended, partner: Partner) -> None:
        self.acknowledged: set[str] = set()
        self.problems: list[str] = []
        self._attended = attended
        self._partner = partner
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._write) for _ in range(CALLERS)]
        for thread in self._threads:
            thread.start()

    def wait_for_more(self, number: int) -> None:
        """Wait until so many more notes are acknowledged."""
        wanted = len(self.acknowledged) + number
        until(lambda: len(self.acknowledged) >= wanted or self.problems, "no note is acknowledged")

    def end(self) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()

    def _write(self) -> None:
        server = self._partner.server
        with httpx.Client(base_url=server.url, verify=server.tls(), timeout=30) as client:
            while not self._ended.is_set():
                self._make(client, uuid.uuid4().hex)

    def _make(self, client: httpx.Client, key: str) -> None:
        """Send one request until it is answered, whoever dies meanwhile."""
        headers = {"Authorization": self._partner.key, "Idempotency-Key": key}
        while True:
            try:
                answer = client.post("/notes", json={"text": key}, headers=headers)
            except httpx.TransportError:
                self._attended.serving.wait(PATIENCE)
                continue
            if answer.status_code == 200:
                self.acknowledged.add(answer.json()["id"])
                return
            if answer.status_code not in (409, 503):
                self.problems.append(answer.text)
                return


def finish(attended: Attended) -> None:
    """Wait until all is done that is known of, then let what was lost become late and be swept.

    The queue has come to its senses by then: how often a job may be lost is not asked here.
    """
    if attended.tasks is not None:
        attended.tasks.acts = itertools.repeat("take")
    deadline = time.monotonic() + PATIENCE
    while left := attended.jobs():
        assert time.monotonic() < deadline, left
        if attended.tasks is not None and attended.tasks.idle():
            attended.let_time_pass()
            attended.sweep()
        time.sleep(0.2)


def test_every_job_of_an_acknowledged_change_takes_effect_once(attended: Attended) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    for first in range(0, KILLS, KILLS_EACH):
        if attended.tasks is not None:
            attended.tasks.acts = misbehaving(SEED + first)
        partner = attended.backing.partner(attended.server)
        writers = Writers(attended, partner)
        for _ in range(first, min(first + KILLS_EACH, KILLS)):
            writers.wait_for_more(chance.randrange(1, 40))
            attended.kill_and_restart(chance.choice(attended.mortals))
        writers.wait_for_more(1)
        writers.end()
        assert writers.problems == []
        finish(attended)
        assert partner.stored(Note).keys() == writers.acknowledged
        counts = partner.stored(Count)
        assert counts.keys() == writers.acknowledged
        assert {(each["first"], each["second"]) for each in counts.values()} == {(1, 1)}
    assert attended.jobs(FailedJob) == []
