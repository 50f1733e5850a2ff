"""What metering costs a request: CPU time of counting it, and its share of a flush."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

from shared.activity import Activity
from shared.audit import Log
from shared.backends import Storage
from shared.backends.google.monitoring import CloudMetrics, _Client
from shared.exchange import VERSION
from shared.metering import Meter, Series
from tests.bench.functions import Function, request_bytes
from tests.bench.measure import Pair
from tests.bench.requests import a_partner, local_environment, serving

SERIES = 30
A_FLUSH = 1_000
"""Requests between two flushes: those of a minute, of an instance with little to do."""


class Unsent(CloudMetrics):
    """Cloud Monitoring up to the bytes that would be sent."""

    async def _open(self) -> _Client:
        from google.cloud.monitoring_v3 import types

        return _Client(types, None, self._create, None)

    async def _create(self, request: Any, timeout: float) -> None:  # noqa: ASYNC109 - as of grpc
        request.SerializeToString()


@contextmanager
def a_count(folder: Path) -> Iterator[Pair]:
    """Take a request through the meter, and get a patient."""
    environment = local_environment(folder)
    partner = a_partner(environment)
    request = request_bytes("GET", f"/v1/patients/{partner.patients[0]}", partner.key)
    with closing(Function.patients(folder, environment)) as ours, asyncio.Runner() as runner:
        yield lambda count: runner.run(meter(count, folder)), serving(ours, request)


async def meter(count: int, folder: Path) -> float:
    """Meter so many requests, the flushes included; return the CPU seconds of this process."""
    passed = 0.0
    log = Log(str(folder / "metering.jsonl"))
    nobody = Activity(cast("Storage", None), str)  # who is active is not measured
    meter = Meter(
        Unsent("bench", "ally", call_timeout=1),
        log,
        activity=nobody,
        interval=A_FLUSH,
        timer=lambda: passed,
    )
    began = time.process_time()
    for number in range(count):
        passed += 1
        flush = meter.enter()
        route = f"/v1/{number % SERIES}"
        meter.count(
            Series("org_1", "test", "GET", route, "200", "", "key_1", VERSION), 0.01, 0, 900
        )
        await meter.leave(flush)
    await meter.close()
    return time.process_time() - began
