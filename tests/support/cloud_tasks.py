"""A stand-in for Cloud Tasks, which has no emulator: a loopback server for the real client.

It refuses what Google refuses, delivers as Google does, and behaves as badly as it is told to.
"""

import heapq
import itertools
import re
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Literal

import grpc
import httpx
from google.cloud.tasks_v2 import types

from tests.support import leaks

SERVICE = "google.cloud.tasks.v2.CloudTasks"
QUEUE = "projects/ally-tested/locations/europe-west2/queues/ally"
ACCOUNT = "ally-caller@ally-tested.iam.gserviceaccount.com"
LARGEST = 1024 * 1024
FURTHEST = 30 * 86_400
"""Seconds."""
LONGEST_PAUSE = 0.5
"""Seconds between two attempts of a delivery, at most: Google's are a setting of the queue."""

Act = Literal["take", "double", "lose", "lose the answer", "refuse", "dawdle"]
"""Takes a task, delivers it twice, or never; takes it and says that it failed; fails; is slow."""


def settings(worker: str, address: str) -> dict[str, str]:
    """Return the settings of who makes tasks at an address for a worker."""
    return {
        "ALLY_QUEUE": QUEUE,
        "ALLY_WORKER_URL": worker,
        "ALLY_WORKER_ACCOUNT": ACCOUNT,
        "ALLY_CLOUD_TASKS_HOST": address,
    }


@dataclass(order=True)
class Delivery:
    """A task that is to be delivered at a moment, in seconds since 1970."""

    at: float
    number: int
    task: Any = field(compare=False)
    attempts: int = field(compare=False, default=0)


class CloudTasks:
    """Keeps tasks in memory; each CreateTask gets the next of its `acts`."""

    def __init__(self) -> None:
        self.acts: Iterator[Act] = itertools.repeat("take")
        self.dawdles = 0.6
        """Seconds."""
        self.loopback = True
        """Whether a worker on this machine need not be asked over TLS."""
        self.tasks: dict[str, Any] = {}
        """All tasks that were ever made, by name: a name is used once."""
        self.asked = 0
        self.answers: list[int] = []
        """What deliveries were answered with; 0 is no answer."""
        self._numbers = itertools.count()
        self._waiting: list[Delivery] = []
        self._delivering = 0
        self._changed = threading.Condition()
        self._ended = False
        self._pool = ThreadPoolExecutor(16)
        self._server = grpc.server(ThreadPoolExecutor(8))
        handler = grpc.unary_unary_rpc_method_handler(
            self._create,
            request_deserializer=types.CreateTaskRequest.deserialize,
            response_serializer=types.Task.serialize,
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, {"CreateTask": handler}),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()
        self._thread = threading.Thread(target=self._dispatch)
        self._thread.start()

    def stop(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._thread.join()
        self._pool.shutdown()
        self._server.stop(None).wait()

    def idle(self) -> bool:
        """Tell whether nothing is being delivered, or is to be by now."""
        with self._changed:
            soon = [each for each in self._waiting if each.at <= time.time() + LONGEST_PAUSE]
            return not soon and not self._delivering

    def environment(self, worker: str) -> dict[str, str]:
        """Return the settings of who makes tasks here for a worker."""
        return settings(worker, self.address)

    # --- Making ----------------------------------------------------------------------------------

    def _create(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._changed:
            self.asked += 1
            act = next(self.acts)
        if act == "refuse":
            context.abort(grpc.StatusCode.UNAVAILABLE, "told to fail")
        if act == "dawdle":
            time.sleep(self.dawdles)
        task = request.task
        leaks.witness(task)
        self._check(request, context)
        with self._changed:
            if task.name in self.tasks:
                context.abort(grpc.StatusCode.ALREADY_EXISTS, "exists, or did an hour ago")
            self.tasks[task.name] = task
            times = {"lose": 0, "double": 2}.get(act, 1)
            for _ in range(times):
                self._wait(task, task.schedule_time.timestamp())
        if act == "lose the answer":
            context.abort(grpc.StatusCode.UNAVAILABLE, "told to lose it")
        return task

    def _check(self, request: Any, context: grpc.ServicerContext) -> None:
        task, asked = request.task, request.task.http_request
        named = re.fullmatch(re.escape(request.parent) + r"/tasks/[A-Za-z0-9_-]{1,500}", task.name)
        wrong = {
            "the queue is not ours": request.parent != QUEUE,
            "the name is no name in this queue": named is None,
            "the task is too large": len(types.Task.serialize(task)) > LARGEST,
            "the time is too far": task.schedule_time.timestamp() > time.time() + FURTHEST,
            "the address is not https": not asked.url.startswith("https://")
            and not (self.loopback and asked.url.startswith("http://127.0.0.1:")),
            "the token is for nobody": asked.oidc_token.service_account_email != ACCOUNT,
        }
        for reason, so in wrong.items():
            if so:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, reason)

    # --- Delivering ------------------------------------------------------------------------------

    def _wait(self, task: Any, at: float, attempts: int = 0) -> None:
        heapq.heappush(self._waiting, Delivery(at, next(self._numbers), task, attempts))
        self._changed.notify_all()

    def _dispatch(self) -> None:
        with self._changed:
            while not self._ended:
                now = time.time()
                while self._waiting and self._waiting[0].at <= now:
                    self._delivering += 1
                    self._pool.submit(self._deliver, heapq.heappop(self._waiting))
                pause = self._waiting[0].at - now if self._waiting else None
                self._changed.wait(pause)

    def _deliver(self, delivery: Delivery) -> None:
        asked = delivery.task.http_request
        token = asked.oidc_token
        queue, _, name = delivery.task.name.partition("/tasks/")
        try:
            answer = httpx.post(
                asked.url,
                content=asked.body,
                headers={
                    **asked.headers,
                    "Authorization": f"Bearer {token.service_account_email} for {token.audience}",
                    "X-CloudTasks-QueueName": queue.rpartition("/")[2],
                    "X-CloudTasks-TaskName": name,
                    "X-CloudTasks-TaskRetryCount": str(delivery.attempts),
                },
                timeout=30,
            ).status_code
        except httpx.HTTPError:
            answer = 0
        with self._changed:
            self._delivering -= 1
            self.answers.append(answer)
            if not 200 <= answer < 300:
                pause = min(LONGEST_PAUSE, 0.05 * 2**delivery.attempts)
                self._wait(delivery.task, time.time() + pause, delivery.attempts + 1)
            self._changed.notify_all()
