"""Documents in Firestore.

Calls go over `grpc.aio` with the official package's own protobuf messages, because its high-level
client costs more than twice the CPU (docs/decisions/0007-firestore-without-its-client.md). Nothing
here retries a commit blindly (docs/decisions/0003-three-storage-verbs.md).

A document lies at `<root>/<owner>/<collection>/<id>` of its space's database. Its fields are the
data's members; beside them are `expireAt`, which the TTL policy reads, and `terms`.
"""

import asyncio
import itertools
import random
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import grpc
import grpc.aio
from google.cloud.firestore_v1 import types
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport

from shared.backends import (
    TERMS,
    ConflictError,
    Delete,
    Document,
    Key,
    Put,
    Query,
    RejectedError,
    UnavailableError,
    Version,
    Write,
)
from shared.backends.google import credentials
from shared.settings import Place, Space

SERVICE = "/google.firestore.v1.Firestore/"
EXPIRY_FIELD = "expireAt"
ESCAPE = "\\"
SHARE_OF_ONE_TRY = 0.4
"""The share of a verb's time that one call may take, so that there is time for another."""

REFUSED = frozenset(
    {
        grpc.StatusCode.ALREADY_EXISTS,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.NOT_FOUND,
    }
)
"""A commit answered so wrote nothing, because a document was not as demanded. NOT_FOUND may also be
said of the database; a commit that demands no document knows that it is."""

SILENT = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.UNKNOWN,
    }
)
"""After these nobody knows whether the call took effect."""

HOPELESS = frozenset(
    {
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        grpc.StatusCode.UNAUTHENTICATED,
    }
)
"""These say that the call took no effect and that trying again at once would not help."""

_BatchGet = types.BatchGetDocumentsRequest.pb()
_Commit = types.CommitRequest.pb()
_RunQuery = types.RunQueryRequest.pb()
_OPERATORS = {
    "==": types.StructuredQuery.FieldFilter.Operator.EQUAL,
    "<": types.StructuredQuery.FieldFilter.Operator.LESS_THAN,
    "<=": types.StructuredQuery.FieldFilter.Operator.LESS_THAN_OR_EQUAL,
    ">": types.StructuredQuery.FieldFilter.Operator.GREATER_THAN,
    ">=": types.StructuredQuery.FieldFilter.Operator.GREATER_THAN_OR_EQUAL,
    "in": types.StructuredQuery.FieldFilter.Operator.IN,
    "contains": types.StructuredQuery.FieldFilter.Operator.ARRAY_CONTAINS,
}
_AND = types.StructuredQuery.CompositeFilter.Operator.AND
_ASCENDING = types.StructuredQuery.Direction.ASCENDING
_DESCENDING = types.StructuredQuery.Direction.DESCENDING


class FirestoreStorage:
    """Documents in the databases and root collections that the settings name for each space."""

    def __init__(
        self,
        project: str,
        places: Mapping[Space, Place],
        *,
        call_timeout: float,
        emulator: str = "",
    ) -> None:
        self._timeout = call_timeout
        self._databases = {
            space: f"projects/{project}/databases/{place.database}"
            for space, place in places.items()
        }
        self._roots = {
            space: f"{self._databases[space]}/documents/{place.root}/"
            for space, place in places.items()
        }
        owner = (("authorization", "Bearer owner"),) if emulator else ()
        self._metadata = {
            space: (("google-cloud-resource-prefix", database), *owner)
            for space, database in self._databases.items()
        }
        self._channel = _open_channel(emulator)
        self._batch_get = self._channel.unary_stream(
            SERVICE + "BatchGetDocuments",
            request_serializer=_BatchGet.SerializeToString,
            response_deserializer=types.BatchGetDocumentsResponse.pb().FromString,
        )
        self._run_query = self._channel.unary_stream(
            SERVICE + "RunQuery",
            request_serializer=_RunQuery.SerializeToString,
            response_deserializer=types.RunQueryResponse.pb().FromString,
        )
        self._commit = self._channel.unary_unary(
            SERVICE + "Commit",
            request_serializer=_Commit.SerializeToString,
            response_deserializer=types.CommitResponse.pb().FromString,
        )

    async def get(self, keys: Sequence[Key]) -> list[Document | None]:
        """Read documents in one call for each database; None where there is none."""
        names = {self._name(key): key for key in keys}
        databases = {self._databases[key.space]: key.space for key in keys}
        reads = [
            self._read(
                self._batch_get,
                _BatchGet(
                    database=database,
                    documents=[
                        name
                        for name, key in names.items()
                        if self._databases[key.space] == database
                    ],
                ),
                space,
            )
            for database, space in databases.items()
        ]
        # One call needs no task of its own.
        answers = [await reads[0]] if len(reads) == 1 else await asyncio.gather(*reads)
        found = {
            answer.found.name: _document(names[answer.found.name], answer.found)
            for answer in itertools.chain.from_iterable(answers)
            if answer.HasField("found")
        }
        return [found.get(name) for name in map(self._name, keys)]

    async def query(self, query: Query) -> list[Document]:
        """Read at most `limit` documents that match, in the query's order."""
        request = _RunQuery(parent=self._roots[query.space] + query.owner)
        structured = request.structured_query
        structured.from_.add().collection_id = query.collection
        structured.limit.value = query.limit
        for field in filter(None, dict.fromkeys((query.by, "id", query.then))):
            order = structured.order_by.add()
            order.field.field_path = field
            order.direction = _DESCENDING if query.descending else _ASCENDING
        structured.where.composite_filter.op = _AND
        for field, operator, value in query.where:
            condition = structured.where.composite_filter.filters.add().field_filter
            condition.field.field_path = field
            condition.op = _OPERATORS[operator]
            _encode(value, condition.value)
        if not query.where:
            structured.ClearField("where")
        return [
            _document(
                Key(
                    query.space,
                    query.owner,
                    query.collection,
                    answer.document.name.rpartition("/")[2],
                ),
                answer.document,
            )
            for answer in await self._read(self._run_query, request, query.space)
            if answer.HasField("document")
        ]

    async def commit(self, writes: Sequence[Write], marker: Key) -> None:
        """Do all the writes, or none.

        Where an answer is lost, the marker tells whether the commit took effect. If it did not, the
        same commit is sent again, which is safe: it creates the marker, so it cannot take effect
        twice. ABORTED says only that others were in the way, and after a loss that may be the lost
        commit itself, still on its way: so it is no refusal then.
        """
        space = writes[0].key.space
        request = _Commit(database=self._databases[space])
        for write in writes:
            self._add(write, request.writes.add())
        end = time.monotonic() + self._timeout
        demanding = any(write.version is not None for write in writes)
        lost = False
        while (seconds := self._one_try(end)) > 0:
            try:
                await self._commit(request, timeout=seconds, metadata=self._metadata[space])
            except grpc.aio.AioRpcError as error:
                code = error.code()
                aborted = code is grpc.StatusCode.ABORTED
                missing = code is grpc.StatusCode.NOT_FOUND and not demanding
                if (code in REFUSED and not missing) or (aborted and not lost):
                    if lost and await self._exists(marker, end):
                        return
                    raise ConflictError(code.name) from None
                if not aborted:
                    _raise_unless_silent(code)
                if await self._exists(marker, end):
                    return
                lost = True
                await _pause()
            else:
                return
        raise UnavailableError("the outcome of a commit is not known")

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def _exists(self, key: Key, end: float) -> bool:
        request = _BatchGet(database=self._databases[key.space], documents=[self._name(key)])
        (answer,) = await self._read(self._batch_get, request, key.space, end)
        found: bool = answer.HasField("found")
        return found

    async def _read(
        self, method: Any, request: Any, space: Space, end: float | None = None
    ) -> list[Any]:
        """Make a reading call and return all its answers; reads may be tried again freely."""
        end = end or time.monotonic() + self._timeout
        while (seconds := self._one_try(end)) > 0:
            try:
                call = method(request, timeout=seconds, metadata=self._metadata[space])
                return [answer async for answer in call]
            except grpc.aio.AioRpcError as error:
                _raise_unless_silent(error.code())
                await _pause()
        raise UnavailableError("reads are not answered")

    def _one_try(self, end: float) -> float:
        """Return the seconds that one call may take, of those that are left of its verb's."""
        return min(end - time.monotonic(), self._timeout * SHARE_OF_ONE_TRY)

    def _name(self, key: Key) -> str:
        return f"{self._roots[key.space]}{key.owner}/{key.collection}/{key.id}"

    def _add(self, write: Write, message: Any) -> None:
        name = self._name(write.key)
        if write.version is None:
            message.current_document.exists = False
        else:
            message.current_document.update_time.CopyFrom(write.version)
        if isinstance(write, Put):
            message.update.name = name
            for field, value in write.data.items():
                _encode(value, message.update.fields[field])
            if write.terms:
                _encode(list(write.terms), message.update.fields[TERMS])
            if write.expires is not None:
                message.update.fields[EXPIRY_FIELD].timestamp_value.FromDatetime(write.expires)
        elif isinstance(write, Delete) or write.version is None:
            # A guard that demands absence is the deletion of what does not exist.
            message.delete = name
        else:
            # An update that touches no field leaves the document, and its version, as they are.
            message.update.name = name
            message.update_mask.SetInParent()


def _open_channel(emulator: str) -> grpc.aio.Channel:
    if emulator:
        return grpc.aio.insecure_channel(emulator)
    with credentials():
        return FirestoreGrpcAsyncIOTransport.create_channel(
            FirestoreGrpcAsyncIOTransport.DEFAULT_HOST
        )


def _raise_unless_silent(code: grpc.StatusCode) -> None:
    if code in HOPELESS:
        raise UnavailableError(code.name) from None
    if code not in SILENT:
        raise RejectedError(code.name) from None


async def _pause() -> None:
    await asyncio.sleep(random.uniform(0.02, 0.1))  # noqa: S311 - jitter is no secret


def _document(key: Key, message: Any) -> Document:
    data = {name: _decode(value) for name, value in message.fields.items() if name != TERMS}
    expires: datetime | None = data.pop(EXPIRY_FIELD, None)
    version: Version = message.update_time
    return Document(key, data, version, expires)


def _encode(value: Any, into: Any) -> None:
    match value:
        case str():
            into.string_value = value
        case None:
            into.null_value = 0
        case bool():
            into.boolean_value = value
        case int():
            into.integer_value = value
        case float():
            into.double_value = value
        case dict():
            into.map_value.SetInParent()
            for name, member in value.items():
                _encode(member, into.map_value.fields[_escape(name)])
        case list():
            into.array_value.SetInParent()
            for member in value:
                _encode(member, into.array_value.values.add())
        case _:
            raise TypeError(f"{type(value).__name__} is not a JSON value")


def _decode(value: Any) -> Any:
    kind = value.WhichOneof("value_type")
    match kind:
        case "null_value":
            return None
        case "map_value":
            members = value.map_value.fields.items()
            return {name.removeprefix(ESCAPE): _decode(member) for name, member in members}
        case "array_value":
            return [_decode(member) for member in value.array_value.values]
        case "timestamp_value":
            return value.timestamp_value.ToDatetime(UTC)
        case _:
            return getattr(value, kind)


def _escape(name: str) -> str:
    """Return the name of a map's member as it is kept: Firestore reserves `__names__` like this."""
    reserved = name.startswith("__") and name.endswith("__")
    return ESCAPE + name if reserved or name.startswith(ESCAPE) else name
