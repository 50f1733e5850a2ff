"""The port of metrics: what is counted, and where counts are kept and read.

What is kept is a point: how much was counted under some labels from `start` to `end`. A point whose
outcome was unknown is followed by one of the same labels and `start`, a later `end`, and all that
was counted since; it takes the place of the first. So nothing is counted twice and nothing is lost,
whether or not the first arrived. (Cloud Monitoring calls such points CUMULATIVE.)
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import accumulate
from math import ceil
from operator import add, sub
from typing import NamedTuple, Protocol

from shared.settings import Mode

MOST_POINTS = 200
"""Points of one `write`, at most: Cloud Monitoring's limit."""
GROWTH = 1.25
BUCKETS = 50
BOUNDS = tuple(GROWTH**power for power in range(BUCKETS + 1))
"""Milliseconds that part the buckets of a distribution: from 1 ms to 70 s, each a quarter more, so
what is read of a distribution is right to within an eighth. Below and above them is one more each:
the buckets are those of Cloud Monitoring's `exponential_buckets` with 50 finite ones, a growth
factor of 1.25 and a scale of 1."""


class Metric(NamedTuple):
    """Something that is counted, and the labels that it is counted under.

    All labels are bounded words: never a path, a person or the id of a request.
    """

    name: str
    labels: tuple[str, ...]
    distribution: bool = False
    """Whether it is a distribution, of milliseconds, and no mere sum."""
    unit: str = "1"
    """What is counted, in UCUM, as Cloud Monitoring takes it."""


_REQUEST = ("organisation", "mode", "method", "route", "status", "code", "key", "version")
_FRONT_END = ("organisation", "mode", "kind", "name")

REQUESTS = Metric("requests", _REQUEST)
LATENCIES = Metric("latencies", _REQUEST, distribution=True, unit="ms")
BYTES_IN = Metric("bytes_in", _REQUEST, unit="By")
BYTES_OUT = Metric("bytes_out", _REQUEST, unit="By")
FRONT_END_EVENTS = Metric("front_end_events", _FRONT_END)
FRONT_END_TIMINGS = Metric("front_end_timings", _FRONT_END, distribution=True, unit="ms")
METRICS = (REQUESTS, LATENCIES, BYTES_IN, BYTES_OUT, FRONT_END_EVENTS, FRONT_END_TIMINGS)
"""All of them, each under `custom.googleapis.com/ally/` in Cloud Monitoring."""


@dataclass(frozen=True, slots=True)
class Distribution:
    """How often something took how long."""

    count: int
    total: float
    """The sum of all, in milliseconds."""
    buckets: tuple[int, ...]
    """How many were less than the first of BOUNDS, less than the second, …, and the rest."""

    def __add__(self, other: "Distribution") -> "Distribution":
        buckets = tuple(map(add, self.buckets, other.buckets))  # both have as many
        return Distribution(self.count + other.count, self.total + other.total, buckets)

    def __sub__(self, part: "Distribution") -> "Distribution":
        """Return what is left without a part of it."""
        buckets = tuple(map(sub, self.buckets, part.buckets))
        return Distribution(self.count - part.count, self.total - part.total, buckets)

    def percentile(self, percent: int) -> float | None:
        """Return the milliseconds that at least so many in a hundred did not exceed.

        It is the middle of the bucket that the one of that rank is in: right to within an eighth
        from 1 ms to 70 s, and to within half a millisecond below. Above, it is the 70 s.
        """
        seen = list(accumulate(self.buckets))
        if not seen[-1]:
            return None
        rank = ceil(seen[-1] * percent / 100)  # the sum: what is interpolated may differ from count
        at = bisect_left(seen, rank)
        low = BOUNDS[at - 1] if at else 0.0
        high = BOUNDS[at] if at < len(BOUNDS) else low
        return (low + high) / 2


NOTHING = Distribution(0, 0.0, (0,) * (BUCKETS + 2))
"""That of what never happened."""


class Point(NamedTuple):
    """What was counted under some labels, which are in the order of the metric's."""

    metric: Metric
    labels: tuple[str, ...]
    start: datetime
    end: datetime
    value: int | Distribution


@dataclass(frozen=True, slots=True)
class Reading:
    """Counts of one organisation, in steps of time, the first of which begins at `start`.

    `by` are the labels that they are grouped by, and `where` says of some labels what they must be
    one of. A point belongs to the step in which it ends, also where that is at its very end.
    """

    metric: Metric
    organisation: str
    modes: tuple[Mode, ...]
    start: datetime
    end: datetime
    step: timedelta
    by: tuple[str, ...] = ()
    where: tuple[tuple[str, tuple[str, ...]], ...] = ()

    def __post_init__(self) -> None:
        """Refuse labels that the metric has not."""
        for label in (*self.by, *(label for label, _ in self.where)):
            if label not in self.metric.labels:
                raise ValueError(f"{self.metric.name} has no label {label}")


class Measured(NamedTuple):
    """What was counted in one step of a reading, in one group: the values of its labels."""

    group: tuple[str, ...]
    at: datetime
    """The beginning of the step."""
    value: int | Distribution


class Metrics(Protocol):
    """Where counts are kept."""

    @property
    def delay(self) -> timedelta:
        """How long it takes, at most, until what was written can be read."""

    async def write(self, task: str, points: Sequence[Point]) -> None:
        """Keep at most MOST_POINTS points, no two of the same metric and labels.

        `task` names who counted them: nobody else ever writes under it. Raises BackendError where
        some of them may not be kept: then nobody knows which.
        """

    async def read(self, reading: Reading) -> list[Measured]:
        """Read counts; steps in which there is nothing are left out. Raises UnavailableError."""

    async def organisations(self, start: datetime, end: datetime) -> list[str]:
        """Return of whom anything was counted in a range of time. Raises UnavailableError."""

    async def close(self) -> None:
        """Finish what was begun and let go of files and connections."""
