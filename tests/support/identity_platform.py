"""A stand-in for Google's Identity Platform, and for what tells us on Google Cloud who we are.

tests/firebase asks the real emulator the same.
"""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.support import leaks

Json = dict[str, Any]

PROJECT, KEY = "ally-people", "a-web-api-key"
TOKEN = "token-of-the-service-account"
"""What the stand-in's metadata server gives to who runs on Google Cloud."""
METADATA = "/computeMetadata/v1/"


class IdentityPlatform:
    """Keeps accounts of one project in memory, and answers as Identity Platform does."""

    def __init__(self) -> None:
        self.accounts: dict[str, Json] = {}
        """By their ids."""
        self.asked: list[str] = []
        """Paths, in order."""
        self.failing: tuple[int, str] | None = None
        """What all is answered with instead: a status and a message."""
        self.tokens = {"owner", TOKEN}
        self._made = 0
        platform = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers["Content-Length"]))
                body = json.loads(sent)
                leaks.witness(self.requestline)
                platform._answer(self, body)

            def do_GET(self) -> None:
                """Answer as the metadata server of Google Cloud."""
                path = self.path.removeprefix(METADATA).partition("?")[0]
                service = "instance/service-accounts/default/"
                if path == f"{service}token":
                    _send(self, 200, {"access_token": TOKEN, "expires_in": 3600})
                elif path == service:
                    _send(self, 200, {"email": "ally@x.example", "scopes": [], "aliases": []})
                elif path == "project/project-id":
                    _send(self, 200, PROJECT)
                else:
                    _send(self, 200, {})

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _answer(self, request: BaseHTTPRequestHandler, body: Json) -> None:
        path = request.path.removeprefix("/identitytoolkit.googleapis.com")
        self.asked.append(path)
        if self.failing is not None:
            return _refuse(request, *self.failing)
        if path == "/v1/accounts:signInWithPassword":
            if request.headers["X-Goog-Api-Key"] != KEY:
                return _refuse(request, 400, "API key not valid. Please pass a valid API key.")
            return self._sign_in(request, body)
        if request.headers["Authorization"] not in {f"Bearer {each}" for each in self.tokens}:
            return _refuse(request, 401, "Request had invalid authentication credentials.")
        verbs: dict[str, Callable[[BaseHTTPRequestHandler, Json], None]] = {
            "": self._create,
            ":lookup": self._look_up,
            ":update": self._update,
            ":delete": self._delete,
        }
        return verbs[path.removeprefix(f"/v1/projects/{PROJECT}/accounts")](request, body)

    def _of(self, email: str) -> Json | None:
        return next((each for each in self.accounts.values() if each["email"] == email), None)

    def _sign_in(self, request: BaseHTTPRequestHandler, body: Json) -> None:
        found = self._of(body["email"].lower())
        if found is None or found["password"] != body["password"]:
            return _refuse(request, 400, "INVALID_LOGIN_CREDENTIALS")
        return _send(request, 200, {"localId": found["localId"], "idToken": "of.no.use"})

    def _create(self, request: BaseHTTPRequestHandler, body: Json) -> None:
        if len(body["password"]) < 6:
            told = "WEAK_PASSWORD : Password should be at least 6 characters"
            return _refuse(request, 400, told)
        if self._of(body["email"].lower()) is not None:
            return _refuse(request, 400, "EMAIL_EXISTS")
        self._made += 1
        account = {**body, "localId": f"uid{self._made}", "email": body["email"].lower()}
        self.accounts[account["localId"]] = account
        return _send(request, 200, {"localId": account["localId"]})

    def _look_up(self, request: BaseHTTPRequestHandler, body: Json) -> None:
        found = [self._of(email.lower()) for email in body["email"]]
        users = [{"localId": each["localId"]} for each in found if each is not None]
        return _send(request, 200, {"users": users} if users else {})

    def _update(self, request: BaseHTTPRequestHandler, body: Json) -> None:
        self.accounts[body["localId"]] |= body
        return _send(request, 200, {"localId": body["localId"]})

    def _delete(self, request: BaseHTTPRequestHandler, body: Json) -> None:
        if self.accounts.pop(body["localId"], None) is None:
            return _refuse(request, 400, "USER_NOT_FOUND")
        return _send(request, 200, {})


def _send(request: BaseHTTPRequestHandler, status: int, told: Json | str) -> None:
    plain = isinstance(told, str)
    body = told.encode() if isinstance(told, str) else json.dumps(told).encode()
    request.send_response(status)
    request.send_header("Content-Type", "text/plain" if plain else "application/json")
    request.send_header("Metadata-Flavor", "Google")
    request.send_header("Content-Length", str(len(body)))
    request.end_headers()
    request.wfile.write(body)


def _refuse(request: BaseHTTPRequestHandler, status: int, message: str) -> None:
    _send(request, status, {"error": {"code": status, "message": message}})
