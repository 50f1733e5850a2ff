"""A meter on a wire to Cloud Monitoring that fails when it is told to, in virtual time."""

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import grpc
import grpc.aio
from google.cloud.monitoring_v3 import types

from shared.activity import Activity
from shared.audit import Log
from shared.backends import Storage
from shared.backends.google.monitoring import CloudMetrics, _Client
from shared.backends.metrics import (
    BOUNDS,
    REQUESTS,
    Distribution,
)
from shared.metering import (
    Meter,
    Series,
)
from tests.support.monitoring import Fault
from tests.support.time_series import Points, RefusedError

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
INTERVAL = 10.0


def now() -> datetime:
    return NOON + timedelta(seconds=timer())


def timer() -> float:
    return asyncio.get_running_loop().time()


def took(*milliseconds: float) -> Distribution:
    counts = [0] * (len(BOUNDS) + 1)
    for each in milliseconds:
        counts[sum(bound <= each for bound in BOUNDS)] += 1
    return Distribution(len(milliseconds), sum(milliseconds), tuple(counts))


async def broken(task: str, points: Any) -> None:
    raise TypeError("a fault of this program")


class Wire(CloudMetrics):
    """The real backend, with what it sends handed over in this process, in virtual time."""

    def __init__(self) -> None:
        super().__init__("tested", "ally", call_timeout=5)
        self.points = Points(now)
        self.calls: list[float] = []
        """When each call was made."""
        self.sent: list[Any] = []
        self.faults: list[Fault | None] = []
        """How the next calls fail, or that they do not; then none does."""

    async def _open(self) -> _Client:
        return _Client(types, None, self._create, None)

    async def _create(self, request: Any, timeout: float) -> None:  # noqa: ASYNC109 - as of grpc
        self.calls.append(timer())
        self.sent.append(request)
        fault = self.faults.pop(0) if self.faults else None
        code = fault.code if fault else None
        if fault is not None:
            if fault.delay >= timeout:
                code = grpc.StatusCode.DEADLINE_EXCEEDED
            await asyncio.sleep(min(fault.delay, timeout))
            part = type(request)()
            part.CopyFrom(request)
            del part.time_series[round(len(part.time_series) * fault.done) :]
            request = part
        try:
            if request.time_series:
                self.points.create(request)
        except RefusedError:
            code = grpc.StatusCode.INVALID_ARGUMENT
        if code not in (None, grpc.StatusCode.OK):
            raise grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata())


class Lines(Log):
    """A log that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[tuple[str, dict[str, Any]]] = []

    def write(self, at: datetime, kind: str, facts: dict[str, Any]) -> None:
        self.written.append((kind, facts))


class Metered:
    """A meter on the wire, and what it was given to count."""

    def __init__(self) -> None:
        self.wire = Wire()
        self.log = Lines()
        nobody = Activity(cast("Storage", None), str)  # nobody is active here, so nothing is stored
        self.meter = Meter(
            self.wire, self.log, activity=nobody, interval=INTERVAL, now=now, timer=timer
        )
        self.counted: Counter[tuple[str, ...]] = Counter()

    def count(self, route: str = "/v1/patients", times: int = 1, **changed: str) -> None:
        series = Series(
            **{
                "organisation": "org_a",
                "mode": "test",
                "method": "GET",
                "route": route,
                "status": "200",
                "code": "",
                "key": "key_a",
                "version": "2026-11-22",
                **changed,
            }
        )
        for _ in range(times):
            self.meter.count(series, 0.02, 10, 200)
        self.counted[tuple(series)] += times

    async def request(self, route: str = "/v1/patients", seconds: float = 0.0) -> float:
        """Go through the meter as a request does; return how long it waited for a flush."""
        flush = self.meter.enter()
        await asyncio.sleep(seconds)
        self.count(route)
        began = timer()
        await self.meter.leave(flush)
        return timer() - began

    def kept(self, metric: str = "requests") -> Counter[tuple[str, ...]]:
        return self.wire.points.totals(metric, *REQUESTS.labels)

    def check(self) -> None:
        """Insist that all is kept once, and that nothing was refused."""
        assert self.kept() == self.kept("latencies") == self.counted
        for metric, each in (("bytes_in", 10), ("bytes_out", 200)):
            assert self.kept(metric) == {key: each * n for key, n in self.counted.items()}
        assert self.wire.points.refusals == []


HANGING = Fault(delay=3600)
"""A call that is not answered while anybody waits for it."""
LOST = Fault(done=1)
"""A call that took effect, and failed for all that its sender knows."""
FAILED = Fault()
FROZEN = Fault(done=1, delay=3600)
"""A call whose process has no CPU before its time is over: it arrives, and its answer does not."""
