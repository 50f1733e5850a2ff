"""Metrics of the embedded backend: points in a SQLite file, which several processes may write.

A point lies there as a row for each bucket of it that is not empty, so that SQLite adds up what a
reading asks for. Whatever is done opens the file and closes it again, on a thread: it happens once
in seconds, and the event loop never waits for a disk.
"""

import asyncio
import sqlite3
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import orjson

from shared import clock
from shared.backends import UnavailableError
from shared.backends.local import StateError
from shared.backends.metrics import BOUNDS, Distribution, Measured, Point, Reading

T = TypeVar("T")

FORMAT = 1
SUM = -1
"""The number that stands for a bucket in the row of a point's sum."""
SCHEMA = """
CREATE TABLE IF NOT EXISTS series (
    id INTEGER PRIMARY KEY, organisation TEXT NOT NULL, mode TEXT NOT NULL, metric TEXT NOT NULL,
    labels TEXT NOT NULL, task TEXT NOT NULL,
    UNIQUE (organisation, mode, metric, labels, task)
);
CREATE TABLE IF NOT EXISTS points (
    series INTEGER NOT NULL, start INTEGER NOT NULL, bucket INTEGER NOT NULL,
    ended INTEGER NOT NULL, count INTEGER NOT NULL, total REAL NOT NULL,
    PRIMARY KEY (series, start, bucket)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ending ON points (series, ended);
"""
PUT_SERIES = """
INSERT OR IGNORE INTO series (organisation, mode, metric, labels, task) VALUES (?, ?, ?, ?, ?)
"""
PUT_ROW = """
INSERT INTO points
SELECT id, ?, ?, ?, ?, ? FROM series
WHERE (organisation, mode, metric, labels, task) = (?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET ended = excluded.ended, count = excluded.count, total = excluded.total
WHERE excluded.ended > ended
"""
KEPT = timedelta(days=90)
_BEGINNING = datetime.fromtimestamp(0, UTC)
_MICROSECOND = timedelta(microseconds=1)


class LocalMetrics:
    """Points in `metrics.sqlite` of the state folder. Those of 90 days ago are let go of."""

    delay = timedelta()

    def __init__(self, state: str) -> None:
        self._path = Path(state, "metrics.sqlite")
        try:
            with closing(sqlite3.connect(self._path, isolation_level=None, timeout=10)) as opened:
                self._path.chmod(0o600)
                self._prepare(opened)
        except (sqlite3.OperationalError, OSError) as error:
            raise StateError(
                f"{self._path} cannot be written to ({error}); check its permissions."
            ) from error
        except sqlite3.DatabaseError as error:
            raise StateError(
                f"{self._path} is broken or not ours ({error}); move it away to start afresh."
            ) from error

    async def write(self, task: str, points: Sequence[Point]) -> None:
        """Keep points, all or none."""

        def put(connection: sqlite3.Connection) -> None:
            for point in points:
                place = (*point.labels[:2], point.metric.name, _text(point.labels), task)
                connection.execute(PUT_SERIES, place)
                ended = _microseconds(point.end)
                connection.executemany(
                    PUT_ROW,
                    [
                        (_microseconds(point.start), bucket, ended, count, total, *place)
                        for bucket, count, total in _rows(point.value)
                    ],
                )

        await self._do(put)

    async def read(self, reading: Reading) -> list[Measured]:
        """Read counts, in the order of steps and groups."""
        statement, values = _select(reading)
        rows = await self._do(lambda connection: connection.execute(statement, values).fetchall())
        return _measured(reading, rows)

    async def organisations(self, start: datetime, end: datetime) -> list[str]:
        """Return of whom anything was counted in a range of time."""
        statement = (
            "SELECT DISTINCT organisation FROM series JOIN points ON points.series = series.id"
            " WHERE ended > ? AND ended <= ? ORDER BY organisation"
        )
        values = (_microseconds(start), _microseconds(end))
        rows = await self._do(lambda connection: connection.execute(statement, values).fetchall())
        return [organisation for (organisation,) in rows]

    async def close(self) -> None:
        """Nothing is open."""

    async def _do(self, action: Callable[[sqlite3.Connection], T]) -> T:
        """Do something in a transaction, on another thread."""

        def act() -> T:
            with closing(sqlite3.connect(self._path, timeout=10)) as connection, connection:
                return action(connection)

        try:
            return await asyncio.to_thread(act)
        except sqlite3.Error as error:
            raise UnavailableError(type(error).__name__) from None

    @staticmethod
    def _prepare(opened: sqlite3.Connection) -> None:
        (found,) = opened.execute("PRAGMA user_version").fetchone()
        if found not in (0, FORMAT):
            raise sqlite3.DatabaseError(f"its format is {found}, ours is {FORMAT}")
        opened.execute("PRAGMA journal_mode = WAL")
        opened.executescript(SCHEMA)
        limit = _microseconds(clock.now() - KEPT)
        opened.execute(
            "DELETE FROM points WHERE series IN (SELECT id FROM series) AND ended < ?", (limit,)
        )
        opened.execute("DELETE FROM series WHERE id NOT IN (SELECT series FROM points)")
        opened.execute(f"PRAGMA user_version = {FORMAT}")


def _rows(value: int | Distribution) -> Iterator[tuple[int, int, float]]:
    """Yield the rows of a point's value: a bucket, how many are in it, and the sum of all."""
    if isinstance(value, int):
        yield SUM, value, 0.0
        return
    yield SUM, value.count, value.total
    for bucket, count in enumerate(value.buckets):
        if count:
            yield bucket, count, 0.0


def _select(reading: Reading) -> tuple[str, list[Any]]:
    """Return the statement of a reading, and its values."""
    names = reading.metric.labels
    grouped = [f"json_extract(labels, '$[{names.index(label)}]')" for label in reading.by]
    modes = ", ".join("?" * len(reading.modes))
    conditions = ["metric = ?", "organisation = ?", f"mode IN ({modes})"]
    values: list[Any] = [reading.metric.name, reading.organisation, *reading.modes]
    for label, allowed in reading.where:
        among = ", ".join("?" * len(allowed))
        conditions.append(f"json_extract(labels, '$[{names.index(label)}]') IN ({among})")
        values += allowed
    start, step = _microseconds(reading.start), reading.step // _MICROSECOND
    shown = ", ".join([*grouped, f"(ended - 1 - {start}) / {step}", "bucket"])
    places = ", ".join(str(place) for place in range(1, len(grouped) + 3))
    statement = (
        f"SELECT {shown}, SUM(count), SUM(total)"  # noqa: S608 - numbers and texts of ours
        " FROM series JOIN points ON points.series = series.id"
        f" WHERE {' AND '.join(conditions)} AND ended > ? AND ended <= ?"
        f" GROUP BY {places}"
    )
    return statement, [*values, start, _microseconds(reading.end)]


def _measured(reading: Reading, rows: Iterable[Sequence[Any]]) -> list[Measured]:
    """Put together what lies in several rows for each step and group."""
    sums: dict[tuple[datetime, tuple[str, ...]], tuple[int, float]] = {}
    filled: defaultdict[tuple[datetime, tuple[str, ...]], dict[int, int]] = defaultdict(dict)
    for *group, step, bucket, count, total in rows:
        place = (reading.start + step * reading.step, tuple(group))
        if bucket == SUM:
            sums[place] = (count, total)
        else:
            filled[place][bucket] = count
    return [
        Measured(group, at, Distribution(count, total, _full(filled[at, group])))
        if reading.metric.distribution
        else Measured(group, at, count)
        for (at, group), (count, total) in sorted(sums.items())
    ]


def _full(filled: dict[int, int]) -> tuple[int, ...]:
    """Return all buckets, the empty ones too."""
    return tuple(filled.get(bucket, 0) for bucket in range(len(BOUNDS) + 1))


def _text(labels: Sequence[str]) -> str:
    return orjson.dumps(list(labels)).decode()


def _microseconds(moment: datetime) -> int:
    return (moment - _BEGINNING) // _MICROSECOND
