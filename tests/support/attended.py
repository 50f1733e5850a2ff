"""A server whose jobs are done: in its own process, or by a worker that Cloud Tasks asks."""

import random
import threading
from collections.abc import Iterator
from datetime import timedelta
from itertools import chain
from pathlib import Path

from shared import ids
from shared.backends import OURS, ConflictError, Document, Put, Query, new_marker
from shared.clock import isoformat
from shared.jobs import Job
from shared.service import Service
from shared.settings import SPACES
from tests.support.cloud_tasks import Act, CloudTasks
from tests.support.processes import free_port
from tests.support.serving import Backing, Json, Server
from tests.support.worker import Worker

MOST = 10_000
NOTES = "tests.support.notes"


class NoteServer(Server):
    """The whole API and the tests' own function beside it."""

    program = NOTES


class Attended:
    """A backing, its server and, where jobs are not done in that, Cloud Tasks and a worker."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self.tasks: CloudTasks | None = None
        self.worker: Worker | None = None
        if environment["ALLY_BACKEND"] == "google":
            self.tasks = CloudTasks()
            port = free_port()
            environment = environment | self.tasks.environment(f"http://127.0.0.1:{port}")
            self.worker = Worker(environment, folder, port=port, serving=f"{NOTES}:worker")
        # What a test reads of all jobs may take the emulator long on a busy machine.
        self.backing = Backing(environment | {"ALLY_STORAGE_TIMEOUT": "60"})
        self.server = NoteServer(self.backing, folder, ALLY_STORAGE_TIMEOUT="5")
        self.serving = threading.Event()
        """Whether the server may be called: who tries to connect without end to a port on which
        nobody listens will some time have that port himself, and be connected to himself."""
        self.serving.set()

    def stop(self) -> None:
        self.server.stop()
        if self.worker is not None:
            self.worker.process.stop()
        if self.tasks is not None:
            self.tasks.stop()
        self.backing.close()

    @property
    def mortals(self) -> list[str]:
        """What may be killed."""
        return ["server", "worker"] if self.worker else ["server"]

    def kill_and_restart(self, which: str) -> None:
        if which == "worker":
            assert self.worker is not None
            self.worker.process.kill()
            self.worker.start()
        else:
            self.serving.clear()
            self.server.process.kill()
            self.server.close()
            self.server.start()
            self.serving.set()

    # --- Jobs ------------------------------------------------------------------------------------

    def jobs(self, kind: type[Job] = Job) -> list[Document]:
        """Return all jobs that are still to be done, or that failed for good."""

        async def read(service: Service) -> list[Document]:
            return list(
                chain.from_iterable(
                    [
                        await service.storage.query(Query(space, OURS, kind.collection, MOST))
                        for space in SPACES
                    ]
                )
            )

        return self.backing.run(read)

    def let_time_pass(self) -> None:
        """Make every job late, as it would be some minutes from now."""

        async def put_back(service: Service) -> None:
            past = isoformat(service.now() - timedelta(minutes=1))
            for document in jobs:
                data = {**document.data, "due": past, "runAt": past}
                key = document.key
                marker = new_marker(key.space, OURS, ids.scatter("run"), service.now())
                try:
                    put = Put(key, data, document.version)
                    await service.storage.commit([put, marker], marker.key)
                except ConflictError:  # it is being done
                    continue

        jobs = self.jobs()
        self.backing.run(put_back)

    def sweep(self) -> Json:
        """Have what is late queued again, as Cloud Scheduler does each minute."""
        assert self.worker is not None
        answer = self.worker.ask("/worker/sweep")
        assert answer.status_code == 200, answer.text
        swept: Json = answer.json()
        return swept


def misbehaving(seed: int) -> Iterator[Act]:
    """Yield what a Cloud Tasks on a bad day does."""
    chance = random.Random(seed)
    acts: list[Act] = ["take", "double", "lose", "lose the answer", "refuse", "dawdle"]
    while True:
        yield chance.choices(acts, [12, 2, 2, 2, 2, 1])[0]
