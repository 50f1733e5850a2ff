"""Functions in processes of their own: what is measured, and the least that could stand there."""

import os
import re
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from shared import clock
from shared.patients import Patient
from tests.support.processes import ROOT, Process, free_port, listens
from tests.support.serving import ADDRESS, PATIENT

CONNECTIONS = 4
ANSWER = re.compile(rb"HTTP/1\.1 200 .*?\r\ncontent-length: (\d+)\r\n.*?\r\n\r\n", re.DOTALL)
EMPTY = """
import functions_framework.aio
from starlette.responses import Response

@functions_framework.aio.http
async def empty(request):
    return Response(b"", media_type="application/json")
"""


def a_patient() -> Patient:
    """Make a patient as partners send them."""
    return Patient.new(at=clock.now(), livemode=False, address=ADDRESS, **PATIENT)


class Function:
    """A function in a process of its own, under the server that production has."""

    def __init__(
        self, name: str, source: Path, folder: Path, environment: Mapping[str, str]
    ) -> None:
        """Start it; return as soon as it accepts connections."""
        self._port = free_port()
        self._connections: list[socket.socket] = []
        self._process = Process(
            [
                *(sys.executable, "-m", "uvicorn", "functions_framework.aio:create_asgi_app"),
                *("--factory", "--port", str(self._port), "--loop", "uvloop"),
                *("--http", "httptools", "--no-access-log", "--log-level", "warning"),
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
        self._process.wait_until(lambda: listens(self._port), f"The function {name}", between=0.001)

    @classmethod
    def ours(cls, name: str, folder: Path, environment: Mapping[str, str]) -> "Function":
        """Start one of ours."""
        return cls(name, ROOT / "functions" / name / "main.py", folder, environment)

    @classmethod
    def patients(cls, folder: Path, environment: Mapping[str, str]) -> "Function":
        """Start the one of patients."""
        return cls.ours("patients", folder, environment)

    @classmethod
    def empty(cls, folder: Path, environment: Mapping[str, str]) -> "Function":
        """Start one that answers whatever it is asked with nothing."""
        source = folder / "empty.py"
        source.write_text(EMPTY)
        return cls("empty", source, folder, environment)

    def answer(self, request: bytes) -> bytes:
        """Return the body of the answer to one request."""
        with socket.create_connection(("127.0.0.1", self._port), timeout=10) as connection:
            connection.sendall(request)
            return read_answer(connection)

    def delay(self) -> float:
        """Return the seconds in which its first thread could have run, had a CPU been free.

        The kernel's documentation of scheduler statistics says what the three numbers are.
        """
        statistics = Path(f"/proc/{self._process.child.pid}/schedstat").read_text()
        return int(statistics.split()[1]) / 1e9

    def serve(self, request: bytes, count: int) -> float:
        """Answer a request so many times with 200; return the CPU seconds of the process."""
        connections = self._connections = self._connections or self._connect()
        pid = self._process.child.pid
        began = cpu_seconds(pid)
        for _ in range(count // CONNECTIONS):
            for connection in connections:
                connection.sendall(request)
            for connection in connections:
                read_answer(connection)
        return cpu_seconds(pid) - began

    def _connect(self) -> list[socket.socket]:
        # One CPU is the servers', so that the callers' work is done beside it.
        os.sched_setaffinity(self._process.child.pid, {max(os.sched_getaffinity(0))})
        return [
            socket.create_connection(("127.0.0.1", self._port), timeout=10)
            for _ in range(CONNECTIONS)
        ]

    def close(self) -> None:
        """Kill it."""
        for connection in self._connections:
            connection.close()
        self._process.kill()


def request_bytes(method: str, path: str, key: object, body: bytes = b"") -> bytes:
    """Write a request, with a JSON body or without one."""
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", f"Authorization: {key}"]
    if body:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*head, "", ""]).encode() + body


def read_answer(connection: socket.socket) -> bytes:
    """Read one whole answer, insist that it is 200, and return its body."""
    answer = connection.recv(65_536)
    while (head := ANSWER.match(answer)) is None or len(answer) < head.end() + int(head[1]):
        more = connection.recv(65_536) if answer.startswith(b"HTTP/1.1 200 ") else b""
        if not more:
            raise RuntimeError(f"answered with {answer.decode(errors='replace')!r}")
        answer += more
    return answer[head.end() :]


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process and all its threads.

    The id of its clock is what clock_getcpuclockid(3), which Python lacks, makes on Linux: two
    bits that say scheduler, and before them the complement of the process id.
    """
    return time.clock_gettime(~pid << 3 | 2)
