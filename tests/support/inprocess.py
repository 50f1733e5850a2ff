"""The API in the test's own process, where its clock can be set and its storage watched."""

import asyncio
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx

from functions import discover, discover_portals
from shared import service as held
from shared.activity import Activity
from shared.api import application
from shared.auth import Keyring
from shared.backends import Document, Guard, Key, Query, Secrets, Storage, Write, open_tokens
from shared.backends.metrics import Measured, Metrics, Point, Reading
from shared.end_users import EndUsers
from shared.errors import ApiError
from shared.folding import Folder
from shared.limits import Limiter
from shared.metering import Meter
from shared.origins import Origins
from shared.service import Service
from shared.sessions import Sessions
from shared.settings import Mode
from shared.throttles import Throttles
from tests.support.conformity import conforming
from tests.support.serving import Backing, Json
from tests.support.stored import check_indexed, check_unindexed

APPLICATION = application(discover(), discover_portals())


@dataclass
class Watched:
    """A storage that counts what is asked of another, and fails when it is told to."""

    storage: Storage
    gets: list[int] = field(default_factory=list)
    queries: list[tuple[Query, int]] = field(default_factory=list)
    commits: list[int] = field(default_factory=list)
    writes: list[Write] = field(default_factory=list)
    """What all of these commits wrote and demanded."""
    failing: dict[str, Exception] = field(default_factory=dict)
    declared: bool = True
    """Whether all that is asked and written must be in infra/: not the kinds that tests make up."""
    rival: Sequence[Write] = ()
    """What somebody else, who is faster, writes before the next commit."""

    async def get(self, keys: Sequence[Key]) -> list[Document | None]:
        self._fail("get")
        self.gets.append(len(keys))
        return await self.storage.get(keys)

    async def query(self, query: Query) -> list[Document]:
        self._fail("query")
        if self.declared:
            check_indexed(query)
        documents = await self.storage.query(query)
        self.queries.append((query, len(documents)))
        return documents

    async def commit(self, writes: Sequence[Write], marker: Key) -> None:
        self._fail("commit")
        for write in writes if self.declared else ():
            check_unindexed(write.key.collection)
        rival, self.rival = self.rival, ()
        if rival:
            await self.storage.commit(rival, rival[0].key)
        self.commits.append(sum(not isinstance(write, Guard) for write in writes))
        self.writes += writes
        await self.storage.commit(writes, marker)

    async def close(self) -> None:
        await self.storage.close()

    def _fail(self, verb: str) -> None:
        if verb in self.failing:
            raise self.failing[verb]

    def forget(self) -> None:
        self.gets.clear()
        self.queries.clear()
        self.commits.clear()
        self.writes.clear()


@dataclass
class WatchedSecrets:
    """Secrets that count the look-ups in another's."""

    secrets: Secrets
    reads: int = 0

    async def read(self, name: str) -> bytes | None:
        self.reads += 1
        return await self.secrets.read(name)

    async def create(self, name: str, value: bytes) -> None:
        await self.secrets.create(name, value)


@dataclass
class WatchedMetrics:
    """Metrics that remember what was read of another's."""

    metrics: Metrics
    readings: list[Reading] = field(default_factory=list)
    series: int = 0
    """Groups that were read, each of which Cloud Monitoring would bill as a series."""
    failing: Exception | None = None

    @property
    def delay(self) -> timedelta:
        return self.metrics.delay

    async def read(self, reading: Reading) -> list[Measured]:
        if self.failing is not None:
            raise self.failing
        self.readings.append(reading)
        found = await self.metrics.read(reading)
        self.series += len({each.group for each in found})
        return found

    async def organisations(self, start: datetime, end: datetime) -> list[str]:
        return await self.metrics.organisations(start, end)

    async def write(self, task: str, points: Sequence[Point]) -> None:
        await self.metrics.write(task, points)

    async def close(self) -> None:
        await self.metrics.close()

    def forget(self) -> None:
        self.readings.clear()
        self.series = 0


class InProcess:
    """A caller of the application in this process, on a backing, at a time of the test's choice."""

    def __init__(self, backing: Backing, key: object, **settings: Any) -> None:
        """Make an instance that has heard of no key yet; `settings` replace the backing's."""
        self._backing = backing
        self.key = key
        self.elapsed = 0.0
        """Seconds that have passed on the clock by which keys are remembered."""
        self.at: datetime | None = None

        async def opened(service: Service) -> Service:
            return service

        theirs = backing.run(opened)
        chosen = replace(theirs.settings, **settings)
        self.watched = Watched(theirs.storage)
        self.secrets = WatchedSecrets(theirs.secrets)
        self.metrics = WatchedMetrics(theirs.metrics)
        self.keyring = Keyring(
            self.secrets,
            self.watched,
            chosen.pepper,
            believe=chosen.key_cache,
            lookups=chosen.key_lookups,
            timer=lambda: self.elapsed,
        )
        self.keyring._pepper = theirs.keyring._pepper
        self.end_users = EndUsers(
            open_tokens(chosen, theirs.secrets),
            self.watched,
            chosen.firebase,
            hash=self.keyring.hash,
            believe=chosen.key_cache,
            timer=lambda: self.elapsed,
        )
        self.activity = Activity(self.watched, self.keyring.hash)
        self.meter = Meter(theirs.metrics, theirs.log, activity=self.activity, interval=math.inf)
        quotas: dict[Mode, int] = {"test": chosen.rate_test, "live": chosen.rate_live}
        self._service = replace(
            theirs,
            settings=chosen,
            storage=self.watched,
            secrets=self.secrets,
            metrics=self.metrics,
            keyring=self.keyring,
            end_users=self.end_users,
            sessions=Sessions(
                self.watched,
                self.keyring.hash,
                believe=chosen.key_cache,
                timer=lambda: self.elapsed,
            ),
            origins=Origins(
                self.watched,
                believe=chosen.key_cache,
                lookups=chosen.key_lookups,
                timer=lambda: self.elapsed,
            ),
            limiter=Limiter(
                self.watched,
                quotas,
                end_user=chosen.rate_end_user,
                seconds=chosen.rate_window,
            ),
            throttles=Throttles(self.watched, self.keyring.hash, patience=chosen.lock_timeout),
            activity=self.activity,
            folder=Folder(self.watched, rate=chosen.log_rate, patience=chosen.lock_timeout),
            meter=self.meter,
        )

    def fail(self, verb: str, error: Exception | None) -> None:
        """Make a verb of storage fail from now on, or work again."""
        self.call("GET", "/v1/tasks", 200)  # the key is known from here on
        self.watched.failing = {} if error is None else {verb: error}

    def push(self, messages: Iterable[Json]) -> list[int]:
        """Push messages to the worker, all at once, and return what each is answered with."""

        async def act(_: Service) -> list[int]:
            with self._served():
                async with _client() as client:
                    posts = (client.post("/worker/lines", json=each) for each in messages)
                    return [answer.status_code for answer in await asyncio.gather(*posts)]

        return self._backing.run(act)

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def act(_: Service) -> httpx.Response:
            with self._served():
                async with _client() as client:
                    headers = httpx.Headers(options.pop("headers", {}))
                    if not options.pop("anonymous", False):
                        headers.setdefault("Authorization", str(self.key))
                    return conforming(
                        await client.request(method, path, headers=headers, **options)
                    )

        return self._backing.run(act)

    def portal(self, name: str) -> str:
        """Return where a portal is found."""
        return str(getattr(self._service.settings, f"{name}_url"))

    def open(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request of a browser, whose answer is a page."""

        async def act(_: Service) -> httpx.Response:
            with self._served():
                async with _client() as client:
                    return await client.request(method, path, **options)

        return self._backing.run(act)

    def authenticate(self, keys: Iterable[object]) -> list[str]:
        """Show keys to the keyring, all at once, and return the code of each refusal or nothing."""

        async def attempt(key: object) -> str:
            try:
                await self.keyring.authenticate(str(key))
            except ApiError as refusal:
                return refusal.code
            return ""

        async def act(_: Service) -> list[str]:
            return await asyncio.gather(*map(attempt, keys))

        return self._backing.run(act)

    def registered(self, origins: Sequence[str]) -> list[bool]:
        """Ask for origins, all at once, whether they are registered."""

        async def act(_: Service) -> list[bool]:
            return await asyncio.gather(*map(self._service.origins.registered, origins))

        return self._backing.run(act)

    def call(self, method: str, path: str, status: int = 200, **options: Any) -> Json:
        answer = self.send(method, path, **options)
        assert answer.status_code == status, answer.text
        body: Json = answer.json()
        return body

    @contextmanager
    def _served(self) -> Iterator[None]:
        at = self.at
        now = self._service.now if at is None else lambda: at
        held.use(replace(self._service, now=now))
        try:
            yield
        finally:
            held.use(None)


def _client() -> httpx.AsyncClient:
    transport = httpx.ASGITransport(APPLICATION)
    return httpx.AsyncClient(transport=transport, base_url="https://api.ally.test")
