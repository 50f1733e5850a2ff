"""Requests as bytes, over TLS, to a running server: also those that no client would send."""

import http.client
import socket
import ssl
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import urlsplit

import orjson

from tests.support.serving import Json, Server

SECONDS = 30
BELOW = b"Invalid HTTP request received."
"""What the server says, without our door, of what is not HTTP."""


@dataclass(frozen=True)
class Attempt:
    """A request that has the form of HTTP, whatever it says."""

    method: str
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = b""
    chunked: bool = False

    def encode(self, host: str) -> bytes:
        """Return the bytes that are sent."""
        sent = [(b"Host", host.encode()), *self.headers]
        body = self.body
        if self.chunked:
            sent.append((b"Transfer-Encoding", b"chunked"))
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + b"0\r\n\r\n"
        elif body:
            sent.append((b"Content-Length", b"%d" % len(body)))
        lines = b"".join(b"%b: %b\r\n" % pair for pair in sent)
        return b"%b %b HTTP/1.1\r\n%b\r\n%b" % (self.method.encode(), self.target, lines, body)


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def text(self) -> str:
        """Everything that the answer says, its headers included."""
        lines = "\n".join(f"{name}: {value}" for name, value in self.headers)
        return f"{lines}\n\n{self.body.decode(errors='replace')}"

    def header(self, name: str) -> str:
        """Return a header, or nothing where it is not there."""
        return next((value for key, value in self.headers if key.lower() == name), "")

    def json(self) -> Json:
        found: Json = orjson.loads(self.body)
        return found

    @property
    def below(self) -> bool:
        """Whether the server answered, and not our door."""
        return self.status == 400 and self.body == BELOW


class Line:
    """A connection that is kept, and opened again when the server has closed it."""

    def __init__(self, server: Server) -> None:
        self._tls = server.tls()
        url = urlsplit(server.url)
        self.host = url.netloc
        self._address = (str(url.hostname), int(url.port or 443))
        self._socket: ssl.SSLSocket | None = None

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def send(self, attempt: Attempt) -> Answer:
        """Send a request and return its answer."""
        return self.exchange(attempt.encode(self.host), attempt.method)

    def exchange(self, data: bytes, method: str = "GET") -> Answer:
        """Send bytes that are all of a request and return its answer.

        The server closes a connection that has been idle for some seconds, and may do so as a
        request is on its way: then it is sent again on a new one, once.
        """
        kept = self._socket is not None
        try:
            connection = self._open()
            connection.sendall(data)
            answer, ended = _receive(connection, method)
        except (ConnectionError, ssl.SSLError, http.client.HTTPException) as error:
            self.close()
            if kept and isinstance(error, ConnectionError | ssl.SSLError):
                return self.exchange(data, method)
            raise
        if ended:
            self.close()
        return answer

    def leave(self, data: bytes) -> None:
        """Send bytes and hang up."""
        self.close()
        self._open().sendall(data)
        self.close()

    def _open(self) -> ssl.SSLSocket:
        if self._socket is None:
            plain = socket.create_connection(self._address, timeout=SECONDS)
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket = self._tls.wrap_socket(plain, server_hostname=self._address[0])
        return self._socket


def _receive(connection: ssl.SSLSocket, method: str) -> tuple[Answer, bool]:
    response = http.client.HTTPResponse(connection, method=method)
    with response:
        response.begin()
        body = response.read()
        return Answer(response.status, response.getheaders(), body), bool(response.will_close)
