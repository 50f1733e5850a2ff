"""What is deployed, as it is deployed: every function out of the image, behind a real Envoy.

The image is what gcloud would upload, in an environment made of requirements.txt alone; the command
and the variables are those of the deployment; the Envoy plays the gateway and Cloud Run.
"""

import re
import signal
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from uuid import uuid4

import httpx
import pytest

from functions import discover
from shared.api import Api
from shared.routes import PUBLIC
from tests.conftest import needed
from tests.support import image
from tests.support.deployed import VALUES, Deployed, Function
from tests.support.emulator import Emulator
from tests.support.secret_manager import SecretManager
from tests.support.serving import Backing, Partner

FUNCTIONS = [api.name for api in discover()]
PAGE = "http://localhost:3000"
"""Where a page of a front end under development comes from: it may always ask."""


class Private(ThreadingHTTPServer):
    """A service for nobody outside: it would answer whoever reached it."""

    def __init__(self) -> None:
        reached: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                reached.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.reached = reached
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def private() -> Iterator[Private]:
    server = Private()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def deployed(
    private: Private,
    emulator: Emulator,
    secret_manager: SecretManager,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployed]:
    files = image.uploaded(needed(image.find_gcloud(), image.MISSING))
    apis = [*discover(), Api("inside", audience="internal"), Api("office", audience="staff")]
    running = Deployed(
        files,
        apis,
        {"inside": private.server_port, "office": private.server_port},
        (emulator, secret_manager),
        tmp_path_factory.mktemp("deployed"),
    )
    yield running
    running.stop()


@pytest.fixture(scope="module")
def partner(deployed: Deployed) -> Iterator[Partner]:
    backing = Backing(deployed.environment)
    yield backing.partner(deployed)
    backing.close()


def test_it_starts(deployed: Deployed, partner: Partner) -> None:
    print(deployed.ask("GET", "/v1/tasks").text)
    print(deployed.send("GET", "/v1/tasks", partner.key).text)
    print(deployed.ask_directly("tasks", "/v1/tasks").text)
    print(deployed.output())
    assert 0
