"""ID tokens as Firebase Authentication makes them, and what Identity-Aware Proxy says of people.

Both are signed with the tests' own keys, which a loopback server publishes as Google does its own.
"""

import base64
import json
import threading
import time
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
PROJECTS = {"test": "ally-tests", "live": "ally-tests-live"}


class Signer:
    """Signs tokens, and publishes the keys to check them with; fails or waits when told to."""

    def __init__(self, algorithm: str = "RS256") -> None:
        self.algorithm = algorithm
        curved = algorithm == "ES256"
        first = ec.generate_private_key(ec.SECP256R1()) if curved else new_key()
        self.keys: dict[str, PrivateKey] = {"first": first}
        self.failing = False
        self.answering = threading.Event()
        self.answering.set()
        self.fetched = 0
        signer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                signer.fetched += 1
                signer.answering.wait(60)
                self.send_response(500 if signer.failing else 200)
                self.send_header("Cache-Control", "public, max-age=3600")
                self.end_headers()
                self.wfile.write(json.dumps({"keys": signer.published()}).encode())

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self._server.server_port}/jwks"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def published(self) -> list[dict[str, Any]]:
        return [
            {
                **_jwk(key),
                "kid": name,
                "alg": self.algorithm,
                "use": "sig",
            }
            for name, key in self.keys.items()
        ]

    def sign(
        self,
        claims: dict[str, Any],
        kid: str = "first",
        key: PrivateKey | None = None,
    ) -> str:
        return jwt.encode(claims, key or self.keys[kid], self.algorithm, headers={"kid": kid})


@cache
def signer() -> Signer:
    """Return the one signer of this run."""
    return Signer()


@cache
def proxy() -> Signer:
    """Return the one stand-in for Identity-Aware Proxy of this run."""
    return Signer("ES256")


def new_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _jwk(key: PrivateKey) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        return jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True)


def claims(tenant: str, uid: str, mode: str = "test", **changes: Any) -> dict[str, Any]:
    """Return what a token of an end user who has just signed in says; None leaves a claim out."""
    at = int(time.time())
    said = {
        "iss": f"https://securetoken.google.com/{PROJECTS[mode]}",
        "aud": PROJECTS[mode],
        "sub": uid,
        "user_id": uid,
        "auth_time": at,
        "iat": at,
        "exp": at + 3600,
        "firebase": {"tenant": tenant, "sign_in_provider": "password", "identities": {}},
        **changes,
    }
    return {name: value for name, value in said.items() if value is not None}


def unsigned(said: dict[str, Any], **header: Any) -> str:
    """Return a token that nobody signed, as the Firebase emulator makes them."""
    parts = ({"alg": "none", "typ": "JWT", **header}, said)
    encoded = (base64.urlsafe_b64encode(json.dumps(part).encode()).decode() for part in parts)
    return ".".join([*(part.rstrip("=") for part in encoded), ""])
