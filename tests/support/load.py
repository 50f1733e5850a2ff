"""A random load on several servers, and what its clients counted of it themselves."""

import asyncio
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import httpx

from shared import ids
from shared.appointments import Appointment
from shared.clock import now
from shared.patients import Patient
from tests.support.serving import ADDRESS, PATIENT, POSTCODE, Json, Partner, Server, tomorrow

AT_ONCE = 12
"""Requests under way at the same time."""
BREATH = 1.0
"""Seconds between two requests of one sender, once all wait for a server to be restarted."""


class Counted(NamedTuple):
    """What the service is to count a request under."""

    organisation: str
    mode: str
    method: str
    route: str
    status: int


@dataclass
class Load:
    """Requests of partners to servers that restart, chosen by chance, and what became of them.

    `troubles` is called when a server is about to end, and when it is there again, with whether one
    is: for what else is to go wrong.
    """

    servers: Sequence[Server]
    partners: Sequence[Partner]
    chance: random.Random
    troubles: Callable[[bool], None] = lambda _: None
    counts: Counter[Counted] = field(default_factory=Counter)
    request_ids: set[str] = field(default_factory=set)
    restarts: int = 0
    unread: int = 0
    """Requests that a server which ended did not read."""

    def run(self, requests: int, restarts: int) -> None:
        """Send so many requests, and more until servers have been restarted so many times."""
        asyncio.run(self._run(requests, restarts))

    async def _run(self, requests: int, restarts: int) -> None:
        self._open = [
            httpx.AsyncClient(base_url=each.url, verify=each.tls()) for each in self.servers
        ]
        self._serving = set(range(len(self.servers)))
        self._left = requests
        self._least_restarts = restarts
        self._next_restart = 0
        self._reached = asyncio.Event()
        every = requests // (restarts + 1)
        async with asyncio.TaskGroup() as group:
            for _ in range(AT_ONCE):
                group.create_task(self._call())
            for number in range(restarts):
                self._next_restart = requests - every * (number + 1)
                self._reached.clear()
                await self._reached.wait()
                self.troubles(True)
                await self._restart(self.chance.randrange(len(self.servers)))
                self.troubles(False)
        for client in self._open:
            await client.aclose()

    async def _restart(self, number: int) -> None:
        """End a server in the middle of its requests, and start it again.

        It gets no new ones meanwhile: whether one that it did not answer was counted, who could
        say. Those that it has begun it finishes.
        """
        self._serving.discard(number)
        server = self.servers[number]
        assert await asyncio.to_thread(server.process.stop, 60, signal.SIGTERM) == 0
        await self._open[number].aclose()
        await asyncio.to_thread(server.start)
        self._open[number] = httpx.AsyncClient(base_url=server.url, verify=server.tls())
        self._serving.add(number)
        self.restarts += 1

    async def _call(self) -> None:
        while self._left > 0 or self.restarts < self._least_restarts:
            self._left -= 1
            if self._left <= self._next_restart:
                self._reached.set()
                await asyncio.sleep(BREATH)
            partner = self.chance.choice(self.partners)
            await self.chance.choice(ACTIONS)(self, partner)

    async def send(
        self, partner: Partner, method: str, path: str, route: str = "", body: Json | None = None
    ) -> Json:
        """Send one request to some server, and count it under the route's template.

        A server that ends may close a connection before it has read what came last on it. That was
        not answered, and so was not counted: it is sent again, to another.
        """
        while True:
            client = self._open[self.chance.choice(sorted(self._serving))]
            headers = {"Authorization": partner.key}
            try:
                answer = await client.request(method, path, json=body, headers=headers, timeout=30)
            except httpx.TransportError:
                self.unread += 1
                continue
            where = (partner.organisation.id, partner.mode)
            self.counts[Counted(*where, method, route or path, answer.status_code)] += 1
            self.request_ids.add(answer.headers["Request-Id"])
            told: Json = answer.json()
            return told


Action = Callable[[Load, Partner], Awaitable[object]]


async def _list_tasks(load: Load, partner: Partner) -> None:
    await load.send(partner, "GET", "/v1/tasks")


async def _make_patient(load: Load, partner: Partner) -> None:
    made = await load.send(partner, "POST", "/v1/patients", body=PATIENT)
    await load.send(partner, "GET", f"/v1/patients/{made['id']}", "/v1/patients/{patient}")


async def _read_nobody(load: Load, partner: Partner) -> None:
    nobody = ids.mint(Patient.prefix, now())
    await load.send(partner, "GET", f"/v1/patients/{nobody}", "/v1/patients/{patient}")


async def _make_half_a_patient(load: Load, partner: Partner) -> None:
    await load.send(partner, "POST", "/v1/patients", body={"firstName": "x"})


async def _cancel_nothing(load: Load, partner: Partner) -> None:
    nothing = ids.mint(Appointment.prefix, now())
    await load.send(
        partner,
        "POST",
        f"/v1/appointments/{nothing}/cancel",
        "/v1/appointments/{appointment}/cancel",
        {"cancellingEntity": "patient", "reasonCode": "other"},
    )


async def _ask_for_too_little(load: Load, partner: Partner) -> None:
    await load.send(partner, "POST", "/v1/appointments", body={"location": {"address": ADDRESS}})


async def _look_for_windows(load: Load, partner: Partner) -> None:
    tasks = await load.send(partner, "GET", "/v1/tasks")
    task = tasks["data"][0]["id"]
    query = f"taskId={task}&postcode={POSTCODE.replace(' ', '+')}&fromDate={tomorrow()}"
    await load.send(partner, "GET", f"/v1/availability?{query}", "/v1/availability")


ACTIONS: tuple[Action, ...] = (
    _list_tasks,
    _make_patient,
    _read_nobody,
    _make_half_a_patient,
    _cancel_nothing,
    _ask_for_too_little,
    _look_for_windows,
)
