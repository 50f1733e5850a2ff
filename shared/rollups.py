"""Roll-ups: what was counted of an organisation on a day, as documents.

A point belongs to the moment at which it was flushed, so a day that is over hardly changes: only a
flush that failed and is tried again hours later may add to it, so a day is rolled up twice. Then it
costs one document to read, whatever it took to count, and 90 of them one call. Which days are is
kept in each mode: a day without a document is then one on which nothing happened.
"""

import asyncio
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, ClassVar, NamedTuple, get_args

import orjson

from shared import ids
from shared.backends import OURS, Key, Put, Storage, new_marker
from shared.backends.metrics import (
    METRICS,
    NOTHING,
    Distribution,
    Measured,
    Metric,
    Metrics,
    Reading,
)
from shared.errors import invalid
from shared.forms import wrong
from shared.metering import OTHER
from shared.models import Record
from shared.settings import Mode
from shared.spans import DAY

LIFE = timedelta(days=400)
"""How long a roll-up is kept."""
CAUGHT_UP = 30
"""Days before today that a run rolls up where no other has."""
SETTLING = 2
"""Of these, days that each run rolls up though another has: a flush that failed is tried again for
as long as its instance lives, and then lies on all days since what it tells of was counted."""
LARGEST = 500_000
"""Bytes of counts in one document, about; Firestore takes a mebibyte."""
MOST_ROWS = 2000
"""Series of one metric, mode and day that are kept apart; what is beyond the largest is `other`. So
a commit stays within Firestore's 10 MiB, and whoever makes up series spoils nobody's day."""
AT_ONCE = 8
"""Organisations that are rolled up at a time."""
MODES: tuple[Mode, ...] = get_args(Mode)
_Series = tuple[tuple[str, ...], int | Distribution]
"""The values of labels, and what was counted under them."""
DAYS = "days"
"""The id of the document that says which days are rolled up."""


class UsageDay(Record):
    """What was counted of one metric on a day, or the first part of it."""

    collection: ClassVar[str] = "usage_days"
    prefix: ClassVar[str] = ""

    parts: int
    """Of how many documents it is the first."""
    counts: str
    """A JSON array: of each series the values of its labels, beside organisation and mode, and what
    was counted."""

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be a metric's day."""
        return re.fullmatch(r"[0-9-]{10}\.[a-z_]+\.[0-9]+", record_id) is not None


# --- Reading -------------------------------------------------------------------------------------


class Rolled(NamedTuple):
    """What is rolled up of a reading in days."""

    measured: list[Measured]
    days: set[datetime]
    """The days that are."""
    gaps: list[datetime]
    """Those that are not, though an earlier one is and they have been over for a day."""


async def read(storage: Storage, reading: Reading, now: datetime) -> Rolled:
    """Read what is rolled up of a reading in days. Raises UnavailableError."""
    days = [reading.start + n * DAY for n in range((reading.end - reading.start) // DAY)]
    places = [(mode, day) for mode in reading.modes for day in days]
    organisation, metric = reading.organisation, reading.metric
    known = [_ledger(mode) for mode in reading.modes]
    firsts = [_key(mode, organisation, day, metric) for mode, day in places]
    found = await storage.get([*known, *firsts])
    ledgers, documents = found[: len(known)], found[len(known) :]
    listed = [set(each.data["days"]) if each else set() for each in ledgers]
    rolled = {day for day in days if all(_name(day) in each for each in listed)}
    kept = {
        place: UsageDay.load(document.data)
        for place, document in zip(places, documents, strict=True)
        if document is not None and place[1] in rolled
    }
    rest = [
        (place, _key(place[0], organisation, place[1], metric, part))
        for place, first in kept.items()
        for part in range(1, first.parts)
    ]
    others = await storage.get([key for _, key in rest]) if rest else []
    texts = [(place, first.counts) for place, first in kept.items()]
    for (place, key), other in zip(rest, others, strict=True):
        if other is None:
            raise RuntimeError(f"{key.id} is missing, though its first part is there")
        texts.append((place, UsageDay.load(other.data).counts))
    began = min(set().union(*listed), default="")
    gaps = [
        day for day in days if day + 2 * DAY <= now and _name(day) > began and day not in rolled
    ]
    return Rolled(_summed(reading, texts), rolled, gaps if began else [])


def _summed(reading: Reading, texts: Iterable[tuple[tuple[Mode, datetime], str]]) -> list[Measured]:
    """Add up what a reading asks for of the counts of some days."""
    at = {label: n for n, label in enumerate(reading.metric.labels[1:])}  # the mode is the first
    sums: defaultdict[tuple[datetime, tuple[str, ...]], Any] = defaultdict(
        lambda: NOTHING if reading.metric.distribution else 0
    )
    for (mode, day), text in texts:
        for *rest, value in orjson.loads(text):
            labels = [mode, *rest]
            if all(labels[at[label]] in allowed for label, allowed in reading.where):
                group = tuple(labels[at[label]] for label in reading.by)
                sums[day, group] += _unpacked(value) if reading.metric.distribution else value
    return [Measured(group, day, value) for (day, group), value in sums.items()]


# --- Rolling up ----------------------------------------------------------------------------------


class RollUp:
    """Rolls up days that are over, of every organisation, at one moment."""

    def __init__(
        self, metrics: Metrics, storage: Storage, now: datetime, *, largest: int = LARGEST
    ) -> None:
        self._largest = largest
        self._metrics = metrics
        self._storage = storage
        self._now = now
        self._today = datetime.combine(now.astimezone(UTC).date(), time(), UTC)

    async def due(self) -> list[date]:
        """Return the last two days, and of those before them what nobody has rolled up."""
        ledgers = await self._storage.get([_ledger(mode) for mode in MODES])
        listed = [set(each.data["days"]) if each else set() for each in ledgers]
        days = [self._today - n * DAY for n in range(CAUGHT_UP, 0, -1)]
        settled = self._today - SETTLING * DAY
        return [
            day.date()
            for day in days
            if day >= settled or not all(_name(day) in done for done in listed)
        ]

    async def run(self, day: date) -> None:
        """Roll up a day. One that was rolled up before is read again, and what changed is written.

        Refuses one that is not over. Raises UnavailableError, and ConflictError where somebody else
        does the same: it is to be done again then.
        """
        start = datetime.combine(day, time(), UTC)
        if start >= self._today:
            raise invalid([wrong("day", "must be over")])
        organisations = await self._metrics.organisations(start, start + DAY)
        for first in range(0, len(organisations), AT_ONCE):
            some = organisations[first : first + AT_ONCE]
            done = await asyncio.gather(
                *(self.roll(each, metric, start) for each in some for metric in METRICS),
                return_exceptions=True,  # none goes on when the others have given up
            )
            for trouble in filter(None, done):
                raise trouble
        for mode in MODES:
            await self._enter(mode, start)

    async def roll(self, organisation: str, metric: Metric, day: datetime) -> None:
        """Write what was counted of one metric of an organisation on a day, in both modes."""
        labels = metric.labels[1:]
        reading = Reading(metric, organisation, MODES, day, day + DAY, DAY, by=labels)
        found = await self._metrics.read(reading)
        for mode in MODES:
            rows = [
                [*labels, _packed(value)]
                for labels, value in _few(
                    [(each.group[1:], each.value) for each in found if each.group[0] == mode]
                )
            ]
            parts = list(_parts(sorted(rows), self._largest))
            if not parts:
                continue
            keys = [_key(mode, organisation, day, metric, part) for part in range(len(parts))]
            earlier = await self._storage.get(keys)
            puts = [
                Put(
                    key,
                    UsageDay(id=key.id, parts=len(parts), counts=text).dump(),
                    None if document is None else document.version,
                    day + LIFE,
                )
                for key, document, text in zip(keys, earlier, parts, strict=True)
            ]
            if [put.data for put in puts] != [each and each.data for each in earlier]:
                await self._commit(mode, organisation, puts)

    async def _enter(self, mode: Mode, day: datetime) -> None:
        """Remember that a day is rolled up in a mode."""
        key = _ledger(mode)
        (found,) = await self._storage.get([key])
        earlier = set(found.data["days"]) if found else set()
        if _name(day) in earlier:
            return
        oldest = _name(self._now - LIFE)
        days = sorted(each for each in earlier | {_name(day)} if each > oldest)
        put = Put(key, {"id": key.id, "days": days}, found.version if found else None)
        await self._commit(mode, OURS, [put])

    async def _commit(self, mode: Mode, owner: str, puts: Sequence[Put]) -> None:
        marker = new_marker(mode, owner, ids.mint("roll", self._now), self._now)
        await self._storage.commit([*puts, marker], marker.key)


# --- How it is written ---------------------------------------------------------------------------


def _few(series: list[_Series]) -> list[_Series]:
    """Return the largest series, and all others as one."""
    series.sort(key=lambda each: (-_size(each[1]), each[0]))
    rest = series[MOST_ROWS:]
    if not rest:
        return series
    labels = tuple(OTHER for _ in rest[0][0])
    nothing: Any = NOTHING if isinstance(rest[0][1], Distribution) else 0
    return [*series[:MOST_ROWS], (labels, sum((value for _, value in rest), nothing))]


def _size(value: int | Distribution) -> int:
    return value.count if isinstance(value, Distribution) else value


def _parts(rows: Iterable[Sequence[Any]], largest: int) -> Iterator[str]:
    """Yield JSON arrays of all rows, none much longer than so many bytes."""
    written: list[bytes] = []
    size = 0
    for row in rows:
        written.append(orjson.dumps(row))
        size += len(written[-1])
        if size >= largest:
            yield _array(written)
            written, size = [], 0
    if written:
        yield _array(written)


def _array(written: Sequence[bytes]) -> str:
    return f"[{b','.join(written).decode()}]"


def _packed(value: int | Distribution) -> Any:
    """Write a distribution without its empty buckets."""
    if isinstance(value, int):
        return value
    filled = {str(n): count for n, count in enumerate(value.buckets) if count}
    return [value.count, value.total, filled]


def _unpacked(packed: Any) -> Distribution:
    count, total, filled = packed
    buckets = tuple(filled.get(str(n), 0) for n in range(len(NOTHING.buckets)))
    return Distribution(count, total, buckets)


def _ledger(mode: Mode) -> Key:
    return Key(mode, OURS, UsageDay.collection, DAYS)


def _key(mode: Mode, organisation: str, day: datetime, metric: Metric, part: int = 0) -> Key:
    return Key(mode, organisation, UsageDay.collection, f"{_name(day)}.{metric.name}.{part}")


def _name(day: datetime) -> str:
    return day.date().isoformat()
