"""A loopback server that answers as it is told, alone or in front of the real one."""

import contextlib
import threading
from collections.abc import Callable, Iterable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

import httpx

from tests.support.serving import Server


class Sent(NamedTuple):
    """A request as it arrived."""

    method: str
    target: str
    headers: httpx.Headers
    body: bytes


class Says(NamedTuple):
    """An answer that is not the real server's."""

    status: int
    headers: Mapping[str, str] = {}
    body: str = ""


class Passes(NamedTuple):
    """Passes the request on to the real server, whose answer then comes, or is `lost`."""

    lost: bool = False
    changed: Callable[[str], str] | None = None
    """What is made of the answer's text on its way."""


class Hangs(NamedTuple):
    """Does not answer."""


class Drops(NamedTuple):
    """Closes the connection without an answer."""


Act = Says | Passes | Hangs | Drops


class Faulty:
    """Does one act after the other, one for each request; the last one for all that follow."""

    def __init__(self, acts: Iterable[Act], real: Server | None = None) -> None:
        self.acts = list(acts)
        self.sent: list[Sent] = []
        self._real = real
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if self.raw_requestline and self.parse_request():
                    outer._serve(self)
                else:
                    self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> "Faulty":
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        body = handler.rfile.read(int(handler.headers.get("Content-Length", "0")))
        headers = httpx.Headers(list(handler.headers.items()))
        sent = Sent(handler.command, handler.path, headers, body)
        with self._lock:
            act = self.acts[min(len(self.sent), len(self.acts) - 1)]
            self.sent.append(sent)
        answer = self._act(act, sent)
        if answer is None:
            handler.close_connection = True
            return
        with contextlib.suppress(ConnectionError):  # the caller may have lost patience
            handler.send_response(answer.status)
            for name, value in answer.headers.items():
                handler.send_header(name, value)
            if "content-length" not in map(str.lower, answer.headers):
                handler.send_header("Content-Length", str(len(answer.body.encode())))
            handler.end_headers()
            handler.wfile.write(answer.body.encode())

    def _act(self, act: Act, sent: Sent) -> Says | None:
        if isinstance(act, Says):
            return act
        if isinstance(act, Hangs):
            self._stopped.wait()
        if isinstance(act, Passes):
            assert self._real is not None
            kept = {
                name: value
                for name, value in sent.headers.items()
                if name not in ("host", "content-length", "connection")
            }
            passed = self._real.send(sent.method, sent.target, headers=kept, content=sent.body)
            if not act.lost:
                ours = ("content-length", "date", "server", "connection")
                shown = {name: value for name, value in passed.headers.items() if name not in ours}
                text = act.changed(passed.text) if act.changed else passed.text
                return Says(passed.status_code, shown, text)
        return None
