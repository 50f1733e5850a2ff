"""What the storage port adds to a read of Firestore: CPU time of this process, on the emulator."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from shared.backends import Key, Put
from shared.patients import Patient
from shared.settings import Place
from tests.bench.functions import a_patient
from tests.bench.measure import Pair
from tests.support.emulator import running_emulator
from tests.support.serving import unique_project

TIMEOUT = 5.0
Read = Callable[[], Awaitable[list[Any]]]


@contextmanager
def a_read(folder: Path) -> Iterator[Pair]:
    """Read a patient from the emulator, through the storage port and by a bare call."""
    import uvloop

    with (
        running_emulator(folder) as emulator,
        asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
    ):
        ours, bare = runner.run(open_reads(emulator.address))
        yield (
            lambda count: runner.run(repeat(ours, count)),
            lambda count: runner.run(repeat(bare, count)),
        )


async def open_reads(address: str) -> tuple[Read, Read]:
    """Store a patient and return both ways to read it."""
    import grpc.aio
    from google.cloud.firestore_v1 import types

    from shared.backends.google.firestore import SERVICE, SHARE_OF_ONE_TRY, FirestoreStorage

    project = unique_project()
    patient = a_patient()
    key = Key("test", "an-organisation", Patient.collection, patient.id)
    storage = FirestoreStorage(
        project, {"test": Place("test", "test")}, call_timeout=TIMEOUT, emulator=address
    )
    await storage.commit([Put(key, patient.dump())], key)

    database = f"projects/{project}/databases/test"
    name = f"{database}/documents/test/{key.owner}/{key.collection}/{key.id}"
    metadata = (("google-cloud-resource-prefix", database), ("authorization", "Bearer owner"))
    request_type = types.BatchGetDocumentsRequest.pb()
    batch_get = grpc.aio.insecure_channel(address).unary_stream(
        SERVICE + "BatchGetDocuments",
        request_serializer=request_type.SerializeToString,
        response_deserializer=types.BatchGetDocumentsResponse.pb().FromString,
    )

    async def ours() -> list[Any]:
        return await storage.get([key])

    async def bare() -> list[Any]:
        request = request_type(database=database, documents=[name])
        call = batch_get(request, timeout=TIMEOUT * SHARE_OF_ONE_TRY, metadata=metadata)
        return [answer async for answer in call]

    (document,), (answer,) = await ours(), await bare()
    assert document.data["id"] == answer.found.fields["id"].string_value == patient.id
    return ours, bare


async def repeat(read: Read, count: int) -> float:
    """Read so many times, one after the other; return the CPU seconds of this process."""
    began = time.process_time()
    for _ in range(count):
        await read()
    return time.process_time() - began
