"""Forms as real clients encode them mean what JSON means; nothing else is more than refused.

The oracle is the JSON body: for any tree of parameters, what stripe, httpx, requests and curl make
of it must come to the same object.
"""

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
import requests
import stripe
from hypothesis import Phase, example, given, settings
from hypothesis import strategies as st

from shared import clock
from shared.errors import ApiError
from shared.fields import Day, Intake, Line, MetadataChanges, Note, Whole
from shared.forms import MOST_DEPTH, MOST_FIELDS, Tree, decode_form, decode_json
from shared.models import Model
from shared.receiving import receive
from tests.support import conformity
from tests.support.form_clients import (
    EMPTY,
    INDEXED,
    REPEATED,
    Caller,
    Spelling,
    Wire,
    callers_of,
    flatten,
    grouped,
)
from tests.support.serving import ADDRESS, PATIENT, Json, Partner

NOW = clock.now()
Decode = Callable[[bytes], Tree]


class Door(Model):
    line1: Line
    note: Note | None = None


class Step(Model):
    name: Line
    count: Whole | None = None
    urgent: bool | None = None
    tags: list[Line] | None = None
    door: Door | None = None


class Visit(Model):
    """One field of each shape that a request may have, as deep as it may be."""

    name: Line
    note: Note | None = None
    urgent: bool | None = None
    count: Whole | None = None
    day: Day | None = None
    words: list[Line] | None = None
    door: Door | None = None
    steps: list[Step] | None = None
    metadata: MetadataChanges | None = None


def understand(tree: Tree) -> tuple[Visit | None, list[ApiError]]:
    problems: list[ApiError] = []
    return receive(Visit, tree, Intake(livemode=False, now=NOW, warnings=[]), problems), problems


def meaning(tree: Tree) -> Json:
    """Return the fields that a tree names, in their normal form; it must be accepted."""
    visit, problems = understand(tree)
    assert visit is not None, [str(vars(problem)) for problem in problems]
    return visit.model_dump(exclude_unset=True)


def meaning_of_json(tree: Tree) -> Json:
    found = meaning(decode_json(json.dumps(tree).encode()))
    assert found["name"] == tree["name"].strip()  # or two empty objects would be equal as well
    return found


def refusal_of(decode: Decode, encoded: bytes) -> ApiError | None:
    """Return the refusal of what cannot be decoded; any other exception fails the test."""
    try:
        decode(encoded)
    except ApiError as refusal:
        return refusal
    return None


def assert_refused(decode: Decode, encoded: bytes) -> None:
    refusal = refusal_of(decode, encoded)
    assert refusal is not None
    assert (refusal.status, refusal.code) == (400, "body_malformed")


# --- Any tree of parameters ----------------------------------------------------------------------

# Turning the direction of the text around is refused, as control characters are.
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
LETTERS = st.characters(exclude_categories=("Cs", "Cc", "Zl", "Zp"), exclude_characters=TURNING)
# What an encoder or a decoder could take for its own.
ESCAPES = ("%41", "%5B", "%zz", "&name=x", "[0]", "[]", "null", "true")
WIDE = ("\u00e9", "e\u0301", "\U0001f9d1\u200d\u2695")
TRAPS = st.sampled_from([*"%+ &=;#?/@\\\"'{]", *ESCAPES, *WIDE])


def text(pieces: st.SearchStrategy[str], most: int = 12) -> st.SearchStrategy[str]:
    return st.lists(pieces, min_size=1, max_size=most).map("".join).filter(str.strip)


def unset_or(values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(values, values, st.sampled_from([None, ""]))


LINES = text(TRAPS | LETTERS)
NOTES = text(TRAPS | LETTERS | st.sampled_from(["\n", "\t", "\r\n"]))
KEYS = text((TRAPS | LETTERS).filter(lambda piece: not set(piece) & set("[]")), 5)
WHOLES = st.integers(-(10**15) + 1, 10**15 - 1)
# A form cannot say that an array or an object is empty, so none is.
WORDS = st.lists(LINES, min_size=1, max_size=4)
DOORS = st.fixed_dictionaries({"line1": LINES}, optional={"note": unset_or(NOTES)})
# The name comes first, for it is where `steps[]` begins the next step.
STEPS = st.fixed_dictionaries(
    {"name": LINES},
    optional={
        "count": unset_or(WHOLES),
        "urgent": unset_or(st.booleans()),
        "tags": unset_or(WORDS),
        "door": unset_or(DOORS),
    },
).map(lambda step: {"name": step["name"], **step})
VISITS = st.fixed_dictionaries(
    {"name": LINES},
    optional={
        "note": unset_or(NOTES),
        "urgent": unset_or(st.booleans()),
        "count": unset_or(WHOLES),
        "day": unset_or(st.dates().map(str)),
        "words": unset_or(WORDS),
        "door": unset_or(DOORS),
        "steps": unset_or(st.lists(STEPS, min_size=1, max_size=3)),
        "metadata": unset_or(st.dictionaries(KEYS, NOTES | st.just(""), min_size=1, max_size=4)),
    },
)


def without_nulls(value: Any) -> Any:
    """Return what a client means that drops None: a field that is not sent is left alone."""
    if isinstance(value, dict):
        return {name: without_nulls(each) for name, each in value.items() if each is not None}
    return [without_nulls(each) for each in value] if isinstance(value, list) else value


ANY = st.sampled_from([INDEXED, EMPTY, REPEATED])
# A client that takes a dictionary cannot interleave, as `steps[]` would need it to.
NUMBERED_STEPS = st.fixed_dictionaries({"steps": st.just(INDEXED), "words": ANY, "tags": ANY})
# In `steps[]` the name that is given again begins the next step, so that a tag may not be.
PLAIN_STEPS = st.fixed_dictionaries(
    {"steps": st.just(EMPTY), "words": ANY, "tags": st.sampled_from([INDEXED, EMPTY])}
)
SPELLINGS = NUMBERED_STEPS | PLAIN_STEPS


@pytest.fixture(scope="module")
def wire() -> Iterator[Wire]:
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the developer's is none of this
        made = Wire(session)
        yield made
    made.close()


# --- Each client against JSON --------------------------------------------------------------------


@given(tree=VISITS)
@settings(max_examples=150)
def test_what_stripe_sends_means_what_the_json_body_means(wire: Wire, tree: Tree) -> None:
    assert meaning(decode_form(wire.from_stripe(tree))) == meaning_of_json(without_nulls(tree))


@given(tree=VISITS, spelling=NUMBERED_STEPS)
@settings(max_examples=150)
def test_what_httpx_sends_means_what_the_json_body_means(tree: Tree, spelling: Spelling) -> None:
    fields = grouped(flatten(tree, spelling))
    body = httpx.Request("POST", "https://api.ally.test", data=fields).read()
    query = httpx.Request("GET", "https://api.ally.test", params=fields).url.query
    meant = meaning_of_json(tree)
    assert meaning(decode_form(body)) == meant
    assert meaning(decode_form(query)) == meant


@given(tree=VISITS, spelling=SPELLINGS)
@settings(max_examples=150)
def test_what_requests_sends_means_what_the_json_body_means(tree: Tree, spelling: Spelling) -> None:
    pairs = list(flatten(tree, spelling))
    body = requests.Request("POST", "https://api.ally.test", data=pairs).prepare().body
    url = requests.Request("GET", "https://api.ally.test", params=pairs).prepare().url
    assert isinstance(body, str)
    assert isinstance(url, str)
    meant = meaning_of_json(without_nulls(tree))
    assert meaning(decode_form(body.encode())) == meant
    assert meaning(decode_form(urlsplit(url).query.encode())) == meant


@given(visits=st.lists(st.tuples(VISITS, SPELLINGS), min_size=8, max_size=16))
# The test above finds the smallest example of what fails here, without a process for each.
@settings(max_examples=15, phases=[Phase.explicit, Phase.reuse, Phase.generate])
def test_what_curl_sends_means_what_the_json_body_means(
    wire: Wire, visits: list[tuple[Tree, Spelling]]
) -> None:
    bodies = wire.from_curl([flatten(tree, spelling) for tree, spelling in visits])
    for (tree, _), body in zip(visits, bodies, strict=True):
        assert meaning(decode_form(body)) == meaning_of_json(tree)


@pytest.mark.parametrize(
    ("form", "tree"),
    [
        ("x[][y]=1&x[][z]=2", [{"y": "1", "z": "2"}]),
        ("x[][y]=1&x[][y]=2", [{"y": "1"}, {"y": "2"}]),
        ("x[][y][a]=1&x[][y][b]=2", [{"y": {"a": "1", "b": "2"}}]),
        ("x[][y][a]=1&x[][y][a]=2", [{"y": {"a": "1"}}, {"y": {"a": "2"}}]),
        ("x[][y][]=1&x[][y][]=2", [{"y": ["1", "2"]}]),
        ("x[][y][]=1&x[][z]=2", [{"y": ["1"], "z": "2"}]),
        ("x[][y][][a]=1&x[][y][][b]=2", [{"y": [{"a": "1", "b": "2"}]}]),
        (
            "x[][z][w]=a&x[][y]=1&x[][z][w]=b&x[][y]=2",
            [{"z": {"w": "a"}, "y": "1"}, {"z": {"w": "b"}, "y": "2"}],
        ),
    ],
)
def test_an_object_in_an_array_ends_where_rack_ends_it(form: str, tree: Any) -> None:
    assert decode_form(form.encode()) == {"x": tree}


def test_numbered_members_are_in_the_order_of_their_numbers() -> None:
    form = "&".join(f"words[{number}]={number}" for number in reversed(range(12)))
    found = meaning(decode_form(f"name=x&{form}".encode()))
    assert found["words"] == [str(number) for number in range(12)]


def test_an_empty_value_unsets() -> None:
    unset = {"note": None, "count": None, "words": None, "door": None, "metadata": {"k": None}}
    for tree in ({**unset, "metadata": {"k": ""}, "note": ""}, unset):
        assert meaning_of_json({"name": "x", **tree}) == {"name": "x", **unset}
    form = decode_form(b"name=x&note=&count=&words&door=&metadata[k]=")
    assert meaning(form) == {"name": "x", **unset}


@pytest.mark.parametrize("number", [10**15 - 1, 10**15, 2**63 - 1, -(10**15)])
def test_a_whole_number_is_as_large_in_json_as_in_a_form(number: int) -> None:
    form = decode_form(f"name=x&count={number}".encode())
    body = decode_json(f'{{"name": "x", "count": {number}}}'.encode())
    said = [
        (visit and visit.count, [(problem.param, problem.code) for problem in problems])
        for visit, problems in (understand(form), understand(body))
    ]
    assert said[0] == said[1]
    refused = (None, [("count", "parameter_invalid")])
    assert said[0] == ((number, []) if abs(number) < 10**15 else refused)


@pytest.mark.parametrize("fields", [MOST_FIELDS, MOST_FIELDS + 1])
def test_json_may_have_as_many_fields_as_a_form(fields: int) -> None:
    steps = [{"name": "x", "count": str(index)} for index in range(fields // 2 - 1)]
    tree = {"steps": steps, "words": ["x"] * (2 + fields % 2)}
    pairs = flatten(tree, {"steps": EMPTY, "words": EMPTY})
    form = "&".join(f"{name}={value}" for name, value in pairs)
    for decode, encoded in ((decode_form, form), (decode_json, json.dumps(tree))):
        if fields > MOST_FIELDS:
            assert_refused(decode, encoded.encode())
        else:
            assert decode(encoded.encode())["steps"] == steps


# --- Through the door ----------------------------------------------------------------------------


@pytest.fixture
def callers(partner: Partner, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Caller]]:
    monkeypatch.setattr(stripe, "ca_bundle_path", str(partner.server.certificate))
    with conformity.session() as session:
        yield callers_of(partner, session)


def apart_from_id_and_times(answer: Json) -> Json:
    own = {"id", "createdAt", "updatedAt"}
    return {name: value for name, value in answer.items() if name not in own}


def test_every_client_makes_the_patient_that_json_makes(
    partner: Partner, callers: dict[str, Caller]
) -> None:
    body = {
        **PATIENT,
        "lastName": "O\u2019Brien & S\u00f8n",
        "title": "",
        "note": '50% + 1 = caf\u00e9; say "hi"\n{second} [line] %41',
        "address": {**ADDRESS, "line1": "Flat 1+2, #3", "accessNotes": "a=b&c=d"},
        "metadata": {"ward": "7 & 8", "0": "zero", "a b+c": "%2B", "\u00e9=&": "\U0001f9d1"},
    }
    made = apart_from_id_and_times(partner.post("/v1/patients", body))
    assert (made["note"], made["metadata"]) == (body["note"], body["metadata"])
    for name, call in callers.items():
        assert apart_from_id_and_times(call("/v1/patients", body)) == made, name


def test_every_client_books_the_appointment_that_json_books(
    partner: Partner, callers: dict[str, Caller]
) -> None:
    task = partner.task()
    body = partner.request(
        partner.create_patient(),
        task,
        partner.windows(task)[0],
        location={"address": {**ADDRESS, "line2": "c/o 100% & Co."}},
        note="Bring 2 + 2",
        externalRef="",
        metadata={"visit": "1=1"},
    )
    booked = partner.post("/v1/appointments", body)
    assert booked["location"]["address"]["line2"] == "c/o 100% & Co."
    for name, call in callers.items():
        partner.cancel(booked)  # or the patient would be expected there already
        made, booked = booked, call("/v1/appointments", body)
        assert apart_from_id_and_times(booked) == apart_from_id_and_times(made), name


# --- What no client sends ------------------------------------------------------------------------

FIELDS = [*Visit.model_fields, *Step.model_fields, "line1", "0", "1", "__proto__", "\x00"]
SOUP = st.lists(
    st.sampled_from([*FIELDS, "[", "]", "[]", "][", "=", "&", "%", "%5B", "%5D", "%FF", "+", "x"]),
    max_size=30,
).map(lambda pieces: "".join(pieces).encode())
# Names that exist, in places where they may not be.
NAMES = st.sampled_from(FIELDS)
PATHS = st.lists(NAMES | st.just(""), max_size=4).map(
    lambda steps: "".join(f"[{each}]" for each in steps)
)
FORMS = st.lists(
    st.tuples(NAMES, PATHS, st.sampled_from(["", "x", "1", "true", "%00"])),
    max_size=8,
).map(lambda fields: "&".join(f"{name}{path}={value}" for name, path, value in fields).encode())
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
TREES = st.dictionaries(
    NAMES | st.text(max_size=3),
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3),
        max_leaves=8,
    ),
    max_size=5,
)


def is_tree(value: Any, depth: int = 0) -> bool:
    if isinstance(value, dict | list):
        names, members = (value, value.values()) if isinstance(value, dict) else ([], value)
        # A form may repeat a name of the deepest level, and so make an array of its values.
        return (
            depth <= MOST_DEPTH
            and all(type(name) is str for name in names)
            and all(is_tree(each, depth + 1) for each in members)
        )
    return value is None or type(value) in (str, bool, int, float)


def assert_understood_or_refused(decode: Decode, encoded: bytes) -> None:
    if refusal_of(decode, encoded):
        assert_refused(decode, encoded)
        return
    tree = decode(encoded)
    assert is_tree(tree)
    visit, problems = understand(tree)
    assert (visit is None) == bool(problems)
    assert {problem.status for problem in problems} <= {400}


@given(encoded=st.binary(max_size=300) | SOUP | FORMS)
@settings(max_examples=1000)
@example(b"urgent=perhaps")
@example(b"steps[][][]=x")
@example(b"%00[%00]=%00")
def test_any_bytes_are_a_tree_or_are_refused_as_a_form(encoded: bytes) -> None:
    assert_understood_or_refused(decode_form, encoded)


@given(encoded=st.binary(max_size=300) | TREES.map(lambda tree: json.dumps(tree).encode()))
@settings(max_examples=1000)
@example(b'{"urgent": "perhaps", "steps": [{"urgent": []}]}')
@example(b'{"name": "\\ud800"}')
@example(b'{"urgent": 1e308, "count": 1e30, "day": -0}')
def test_any_bytes_are_a_tree_or_are_refused_as_json(encoded: bytes) -> None:
    assert_understood_or_refused(decode_json, encoded)


# At these sizes work that grew with their square would not end before the timeout.
@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b"a" + b"[b]" * 100_000 + b"=1", id="100,000 brackets"),
        pytest.param(b"a" + b"[]" * 100_000 + b"=1", id="100,000 empty brackets"),
        pytest.param(b"a" + b"%5Bb%5D" * 100_000 + b"=1", id="100,000 encoded brackets"),
        pytest.param(b"a" + b"[" * 100_000 + b"]" * 100_000, id="brackets in brackets"),
        pytest.param(b"a" + b"[b]" * 100_000 + b"x=1", id="brackets and then none"),
        pytest.param(b"a[" + b"b" * 1_000_000, id="a bracket that never closes"),
        pytest.param(b"[" * 1_000_000, id="nothing but brackets"),
        pytest.param(b"a" + b"[b]" * 1_000 + b"=1", id="1,000 levels"),
        pytest.param(b"a" + b"[b]" * MOST_DEPTH + b"=1", id="one level too many"),
        pytest.param(b"&".join(b"a%d=1" % n for n in range(100_000)), id="100,000 fields"),
        pytest.param(b"words[]=x&" * 100_000, id="100,000 members"),
        pytest.param(b"name=x&" * 100_000, id="one name 100,000 times"),
        pytest.param(b"a=" + b"%FF" * 100_000, id="100,000 bytes that are not UTF-8"),
    ],
)
def test_a_hostile_form_is_refused(encoded: bytes) -> None:
    assert_refused(decode_form, encoded)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "encoded",
    [
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="10,000 objects"),
        pytest.param(b'{"a":' + b"[" * 10_000 + b"]" * 10_000 + b"}", id="10,000 arrays"),
        pytest.param(b'{"a":' * 1_000_000, id="objects that never close"),
        pytest.param(b'{"a":' * 1_000 + b"1" + b"}" * 1_000, id="1,000 levels"),
        pytest.param(
            b'{"a":' * (MOST_DEPTH + 1) + b"1" + b"}" * (MOST_DEPTH + 1), id="one level too many"
        ),
        pytest.param(b'{"a":[' + b"1," * 100_000 + b"1]}", id="100,000 members"),
        pytest.param(b'{"a":[' + b"[]," * 100_000 + b"[]]}", id="100,000 empty arrays"),
        pytest.param(json.dumps(dict.fromkeys(map(str, range(100_000)))).encode(), id="100,000"),
        pytest.param(b'{"count":' + b"9" * 1_000_000 + b"}", id="1,000,000 digits"),
        pytest.param(b'{"count":1e999999999}', id="a number without end"),
        pytest.param(b'{"count":NaN}', id="no number"),
    ],
)
def test_hostile_json_is_refused(encoded: bytes) -> None:
    assert_refused(decode_json, encoded)


@pytest.mark.parametrize(
    "form",
    [
        "name=x&" * MOST_FIELDS,
        "name=x&count=" + "9" * 100_000,
        "name=x&urgent=" + "1" * 100_000,
        "name=x&words[" + "9" * 100_000 + "]=y",
        "name=x&" + "&".join(f"word{n}=y" for n in range(MOST_FIELDS - 1)),
        "name=x&__proto__[polluted]=y",
        "name=x&constructor[prototype][polluted]=y",
        "name=x&__class__=y&__dict__[name]=y&model_config[extra]=allow&model_fields=y",
    ],
    ids=lambda form: form[7:37],
)
@pytest.mark.timeout(20)
def test_fields_that_no_model_has_are_refused_and_change_nothing(form: str) -> None:
    visit, problems = understand(decode_form(form.encode()))
    assert visit is None
    assert {problem.status for problem in problems} == {400}
    assert meaning({"name": "x"}) == {"name": "x"}


@pytest.mark.parametrize(
    "field",
    ["name=x", "words[]=x", "words[{}]=x", "steps[][name]=x", "metadata[k{}]=x", "stpe{}=x"],
)
def test_the_work_grows_with_the_number_of_fields_alone(field: str) -> None:
    def work(fields: int) -> int:
        """Return how many functions are called, of Python's and of C's."""
        encoded = "&".join(field.format(n) for n in range(fields)).encode()
        calls = 0

        def count(_: Any, event: str, __: Any) -> None:
            nonlocal calls
            calls += event in ("call", "c_call")

        before = sys.getprofile()
        sys.setprofile(count)
        try:
            understand(decode_form(encoded))
        finally:
            sys.setprofile(before)
        return calls

    work(1)  # what is worked out once is not counted
    few, many = work(MOST_FIELDS // 8), work(MOST_FIELDS)
    assert few < many < 10 * few
