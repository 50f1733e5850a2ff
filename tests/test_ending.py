"""The local server ends, whatever its callers do with their connections."""

import socket
import ssl
from pathlib import Path

from tests.support.processes import listens
from tests.support.serving import Backing, Server
from tests.support.waiting import until


def test_a_caller_who_keeps_a_connection_after_a_late_answer_keeps_no_server(
    tmp_path: Path,
) -> None:
    backing = Backing({"ALLY_BACKEND": "local", "ALLY_STATE": str(tmp_path)})
    server = Server(backing, tmp_path)
    head = b"POST /v1/patients HTTP/1.1\r\nHost: localhost\r\nAuthorization: x\r\n"
    key = backing.partner(server).key.encode()
    head = head.replace(b"Authorization: x", b"Authorization: " + key)
    context: ssl.SSLContext = server.tls()
    head += b"Content-Type: application/json\r\nContent-Length: 2\r\n"
    with (
        socket.create_connection(("localhost", server.port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as caller,
    ):
        caller.sendall(head + b"Expect: 100-continue\r\n\r\n")
        assert caller.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"  # the body is waited for
        server.process.child.terminate()
        until(lambda: not listens(server.port), "it does not begin to end")
        caller.sendall(b"{}")
        assert caller.recv(12) == b"HTTP/1.1 400"
        assert server.process.child.wait(30) == 0  # and nothing more is read here
    backing.close()
