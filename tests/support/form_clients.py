"""What clients make of a tree of parameters: forms, with the brackets that a caller writes."""

import json
import subprocess
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import SimpleQueue
from threading import Thread
from typing import Any
from urllib.parse import quote

import requests
import stripe

from shared.forms import Tree
from tests.support.serving import Json, Partner

Pair = tuple[str, Any]
Spelling = Mapping[str, str]
"""How each array is written, by its name."""
Caller = Callable[[str, Tree], Json]
"""What sends a form to a path and returns the object that it made."""
INDEXED, EMPTY, REPEATED = "a[0]=x", "a[]=x", "a=x&a=y"


def flatten(tree: Tree, spelling: Spelling, path: str = "") -> Iterator[Pair]:
    """Yield the names with brackets and the values that a caller writes out for a flat client."""
    for name, value in tree.items():
        inner = f"{path}[{name}]" if path else name
        members: Sequence[Pair] = [(inner, value)]
        if isinstance(value, list):
            shape = {INDEXED: "{}[{}]", EMPTY: "{}[]", REPEATED: "{}"}[spelling[name]]
            members = [(shape.format(inner, index), each) for index, each in enumerate(value)]
        for at, each in members:
            if isinstance(each, dict):
                yield from flatten(each, spelling, at)
            else:
                yield at, each


def grouped(pairs: Iterable[Pair]) -> dict[str, list[Any]]:
    """Return the values of each name, for a client that takes a dictionary."""
    groups = defaultdict(list)
    for name, value in pairs:
        groups[name].append(value)
    return dict(groups)


def curl_options(pairs: Iterable[Pair]) -> list[str]:
    """Return curl's options: it encodes the value and leaves the name to the caller."""
    options = []
    for name, value in pairs:
        spoken = "" if value is None else str(value)
        if isinstance(value, bool):
            spoken = spoken.lower()
        options += ["--data-urlencode", f"{quote(name, safe='[]')}={spoken}"]
    return options


def curl(*transfers: Sequence[str]) -> str:
    """Run curl once for some transfers and return what it printed."""
    quiet = ["--silent", "--show-error", "--noproxy", "*"]
    joined = [option for transfer in transfers for option in ("--next", *quiet, *transfer)][1:]
    ran = subprocess.run(["curl", "-q", *joined], capture_output=True, check=True, timeout=60)
    return ran.stdout.decode()


class Wire:
    """A server that keeps the bodies it is sent, and the clients that need a server to speak."""

    def __init__(self, session: requests.Session) -> None:
        bodies: SimpleQueue[bytes] = SimpleQueue()

        class Keep(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = -1  # the answer leaves in one piece, and its reader need not wait

            def do_POST(self) -> None:
                bodies.put(self.rfile.read(int(self.headers["Content-Length"])))
                self.send_response(200)
                self.send_header("Content-Length", "2")
                self.end_headers()
                self.wfile.write(b"{}")

            def log_message(self, *_: Any) -> None:
                """Print nothing."""

        self._bodies = bodies
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Keep)
        self._thread = Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})
        self._thread.start()
        self._url = f"http://127.0.0.1:{self._server.server_port}"
        self._stripe = stripe_client("test_key", self._url, session)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def from_stripe(self, tree: Tree) -> bytes:
        self._stripe.raw_request("post", "/v1/visits", **tree)
        return self._bodies.get(timeout=30)

    def from_curl(self, forms: Sequence[Iterable[Pair]]) -> list[bytes]:
        curl(*([*curl_options(pairs), f"{self._url}/v1/visits"] for pairs in forms))
        return [self._bodies.get(timeout=30) for _ in forms]


def stripe_client(key: str, url: str, session: requests.Session) -> stripe.StripeClient:
    client = stripe.RequestsClient(session=session)
    return stripe.StripeClient(
        key, base_addresses={"api": url}, http_client=client, max_network_retries=0
    )


def callers_of(partner: Partner, session: requests.Session) -> dict[str, Caller]:
    """Return each client, calling the partner's server; stripe's must trust its certificate."""
    key, url, certificate = str(partner.key), partner.server.url, str(partner.server.certificate)
    client = stripe_client(key, url, session)

    def by_stripe(path: str, tree: Tree) -> Json:
        return dict(client.raw_request("post", path, **tree).data)

    def by_httpx(path: str, tree: Tree) -> Json:
        return partner.call("POST", path, data=grouped(flatten(tree, {})))

    def by_requests(path: str, tree: Tree) -> Json:
        pairs = list(flatten(tree, {}))
        headers = {"Authorization": key}
        answer = session.post(url + path, data=pairs, headers=headers, verify=certificate)
        return dict(answer.json())

    def by_curl(path: str, tree: Tree) -> Json:
        options = [*curl_options(flatten(tree, {})), "--cacert", certificate]
        return dict(json.loads(curl([*options, "-H", f"Authorization: {key}", url + path])))

    return {"stripe": by_stripe, "httpx": by_httpx, "requests": by_requests, "curl": by_curl}
