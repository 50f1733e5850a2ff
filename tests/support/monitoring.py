"""A stand-in for Cloud Monitoring, which has no emulator: a loopback server for the real client.

What it refused is in `refusals`, for tests to find nothing there.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import Any, NamedTuple

import grpc
from google.cloud.monitoring_v3 import types

from shared import clock
from tests.support import aligning
from tests.support.time_series import Points, RefusedError

SERVICE = "google.monitoring.v3.MetricService"


class Fault(NamedTuple):
    """How a call fails: with what status, when, and how much of it was done before."""

    code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE
    """What it is answered with; OK where it is late and nothing else."""
    done: float = 0.0
    """The share of the call's series that are written all the same, from the first."""
    delay: float = 0.0
    """Seconds before anything of it happens."""


class Monitoring:
    """Cloud Monitoring on a port of this machine; fails when it is told to."""

    def __init__(self, now: clock.Clock = clock.now) -> None:
        self.points = Points(now)
        self.calls = 0
        """Calls of CreateTimeSeries."""
        self.reads = 0
        self._lock = threading.Lock()
        self._woken = threading.Event()
        self.recover()
        self._server = grpc.server(ThreadPoolExecutor(8))
        handlers = {
            "CreateTimeSeries": grpc.unary_unary_rpc_method_handler(
                self._create,
                request_deserializer=types.CreateTimeSeriesRequest.pb().FromString,
                response_serializer=lambda _: b"",  # google.protobuf.Empty
            ),
            "ListTimeSeries": grpc.unary_unary_rpc_method_handler(
                self._list,
                request_deserializer=types.ListTimeSeriesRequest.pb().FromString,
                response_serializer=types.ListTimeSeriesResponse.pb().SerializeToString,
            ),
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(SERVICE, handlers),)
        )
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    @property
    def refusals(self) -> Sequence[str]:
        return self.points.refusals

    def recover(self) -> None:
        """Work as it should from now on, and let go of the calls that it delays."""
        self.fault: Callable[[], Fault | None] = lambda: None
        """Says of each call that writes how it fails, or that it does not."""
        self._woken.set()

    def fail(self, *faults: Fault) -> None:
        """Fail the next calls that write, one after the other."""
        self._woken.clear()
        left = list(faults)
        self.fault = lambda: left.pop(0) if left else None

    def stop(self) -> None:
        self.recover()
        self._server.stop(None).wait()

    def _create(self, request: Any, context: grpc.ServicerContext) -> None:
        with self._lock:
            self.calls += 1
            fault = self.fault()
        if fault is not None and fault.delay:
            self._woken.wait(fault.delay)
        with self._lock:
            if fault is not None:
                del request.time_series[round(len(request.time_series) * fault.done) :]
            try:
                if request.time_series or fault is None:
                    self.points.create(request)
            except RefusedError as refusal:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refusal))
        if fault is not None and fault.code is not grpc.StatusCode.OK:
            context.abort(fault.code, "told to fail")

    def _list(self, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            self.reads += 1
            if not any(f'"{metric}"' in request.filter for _, metric in self.points.places):
                # Google knows a metric from its first point on.
                context.abort(grpc.StatusCode.NOT_FOUND, "no such metric")
            try:
                return aligning.read(request, self.points)
            except aligning.UnreadableError as refusal:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(refusal))


@cache
def monitoring() -> Monitoring:
    """Return the one that all backings of this run write to, each under a project of its own."""
    return Monitoring()
