"""Usage of each partner: counted in memory, and written to the metrics from time to time.

What was counted is written as points (shared/backends/metrics.py). A request that finds the
interval elapsed starts a flush beside its own work; nothing runs between requests, for Cloud Run
takes the CPU away there. What a flush could not write for certain is unsure: it is written again
with the next one, from the same start and with what was counted meanwhile, so that it takes the
place of what may have arrived. docs/decisions/0021-metering.md says what is lost, and the price.
"""

import secrets
import time
from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from shared import clock
from shared.audit import Log
from shared.backends.metrics import (
    BOUNDS,
    REQUESTS,
    Metric,
    Metrics,
)

MOST_SERIES = 10_000
"""Series that are counted apart. What comes beyond them is counted as an organisation's `other`."""
OTHER = "other"


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
    """What was sent as points from `start` under `task`, and may have been kept or not."""

    tally: Tally
    start: datetime
    task: str


class Meter:
    """Counts, and writes what it counted.

    `interval` is how many seconds at least pass from the end of a flush to the next one.
    """

    def __init__(
        self,
        metrics: Metrics,
        log: Log,
        *,
        interval: float,
        now: clock.Clock = clock.now,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._metrics = metrics
        self._log = log
        self._interval = interval
        self._now = now
        self._timer = timer
        self._task = secrets.token_hex(8)
        self._counted: dict[_Key, Tally] = {}
        self._unsure: dict[_Key, _Unsure] = {}
        self._ended = datetime.fromtimestamp(0, UTC)
        """The end of the points that were made last."""

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
        key: _Key = (metric, labels)
        if key not in self._unsure and len(self._counted) + len(self._unsure) >= MOST_SERIES:
            key = (metric, (*labels[:2], *(OTHER for _ in labels[2:])))
        return self._counted.setdefault(key, Tally())
