"""The embedded backend: documents in a SQLite file, secrets in a file that only its owner reads.

Reads happen on the event loop's thread, for they take microseconds. Writes go to one thread, which
makes all that wait into one transaction (group commit): a write is acknowledged once it is on disk,
and many at once share one flush.
"""

import asyncio
import contextlib
import json
import os
import queue
import sqlite3
import threading
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from shared import clock
from shared.backends import (
    TERMS,
    ConflictError,
    Delete,
    Document,
    Key,
    Operator,
    Put,
    Query,
    UnavailableError,
    Write,
)

SCHEMA_VERSION = 2
SCHEMA = """
CREATE TABLE IF NOT EXISTS documents (
    space TEXT NOT NULL, owner TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL,
    version INTEGER NOT NULL, expires REAL, data TEXT NOT NULL,
    PRIMARY KEY (space, owner, collection, id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS terms (
    space TEXT NOT NULL, owner TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL,
    terms TEXT NOT NULL,
    PRIMARY KEY (space, owner, collection, id)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS expiring ON documents (expires) WHERE expires IS NOT NULL;
CREATE TABLE IF NOT EXISTS counter (version INTEGER NOT NULL);
INSERT INTO counter SELECT 0 WHERE NOT EXISTS (SELECT 1 FROM counter);
"""
HOME = "space = ? AND owner = ? AND collection = ? AND id = ?"
GET = f"SELECT version, expires, data FROM documents WHERE {HOME}"  # noqa: S608 - ours
DELETE = f"DELETE FROM documents WHERE {HOME}"  # noqa: S608 - ours
PUT_TERMS = "INSERT OR REPLACE INTO terms VALUES (?, ?, ?, ?, ?)"
DELETE_TERMS = f"DELETE FROM terms WHERE {HOME}"  # noqa: S608 - ours
BETWEEN_TERMS = "\n"
INDEXES = Path(__file__).parents[2] / "infra" / "firestore.indexes.json"
LARGEST_GROUP = 256
KEEP_EXPIRED = timedelta(days=1)


class StateError(Exception):
    """The state folder cannot be used; the message is one sentence that says why."""


class _Commit(NamedTuple):
    """Writes that wait for the writer's thread, each with its document as text."""

    writes: Sequence[tuple[Write, str]]
    done: "asyncio.Future[None]"


class LocalStorage:
    """Documents in `documents.sqlite` of the state folder."""

    def __init__(self, state: str) -> None:
        self._path = Path(state, "documents.sqlite")
        self._reader = self._connect()
        try:
            self._prepare()
        except StateError:
            self._reader.close()
            raise
        except sqlite3.DatabaseError as error:
            self._reader.close()
            raise StateError(
                f"{self._path} is broken or not ours ({error}); move it away to start afresh."
            ) from error
        self._waiting: queue.SimpleQueue[_Commit | None] = queue.SimpleQueue()
        self._writer: threading.Thread | None = None

    async def get(self, keys: Sequence[Key]) -> list[Document | None]:
        """Read documents, in the order of the keys; None where there is none."""
        documents: list[Document | None] = []
        try:
            for key in keys:
                row = self._reader.execute(GET, key).fetchone()
                documents.append(None if row is None else _document(key, row))
        except sqlite3.Error as error:
            raise UnavailableError(type(error).__name__) from None
        return documents

    async def query(self, query: Query) -> list[Document]:
        """Read at most `limit` documents that match, in the query's order."""
        statement, values = _select(query)
        try:
            rows = self._reader.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise UnavailableError(type(error).__name__) from None
        return [
            _document(Key(query.space, query.owner, query.collection, row[0]), row[1:])
            for row in rows
        ]

    async def commit(self, writes: Sequence[Write], marker: Key) -> None:
        """Do all the writes, or none. The answer is never lost here, so the marker has no use."""
        if self._writer is None:
            arguments = (self._connect(),)
            self._writer = threading.Thread(target=self._write_groups, args=arguments, daemon=True)
            self._writer.start()
        texts = [(write, _text(write)) for write in writes]
        commit = _Commit(texts, asyncio.get_running_loop().create_future())
        self._waiting.put(commit)
        await commit.done

    async def close(self) -> None:
        """Write what waits and close the file."""
        if self._writer is not None:
            self._waiting.put(None)
            await asyncio.to_thread(self._writer.join)
        self._reader.close()

    def _connect(self) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=10
            )
            self._path.chmod(0o600)
        except (sqlite3.OperationalError, OSError) as error:
            raise StateError(
                f"{self._path.parent} cannot be written to ({error}); check its permissions."
            ) from error
        return connection

    def _prepare(self) -> None:
        (found,) = self._reader.execute("PRAGMA user_version").fetchone()
        if found not in (0, SCHEMA_VERSION):
            raise StateError(
                f"{self._path} was made by another version of this program"
                f" (its format is {found}, ours is {SCHEMA_VERSION}); move it away to start afresh."
            )
        (health,) = self._reader.execute("PRAGMA quick_check(1)").fetchone()
        if health != "ok":
            raise sqlite3.DatabaseError(health)
        self._reader.execute("PRAGMA journal_mode = WAL")
        self._reader.executescript(SCHEMA)
        for (_, field), name in _declared_indexes().items():
            # Partial by what is there: were it by collection, SQLite would compile every statement
            # anew for each collection that is bound to it.
            self._reader.execute(
                f"CREATE INDEX IF NOT EXISTS {name} ON documents"
                f" (space, owner, collection, {_extract(field)}, id)"
                f" WHERE {_extract(field)} IS NOT NULL"
            )
        self._purge((clock.now() - KEEP_EXPIRED).timestamp())
        self._reader.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    def _purge(self, limit: float) -> None:
        """Delete the documents that expired before a moment, in seconds since 1970."""
        places = "SELECT space, owner, collection, id FROM documents WHERE expires < ?"
        for expired in self._reader.execute(places, (limit,)).fetchall():
            self._reader.execute(DELETE_TERMS, expired)
            self._reader.execute(DELETE, expired)

    def _write_groups(self, connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA synchronous = FULL")
        ended = False
        while not ended:
            group = [self._waiting.get()]
            while len(group) < LARGEST_GROUP and not self._waiting.empty():
                group.append(self._waiting.get())
            ended = None in group
            commits = [commit for commit in group if commit is not None]
            if commits:
                _acknowledge(commits, _write_group(connection, commits))
        connection.close()


@cache
def _declared_indexes() -> dict[tuple[str, str], str]:
    """Return a name for each pair of collection and field that Firestore's manifest declares.

    Made here too, they let a filter by equality cost here what it costs there. SQLite is told to
    use them, since without statistics it takes the primary key to be as good.
    """
    manifest = json.loads(INDEXES.read_text())
    return {
        (index["collectionGroup"], first["fieldPath"]): (
            f"{index['collectionGroup']}_by_{first['fieldPath']}"
        )
        for index in manifest["indexes"]
        for first in index["fields"][:1]
        if "order" in first and first["fieldPath"] != "id"
    }


def _select(query: Query) -> tuple[str, list[Any]]:
    """Return the statement of a query, and its values.

    Terms lie in a table of their own, which leads where one is sought: it is read in the order of
    the ids until enough are found.
    """
    source = "documents"
    conditions = ["space = ?", "owner = ?", "collection = ?"]
    values: list[Any] = [query.space, query.owner, query.collection]
    for field, operator, value in query.where:
        conditions.append(_condition(field, operator, value))
        if operator == "contains":
            source = "terms CROSS JOIN documents USING (space, owner, collection, id)"
            values.append(f"{BETWEEN_TERMS}{value}{BETWEEN_TERMS}")
            continue
        if operator in ("==", "in") and source == "documents":
            name = _declared_indexes().get((query.collection, field))
            source = f"documents INDEXED BY {name}" if name else source
        values += value if operator == "in" else [value]
    order = "DESC" if query.descending else "ASC"
    where = " AND ".join(conditions)
    statement = f"SELECT id, version, expires, data FROM {source} WHERE {where}"  # noqa: S608 - ours
    fields = dict.fromkeys((query.by, "id"))
    ordered = ", ".join(f"{_column(field)} {order}" for field in fields)
    return f"{statement} ORDER BY {ordered} LIMIT ?", [*values, query.limit]


def _write_group(
    connection: sqlite3.Connection, commits: Sequence[_Commit]
) -> list[Exception | None]:
    """Do the commits in one transaction; return the refusal of each, or None where it was done."""
    try:
        connection.execute("BEGIN IMMEDIATE")
        (version,) = connection.execute("SELECT version FROM counter").fetchone()
        outcomes: list[Exception | None] = []
        for commit in commits:
            refusal = _check(connection, commit.writes)
            if refusal is None:
                version += 1
                _apply(connection, commit.writes, version)
            outcomes.append(refusal)
        connection.execute("UPDATE counter SET version = ?", (version,))
        connection.execute("COMMIT")
    except Exception as error:  # whatever it is, whoever waits must be told
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        return [UnavailableError(type(error).__name__) for _ in commits]
    return outcomes


def _check(
    connection: sqlite3.Connection, writes: Sequence[tuple[Write, str]]
) -> ConflictError | None:
    for write, _ in writes:
        row = connection.execute(GET, write.key).fetchone()
        if (None if row is None else row[0]) != write.version:
            return ConflictError(write.key.collection)
    return None


def _apply(
    connection: sqlite3.Connection, writes: Sequence[tuple[Write, str]], version: int
) -> None:
    for write, text in writes:
        if isinstance(write, Put):
            expires = None if write.expires is None else write.expires.timestamp()
            connection.execute(
                "INSERT OR REPLACE INTO documents VALUES (?, ?, ?, ?, ?, ?, ?)",
                (*write.key, version, expires, text),
            )
            if write.terms:
                together = BETWEEN_TERMS.join(("", *write.terms, ""))
                connection.execute(PUT_TERMS, (*write.key, together))
            elif write.version is not None:
                connection.execute(DELETE_TERMS, write.key)
        elif isinstance(write, Delete):
            connection.execute(DELETE, write.key)
            connection.execute(DELETE_TERMS, write.key)


def _text(write: Write) -> str:
    return orjson.dumps(write.data).decode() if isinstance(write, Put) else ""


def _acknowledge(commits: Sequence[_Commit], outcomes: Sequence[Exception | None]) -> None:
    def settle() -> None:
        for commit, outcome in zip(commits, outcomes, strict=True):
            if commit.done.done():  # the request that waited for it was abandoned
                continue
            if outcome is None:
                commit.done.set_result(None)
            else:
                commit.done.set_exception(outcome)

    commits[0].done.get_loop().call_soon_threadsafe(settle)


def _document(key: Key, row: tuple[int, float | None, str]) -> Document:
    version, expires, data = row
    moment = None if expires is None else datetime.fromtimestamp(expires, UTC)
    return Document(key, orjson.loads(data), version, moment)


def _condition(field: str, operator: Operator, value: Any) -> str:
    if operator == "contains":
        return f"instr({TERMS}, ?) > 0"
    if operator == "in":
        return f"{_extract(field)} IN ({', '.join('?' * len(value))})"
    return f"{_column(field)} {operator} ?"


def _column(field: str) -> str:
    return "id" if field == "id" else _extract(field)


def _extract(field: str) -> str:
    return f"json_extract(data, '$.{field}')"


class LocalSecrets:
    """Secrets in `secrets.json` of the state folder, readable by its owner alone."""

    def __init__(self, state: str) -> None:
        self._path = Path(state, "secrets.json")

    async def read(self, name: str) -> bytes | None:
        """Return a secret's value; None where there is none."""
        value = self._load().get(name)
        return None if value is None else value.encode()

    async def create(self, name: str, value: bytes) -> None:
        """Store a new secret; the file is replaced whole, so a crash leaves the old one."""
        kept = self._load()
        if name in kept:
            raise ConflictError(name)
        secrets = {**kept, name: value.decode()}
        draft = self._path.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            json.dump(secrets, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(self._path)

    def _load(self) -> dict[str, str]:
        try:
            loaded = json.loads(self._path.read_text())
        except FileNotFoundError:
            return {}
        except (OSError, ValueError):
            loaded = None
        if not isinstance(loaded, dict):
            raise StateError(f"{self._path} cannot be read; move it away to start afresh.")
        return loaded
