"""The API as it may be one day: what clients that were made before must live with."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support.serving import Server

FREE = {"metadata", "data"}
"""Members whose own members are the partner's, or have no fixed names."""


class Later:
    """A loopback relay before a server, whose answers have more than any document tells.

    Each object has another member, and each error another type and code.
    """

    def __init__(self, server: Server) -> None:
        class Relay(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                answer = server.send("GET", self.path, self.headers["Authorization"])
                body = json.dumps(_later(answer.json())).encode()
                self.send_response(answer.status_code)
                self.send_header("Content-Type", answer.headers["Content-Type"])
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Print nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Relay)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


def _later(found: Any) -> Any:
    if isinstance(found, list):
        return [_later(each) for each in found]
    if not isinstance(found, dict):
        return found
    grown = {name: each if name in FREE else _later(each) for name, each in found.items()}
    if "doc_url" in grown:
        grown |= {"type": "later_error", "code": "refused_later"}
    return {**grown, "addedLater": {"since": "2030-01-01"}}
