"""Metrics in Cloud Monitoring, by its API's own messages over `grpc.aio`, as with Firestore.

Each point is one of a CUMULATIVE series under `custom.googleapis.com/ally/…`, on the resource
`generic_task`, whose task is the process that counted: so no two processes write one series. The
package is imported, and the channel opened, by the first call, for a start needs neither.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import grpc
import grpc.aio
import orjson
from google.api.metric_pb2 import MetricDescriptor

from shared.backends import BackendError, RejectedError, UnavailableError
from shared.backends.google import credentials
from shared.backends.metrics import (
    BUCKETS,
    GROWTH,
    METRICS,
    Distribution,
    Measured,
    Metric,
    Point,
    Reading,
)

SERVICE = "/google.monitoring.v3.MetricService/"
PREFIX = "custom.googleapis.com/ally/"
LOCATION = "europe-west2"
NAMESPACE = "ally"
WRITE_TIMEOUT = 2.5
"""Seconds that a write may take: an instance that is told to end has ten for all that it does."""
OPTIONS = (("grpc.max_receive_message_length", -1),)
"""A page of distributions is longer than the 4 MiB that gRPC takes by itself."""
WRONG = frozenset(
    {
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
    }
)
"""What a call is answered with that was wrong in itself, at least in part."""


class _Client(NamedTuple):
    """The package's messages, and the two methods of its service that are used."""

    types: Any
    channel: grpc.aio.Channel
    create: Any
    list: Any


class CloudMetrics:
    """Points of one project. `job` names the service that writes them.

    `call_timeout` is how many seconds a call that reads may take. `address` names a loopback server
    instead of Google's, for tests.
    """

    delay = timedelta(minutes=1)

    def __init__(self, project: str, job: str, *, call_timeout: float, address: str = "") -> None:
        self._name = f"projects/{project}"
        self._resource = {
            "project_id": project,
            "location": LOCATION,
            "namespace": NAMESPACE,
            "job": job,
        }
        self._timeout = call_timeout
        self._address = address
        self._opening = asyncio.Lock()
        self._client: _Client | None = None

    async def write(self, task: str, points: Sequence[Point]) -> None:
        """Keep points by one call, which nothing here repeats.

        It may be done in part: Cloud Monitoring writes the series that it takes, whatever it says
        of the others.
        """
        client = await self._open()
        request = client.types.CreateTimeSeriesRequest.pb()(name=self._name)
        for point in points:
            series = request.time_series.add()
            _describe(point.metric, series)
            series.metric.labels.update(zip(point.metric.labels, point.labels, strict=True))
            series.resource.type = "generic_task"
            series.resource.labels.update(self._resource, task_id=task)
            held = series.points.add()
            held.interval.start_time.FromDatetime(point.start)
            held.interval.end_time.FromDatetime(point.end)
            _encode(point.value, held.value)
        try:
            await client.create(request, timeout=WRITE_TIMEOUT)
        except grpc.aio.AioRpcError as error:
            raise _told(error) from None

    async def read(self, reading: Reading) -> list[Measured]:
        """Read counts, in the order of steps and groups, added up by Cloud Monitoring.

        Its steps go backwards from the end of the interval that it is asked for, so that is made a
        whole number of them.
        """
        steps = -((reading.start - reading.end) // reading.step)
        end = reading.start + steps * reading.step
        found: list[Measured] = []
        async for series in self._sums(
            _filter(reading), reading.start, end, step=reading.step, by=reading.by
        ):
            found += _measured(reading, series)
        return sorted(found, key=lambda each: (each.at, each.group))

    async def organisations(self, start: datetime, end: datetime) -> list[str]:
        """Return of whom anything was counted in a range of time."""
        found = set()
        for metric in METRICS:
            if not metric.distribution:
                chosen = f"metric.type = {_quote(PREFIX + metric.name)}"
                sums = self._sums(chosen, start, end, step=end - start, by=("organisation",))
                found |= {series.metric.labels["organisation"] async for series in sums}
        return sorted(found)

    async def _sums(
        self, chosen: str, start: datetime, end: datetime, *, step: timedelta, by: Sequence[str]
    ) -> AsyncIterator[Any]:
        """Yield what the series that a filter chooses add up to, a series for each group."""
        client = await self._open()
        request = client.types.ListTimeSeriesRequest.pb()(name=self._name, filter=chosen)
        request.interval.start_time.FromDatetime(start)
        request.interval.end_time.FromDatetime(end)
        request.aggregation.alignment_period.FromTimedelta(step)
        request.aggregation.per_series_aligner = client.types.Aggregation.Aligner.ALIGN_DELTA
        request.aggregation.cross_series_reducer = client.types.Aggregation.Reducer.REDUCE_SUM
        request.aggregation.group_by_fields.extend(f"metric.labels.{name}" for name in by)
        while True:
            try:
                answer = await client.list(request, timeout=self._timeout)
            except grpc.aio.AioRpcError as error:
                if error.code() == grpc.StatusCode.NOT_FOUND:  # nothing of it was ever counted
                    return
                raise _told(error) from None
            for series in answer.time_series:
                yield series
            if not answer.next_page_token:
                return
            request.page_token = answer.next_page_token

    async def close(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            await self._client.channel.close()

    async def _open(self) -> _Client:
        """Return the client. The thread that imports it leaves the event loop to the requests."""
        async with self._opening:
            if self._client is None:
                load = _load_package if self._address else _load_package_and_key
                types, transport, key = await asyncio.to_thread(load)
                channel = (
                    grpc.aio.insecure_channel(self._address, options=OPTIONS)
                    if self._address
                    else transport.create_channel(
                        transport.DEFAULT_HOST, credentials=key, options=OPTIONS
                    )
                )
                self._client = _client(types, channel)
            return self._client


def _load_package() -> tuple[Any, Any, None]:
    from google.cloud.monitoring_v3 import types
    from google.cloud.monitoring_v3.services.metric_service import transports

    return types, transports.MetricServiceGrpcAsyncIOTransport, None


def _load_package_and_key() -> tuple[Any, Any, Any]:
    import google.auth

    with credentials():
        key, _ = google.auth.default()
    types, transport, _ = _load_package()
    return types, transport, key


def _client(types: Any, channel: grpc.aio.Channel) -> _Client:
    return _Client(
        types,
        channel,
        channel.unary_unary(
            SERVICE + "CreateTimeSeries",
            request_serializer=types.CreateTimeSeriesRequest.pb().SerializeToString,
            response_deserializer=lambda _: None,
        ),
        channel.unary_unary(
            SERVICE + "ListTimeSeries",
            request_serializer=types.ListTimeSeriesRequest.pb().SerializeToString,
            response_deserializer=types.ListTimeSeriesResponse.pb().FromString,
        ),
    )


def _describe(metric: Metric, series: Any) -> None:
    """Say of a series what Cloud Monitoring makes a metric of, when it first sees it."""
    series.metric.type = PREFIX + metric.name
    series.metric_kind = MetricDescriptor.CUMULATIVE
    kinds = MetricDescriptor.ValueType
    series.value_type = kinds.Value("DISTRIBUTION" if metric.distribution else "INT64")
    series.unit = metric.unit


def _encode(value: int | Distribution, into: Any) -> None:
    if isinstance(value, int):
        into.int64_value = value
        return
    held = into.distribution_value
    held.count = value.count
    held.mean = value.total / value.count
    buckets = held.bucket_options.exponential_buckets
    buckets.num_finite_buckets, buckets.growth_factor, buckets.scale = BUCKETS, GROWTH, 1
    held.bucket_counts.extend(value.buckets)


def _decode(value: Any) -> int | Distribution:
    kind = value.WhichOneof("value")
    if kind != "distribution_value":
        number: float = getattr(value, kind)
        return round(number)  # what is interpolated is no whole number
    held = value.distribution_value
    missing = BUCKETS + 2 - len(held.bucket_counts)  # empty ones at the end are left out
    buckets = (*held.bucket_counts, *itertools.repeat(0, missing))
    return Distribution(held.count, held.mean * held.count, buckets)


def _filter(reading: Reading) -> str:
    """Write the filter of a reading. Its values are quoted as JSON is, so that none ends early."""
    terms = [f"metric.type = {_quote(PREFIX + reading.metric.name)}"]
    for label, allowed in (
        ("organisation", (reading.organisation,)),
        ("mode", reading.modes),
        *reading.where,
    ):
        terms.append(f"metric.labels.{label} = one_of({', '.join(map(_quote, allowed))})")
    return " AND ".join(terms)


def _quote(text: str) -> str:
    return orjson.dumps(text).decode()


def _measured(reading: Reading, series: Any) -> Iterator[Measured]:
    group = tuple(series.metric.labels.get(label, "") for label in reading.by)
    for point in series.points:
        value = _decode(point.value)
        if value.count if isinstance(value, Distribution) else value:
            end = point.interval.end_time.ToDatetime(UTC)
            yield Measured(group, end - reading.step, value)


def _told(error: grpc.aio.AioRpcError) -> BackendError:
    code = error.code()
    return (RejectedError if code in WRONG else UnavailableError)(code.name)
