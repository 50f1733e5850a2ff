"""Processes that the tests start and stop themselves."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]


_MOST = 2000
_FIRST = 10_000 + _MOST * (int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:]) % 10)
"""The ports of this process of the run, which are not those that a system gives to callers."""
_turns = itertools.count(os.getpid())


def free_port() -> int:
    """Return a port that nothing uses, and that nobody else of this run is told to use.

    One that the system chooses, for port 0, it may choose again before it is used.
    """
    while True:
        port = _FIRST + next(_turns) % _MOST
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


class Process:
    """A child in a process group of its own, with what it prints kept in a file.

    It has the variables of this process and those of `environment`; `alone`, it has those only.
    """

    def __init__(
        self,
        command: Sequence[str],
        output: Path,
        environment: Mapping[str, str] | None = None,
        *,
        folder: Path = ROOT,
        alone: bool = False,
    ) -> None:
        self.output = output
        with output.open("ab") as file:
            self.child = subprocess.Popen(
                command,
                cwd=folder,
                env={**({} if alone else os.environ), **(environment or {})},
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def wait_until(
        self,
        ready: Callable[[], bool],
        what: str,
        seconds: float = 30,
        *,
        between: float = 0.05,
    ) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if self.child.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"{what} did not start:\n{self.output.read_text()}")
            time.sleep(between)

    def stop(self, seconds: float = 40, number: signal.Signals = signal.SIGINT) -> int:
        self.child.send_signal(number)
        try:
            return self.child.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def kill(self) -> None:
        if self.child.poll() is None:
            os.killpg(self.child.pid, signal.SIGKILL)
            self.child.wait()


def listens(port: int) -> bool:
    """Tell whether something accepts connections on a port."""
    with socket.socket() as probe:
        probe.settimeout(0.2)
        return probe.connect_ex(("127.0.0.1", port)) == 0
