"""Jobs in the test's own process: a clock that stands still, a queue that only notes."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from shared import clock, running
from shared.backends import OURS, Document, Key, Query, Ticket
from shared.jobs import Job, Kind
from shared.models import Model
from shared.provision import open_store
from shared.running import Outcome, Swept
from shared.service import Service, open_service
from shared.settings import Mode, Space, load
from tests.support.inprocess import Watched
from tests.support.lines import lines_in
from tests.support.serving import Json

T = TypeVar("T")
P = TypeVar("P", bound=Model)


@dataclass
class Noted:
    """A queue that keeps tickets, or fails when it is told to."""

    tickets: list[Ticket] = field(default_factory=list)
    failing: Exception | None = None
    hanging: bool = False

    async def enqueue(self, ticket: Ticket) -> None:
        if self.failing is not None:
            raise self.failing
        if self.hanging:
            await asyncio.Event().wait()
        self.tickets.append(ticket)

    async def close(self) -> None:
        """Nothing was begun."""


class Yard:
    """A service of its own, and nobody else who does its jobs."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._runner = asyncio.Runner()
        self.log = Path(environment["ALLY_LOG"])
        self.now = clock.now().replace(microsecond=0)
        self.queue = Noted()
        opened = self._runner.run(_open(environment))
        self._opened = opened
        self.watched = Watched(opened.storage, declared=False)
        self.service = replace(opened, storage=self.watched, queue=self.queue, now=lambda: self.now)

    def close(self) -> None:
        self._runner.run(self._opened.close())
        self._runner.close()

    def do(self, action: Callable[[Service], Awaitable[T]]) -> T:
        async def act() -> T:
            return await action(self.service)

        return self._runner.run(act())

    def stage(
        self,
        kind: Kind[P],
        payload: P,
        *,
        organisation: str = "org_a",
        mode: Mode = "test",
        account: bool = False,
        after: timedelta = timedelta(),
    ) -> Ticket:
        """Have a job made, and return the ticket that would be queued."""

        async def act(service: Service) -> Ticket:
            store = open_store(service, mode, organisation, at=self.now, account=account)
            store.later(kind, payload, after=after)
            await store.commit()
            (ticket,) = store.tickets
            return ticket

        return self.do(act)

    def run(self, ticket: Ticket) -> str:
        outcome: Outcome = self.do(lambda held: running.run(held, ticket.space, ticket.job))
        return outcome.outcome

    def sweep(self) -> Swept:
        return self.do(running.sweep)

    def revive(self, ticket: Ticket) -> str:
        return self.do(lambda held: running.revive(held, ticket.space, ticket.job)).outcome

    def pass_time(self, **amount: float) -> None:
        self.now += timedelta(**amount)

    def documents(
        self, collection: str, space: Space = "test", owner: str = OURS
    ) -> list[Document]:
        query = Query(space, owner, collection, 1000)
        return self.do(lambda held: held.storage.query(query))

    def stored(self, ticket: Ticket, kind: type[Job] = Job) -> Document | None:
        key = Key(ticket.space, OURS, kind.collection, ticket.job)
        (document,) = self.do(lambda held: held.storage.get([key]))
        return document

    def job(self, ticket: Ticket, kind: type[Job] = Job) -> Job | None:
        document = self.stored(ticket, kind)
        return None if document is None else kind.load(document.data)

    def lines(self, kind: str = "job") -> list[Json]:
        """Return the lines that were written of jobs, or of another kind."""
        return lines_in(self.log, kind)


async def _open(environment: dict[str, str]) -> Service:
    return await open_service(load(environment))
