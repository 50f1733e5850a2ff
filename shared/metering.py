"""Usage of each partner: counted in memory, and written to the metrics from time to time.

What was counted is written as points (shared/backends/metrics.py). A request that finds the
interval elapsed starts a flush beside its own work; nothing runs between requests, for Cloud Run
takes the CPU away there. What a flush could not write for certain is unsure: it is written again
with the next one, from the same start and with what was counted meanwhile, so that it takes the
place of what may have arrived. docs/decisions/0021-metering.md says what is lost, and the price.
"""

import asyncio
import contextlib
import math
import secrets
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared import clock
from shared.activity import Activity
from shared.audit import Log
from shared.backends import BackendError
from shared.backends.metrics import (
    BOUNDS,
    BYTES_IN,
    BYTES_OUT,
    LATENCIES,
    MOST_POINTS,
    REQUESTS,
    Distribution,
    Metric,
    Metrics,
    Point,
)

MOST_SERIES = 10_000
"""Series that are counted apart. What comes beyond them is counted as an organisation's `other`."""
MOST_OF_ONE = 1000
"""Of these, those of one organisation in one mode: nobody takes the places of the others."""
OTHER = "other"
KEYS_OF_A_CALL = MOST_POINTS // 4
"""What is counted of a request makes four points at most."""
MOST_CALLS = 4
"""Calls of one flush that are made at the same time."""
PATIENCE = 0.05
"""Seconds for which a request waits for the flush that it began."""
SPACING = 5.2
"""Seconds between two points of a series at the end: Cloud Monitoring's limit, and a bit more."""
LONGEST_SPAN = timedelta(seconds=1)
"""How long the span of a point is at most, before anything goes wrong. It ends when the point is
written, and lies within a minute: what reads it spreads it over its span, and every step of a
reading is of whole minutes."""
LONGEST_LAST = 3.0
"""Seconds that a request waits, at the end of the process, for what it was counted under."""
LONGEST_END = 9.0
"""Seconds that the last flushes take at most: Cloud Run ends a process 10 s after it said so."""
_MILLISECOND = timedelta(milliseconds=1)


class Series(NamedTuple):
    """What a request is counted under, in the order of the labels of REQUESTS."""

    organisation: str
    mode: str
    method: str
    route: str
    status: str
    code: str
    key: str
    version: str


@dataclass(slots=True)
class Tally:
    """What was counted of one series: how often, how long in milliseconds, and bytes of bodies."""

    count: int = 0
    total: float = 0.0
    buckets: list[int] = field(default_factory=lambda: [0] * (len(BOUNDS) + 1))
    bytes_in: int = 0
    bytes_out: int = 0

    def merge(self, later: "Tally") -> None:
        """Add what was counted later."""
        self.count += later.count
        self.total += later.total
        self.buckets = [a + b for a, b in zip(self.buckets, later.buckets, strict=True)]
        self.bytes_in += later.bytes_in
        self.bytes_out += later.bytes_out


_Key = tuple[Metric, tuple[str, ...]]
"""What is counted: a metric and its labels. All that is counted of a request is under REQUESTS."""


@dataclass(slots=True)
class _Unsure:
    """What was sent as points from `start`, and may have been kept or not."""

    tally: Tally
    start: datetime


class _Ledger:
    """What is written under the name of one task, and of which of it nobody knows the outcome."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._task = secrets.token_hex(8)
        self.unsure: dict[_Key, _Unsure] = {}
        self.tried = -math.inf
        """When the last write ended."""

    async def write(
        self, counted: Mapping[_Key, Tally], start: datetime, end: datetime
    ) -> Exception | None:
        """Write what was counted, and again what is unsure; return what went wrong, if anything.

        All of it is unsure until it is known to be kept. One write at a time.
        """
        for key, tally in counted.items():
            held = self.unsure.get(key)
            if held is None:
                self.unsure[key] = _Unsure(tally, start)
            else:
                held.tally.merge(tally)
        keys = list(self.unsure)
        at_once = asyncio.Semaphore(MOST_CALLS)
        calls = [
            self._call(keys[first : first + KEYS_OF_A_CALL], end, at_once)
            for first in range(0, len(keys), KEYS_OF_A_CALL)
        ]
        return next(filter(None, await asyncio.gather(*calls)), None)

    async def _call(
        self, keys: Sequence[_Key], end: datetime, at_once: asyncio.Semaphore
    ) -> Exception | None:
        async with at_once:
            points = [point for key in keys for point in _points(key, self.unsure[key], end)]
            try:
                await self._metrics.write(self._task, points)
            except Exception as error:  # whatever it is, what was counted is not forgotten
                return error
        for key in keys:
            del self.unsure[key]
        return None


class Meter:
    """Counts, and writes what it counted.

    `interval` is how many seconds at least pass from the end of a flush to the next one. `activity`
    is flushed with it.
    """

    def __init__(
        self,
        metrics: Metrics,
        log: Log,
        *,
        activity: Activity,
        interval: float,
        now: clock.Clock = clock.now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._log = log
        self._activity = activity
        self._interval = interval
        self._now = now
        self._timer = timer
        self._counted: dict[_Key, Tally] = {}
        self._begun = Counter[tuple[str, ...]]()
        """How many series each organisation has in each mode, of what is counted or unsure."""
        self._ledger = _Ledger(metrics)
        self._ledgers = [self._ledger]
        """Its ledger, and those of its last flushes once they have ended."""
        self._flush: asyncio.Task[None] | None = None
        self._due = timer() + interval
        self._written = datetime.fromtimestamp(0, UTC)
        """The end of the last points that were made."""
        self._closing = False
        self._lasts: list[asyncio.Task[None]] = []
        """What requests write that end when the process does."""

    # --- Counting --------------------------------------------------------------------------------

    def count(self, series: Series, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """Count one request: how long it took, and the bytes of both bodies."""
        tally = self._counted.get((REQUESTS, series)) or self._begin(REQUESTS, series)
        milliseconds = seconds * 1000
        tally.count += 1
        tally.total += milliseconds
        tally.buckets[bisect_right(BOUNDS, milliseconds)] += 1
        tally.bytes_in += bytes_in
        tally.bytes_out += bytes_out

    def add(self, metric: Metric, labels: tuple[str, ...], number: int = 1) -> None:
        """Count something that is no request, under the labels of its metric, in their order."""
        tally = self._counted.get((metric, labels)) or self._begin(metric, labels)
        tally.count += number

    def observe(self, metric: Metric, labels: tuple[str, ...], milliseconds: float) -> None:
        """Count how long something took that is no request."""
        tally = self._counted.get((metric, labels)) or self._begin(metric, labels)
        tally.count += 1
        tally.total += milliseconds
        tally.buckets[bisect_right(BOUNDS, milliseconds)] += 1

    def _begin(self, metric: Metric, labels: tuple[str, ...]) -> Tally:
        """Begin a series. Where there are too many, it is all that an organisation has besides."""
        key: _Key = (metric, labels)
        unsure = self._ledger.unsure
        if key not in unsure:
            series = len(self._counted) + len(unsure)
            if series >= MOST_SERIES or self._begun[labels[:2]] >= MOST_OF_ONE:
                key = (metric, (*labels[:2], *(OTHER for _ in labels[2:])))
            self._begun[labels[:2]] += 1
        return self._counted.setdefault(key, Tally())

    # --- Writing ---------------------------------------------------------------------------------

    def enter(self) -> "asyncio.Task[None] | None":
        """Begin a flush beside a request if one is due, and return it."""
        if self._timer() < self._due or self._closing:
            return None
        self._due = math.inf  # until it is done: there is one at a time
        self._flush = asyncio.create_task(self._write_due())
        return self._flush

    async def leave(self, flush: "asyncio.Task[None] | None") -> None:
        """Let a request wait for the flush that it began, for 50 ms at most, before its answer.

        Beyond that the flush goes on while there are requests, and else when the next one comes.
        When the process is about to end, each request writes what it was counted under itself, and
        waits for that no longer than its caller and Cloud Run bear.
        """
        if self._closing:
            last = asyncio.create_task(self._write_last())
            self._lasts.append(last)
            await asyncio.wait((last,), timeout=LONGEST_LAST)
        elif flush is not None:
            await asyncio.wait((flush,), timeout=PATIENCE)

    async def close(self) -> None:
        """Write all that was counted, and once more what is unsure, within LONGEST_END.

        What was never sent goes at once, under a task of its own, so that it is no second point of
        a series too soon. What is unsure goes as it was sent, under the task that sent it, once
        that may take another point: so it counts once, whether or not it had arrived.
        """
        self._closing = True
        try:
            async with asyncio.timeout(LONGEST_END):
                await asyncio.gather(self._write_last(), *filter(None, [self._flush]))
                for ledger in self._ledgers:  # requests that end meanwhile may add to them
                    if ledger.unsure:
                        await asyncio.sleep(ledger.tried + SPACING - self._timer())
                        await self._write(ledger, {})
                await self._write_last()
        except TimeoutError as error:
            unsure = sum(len(ledger.unsure) for ledger in self._ledgers)
            self._report(error, unsure + len(self._counted))

    async def _write_last(self) -> None:
        """Write what was counted, and who was active, when the process is about to end."""
        await asyncio.gather(self._write_apart(), self._flush_activity())

    async def _write_apart(self) -> None:
        """Write what was counted under a task of its own."""
        if self._counted:
            ledger = _Ledger(self._metrics)
            try:
                await self._write(ledger, self._take())
            finally:
                self._ledgers.append(ledger)

    async def _write_due(self) -> None:
        try:
            await asyncio.gather(self._write(self._ledger, self._take()), self._flush_activity())
        finally:
            self._due = self._timer() + self._interval

    def _take(self) -> dict[_Key, Tally]:
        counted, self._counted = self._counted, {}
        self._begun = Counter(labels[:2] for _, labels in self._ledger.unsure)
        return counted

    async def _write(self, ledger: _Ledger, counted: Mapping[_Key, Tally]) -> None:
        """Write with the next span of time, and tell of what went wrong."""
        end = max(self._now(), self._written + 2 * _MILLISECOND)
        minute = (end - _MILLISECOND).replace(second=0, microsecond=0)
        start = max(self._written + _MILLISECOND, end - LONGEST_SPAN, minute)
        self._written = end
        try:
            trouble = await ledger.write(counted, start, end)
        finally:
            ledger.tried = self._timer()
        if trouble is not None:
            self._report(trouble, len(ledger.unsure))

    async def _flush_activity(self) -> None:
        try:
            await self._activity.flush(self._now())
        except Exception as error:  # what was counted is kept by the next flush
            self._report(error, 0)

    def _report(self, trouble: Exception, unsure: int) -> None:
        """Write a line, for an alarm: so many series may not be in the metrics, or not yet."""
        facts = {"severity": "WARNING", "type": type(trouble).__name__, "unsure": unsure}
        if isinstance(trouble, BackendError):
            facts["message"] = str(trouble)
        with contextlib.suppress(OSError):  # no request is answered then, and each says so
            self._log.write(self._now(), "metering", facts)


def _points(key: _Key, unsure: _Unsure, end: datetime) -> Iterator[Point]:
    """Yield the points of what was counted of something. Nothing is written of what is zero."""
    metric, labels = key
    tally = unsure.tally
    times = Distribution(tally.count, tally.total, tuple(tally.buckets))
    values: dict[Metric, int | Distribution] = {
        metric: times if metric.distribution else tally.count
    }
    if metric is REQUESTS:
        values |= {LATENCIES: times, BYTES_IN: tally.bytes_in, BYTES_OUT: tally.bytes_out}
    for each, value in values.items():
        if value:
            yield Point(each, labels, unsure.start, end, value)
