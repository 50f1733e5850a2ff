"""The ratios of CPU time that this project promises: `make bench`.

Times differ from machine to machine and from hour to hour; what our code costs beside the least
that could do the same work does not. So both works of a pair are measured in one run, in turns, and
their ratio counts. Linux only, because of the clock that reads another process's CPU time.
"""

import argparse
import asyncio
import os
import re
import socket
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from shared import clock
from shared.backends import Key, Put
from shared.patients import Patient
from shared.provision import create_organisation
from shared.settings import Place
from tests.support.emulator import MISSING, Emulator, find_jar
from tests.support.processes import ROOT, Process, free_port, listens
from tests.support.serving import ADDRESS, PATIENT, Backing, unique_project

Spend = Callable[[int], float]
"""Does a piece of work so many times and returns the CPU seconds that they took."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A pair of works, ours and the least, how often a round does each, and their ratio's limit."""

    title: str
    pair: Callable[[Path], AbstractContextManager[tuple[Spend, Spend]]]
    count: int
    limit: float

    def ratios(self, rounds: int) -> list[float]:
        """Measure in turns, after a round 0 that only warms up."""
        with TemporaryDirectory() as folder, self.pair(Path(folder)) as (ours, least):
            return [self._ratio(ours, least, number) for number in range(rounds + 1)][1:]

    def _ratio(self, ours: Spend, least: Spend, number: int) -> float:
        spent, floor = (spend(self.count) / self.count * 1e6 for spend in (ours, least))
        progress = f"{self.title}, round {number}: {spent:.1f} to {floor:.1f} µs"
        print(f"{progress:<78}", end="\r", file=sys.stderr, flush=True)
        return spent / floor


def a_patient() -> Patient:
    """Make a patient as partners send them."""
    return Patient.new(at=clock.now(), livemode=False, address=ADDRESS, **PATIENT)


# --- A request -----------------------------------------------------------------------------------

CONNECTIONS = 4
ANSWER = re.compile(rb"HTTP/1\.1 200 .*?\r\ncontent-length: (\d+)\r\n.*?\r\n\r\n", re.DOTALL)
PATIENTS = ROOT / "functions" / "patients" / "main.py"
EMPTY = """
import functions_framework.aio
from starlette.responses import Response

@functions_framework.aio.http
async def empty(request):
    return Response(b"", media_type="application/json")
"""


@contextmanager
def a_request(folder: Path) -> Iterator[tuple[Spend, Spend]]:
    """Serve patients and an empty function, and send both the same request."""
    (folder / "empty.py").write_text(EMPTY)
    environment = {
        "ALLY_BACKEND": "local",
        "ALLY_STATE": str(folder),
        "ALLY_LOG": str(folder / "requests.jsonl"),
    }
    patient = a_patient()
    with closing(Backing(environment)) as backing:
        organisation, key = backing.run(lambda service: create_organisation(service, "Bench"))
        backing.keep("test", organisation.id, [patient])
    head = f"GET /v1/patients/{patient.id} HTTP/1.1\r\nHost: localhost\r\nAuthorization: {key}"
    request = f"{head}\r\n\r\n".encode()
    with (
        closing(Function("patients", PATIENTS, folder, environment)) as ours,
        closing(Function("empty", folder / "empty.py", folder, environment)) as empty,
    ):
        yield lambda count: ours.serve(request, count), lambda count: empty.serve(request, count)


class Function:
    """A function in a process of its own, under the server that production has."""

    def __init__(
        self, name: str, source: Path, folder: Path, environment: Mapping[str, str]
    ) -> None:
        port = free_port()
        self._process = Process(
            [
                *(sys.executable, "-m", "uvicorn", "functions_framework.aio:create_asgi_app"),
                *("--factory", "--port", str(port), "--loop", "uvloop", "--http", "httptools"),
                *("--no-access-log", "--log-level", "warning"),
            ],
            folder / f"{name}.log",
            {
                **environment,
                "FUNCTION_SOURCE": str(source),
                "FUNCTION_TARGET": name,
                "PYTHONPATH": str(ROOT),
                "PYTHONDONTWRITEBYTECODE": "",
            },
        )
        self._process.wait_until(lambda: listens(port), f"The function {name}")
        self._pid = self._process.child.pid
        # One CPU is the servers', so that the callers' work is done beside it.
        os.sched_setaffinity(self._pid, {max(os.sched_getaffinity(0))})
        self._connections = [
            socket.create_connection(("127.0.0.1", port), timeout=10) for _ in range(CONNECTIONS)
        ]

    def serve(self, request: bytes, count: int) -> float:
        """Answer a request so many times with 200; return the CPU seconds of the process."""
        began = cpu_seconds(self._pid)
        for _ in range(count // CONNECTIONS):
            for connection in self._connections:
                connection.sendall(request)
            for connection in self._connections:
                read_answer(connection)
        return cpu_seconds(self._pid) - began

    def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._process.kill()


def read_answer(connection: socket.socket) -> None:
    """Read one whole answer and insist that it is 200."""
    answer = connection.recv(65_536)
    while (head := ANSWER.match(answer)) is None or len(answer) < head.end() + int(head[1]):
        more = connection.recv(65_536) if answer.startswith(b"HTTP/1.1 200 ") else b""
        if not more:
            raise RuntimeError(f"answered with {answer.decode(errors='replace')!r}")
        answer += more


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all its threads.

    The id of its clock is what clock_getcpuclockid(3), which Python lacks, makes on Linux: two
    bits that say scheduler, and before them the complement of the process id.
    """
    return time.clock_gettime(~pid << 3 | 2)


# --- A read of Firestore -------------------------------------------------------------------------

TIMEOUT = 5.0
Read = Callable[[], Awaitable[list[Any]]]


@contextmanager
def a_read(folder: Path) -> Iterator[tuple[Spend, Spend]]:
    """Read a patient from the emulator, through the storage port and by a bare call."""
    import uvloop

    jar = find_jar()
    if jar is None:
        sys.exit(f"NOT MEASURED. {MISSING}")
    emulator = Emulator(jar, folder)
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            ours, bare = runner.run(open_reads(emulator.address))
            yield (
                lambda count: runner.run(repeat(ours, count)),
                lambda count: runner.run(repeat(bare, count)),
            )
    finally:
        emulator.stop()


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


# --- The table -----------------------------------------------------------------------------------

MEASURES = {
    "request": Measure("GET a patient, local, to an empty function", a_request, 2_000, 3.0),
    "read": Measure("get a document from Firestore, to a bare call", a_read, 250, 1.25),
}

ROW = "{:<46}{:>8}{:>8}{:>8}{:>8}"
"""As wide as the progress that it overwrites."""


def main() -> None:
    """Measure, print the table, and end with status 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", choices=MEASURES, help="measure one pair (default: all)")
    parser.add_argument("--rounds", type=int, default=20, help="ratios of each (default: 20)")
    arguments = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("This measures on Linux only.")
    print(ROW.format("CPU time of", "median", "min", "max", "limit"), flush=True)
    exceeded = False
    for measure in [MEASURES[arguments.only]] if arguments.only else MEASURES.values():
        found = measure.ratios(arguments.rounds)
        shown = (f"{ratio:.2f}" for ratio in (median(found), min(found), max(found), measure.limit))
        print(ROW.format(measure.title, *shown), flush=True)
        exceeded |= median(found) > measure.limit
    if exceeded:
        sys.exit("A limit is exceeded.")


if __name__ == "__main__":
    main()
