"""The whole API on this machine: `make run`, or `python -m functions`.

Every function in one process, under production's paths, over TLS, on the embedded backend unless
the environment says otherwise. The first start makes a certificate, a demo organisation and a test
key; every start prints the first calls to make.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar, cast

import orjson
import uvicorn
import uvloop

from functions import demo, discover, discover_portals
from shared import clock, ids, running, service
from shared.api import Api, application
from shared.backends.local import StateError
from shared.backends.local_queue import LocalQueue
from shared.errors import ApiError, envelope
from shared.exchange import VERSION
from shared.following import Follower
from shared.service import Service
from shared.settings import SettingError, Settings, Space, load

SECONDS_TO_FINISH = 5
SECONDS_TO_TAKE = 1
"""How long a caller has to take an answer that was made while the server ends."""

T = TypeVar("T")


class StartError(Exception):
    """The server cannot start; the message is one sentence that says why and what to do."""


def main(beside: Sequence[Api] = ()) -> None:
    """Read the arguments, serve until Ctrl-C, and end with a clear sentence if that cannot be.

    `beside` are functions to serve that are in no folder here: those of tests.
    """
    parser = argparse.ArgumentParser(prog="make run", description=__doc__.split("\n\n")[0])
    parser.add_argument(
        "--port", type=port_number, default=8443, help="HTTPS port (default: %(default)s)"
    )
    parser.add_argument(
        "--http-port",
        type=port_number,
        default=8080,
        help="port that refuses plain HTTP (default: %(default)s)",
    )
    parser.add_argument("--quiet", action="store_true", help="print no first calls")
    arguments = parser.parse_args()
    try:
        settings = load(backend="local", url=f"https://localhost:{arguments.port}")
        apis = [*(api for api in discover() if api.reachable), *beside]
        serving = serve(apis, settings, arguments.port, arguments.http_port, quiet=arguments.quiet)
        uvloop.run(serving)
    except (StartError, StateError, SettingError) as error:
        sys.exit(f"The Ally API cannot start: {error}")


def port_number(text: str) -> int:
    """Read a port from the command line."""
    if not text.isdecimal() or not 0 < int(text) < 65536:
        raise argparse.ArgumentTypeError("a port is a number from 1 to 65535")
    return int(text)


async def serve(
    apis: Sequence[Api], settings: Settings, port: int, http_port: int, *, quiet: bool
) -> None:
    """Serve functions over HTTPS on one port and refuse plain HTTP on the other."""
    state = Path(settings.state)
    prepare_folder(state)
    if settings.log == "-":
        settings = replace(settings, log=str(state / "requests.jsonl"))
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(listen(port, "--port"))
        refuser = stack.enter_context(listen(http_port, "--http-port"))
        try:
            held = await service.open_service(settings)
        except OSError as error:
            raise StartError(f"{error.filename} cannot be opened ({error.strerror}).") from error
        service.use(held)
        if isinstance(held.queue, LocalQueue):
            do_jobs(held, held.queue)
        follower = Follower(held.storage, held.folder, held.log, Path(settings.log))
        if settings.backend == "local":  # on the google backend Pub/Sub brings the lines
            follower.start()
        certificate = demo.certificate(state)
        if not quiet:
            print(await demo.first_calls(held, f"https://localhost:{port}", certificate))
        refusing = await asyncio.get_running_loop().create_server(
            lambda: Refuser(settings), sock=refuser
        )
        server = Server(
            uvicorn.Config(
                application(apis, discover_portals()),
                ssl_certfile=certificate.chain,
                ssl_keyfile=certificate.key,
                lifespan="off",
                ws="none",
                access_log=False,
                server_header=False,
                proxy_headers=False,  # the door reads X-Forwarded-For, as ALLY_PROXIES says
                log_level="warning",
                timeout_graceful_shutdown=SECONDS_TO_FINISH,
            )
        )
        print(f"Serving https://localhost:{port} - Ctrl-C ends it.", flush=True)
        await server.serve(sockets=[listener])
        refusing.close()
        await follower.close()
        await held.close()
        print("\nStopped.", flush=True)


def do_jobs(held: Service, queue: LocalQueue) -> None:
    """Do jobs in this process from now on, and write down what hinders that."""

    async def told(work: Awaitable[T]) -> T | None:
        try:
            return await work
        except Exception as error:
            held.log.crash(held.now(), "", error)
            return None

    async def run(space: Space, job: str) -> None:
        await told(running.run(held, space, job))

    async def resume() -> None:
        await told(running.resume(held))

    async def sweep() -> None:
        swept = await told(running.sweep(held))
        if swept is not None and swept.overdue:
            running.tell_sweep(held, swept)

    queue.start(run, resume=resume, sweep=sweep)


def prepare_folder(state: Path) -> None:
    """Make the state folder, for its owner alone."""
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise StartError(f"the folder {state} cannot be made ({error.strerror}).") from error
    if not os.access(state, os.W_OK | os.X_OK):
        raise StartError(f"the folder {state} cannot be written to; check its permissions.")


@contextlib.contextmanager
def listen(port: int, option: str) -> Iterator[socket.socket]:
    """Open a listening socket on this machine alone."""
    # Naming TCP makes the event loop switch Nagle's algorithm off.
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind(("127.0.0.1", port))
        except OSError as error:
            raise StartError(
                f"port {port} cannot be used ({error.strerror}); stop what uses it,"
                f" or choose another with {option}."
            ) from error
        listener.listen(1024)
        yield listener


class Server(uvicorn.Server):
    """A server that ends by itself on SIGINT and SIGTERM, so that what follows still runs."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Let both signals ask for an orderly end."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.handle_exit, number, None)
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End connections that are idle, whose callers may never answer TLS's goodbye; then all.

        One that was answered while we end has a second to take its answer, and then ends too.
        """
        idle = self._idle()
        for connection in idle:
            connection.transport.abort()
        ending = asyncio.create_task(super().shutdown(sockets))
        while not ending.done():
            await asyncio.wait([ending], timeout=SECONDS_TO_TAKE)
            before, idle = idle, self._idle()
            for connection in before & idle:
                connection.transport.abort()
        await ending
        for connection in list(self.server_state.connections):  # nobody waits for these any more
            connection.transport.abort()

    def _idle(self) -> set[Any]:
        """Return the connections on which nothing is asked or answered."""
        cycles = {each: getattr(each, "cycle", None) for each in self.server_state.connections}
        return {each for each, cycle in cycles.items() if cycle is None or cycle.response_complete}


class Refuser(asyncio.Protocol):
    """Answers whatever comes over plain HTTP with 400 `https_required`, and looks at none of it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Remember whom to answer."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer the first bytes, then let the caller read before the connection ends."""
        if self._transport is None:
            return
        transport, self._transport = self._transport, None
        request_id = ids.mint("req", clock.now())
        settings = self._settings
        told = envelope(ApiError("https_required"), request_id, settings.support, settings.url)
        body = orjson.dumps(told)
        head = (
            "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nRequest-Id: {request_id}\r\n"
            f"Ally-Version: {VERSION}\r\nConnection: close\r\n\r\n"
        )
        transport.write(head.encode() + body)
        transport.write_eof()
        asyncio.get_running_loop().call_later(1, transport.close)


if __name__ == "__main__":
    main()
