"""What a process holds: settings, storage, queue, keys, mail, log, counts; opened when needed."""

import asyncio
import secrets
import signal
from dataclasses import dataclass
from types import FrameType

from shared import clock, starting
from shared.activity import Activity
from shared.audit import Log
from shared.auth import Keyring
from shared.backends import (
    Mailer,
    Queue,
    Secrets,
    Storage,
    open_mailer,
    open_metrics,
    open_passwords,
    open_queue,
    open_secrets,
    open_storage,
    open_tokens,
)
from shared.backends.metrics import Metrics
from shared.end_users import EndUsers
from shared.folding import Folder
from shared.limits import Limiter
from shared.memory import Lookups
from shared.metering import Meter
from shared.origins import Origins
from shared.passwords import Passwords
from shared.sessions import Sessions
from shared.settings import SettingError, Settings, load
from shared.throttles import Throttles


@dataclass(slots=True, eq=False, repr=False)
class Service:
    """Everything that a request needs beside itself."""

    settings: Settings
    storage: Storage
    queue: Queue
    mailer: Mailer
    secrets: Secrets
    keyring: Keyring
    end_users: EndUsers
    sessions: Sessions
    origins: Origins
    log: Log
    limiter: Limiter
    throttles: Throttles
    passwords: Passwords
    activity: Activity
    metrics: Metrics
    meter: Meter
    folder: Folder
    now: clock.Clock = clock.now

    async def close(self) -> None:
        """Finish what was begun."""
        await self.meter.close()
        await self.metrics.close()
        await self.queue.close()
        await self.storage.close()


async def open_service(settings: Settings) -> Service:
    """Open what the settings name. With that the process has started."""
    secret_store = open_secrets(settings)
    pepper = settings.pepper or await _kept_pepper(secret_store, settings)
    storage = open_storage(settings)
    metrics = open_metrics(settings)
    log = Log(settings.log)
    believe, lookups = settings.key_cache, settings.key_lookups
    keyring = Keyring(secret_store, storage, pepper, believe=believe, lookups=lookups)
    activity = Activity(storage, keyring.hash)
    opened = Service(
        settings=settings,
        storage=storage,
        queue=open_queue(settings),
        mailer=open_mailer(settings, secret_store),
        secrets=secret_store,
        keyring=keyring,
        end_users=EndUsers(
            open_tokens(settings, secret_store),
            storage,
            settings.firebase,
            hash=keyring.hash,
            believe=believe,
        ),
        sessions=Sessions(storage, keyring.hash, believe=believe),
        origins=Origins(storage, believe=believe, lookups=lookups),
        limiter=Limiter(
            storage,
            {"test": settings.rate_test, "live": settings.rate_live},
            end_user=settings.rate_end_user,
            seconds=settings.rate_window,
        ),
        throttles=Throttles(storage, keyring.hash, patience=settings.lock_timeout),
        passwords=open_passwords(settings, keyring.hash),
        activity=activity,
        log=log,
        metrics=metrics,
        meter=Meter(metrics, log, activity=activity, interval=settings.metering_interval),
        folder=Folder(storage, rate=settings.log_rate, patience=settings.lock_timeout),
    )
    starting.end()
    return opened


async def _kept_pepper(secret_store: Secrets, settings: Settings) -> bytes:
    """Return the pepper that is kept as a secret. The local backend makes it when it first runs."""
    pepper = await secret_store.read("pepper")
    if pepper is None and settings.backend == "google":
        raise SettingError(
            "Set ALLY_PEPPER, or make the secret `pepper`, which `make deploy` does."
        )
    if pepper is None:
        pepper = secrets.token_hex(32).encode()
        await secret_store.create("pepper", pepper)
    return pepper


_current: Service | None = None
_opening: Lookups[str, Service] = Lookups()


async def current() -> Service:
    """Return this process's service, opened from the environment at the first request.

    Requests that come together open one: what another would count, nobody would ever flush.
    """
    return _current or await _opening.find("", _open)


async def _open() -> Service:
    global _current  # noqa: PLW0603 - a process has one
    try:
        _current = await open_service(load())
        _close_before_the_end(_current)
    finally:  # also where the settings are wrong, and every request is told so
        starting.end()
    return _current


def _close_before_the_end(opened: Service) -> None:
    """Let SIGTERM first write what was counted, and only then do what it did before.

    The functions framework tells nobody that its process ends. Until it does, it serves.
    """
    earlier = signal.getsignal(signal.SIGTERM)
    loop = asyncio.get_running_loop()
    ending: list[asyncio.Task[None]] = []  # the loop alone would not keep the task

    async def close() -> None:
        try:
            await opened.meter.close()
        finally:
            signal.raise_signal(signal.SIGTERM)

    def end(number: int, frame: FrameType | None) -> None:
        signal.signal(number, earlier)  # a second one ends at once
        loop.call_soon_threadsafe(lambda: ending.append(loop.create_task(close())))

    signal.signal(signal.SIGTERM, end)


def use(service: Service | None) -> None:
    """Make a service this process's own: what the local server and the tests do."""
    global _current  # noqa: PLW0603 - a process has one
    _current = service
