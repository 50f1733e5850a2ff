"""The wire: a proxy on loopback that answers in Google's place, with certificates of its own."""

import json
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import trustme

Json = Any
"""What JSON can say."""

REGION = r"[a-z]+-[a-z]+\d"
HOST = re.compile(rf"(?:({REGION})-)?([a-z]+)(?:\.({REGION})\.rep)?\.googleapis\.com")
VERSION = re.compile(r"^/(?:[a-z.]+/)*?(?:v\d\w*|alpha|beta)/")


@dataclass(frozen=True)
class Call:
    """What was asked of Google."""

    method: str
    host: str
    """As it was asked: a region may be in it."""
    path: str
    """As it was asked, with the API's version."""
    query: dict[str, str]
    """Repeated parameters are joined by commas."""
    body: Json
    """What was sent, parsed if it is JSON, otherwise bytes."""
    headers: Message = field(repr=False, compare=False)

    @property
    def service(self) -> str:
        """Whose it is: `firestore` for firestore.googleapis.com; a host elsewhere for others."""
        found = HOST.fullmatch(self.host)
        return found[2] if found else self.host

    @property
    def region(self) -> str:
        """The region that is in the host, if one is."""
        found = HOST.fullmatch(self.host)
        return (found[1] or found[3] or "") if found else ""

    @property
    def name(self) -> str:
        """What it is about: the path below the API's version."""
        return VERSION.sub("", self.path)


@dataclass(frozen=True)
class Answer:
    """What Google says to a call."""

    body: Json
    """JSON, or bytes as they are."""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Proxy(ThreadingHTTPServer):
    """Serves every address there is, on one port. Nothing passes it."""

    daemon_threads = True

    def __init__(self, folder: Path, answer: Callable[[Call], Answer]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self._authority = trustme.CA()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self.certificates = folder / "authority.pem"
        self._authority.cert_pem.write_to_path(str(self.certificates))
        self._thread = threading.Thread(target=self.serve_forever, args=[0.05], daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self.shutdown()
        self._thread.join()
        self.server_close()

    def context(self, host: str) -> ssl.SSLContext:
        """Return what proves to a caller that this is the host."""
        if host not in self._contexts:
            made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._authority.issue_cert(host).configure_cert(made)
            self._contexts[host] = made
        return self._contexts[host]


class _Handler(BaseHTTPRequestHandler):
    """A connection: perhaps a tunnel, then calls."""

    server: Proxy
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_CONNECT(self) -> None:
        host = self.path.rpartition(":")[0]
        self.send_response(200)
        self.end_headers()
        context = self.server.context(host)
        self.request = context.wrap_socket(self.connection, server_side=True)
        self.setup()  # it reads and writes what is in the tunnel from now on
        self.close_connection = False

    def finish(self) -> None:
        super().finish()
        self.request.close()

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        host = url.netloc or self.headers["Host"]
        query = parse_qs(url.query, keep_blank_values=True)
        given = self.server.answer(
            Call(
                self.command,
                host.partition(":")[0],
                unquote(url.path),
                {name: ",".join(values) for name, values in query.items()},
                self._body(),
                self.headers,
            )
        )
        raw = isinstance(given.body, bytes)
        content = given.body if raw else json.dumps(given.body, indent=1).encode()
        self.send_response(given.status)
        self.send_header("Content-Length", str(len(content)))
        headers = {"Content-Type": "application/octet-stream" if raw else "application/json"}
        for name, value in (headers | given.headers).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_POST = do_PUT = do_PATCH = do_DELETE = do_HEAD = do_GET

    def _body(self) -> Json:
        length = int(self.headers["Content-Length"] or 0)
        sent = self.rfile.read(length)
        if "json" in (self.headers["Content-Type"] or ""):
            return json.loads(sent) if sent else None
        return sent or None

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # its base names it
        """Keep quiet: every call is kept."""
