"""What queries find, on both backends alike: held against a scan of everything that there is."""

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared import clock, ids
from shared.backends import (
    TERMS,
    Condition,
    ConflictError,
    Data,
    Delete,
    Key,
    Put,
    Query,
    Write,
)
from shared.backends.local import LocalStorage
from tests.support.scale import examples
from tests.support.serving import Backing

NOW = datetime(2026, 11, 22, 9, tzinfo=UTC)
OWNER = "org_x"
MOMENTS = [clock.isoformat(NOW + timedelta(milliseconds=n)) for n in range(5)]
WORDS = ("x", "y", "=x", "é", "e")

COMPARED: dict[str, Callable[[Any, Any], bool]] = {
    "==": lambda found, wanted: bool(found == wanted),
    "<": lambda found, wanted: bool(found < wanted),
    "<=": lambda found, wanted: bool(found <= wanted),
    ">": lambda found, wanted: bool(found > wanted),
    ">=": lambda found, wanted: bool(found >= wanted),
    "in": lambda found, wanted: found in wanted,
    "contains": lambda found, wanted: wanted in found,
}


def scan(query: Query, documents: Iterable[Data]) -> list[str]:
    """Return the ids that a query must find: by looking at every document."""
    found = [
        document["id"]
        for document in documents
        if all(
            field in document and COMPARED[operator](document[field], value)
            for field, operator, value in query.where
        )
    ]
    return sorted(found, reverse=query.descending)[: query.limit]


names = st.sampled_from("abcdefghijklmnop")
documents = st.fixed_dictionaries(
    {"updatedAt": st.sampled_from(MOMENTS)},
    optional={
        "status": st.sampled_from(["scheduled", "cancelled"]),
        "patientId": st.sampled_from(["p_1", "p_2", "p_3"]),
        TERMS: st.lists(st.sampled_from(WORDS), unique=True),
    },
)
ranges = st.sampled_from(["<", "<=", ">", ">="])
conditions: dict[str, st.SearchStrategy[Condition]] = {
    "status": st.tuples(
        st.just("status"), st.just("=="), st.sampled_from(["scheduled", "cancelled", "lost"])
    ),
    "patient": st.tuples(
        st.just("patientId"),
        st.just("in"),
        st.lists(st.sampled_from(["p_1", "p_2", "p_3", "p_9"]), min_size=1, unique=True),
    ),
    "one patient": st.tuples(st.just("patientId"), st.just("=="), st.sampled_from(["p_1", "p_2"])),
    "word": st.tuples(st.just(TERMS), st.just("contains"), st.sampled_from([*WORDS, "z"])),
    "from": st.tuples(st.just("updatedAt"), ranges, st.sampled_from(MOMENTS)),
    "until": st.tuples(st.just("updatedAt"), ranges, st.sampled_from(MOMENTS)),
    "cursor": st.tuples(st.just("id"), ranges, names),
}


@st.composite
def queries(draw: st.DrawFn) -> Query:
    chosen = draw(st.lists(st.sampled_from(sorted(conditions)), unique=True, max_size=4))
    return Query(
        "test",
        OWNER,
        draw(st.sampled_from(["patients", "appointments", "things"])),
        draw(st.integers(1, 6)),
        tuple(draw(conditions[name]) for name in chosen),
        draw(st.booleans()),
        draw(st.sampled_from(["", "updatedAt"])),
    )


def keep(key: Key, document: Data) -> Put:
    """Return the write of a document that a scan sees with its terms, which lie beside it."""
    data = {name: value for name, value in document.items() if name != TERMS}
    return Put(key, data, terms=document.get(TERMS, ()))


def put(backing: Backing, *writes: Put) -> None:
    backing.run(lambda service: service.storage.commit(writes, writes[0].key))


def find(backing: Backing, query: Query) -> list[str]:
    documents = backing.run(lambda service: service.storage.query(query))
    return [document.key.id for document in documents]


@settings(max_examples=examples(40))
@given(
    shelf=st.dictionaries(names, documents, min_size=4, max_size=16),
    asked=st.lists(queries(), min_size=8, max_size=12),
)
def test_any_query_finds_what_a_scan_finds(
    backing: Backing, shelf: dict[str, Data], asked: list[Query]
) -> None:
    owner = ids.mint("org", NOW)
    kept = [{"id": name, **data} for name, data in shelf.items()]
    for collection in ("patients", "appointments", "things"):
        put(backing, *(keep(Key("test", owner, collection, each["id"]), each) for each in kept))
    for query in asked:
        assert find(backing, replace(query, owner=owner)) == scan(query, kept), query


def test_one_of_several_values_is_found_in_the_order_of_ids(backing: Backing) -> None:
    owner = ids.mint("org", NOW)

    def found(*where: Condition, limit: int = 9, descending: bool = True) -> str:
        query = Query("test", owner, "appointments", limit, where, descending)
        return "".join(find(backing, query))

    for name, patient in zip("abcdef", ("1", "2", "3", "1", "2", "3"), strict=True):
        data = {"id": name, "patientId": patient, "status": f"s{name in 'ab'}"}
        put(backing, Put(Key("test", owner, "appointments", name), data))
    wanted: Condition = ("patientId", "in", ["3", "1"])
    assert found(wanted) == "fdca"
    assert found(wanted, descending=False) == "acdf"
    assert found(wanted, limit=3) == "fdc"
    assert found(wanted, ("id", "<", "d")) == "ca"
    assert found(wanted, ("id", ">", "c"), descending=False) == "df"
    assert found(wanted, ("status", "==", "sTrue")) == "a"
    assert found(wanted, ("patientId", "==", "3")) == "fc"
    assert found(("patientId", "in", ["4"])) == ""
    many = [str(number) for number in range(30)]
    assert found(("patientId", "in", many)) == "fedcba"


# --- The table of terms on the local backend ---------------------------------------------------


class Change(NamedTuple):
    """One write: of a document with these terms, or, where that is None, its deletion."""

    name: str
    terms: list[str] | None
    collection: str
    expires: bool


changes = st.builds(
    Change,
    st.sampled_from("abcd"),
    st.none() | st.lists(st.sampled_from(WORDS), unique=True),
    st.sampled_from(["patients", "replays", "things"]),
    st.booleans(),
)


class Shelf:
    """A local storage in a folder, and what it should have."""

    def __init__(self, folder: str) -> None:
        self.folder = folder
        self.storage = LocalStorage(folder)
        self.kept: dict[Key, Data] = {}
        self.expiring: set[Key] = set()

    async def do(self, commit: Sequence[Change]) -> None:
        """Make changes as one commit, and the same again from what was there: a conflict."""
        by_key = {Key("test", OWNER, each.collection, each.name): each for each in commit}
        found = await self.storage.get(list(by_key))
        writes: list[Write] = []
        for (key, change), document in zip(by_key.items(), found, strict=True):
            version = None if document is None else document.version
            if change.terms is not None:
                expires = NOW - timedelta(days=3) if change.expires else None
                writes.append(Put(key, {"id": key.id}, version, expires, change.terms))
                self.kept[key] = {"id": key.id, TERMS: change.terms}
                (self.expiring.add if change.expires else self.expiring.discard)(key)
            elif version is not None:
                writes.append(Delete(key, version))
                del self.kept[key]
                self.expiring.discard(key)
        if not writes:
            return
        marker = Key("test", OWNER, "commits", str(ids.mint("req", NOW)))
        once = Put(marker, {"id": marker.id})
        await self.storage.commit([once, *writes], marker)
        with pytest.raises(ConflictError):
            await self.storage.commit([*writes, once], marker)

    async def reopen(self) -> None:
        """Open the storage anew, which deletes what has expired."""
        await self.storage.close()
        self.storage = LocalStorage(self.folder)
        self.kept = {key: data for key, data in self.kept.items() if key not in self.expiring}
        self.expiring.clear()

    async def check(self) -> None:
        """Hold every search, and the table itself, against a scan."""
        for collection in ("patients", "replays", "things"):
            kept = [data for key, data in self.kept.items() if key.collection == collection]
            for word in (*WORDS, "z"):
                for descending in (True, False):
                    query = Query(
                        "test", OWNER, collection, 9, ((TERMS, "contains", word),), descending
                    )
                    found = await self.storage.query(query)
                    assert [each.key.id for each in found] == scan(query, kept)
                    assert [each.data for each in found] == [{"id": each.key.id} for each in found]
        with sqlite3.connect(Path(self.folder, "documents.sqlite")) as connection:
            rows = connection.execute("SELECT collection, id FROM terms").fetchall()
        connection.close()
        found_by = [(key.collection, key.id) for key, data in self.kept.items() if data[TERMS]]
        assert sorted(rows) == sorted(found_by)


@settings(max_examples=examples(25))
@given(commits=st.lists(st.lists(changes, min_size=1, max_size=3), min_size=1, max_size=6))
def test_the_local_table_of_terms_is_exact_after_any_changes(
    commits: list[list[Change]],
) -> None:
    async def walk(folder: str) -> None:
        shelf = Shelf(folder)
        for commit in commits:
            await shelf.do(commit)
            await shelf.check()
        await shelf.reopen()
        await shelf.check()
        await shelf.storage.close()

    with TemporaryDirectory() as folder:
        asyncio.run(walk(folder))


HOME = "space=? AND owner=? AND collection=?"
BY_ONE = f"({HOME} AND <expr>=? AND id<?)"
BY_NAME: list[Condition] = [(TERMS, "contains", "x"), ("phone", "==", "1"), ("id", "<", "p_1")]
BY_PATIENT: list[Condition] = [("patientId", "in", ["p_1", "p_2"]), ("id", "<", "apt_1")]
BY_CHANGE: list[Condition] = [("updatedAt", ">", "2026"), ("id", "<", "apt_1")]


@pytest.mark.parametrize(
    ("collection", "where", "steps"),
    [
        (
            "patients",
            BY_NAME,
            [
                f"SEARCH terms USING PRIMARY KEY ({HOME} AND id<?)",
                f"SEARCH documents USING PRIMARY KEY ({HOME} AND id=?)",
            ],
        ),
        (
            "appointments",
            BY_PATIENT,
            [
                f"SEARCH documents USING INDEX appointments_by_patientId {BY_ONE}",
                "USE TEMP B-TREE FOR ORDER BY",
            ],
        ),
        ("appointments", BY_CHANGE, [f"SEARCH documents USING PRIMARY KEY ({HOME} AND id<?)"]),
    ],
)
def test_a_search_goes_the_shortest_way_on_the_local_backend(
    tmp_path: Path, collection: str, where: list[Condition], steps: list[str]
) -> None:
    storage = LocalStorage(str(tmp_path))
    statements: list[str] = []
    storage._reader.set_trace_callback(statements.append)
    asyncio.run(storage.query(Query("test", OWNER, collection, 3, tuple(where))))
    storage._reader.set_trace_callback(None)
    plan = storage._reader.execute(f"EXPLAIN QUERY PLAN {statements[0]}").fetchall()
    assert [step for _, _, _, step in plan] == steps
    asyncio.run(storage.close())
