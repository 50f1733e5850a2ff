"""What storage promises, whichever backend keeps it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import ids
from shared.backends import (
    TERMS,
    ConflictError,
    Data,
    Delete,
    Document,
    Guard,
    Key,
    Operator,
    Put,
    Query,
    Storage,
    Version,
    Write,
)
from shared.backends.local import LocalStorage, StateError
from tests.conftest import google_environment
from tests.support.emulator import Emulator
from tests.support.secret_manager import SecretManager
from tests.support.serving import Backing

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
RACERS = 50


class Shelf:
    """A collection of its own for one test, and storage's verbs on it without ceremony."""

    def __init__(self, backing: Backing) -> None:
        self._backing = backing
        self.owner = ids.mint("org", NOW)

    def key(self, name: str, **changes: Any) -> Key:
        return Key("test", self.owner, "things", name)._replace(**changes)

    def run(self, action: Callable[[Storage], Awaitable[Any]]) -> Any:
        return self._backing.run(lambda service: action(service.storage))

    def commit(self, *writes: Write) -> None:
        self.run(lambda storage: storage.commit(writes, writes[0].key))

    def get(self, *keys: Key) -> list[Document | None]:
        found: list[Document | None] = self.run(lambda storage: storage.get(keys))
        return found

    def read(self, name: str) -> Document:
        (document,) = self.get(self.key(name))
        assert document is not None
        return document

    def put(self, name: str, **data: Any) -> Document:
        self.commit(Put(self.key(name), {"id": name, **data}))
        return self.read(name)

    def query(
        self, *where: tuple[str, Operator, Any], limit: int = 100, descending: bool = True
    ) -> list[str]:
        query = Query("test", self.owner, "things", limit, where, descending)
        return [document.key.id for document in self.run(lambda storage: storage.query(query))]


@pytest.fixture
def shelf(backing: Backing) -> Shelf:
    return Shelf(backing)


def test_get_answers_in_the_order_of_the_keys_with_none_for_what_is_missing(shelf: Shelf) -> None:
    first, second = shelf.put("a"), shelf.put("b")
    missing = shelf.key("missing")
    assert shelf.get(second.key, missing, first.key) == [second, None, first]
    assert shelf.get() == []


@pytest.mark.parametrize("elsewhere", [{"space": "live"}, {"space": "account"}, {"owner": "org_x"}])
def test_a_document_is_in_its_own_space_and_under_its_own_owner_alone(
    shelf: Shelf, elsewhere: dict[str, str]
) -> None:
    here = shelf.put("a")
    other = here.key._replace(**elsewhere)  # type: ignore[arg-type]  # names of fields
    assert shelf.get(here.key, other) == [here, None]
    shelf.commit(Put(other, {"id": "a", "there": True}))
    both = shelf.get(other, here.key)
    assert [document.data.get("there") for document in both if document] == [True, None]


def test_every_json_value_comes_back_as_it_was(shelf: Shelf) -> None:
    data: Data = {
        "id": "a",
        "text": "Zoë 👩‍⚕️ \n\t\"'\\",
        "empty": "",
        "whole": 2**53,
        "negative": -1,
        "real": 36.6,
        "yes": True,
        "no": False,
        "nothing": None,
        "list": [1, "two", None, {"deep": []}, {}],
        "object": {"apt_1": None, "with.dot": 1, "mit Leerzeichen": {"a": {"b": []}}},
        "odd": {"__proto__": 1, "__x__": {"__y__": 2}, "\\__z__": 3, "\\": 4, "`": 5, "$": 6},
        "emptyList": [],
        "emptyObject": {},
    }
    shelf.commit(Put(shelf.key("a"), data))
    assert shelf.read("a").data == data


def test_an_expiry_comes_back_and_the_document_with_it(shelf: Shelf) -> None:
    expires = NOW - timedelta(hours=1)
    shelf.commit(Put(shelf.key("a"), {"id": "a"}, expires=expires))
    document = shelf.read("a")
    assert document.expires == expires
    assert document.data == {"id": "a"}


def test_what_must_not_exist_is_created_once(shelf: Shelf) -> None:
    first = shelf.put("a", n=1)
    with pytest.raises(ConflictError):
        shelf.put("a", n=2)
    assert shelf.read("a") == first


def test_a_write_at_a_version_that_has_gone_is_refused(shelf: Shelf) -> None:
    old = shelf.put("a", n=1)
    shelf.commit(Put(old.key, {"id": "a", "n": 2}, old.version))
    new = shelf.read("a")
    assert new.data["n"] == 2
    stale: list[Write] = [
        Put(old.key, {"id": "a", "n": 3}, old.version),
        Delete(old.key, old.version),
        Guard(old.key, old.version),
    ]
    for write in stale:
        with pytest.raises(ConflictError):
            shelf.commit(write)
    assert shelf.read("a") == new


def test_a_write_replaces_the_whole_document(shelf: Shelf) -> None:
    old = shelf.put("a", gone=1, kept=1)
    shelf.commit(Put(old.key, {"id": "a", "kept": 1}, old.version))
    assert shelf.read("a").data == {"id": "a", "kept": 1}


def test_a_deleted_document_is_gone_and_its_version_is_worth_nothing(shelf: Shelf) -> None:
    old = shelf.put("a")
    shelf.commit(Delete(old.key, old.version))
    assert shelf.get(old.key) == [None]
    for write in (Put(old.key, {"id": "a"}, old.version), Delete(old.key, old.version)):
        with pytest.raises(ConflictError):
            shelf.commit(write)
    again = shelf.put("a")
    assert again.version != old.version


def test_a_guard_demands_and_writes_nothing(shelf: Shelf) -> None:
    present = shelf.put("a", n=1)
    shelf.commit(
        Put(shelf.key("b"), {"id": "b"}), Guard(present.key, present.version), Guard(shelf.key("c"))
    )
    assert shelf.read("a") == present
    assert shelf.get(shelf.key("c")) == [None]
    with pytest.raises(ConflictError):
        shelf.commit(Put(shelf.key("d"), {"id": "d"}), Guard(present.key))
    assert shelf.get(shelf.key("d")) == [None]


def test_a_commit_is_all_or_nothing(shelf: Shelf) -> None:
    present, taken = shelf.put("a", n=1), shelf.put("taken")
    with pytest.raises(ConflictError):
        shelf.commit(
            Put(shelf.key("b"), {"id": "b"}),
            Put(present.key, {"id": "a", "n": 2}, present.version),
            Put(taken.key, {"id": "taken", "n": 3}),
        )
    with pytest.raises(ConflictError):
        shelf.commit(
            Put(shelf.key("b"), {"id": "b"}),
            Delete(present.key, present.version),
            Guard(shelf.key("c"), present.version),
        )
    assert shelf.get(shelf.key("b"), present.key, taken.key) == [None, present, taken]


def test_a_commit_that_is_no_json_fails_alone(shelf: Shelf) -> None:
    for wrong in (object(), {1, 2}, 2**70):
        with pytest.raises((TypeError, ValueError)):
            shelf.put("a", wrong=wrong)
    shelf.put("a", right=1)


def test_a_document_is_found_by_its_terms_which_do_not_read_back(shelf: Shelf) -> None:
    def put(name: str, *terms: str, over: Document | None = None) -> Document:
        version = None if over is None else over.version
        shelf.commit(Put(shelf.key(name), {"id": name}, version, terms=terms))
        return shelf.read(name)

    first = put("a", "x", "y")
    put("b", "y")
    put("c", "xy")
    put("d")
    assert shelf.query((TERMS, "contains", "y")) == ["b", "a"]
    assert shelf.query((TERMS, "contains", "x")) == ["a"]
    assert shelf.query((TERMS, "contains", "y"), ("id", "<", "b")) == ["a"]
    assert first.data == {"id": "a"}
    second = put("a", "z", over=first)
    assert shelf.query((TERMS, "contains", "y")) == ["b"]
    assert shelf.query((TERMS, "contains", "z")) == ["a"]
    put("a", over=second)
    assert shelf.query((TERMS, "contains", "z")) == []
    shelf.commit(Delete(shelf.key("b"), shelf.read("b").version))
    assert shelf.query((TERMS, "contains", "y")) == []


def test_of_many_writers_at_one_version_exactly_one_wins(shelf: Shelf) -> None:
    old = shelf.put("a", winner=-1)

    async def race(storage: Storage) -> list[Any]:
        return await asyncio.gather(
            *(
                storage.commit(
                    [
                        Put(old.key, {"id": "a", "winner": n}, old.version),
                        Put(shelf.key(f"trace-{n}"), {"id": f"trace-{n}"}),
                    ],
                    shelf.key(f"trace-{n}"),
                )
                for n in range(RACERS)
            ),
            return_exceptions=True,
        )

    outcomes = shelf.run(race)
    winners = [n for n, outcome in enumerate(outcomes) if outcome is None]
    assert len(winners) == 1
    assert all(isinstance(each, ConflictError) for each in outcomes if each is not None)
    assert shelf.read("a").data["winner"] == winners[0]
    traces = shelf.get(*(shelf.key(f"trace-{n}") for n in range(RACERS)))
    assert [n for n, trace in enumerate(traces) if trace] == winners


def test_a_query_is_in_the_order_of_ids_and_ends_at_its_limit(shelf: Shelf) -> None:
    for name in ("b", "d", "a", "c"):
        shelf.put(name)
    assert shelf.query() == ["d", "c", "b", "a"]
    assert shelf.query(descending=False) == ["a", "b", "c", "d"]
    assert shelf.query(limit=2) == ["d", "c"]
    assert shelf.query(("id", "<", "c")) == ["b", "a"]
    assert shelf.query(("id", ">", "a"), ("id", "<=", "c"), descending=False) == ["b", "c"]
    assert shelf.query(("id", ">=", "x")) == []


def test_a_query_compares_fields(shelf: Shelf) -> None:
    shelf.put("a", area="north", open=True)
    shelf.put("b", area="south", open=True)
    shelf.put("c", area="north", open=False)
    shelf.put("d")
    assert shelf.query(("area", "==", "north")) == ["c", "a"]
    assert shelf.query(("area", "==", "north"), ("open", "==", True)) == ["a"]
    assert shelf.query(("area", "==", "north"), ("id", ">", "a")) == ["c"]


def test_a_query_may_be_in_the_order_of_a_field_and_of_ids_where_that_is_equal(
    shelf: Shelf,
) -> None:
    for name, due in (("a", "12:01"), ("b", "12:00"), ("c", "12:01"), ("d", "11:59")):
        shelf.put(name, due=due, shard=int(name == "b"))

    def ordered(*where: tuple[str, Operator, Any], **how: Any) -> list[str]:
        query = Query("test", shelf.owner, "things", **{"limit": 9, **how}, where=where, by="due")
        return [document.key.id for document in shelf.run(lambda storage: storage.query(query))]

    assert ordered(descending=False) == ["d", "b", "a", "c"]
    assert ordered() == ["c", "a", "b", "d"]
    assert ordered(("due", "<=", "12:00"), descending=False) == ["d", "b"]
    assert ordered(("shard", "==", 0), ("due", ">", "11:59"), descending=False) == ["a", "c"]
    assert ordered(descending=False, limit=3) == ["d", "b", "a"]


def test_a_query_sees_one_owner_of_one_space(shelf: Shelf, backing: Backing) -> None:
    shelf.put("a")
    stranger = Shelf(backing)
    stranger.put("b")
    shelf.commit(Put(shelf.key("c", space="live"), {"id": "c"}))
    assert shelf.query() == ["a"]
    assert stranger.query() == ["b"]


Step = tuple[str, str, str]

NAMES = ("a", "b", "c")
steps = st.lists(
    st.lists(
        st.tuples(
            st.sampled_from(["put", "delete", "guard"]),
            st.sampled_from(NAMES),
            st.sampled_from(["current", "stale", "absent"]),
        ),
        min_size=1,
        max_size=3,
        unique_by=lambda step: step[1],
    ),
    max_size=8,
)


class Model:
    """A dictionary that keeps what a storage promises: what is there, and which write it was."""

    def __init__(self) -> None:
        self.documents: dict[str, int] = {}
        self.writes = 0

    def commit(self, program: list[Step]) -> bool:
        for _, name, demand in program:
            exists = name in self.documents
            if demand == "stale" or exists != (demand == "current"):
                return False
        for verb, name, demand in program:
            self.writes += 1
            if verb == "put":
                self.documents[name] = self.writes
            elif verb == "delete" and demand == "current":
                del self.documents[name]
        return True


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(programs=steps)
def test_any_program_of_commits_ends_where_a_dictionary_does(
    backing: Backing, programs: list[list[Step]]
) -> None:
    shelf, model = Shelf(backing), Model()
    stale = shelf.put("stale").version
    for program in programs:
        versions = {
            document.key.id: document.version
            for document in shelf.get(*map(shelf.key, NAMES))
            if document
        }
        numbers = iter(range(model.writes + 1, model.writes + 1 + len(program)))
        writes = [_write(shelf, step, versions, stale, next(numbers)) for step in program]
        try:
            shelf.commit(*writes)
            done = True
        except ConflictError:
            done = False
        assert done == model.commit(program), program
        found = {
            document.key.id: document.data["n"]
            for document in shelf.get(*map(shelf.key, NAMES))
            if document
        }
        assert found == model.documents


def _write(
    shelf: Shelf, step: Step, versions: dict[str, Version], stale: Version, number: int
) -> Write:
    verb, name, demand = step
    wanted = {"absent": None, "stale": stale, "current": versions.get(name, stale)}[demand]
    key = shelf.key(name)
    if verb == "put":
        return Put(key, {"id": name, "n": number}, wanted)
    if verb == "delete" and wanted is not None:
        return Delete(key, wanted)
    return Guard(key, wanted)


def test_three_roots_of_one_database_keep_the_spaces_apart(
    emulator: Emulator, secret_manager: SecretManager
) -> None:
    """As the settings have it where they name no databases."""
    environment = google_environment(emulator, secret_manager)
    for space in ("TEST", "LIVE", "ACCOUNT"):
        del environment[f"ALLY_DATABASE_{space}"]
    backing = Backing({**environment, "ALLY_LOG": "/dev/null"})
    try:
        shelf = Shelf(backing)
        spaces = ("test", "live", "account")
        keys = [shelf.key("a", space=space) for space in spaces]
        for key in keys[:2]:
            shelf.commit(Put(key, {"id": "a", "in": key.space}))
        found = shelf.get(*keys)
        assert [document and document.data["in"] for document in found] == ["test", "live", None]
        assert shelf.query() == ["a"]
    finally:
        backing.close()


def test_a_declared_filter_is_found_by_its_index_on_the_local_backend(tmp_path: Any) -> None:
    storage = LocalStorage(str(tmp_path))
    statements: list[str] = []
    storage._reader.set_trace_callback(statements.append)
    where: tuple[tuple[str, Operator, Any], ...] = (("status", "==", "x"), ("id", "<", "apt_1"))
    asyncio.run(storage.query(Query("test", "org_x", "appointments", 3, where)))
    storage._reader.set_trace_callback(None)
    plan = storage._reader.execute(f"EXPLAIN QUERY PLAN {statements[0]}").fetchall()
    searched = "space=? AND owner=? AND collection=? AND <expr>=? AND id<?"
    ((_, _, _, step),) = plan
    assert step == f"SEARCH documents USING INDEX appointments_by_status ({searched})"
    asyncio.run(storage.close())


def test_the_local_file_survives_its_process_and_refuses_a_strangers(tmp_path: Any) -> None:
    async def write_and_leave() -> None:
        storage = LocalStorage(str(tmp_path))
        key = Key("test", "org_x", "things", "a")
        await storage.commit([Put(key, {"id": "a"})], key)
        await storage.close()

    asyncio.run(write_and_leave())
    storage = LocalStorage(str(tmp_path))
    assert asyncio.run(storage.get([Key("test", "org_x", "things", "a")]))[0] is not None
    asyncio.run(storage.close())
    file = tmp_path / "documents.sqlite"
    assert file.stat().st_mode & 0o077 == 0
    file.write_bytes(b"not a database at all" * 100)
    with pytest.raises(StateError, match="broken or not ours"):
        LocalStorage(str(tmp_path))
