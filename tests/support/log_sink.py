"""A stand-in for what carries lines on Google Cloud: a sink of Cloud Logging, a topic, its pushes.

It follows the file that servers write their lines to, takes what the sink's filter takes, and
pushes each as Pub/Sub does: at least once, in any order, and again until it is acknowledged. It
behaves as badly as it is told to.
"""

import base64
import heapq
import itertools
import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from tests.support.serving import Json

SUBSCRIPTION = "projects/ally-tested/subscriptions/ally-lines"
LOG = "projects/ally-tested/logs/run.googleapis.com%2Fstdout"
LONGEST_DELAY = 1.0
"""Seconds that a message is late at most, at each attempt."""
PUSHES = 16
"""Messages that are on their way at a time."""

Act = Literal["push", "double", "drop", "forget the answer"]
"""Pushes a message; twice at once; not, but some time later; pushes it, and again all the same."""


def taken(line: Json) -> bool:
    """Tell whether the sink takes a line: those of requests of some organisation."""
    return bool(line["kind"] == "request" and "org_" in line["organisation"])


def push_of(line: object, number: int = 1) -> Json:
    """Return what is pushed of a line: an entry of the log, in a message."""
    entry = {
        "insertId": f"insert-{number}",
        "logName": LOG,
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": "ally-patients"}},
        "timestamp": "2026-11-22T09:00:00.000Z",
        "jsonPayload": line,
    }
    return {
        "message": {
            "data": base64.b64encode(json.dumps(entry).encode()).decode(),
            "messageId": str(number),
            "message_id": str(number),
            "publishTime": "2026-11-22T09:00:00.000Z",
            "attributes": {"logging.googleapis.com/timestamp": "2026-11-22T09:00:00.000Z"},
        },
        "subscription": SUBSCRIPTION,
    }


@dataclass(order=True)
class Delivery:
    """A message that is to be pushed at a moment, by the clock of this process."""

    at: float
    number: int
    line: Json = field(compare=False)


class LogSink:
    """Follows a file from its present end on, and pushes what it reads there to a worker."""

    def __init__(self, log: Path, worker: str, chance: random.Random | None = None) -> None:
        """Begin. Without `chance` it behaves well."""
        self.answers: list[int] = []
        """What pushes were answered with; 0 is no answer."""
        self._log = log
        self._offset = log.stat().st_size if log.exists() else 0
        self._url = f"{worker}/worker/lines"
        self.chance = chance
        self._numbers = itertools.count(1)
        self._waiting: list[Delivery] = []
        self._pushing = 0
        self._changed = threading.Condition()
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(PUSHES)
        self._http = httpx.Client(timeout=30)
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join()
        self._pool.shutdown()
        self._http.close()

    def idle(self) -> bool:
        """Tell whether all that was written is folded."""
        with self._changed:
            read = self._log.stat().st_size == self._offset
            return read and not self._waiting and not self._pushing

    def _work(self) -> None:
        while not self._ended.wait(0.02):
            with self._changed:
                for line in self._written():
                    self._accept(line)
                while self._waiting and self._waiting[0].at <= time.monotonic():
                    self._pushing += 1
                    self._pool.submit(self._push, heapq.heappop(self._waiting))

    def _written(self) -> list[Json]:
        if not self._log.exists():
            return []
        with self._log.open("rb") as file:
            file.seek(self._offset)
            whole = file.read().rpartition(b"\n")
        self._offset += len(whole[0]) + len(whole[1])
        return [json.loads(raw) for raw in whole[0].splitlines()]

    def _accept(self, line: Json) -> None:
        if not taken(line):
            return
        act = self._act(("push", "double", "drop"), (12, 2, 2))
        for _ in range(2 if act == "double" else 1):
            self._wait(line, LONGEST_DELAY if act == "drop" else 0)

    def _wait(self, line: Json, least: float = 0) -> None:
        late = self.chance.uniform(0, LONGEST_DELAY) if self.chance else 0
        at = time.monotonic() + least + late
        heapq.heappush(self._waiting, Delivery(at, next(self._numbers), line))

    def _push(self, delivery: Delivery) -> None:
        try:
            push = push_of(delivery.line, delivery.number)
            answer = self._http.post(self._url, json=push).status_code
        except httpx.HTTPError:
            answer = 0
        with self._changed:
            self._pushing -= 1
            self.answers.append(answer)
            if answer != 200 or self._act(("push", "forget the answer"), (8, 1)) != "push":
                self._wait(delivery.line, 0.1)

    def _act(self, acts: tuple[Act, ...], weights: tuple[int, ...]) -> Act:
        return self.chance.choices(acts, weights)[0] if self.chance else "push"
