"""The function `worker` in a process of its own, as it runs beside those that partners call."""

import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from functions import discover
from shared.api import application
from tests.support.processes import Process, free_port, listens

application_of_worker = application(api for api in discover() if api.name == "worker")


class Worker:
    """A worker that can be killed and started again at the same address.

    `serving` names the application that it serves.
    """

    def __init__(
        self,
        environment: Mapping[str, str],
        folder: Path,
        *,
        port: int = 0,
        serving: str = "tests.support.worker:application_of_worker",
    ) -> None:
        self.port = port or free_port()
        self._serving = serving
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "worker.jsonl"
        self._environment = {**environment, "ALLY_LOG": str(self.log)}
        self._folder = folder
        self.start()

    def ask(self, path: str, body: object = None) -> httpx.Response:
        """Ask it for something, as our own services do."""
        return httpx.post(f"{self.url}{path}", json=body, timeout=30)

    def start(self) -> None:
        self.process = Process(
            [
                *(sys.executable, "-m", "uvicorn", self._serving),
                *("--port", str(self.port), "--lifespan", "off", "--log-level", "warning"),
            ],
            self._folder / "worker.log",
            self._environment,
        )
        self.process.wait_until(lambda: listens(self.port), "The worker")
