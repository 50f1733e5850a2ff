"""What no honest client sends, as hypothesis strategies; whatever is sent can be recognised.

`SILENT` and `DIGITS` stand in values: neither may ever come back in an error or a log line.
`SPOKEN` stands in names of parameters and in what has the shape of an id: these an error may
repeat, a log line not.
"""

import base64
import copy
import json
import random
import string
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import assume
from hypothesis import strategies as st

from shared.routes import Route
from tests.support.form_clients import INDEXED, flatten
from tests.support.serving import PREFIXES, Json
from tests.support.wire import Attempt

SILENT, SPOKEN = ("".join(random.choices(string.ascii_letters, k=12)) for _ in range(2))
DIGITS = "".join(random.choices("123456789", k=12))

NAMED = {
    "patientId": "patient",
    "taskId": "task",
    "windowId": "window",
    "starting_after": "patient",
    "ending_before": "appointment",
}
"""Which parameters hold ids, and of what."""


@dataclass(frozen=True)
class Scene:
    """What there is to attack: ids that exist (ours, another's, the other mode's), keys, bodies."""

    ids: Mapping[str, Sequence[str]]
    keys: Sequence[str]
    key: str
    bodies: Mapping[str, Json]
    queries: Mapping[str, Json]


# --- Values --------------------------------------------------------------------------------------

ODDITIES = (
    *("", " ", "\x00", "\r\nX-Odd: 1", "\n", "\u202e", "\u2028", "\ud800", "\udfff", "\ufeff"),
    *("\U0001f9d1\u200d\u2695", "e\u0301", "\u0130", "%00", "%", "+", "&x=", "=", "../", "/", "\\"),
    *('"', "'", "<b>", "{reason}", "{0}", "[", "]", "[]", "__x__", ".", "`", "*", "A" * 300),
)
ODD = st.sampled_from(ODDITIES)
TEXTS = st.builds("{}{}{}".format, ODD, st.just(SILENT), ODD)
LONG = st.sampled_from([1000, 1001, 70_000]).map(lambda size: SILENT * (size // len(SILENT)))
NUMBERS = st.sampled_from(
    [int(DIGITS), -int(DIGITS), float(DIGITS) + 0.5, int(DIGITS * 2), 10**400, 2**63, 0, -1]
)
NOT_NUMBERS = st.sampled_from([float("nan"), float("inf"), float("-inf"), 1e308, -0.0])
DATES = st.sampled_from(
    ["0000-00-00", "0001-01-01", "9999-12-31", "2026-02-30", "1970-01-01", "2389-12-31T23:59:59Z"]
)
PLAIN = TEXTS | TEXTS | LONG | NUMBERS | NOT_NUMBERS | DATES | st.booleans() | st.none()
# A name that looks like one may be repeated; whatever else stands in a name's place may not.
NAMES = st.sampled_from(
    [SPOKEN, f"{SPOKEN}[0]", f"{SILENT} <b>", f"{SILENT}\x00", SILENT * 9, f"\u00e9{SILENT}", "0"]
)
VALUES = st.recursive(
    PLAIN,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=2),
    max_leaves=6,
)


def buried(depth: int) -> Any:
    """Return a text at a depth."""
    value: Any = SILENT
    for level in range(depth):
        value = [value] if level % 2 else {SPOKEN: value}
    return value


MONSTERS = VALUES | VALUES | st.sampled_from([4, 5, 6, 60, 900]).map(buried)
METADATA = st.one_of(
    st.dictionaries(NAMES | TEXTS, PLAIN, max_size=4),
    st.sampled_from([1, 49, 50, 51, 999, 1001]).map(
        lambda size: {f"k{number}": SILENT for number in range(size)}
    ),
)
FILTERS = st.builds(
    "{}{}{}{}".format,
    st.sampled_from(
        ["createdAt>=", "externalRef:", "status:", "patient.name~", "name:", "updatedAt<", "x", ""]
    ),
    TEXTS.map(json.dumps) | TEXTS.map('"{}"'.format) | DATES.map('"{}"'.format) | TEXTS,
    st.sampled_from(["", "", " and ", " or ", " and createdAt>="]),
    TEXTS.map('"{}"'.format) | st.just(""),
)


def identities(scene: Scene, noun: str) -> st.SearchStrategy[str]:
    """Return ids of a kind: those that exist, one that does not, others' kinds, no ids at all."""
    existing = list(scene.ids[noun])
    others = [each for kind in scene.ids.values() for each in kind]
    missing = f"{PREFIXES.get(noun, noun)}_{SPOKEN}{'0' * 10}"
    wrong = st.sampled_from([missing, missing[:-1], f"{missing}\n", SILENT, f"../{SILENT}", "0"])
    return st.sampled_from(existing) | st.sampled_from(existing) | st.sampled_from(others) | wrong


# --- Requests ------------------------------------------------------------------------------------


def places(tree: Any) -> Iterator[tuple[Any, Any]]:
    """Yield every container of a tree with every index of it."""
    for index, member in list(tree.items() if isinstance(tree, dict) else enumerate(tree)):
        yield tree, index
        if isinstance(member, dict | list):
            yield from places(member)


@st.composite
def spoiled(draw: st.DrawFn, scene: Scene, sound: Json) -> Json:
    """Return a tree of parameters that was sound, with a few of its members made odd."""
    tree: Json = copy.deepcopy(sound)
    for _ in range(draw(st.integers(0, 3))):
        found = list(places(tree))
        container, index = draw(st.sampled_from(found)) if found else (tree, "x")
        change = draw(st.sampled_from(["value", "value", "id", "drop", "add", "metadata"]))
        if change == "value" or (change == "id" and index not in NAMED):
            container[index] = draw(FILTERS if index == "filter" else MONSTERS)
        elif change == "id":
            container[index] = draw(identities(scene, NAMED[index]))
        elif change == "drop" and found:
            del container[index]
        elif change == "add":
            tree[draw(NAMES)] = draw(MONSTERS)
        else:
            tree["metadata"] = draw(METADATA)
    return tree


def as_form(tree: Json) -> bytes:
    """Encode a tree as a form with brackets."""
    pairs = list(flatten(tree, defaultdict(lambda: INDEXED)))
    spoken = [(name, "" if value is None else str(value)) for name, value in pairs]
    return urlencode(spoken, errors="surrogatepass").encode()


def as_json(tree: Any) -> bytes:
    return json.dumps(tree).encode()


JSON, FORM = b"application/json", b"application/x-www-form-urlencoded"
TYPES = st.sampled_from(
    [
        *(JSON, FORM, b"application/JSON; charset=utf-16", b"text/plain", b"multipart/form-data"),
        *(b"application/merge-patch+json", b"", b";", SILENT.encode(), b"application/octet-stream"),
    ]
)
BYTES = st.one_of(
    st.builds(b"%b=%b%b".__mod__, st.tuples(st.binary(), st.just(SILENT.encode()), st.binary())),
    VALUES.map(as_json),
    st.sampled_from([20, 2000, 50_000]).map(lambda depth: b"[" * depth + SILENT.encode()),
    st.sampled_from([20, 2000]).map(lambda depth: b'{"a":' * depth + b"1" + b"}" * depth),
    st.sampled_from([5, 6, 1000]).map(lambda depth: b"a" + b"[b]" * depth + b"=" + SILENT.encode()),
    st.sampled_from([999, 1001]).map(lambda size: b"&".join([b"a=" + SILENT.encode()] * size)),
    st.just(SILENT.encode() * 22_000),
    st.sampled_from(
        [b"{", b"[]", b"null", b"\xef\xbb\xbf{}", b"a[", b"[a]=b", b"a]b=c", b"=", b"&"]
    ),
    st.just(b'{"note":"\\ud800","firstName":"' + SILENT.encode() + b'"}'),
)
PIECES = st.sampled_from(
    [
        *("/v1", "/v1", "/patients", "/appointments", "/cancel", "/search", "/..", "/.", "//", "/"),
        *("/%2e%2e", "/%2F", "/%00", "/%ff", "/%c3%28", "%", "/%zz", "/%0d%0aX: 1"),
        "/%F0%9F%A7%91",
        *(f"/{SILENT}", f"/p_{SILENT}", f"/p_{SPOKEN}0000000000", ";x=1", "#x", "/V1", "/~", "/*"),
        *("/docs/errors", f"/{SILENT * 400}", f"/p_{SPOKEN}000000000%30", "/v1/tasks/", "/\\"),
    ]
)
QUERIES = st.one_of(
    st.binary(max_size=40).map(lambda raw: f"x={quote(raw)}{SILENT}"),
    st.sampled_from(
        [
            *("", "?", "&&", "=", f"limit={SILENT}", f"limit=1&limit={SILENT}", "%00=%00", "a[b=c"),
            *("%ff=%ff", "filter=%ff", "expand[]=x", f"expand[]={SILENT}.a.b.c.d.e", "limit=%31"),
            *(f"a{'[b]' * 40}={SILENT}", f"metadata[{SILENT}]=1", f"x={SILENT * 800}"),
            *("x=" + "&x=" * 1001, f"[{SILENT}]=x", f"createdAt[gte]={SILENT}", "limit=+5", "+=+"),
        ]
    ),
)


def authorizations(scene: Scene) -> st.SearchStrategy[bytes | None]:
    """Return what stands for a key: mostly ones that open something."""
    basic = base64.b64encode(f"{SILENT}:{SILENT}".encode()).decode()
    odd = [
        *("", "Bearer", "Basic", f"Basic {basic}", f"Basic {SILENT}", f"Bearer {SILENT}", SILENT),
        *(f"Bearer {scene.key}", f"bearer  {scene.key}", f"Digest {scene.key}", f"{scene.key}x"),
        *(f"test_{SILENT * 2}.{(SILENT * 3)[:30]}", f"live_{SILENT * 2}.{(SILENT * 3)[:30]}"),
        *(scene.key.replace("test_", "live_"), scene.key[:-30] + (SILENT * 3)[:30], "x" * 9000),
        *(f"test_pub_{SILENT * 2}", f"\u00e9{SILENT}", f"{scene.key}, {scene.key}"),
    ]
    strange = st.sampled_from(odd).map(lambda text: text.encode("latin-1", "replace"))
    sound = st.sampled_from([*scene.keys, *[scene.key] * 8]).map(str.encode)
    return st.integers(0, 9).flatmap(lambda tenth: strange | st.none() if tenth == 9 else sound)


HEADER_VALUES = st.one_of(
    st.text(st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_categories=["Cc"]))
    .map(lambda text: f"{text}{SILENT}")
    .map(lambda text: text.encode("latin-1")),
    st.sampled_from([b"", b'"', b'""', SILENT.encode() * 30, b"\t", b"\xff\xfe", b"*/*;q=\xe9"]),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                *(b"Idempotency-Key", b"Idempotency-Key", b"Ally-Version", b"X-Forwarded-For"),
                *(b"Accept", b"Content-Type", b"X-Forwarded-Authorization", b"Cookie", b"Origin"),
                *(b"Content-Encoding", b"X-HTTP-Method-Override", b"If-Match", b"Range", b"X-Odd"),
            ]
        ),
        HEADER_VALUES,
    )
    | st.sampled_from(
        [
            (b"Accept", b"application/problem+json"),
            (b"Ally-Version", b"2026-11-22"),
            (b"X-Forwarded-For", b"203.0.113.7"),
            (b"X-Forwarded-For", b"203.0.113.7, ::1, " + SILENT.encode()),
            (b"X-Forwarded-For", b"::ffff:203.0.113.7"),
            (b"Idempotency-Key", b"the same key"),
        ]
    ),
    max_size=3,
)
METHODS = st.sampled_from(["GET", "POST", "PATCH", "DELETE", "PUT", "HEAD", "OPTIONS", "PURGE"])


@st.composite
def shaped(draw: st.DrawFn, scene: Scene, routes: Sequence[Route]) -> Attempt:
    """Return a call of a route that is sound but for a few of its members."""
    # Few requests get as far as what the world refuses, so where it can they are made more often.
    deeds = [each for each in routes if each.writes and "/appointments" in each.template]
    route = draw(st.sampled_from([*routes, *deeds * 3]))
    target = route.template
    while "{" in target:
        before, _, rest = target.partition("{")
        noun, _, after = rest.partition("}")
        target = before + quote(draw(identities(scene, noun))) + after
    tree = draw(spoiled(scene, scene.queries.get(route.template, {})))
    query = (
        as_form(tree) if route.method in ("GET", "DELETE") or draw(st.integers(0, 9)) == 0 else b""
    )
    body, kind = b"", JSON
    if route.method in ("POST", "PATCH"):
        sent = draw(spoiled(scene, scene.bodies.get(route.template, {})))
        body, kind = draw(st.sampled_from([(as_json(sent), JSON), (as_form(sent), FORM)]))
    headers = draw(st.just([]) | HEADERS)
    return Attempt(
        route.method,
        target.encode() + (b"?" + query[:60_000] if query else b""),
        (*_authorized(draw(authorizations(scene))), (b"Content-Type", kind), *headers),
        body,
        chunked=draw(st.integers(0, 9)) == 0,
    )


@st.composite
def shapeless(draw: st.DrawFn, scene: Scene, routes: Sequence[Route]) -> Attempt:
    """Return a call with any bytes as its body, to any path, by any method."""
    known = draw(st.sampled_from(routes))
    path = known.template.replace("{", SILENT).replace("}", "")
    odd = draw(st.lists(PIECES, min_size=1, max_size=5).map(lambda pieces: "/" + "".join(pieces)))
    # What follows a question mark is a parameter's name, which may be repeated.
    target = draw(st.sampled_from([path, path, odd.replace("?", "%3F")]))
    query = draw(QUERIES | st.just(""))
    method = draw(st.sampled_from([known.method]) | METHODS)
    return Attempt(
        method,
        (f"{target}?{query}" if query else target).replace(" ", "%20").encode(),
        (
            *_authorized(draw(authorizations(scene))),
            (b"Content-Type", draw(TYPES)),
            *draw(HEADERS),
        ),
        draw(st.just(b"") | BYTES),
        chunked=draw(st.booleans()),
    )


def _authorized(value: bytes | None) -> list[tuple[bytes, bytes]]:
    return [] if value is None else [(b"Authorization", value)]


# --- From an OpenAPI document --------------------------------------------------------------------


def infused(value: Any, sound: frozenset[str]) -> Any:
    """Put the mark into every text of a tree that is not one of those that must stay."""
    if isinstance(value, dict):
        return {name: infused(member, sound) for name, member in value.items()}
    if isinstance(value, list):
        return [infused(member, sound) for member in value]
    return f"{SILENT}{value}" if isinstance(value, str) and value not in sound else value


@st.composite
def generated(
    draw: st.DrawFn, scene: Scene, cases: st.SearchStrategy[Any], sound: frozenset[str]
) -> Attempt:
    """Return what schemathesis made of the document, with a mark in its texts."""
    case = draw(cases)
    body = b""
    if isinstance(case.body, bytes):
        body = case.body
    elif isinstance(case.body, dict | list | str | int | float | None):
        tree = infused(case.body, sound)
        formed = case.media_type == FORM.decode() and isinstance(tree, dict)
        body = as_form(tree) if formed else as_json(tree)
    query = as_form(infused(case.query, sound)) if isinstance(case.query, dict) else b""
    given = [
        (name.encode(), infused(value, sound).encode("latin-1", "replace"))
        for name, value in case.headers.items()
        if name == "Idempotency-Key" and isinstance(value, str) and value.isprintable()
    ]
    headers = [*given, (b"Content-Type", (case.media_type or "").encode())]
    return Attempt(
        case.method.upper(),
        case.formatted_path.encode() + (b"?" + query[:60_000] if query else b""),
        (*_authorized(draw(authorizations(scene))), *headers),
        body,
    )


# --- What is not HTTP, or hardly -----------------------------------------------------------------


@st.composite
def broken(draw: st.DrawFn, scene: Scene) -> bytes:
    """Return a request without a body, some bytes of whose head were overwritten or added."""
    head = b"POST /v1/patients?x=%b HTTP/1.1\r\nHost: x\r\nAuthorization: %b\r\nX-Odd: %b\r\n" % (
        SILENT.encode(),
        scene.key.encode(),
        SILENT.encode(),
    )
    pieces = st.binary(max_size=6) | st.sampled_from([b"\r", b"\n", b"\x00", b" ", b":", b"\xff"])
    for piece in draw(st.lists(pieces, min_size=1, max_size=3)):
        at = draw(st.integers(0, len(head) - 2))
        head = head[:at] + piece + head[at + draw(st.integers(0, len(piece))) :]
    # Without its sign of equality the value would be a parameter's name, and errors say those.
    assume(b"=" + SILENT.encode() in head)
    return head.rstrip(b"\r\n") + b"\r\n\r\n"
