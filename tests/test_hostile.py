"""Hostile requests: no 5xx, nothing stored by a refused one, no value echoed or logged.

Half of what is sent comes from schemathesis, which reads a document of the routes that run, half
from hypothesis, for what no schema says. Everything goes over TLS to a running server, as bytes.
"""

import json
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, note, seed, settings
from hypothesis import strategies as st
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode

from functions import discover
from shared.routes import PUBLIC
from tests.conftest import BACKENDS, environment_of
from tests.support.campaign import Campaign
from tests.support.document import DOCUMENT, Json, narrowed
from tests.support.hostility import (
    NAMED,
    SILENT,
    Scene,
    broken,
    generated,
    shaped,
    shapeless,
)
from tests.support.scale import SEED
from tests.support.secret_manager import SecretManager
from tests.support.serving import ADDRESS, PATIENT, Backing, Server
from tests.support.wire import Attempt

SHARE = int(os.environ.get("ALLY_HOSTILE", "1000")) // len(BACKENDS)
"""Requests that each backend is sent."""
BATCH = 100
"""Requests after which what is stored and logged is held against the answers."""
ROUND = 500
"""Requests that one organisation lives through: the emulator is slow where one has very much."""
ROUTES = [
    route
    for api in discover()
    if api.reachable
    for route in api.routes
    if route.permission != PUBLIC
]


@pytest.fixture(scope="module", params=BACKENDS)
def stronghold(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    """A server that believes one proxy, on a backing of its own."""
    folder = tmp_path_factory.mktemp("stronghold")
    backing = Backing(environment_of(request, folder))
    server = Server(backing, folder, ALLY_PROXIES="1", ALLY_LOG=str(folder / "requests.jsonl"))
    backing.environment["ALLY_LOG"] = str(folder / "requests.jsonl")
    yield server
    assert server.stop() == 0
    backing.close()


@pytest.fixture(scope="module")
def begin(stronghold: Server, request: pytest.FixtureRequest) -> Iterator[Callable[[], Campaign]]:
    """A way to begin a campaign, with organisations of its own."""
    backing, campaigns = stronghold.backing, []
    manager: SecretManager | None = None
    if backing.environment["ALLY_BACKEND"] == "google":
        manager = request.getfixturevalue("secret_manager")

    def secrets() -> int:
        if manager is not None:
            return len(manager.versions)
        return len(json.loads(Path(backing.environment["ALLY_STATE"], "secrets.json").read_text()))

    def start() -> Campaign:
        ours = backing.partner(stronghold).administrator()
        theirs = backing.partner(stronghold, "Other Health").administrator()
        campaigns.append(Campaign(ours, theirs, secrets))
        return campaigns[-1]

    yield start
    for campaign in campaigns:
        campaign.close()


@pytest.fixture(scope="module")
def campaign(begin: Callable[[], Campaign]) -> Campaign:
    return begin()


@pytest.fixture
def sally(campaign: Campaign) -> Iterator[Campaign]:
    """A campaign of a few requests; in the end they have stored, told and printed nothing."""
    yield campaign
    campaign.settle()


def sound_texts(scene: Scene) -> dict[str, list[str]]:
    """Return texts that would be accepted, by the names of parameters."""
    known = {
        "phone": PATIENT["phone"],
        "email": PATIENT["email"],
        "postcode": ADDRESS["postcode"],
        "supportPhone": PATIENT["phone"],
        "supportEmail": PATIENT["email"],
        "nhsNumber": "9990000018",
        "expiresAt": "2099-01-01",
        "filter": 'createdAt<"2099-01-01"',
    }
    named = {name: list(scene.ids[noun]) for name, noun in {**NAMED, **nouns(scene)}.items()}
    return {**{name: [text] for name, text in known.items()}, **named}


def with_a_key(document: Json) -> Json:
    """Return the document without what anybody may read."""
    paths = {
        path: methods
        for path, methods in document["paths"].items()
        if all(operation.get("security") != [] for operation in methods.values())
    }
    return {**document, "paths": paths}


def nouns(scene: Scene) -> dict[str, str]:
    return {noun: noun for noun in scene.ids}


def from_the_document(scene: Scene) -> st.SearchStrategy[Attempt]:
    """Return requests that schemathesis makes of the routes: such as fit them, and such as do not.

    The mark goes into all texts, into none of them where there is hope of being accepted.
    """
    known = sound_texts(scene)
    schema = schemathesis.openapi.from_dict(with_a_key(narrowed(DOCUMENT, known)))
    operations = [found.ok() for found in schema.get_all_operations() if isinstance(found, Ok)]
    assert len(operations) == len(ROUTES)
    cases: list[st.SearchStrategy[Any]] = [
        operation.as_strategy(generation_mode=mode)
        for operation in operations
        for mode in GenerationMode
    ]
    enumerated = {text for texts in known.values() for text in texts}
    words = frozenset({*enumerated, *json.dumps(schema.raw_schema).split('"')})
    return generated(scene, st.one_of(cases), words)


def of_any_bytes(scene: Scene) -> st.SearchStrategy[Attempt | bytes]:
    return shapeless(scene, ROUTES) | broken(scene)


def of_any_values(scene: Scene) -> st.SearchStrategy[Attempt]:
    return shaped(scene, ROUTES)


# Hypothesis writes its strategies out, and ours are made of a long document.
@pytest.mark.filterwarnings("ignore:Generating overly large repr")
@pytest.mark.parametrize(
    ("made", "part", "expected"),
    [
        (from_the_document, 2, {200, 400, 401, 402, 403, 404}),
        (of_any_values, 4, {200, 400, 401, 402, 403, 404}),
        (of_any_bytes, 4, {400, 401, 403, 404, 405}),
    ],
)
def test_no_hostile_request_crashes_stores_or_is_echoed(
    begin: Callable[[], Campaign],
    made: Callable[[Scene], st.SearchStrategy[Attempt | bytes]],
    part: int,
    expected: set[int],
) -> None:
    share = SHARE // part
    statuses: Counter[int] = Counter()
    codes: Counter[str] = Counter()
    # A small share may miss by chance what it should meet; it goes on for a while then.
    while statuses.total() < share or (
        not expected <= set(statuses) and statuses.total() < 5 * share
    ):
        campaign = begin()
        left = share - statuses.total() % share
        attack(campaign, made(campaign.scene), min(left, ROUND), SEED + statuses.total())
        statuses += campaign.statuses
        codes += campaign.codes
    print(f"{made.__name__}: {dict(statuses)} {dict(codes)}")
    assert statuses.total() >= share
    assert expected <= set(statuses)


def attack(
    campaign: Campaign, attempts: st.SearchStrategy[Attempt | bytes], number: int, first: int
) -> None:
    """Send a number of requests, and settle after every batch of them.

    Each batch is another one, by a seed that is `first` and what was sent before.
    """

    @settings(
        max_examples=min(BATCH, number),
        database=None,
        derandomize=False,  # or each batch would be the same
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(attempts)
    def strike(attempt: Attempt | bytes) -> None:
        note(repr(attempt)[:2000])
        if isinstance(attempt, Attempt):
            campaign.strike(attempt)
        else:
            campaign.hurl(attempt)

    while campaign.sent < number:
        seed(first + campaign.sent)(strike)()
        campaign.settle()


# --- Below our door ------------------------------------------------------------------------------

BELOW_THE_DOOR = {
    "a method that HTTP does not know": b"BREW /v1/patients HTTP/1.1",
    "a method in small letters": b"get /v1/patients HTTP/1.1",
    "a target that is no path": b"GET v1/patients HTTP/1.1",
    "an absolute target without a path": b"GET https://api.ally.example HTTP/1.1",
    "a target with a space": b"GET /v1/pat ients HTTP/1.1",
    "a target with a control character": b"GET /v1/patients?x=\x01 HTTP/1.1",
    "a target that is not ASCII": b"GET /v1/patients?x=\xff HTTP/1.1",
    "a target of more than 64 KiB": b"GET /v1/patients?x=%b HTTP/1.1" % (b"y" * 65536),
    "a version of HTTP that is none": b"GET /v1/patients HTTP/1.9",
    "a header's name with a space": b"GET /v1/patients HTTP/1.1\r\nX Odd: y",
    "a header without a name": b"GET /v1/patients HTTP/1.1\r\n: y",
    "a line that goes on": b"GET /v1/patients HTTP/1.1\r\nX-Odd: y\r\n z",
    "a control character in a header": b"GET /v1/patients HTTP/1.1\r\nX-Odd: \x01",
    "a length that is no number": b"POST /v1/patients HTTP/1.1\r\nContent-Length: abc",
    "a negative length": b"POST /v1/patients HTTP/1.1\r\nContent-Length: -1",
    "a length beyond 64 bits": b"POST /v1/patients HTTP/1.1\r\nContent-Length: " + b"9" * 20,
    "two lengths": b"POST /v1/patients HTTP/1.1\r\nContent-Length: 0\r\nContent-Length: 0",
    "a length beside chunks": (
        b"POST /v1/patients HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked"
    ),
    "a coding that is not chunked": b"POST /v1/patients HTTP/1.1\r\nTransfer-Encoding: gzip",
}
"""All kinds of requests that the server under our door refuses by itself: 400, a line of plain
text, no Request-Id, and nobody is asked who they are."""


@pytest.mark.parametrize("request_line", BELOW_THE_DOOR.values(), ids=BELOW_THE_DOOR)
def test_what_is_not_http_is_refused_below_the_door(sally: Campaign, request_line: bytes) -> None:
    marked = b"%b\r\nX-Mark: %b\r\n\r\n" % (request_line, SILENT.encode())
    answer = sally.hurl(marked)
    assert answer.below
    assert answer.header("content-type") == "text/plain; charset=utf-8"


IN_OUR_DOOR = {
    "no host": b"GET /v1/patients HTTP/1.1",
    "HTTP 1.0": b"GET /v1/patients HTTP/1.0",
    "an absolute target": b"GET http://other.example/v1/patients HTTP/1.1",
    "a target of a star": b"OPTIONS * HTTP/1.1",
    "a tunnel": b"CONNECT /v1/patients HTTP/1.1",
    "a fragment": b"GET /v1/patients#x HTTP/1.1",
    "a NUL in the path": b"GET /v1/%00 HTTP/1.1",
    "a path that is not UTF-8": b"GET /v1/%ff%fe HTTP/1.1",
    "another protocol": b"GET /v1/patients HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket",
    "HTTP 2": b"GET /v1/patients HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c",
    "no version": b"GET /v1/patients",
    "a header of 100 KiB": b"GET /v1/patients HTTP/1.1\r\nX-Odd: " + b"y" * 102_400,
    "many headers": b"GET /v1/patients HTTP/1.1" + b"\r\nX-Odd: y" * 1000,
}


@pytest.mark.parametrize("request_line", IN_OUR_DOOR.values(), ids=IN_OUR_DOOR)
def test_what_is_hardly_http_is_refused_in_our_envelope(
    sally: Campaign, request_line: bytes
) -> None:
    answer = sally.hurl(b"%b\r\nX-Mark: %b\r\n\r\n" % (request_line, SILENT.encode()))
    assert answer.status in (401, 404, 405)
    assert answer.json()["error"]["code"] in ("key_missing", "route_unknown", "method_not_allowed")


@pytest.mark.parametrize(
    "rest",
    [
        b"Content-Length: 1000\r\n\r\n{" + SILENT.encode(),
        b"Content-Length: 1000\r\n\r\n",
        b"Transfer-Encoding: chunked\r\n\r\nff\r\n{" + SILENT.encode(),
        b"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n",
        b"X-Odd: " + SILENT.encode(),
    ],
    ids=["within a body", "before a body", "within a chunk", "before going on", "within a header"],
)
def test_whoever_hangs_up_leaves_nothing(sally: Campaign, rest: bytes) -> None:
    head = b"POST /v1/patients HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\n"
    sally.leave(head % sally.scene.key.encode() + rest)
    answer = sally.hurl(head % sally.scene.key.encode() + b"\r\n")  # it serves the next one
    assert answer.json()["error"]["code"] == "parameter_missing"
