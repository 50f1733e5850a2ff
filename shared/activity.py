"""How many end users were active on a day, counted without keeping who they are.

Each request of an end user who is signed in counts them, and each event that a page sends with a
publishable key counts a visitor, once a day. What is kept, one document for each organisation, mode
and UTC day, are two sketches of keyed hashes, from which nobody can be read: docs/decisions/0024
says what that means and what it does not. An instance counts in memory; a flush merges that into
the document, and the order and number of merges do not matter.
"""

import asyncio
import random
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import ClassVar, Literal, NamedTuple

from shared import ids
from shared.backends import ConflictError, Document, Key, Put, Storage, new_marker
from shared.models import Record
from shared.settings import Mode
from shared.sketches import HASH_BITS, Sketch

Kind = Literal["end_user", "visitor"]
KINDS: tuple[Kind, ...] = ("end_user", "visitor")
LIFE = timedelta(days=100)
"""How long a day is kept: usage is shown of ninety."""
MOST_DAYS = 4096
"""Days of organisations that a process counts at once, 16 MB of them at most."""
AT_ONCE = 50
"""Documents that are read, and written, at the same time."""
MOST_TRIES = 5
LONGEST_PAUSE = 0.2
"""Seconds between two attempts to merge into one document, at most."""


class ActiveDay(Record):
    """Who was active on a day, which is the id, as two sketches that are packed."""

    collection: ClassVar[str] = "active_days"
    prefix: ClassVar[str] = ""

    endUsers: str
    visitors: str

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be a day."""
        return re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", record_id) is not None


Active = Mapping[Kind, Sketch]
"""Who was active, by kind: each sketch tells how many, and can be merged with those of others."""


async def active(
    storage: Storage, organisation: str, modes: Iterable[Mode], days: Iterable[date]
) -> dict[date, Active]:
    """Read who was active in an organisation on some UTC days; without those when nobody was.

    Over several days or modes, merge the sketches: an end user who comes every day is one, a
    visitor is another each day. Raises UnavailableError.
    """
    keys = [_key(mode, organisation, day) for mode in modes for day in days]
    found: dict[date, Active] = {}
    for document in await storage.get(keys):
        if document is not None:
            day = date.fromisoformat(document.key.id)
            merged = found.setdefault(day, nobody())
            for kind, sketch in _read(document).items():
                merged[kind].merge([sketch])
    return found


def nobody() -> Active:
    """Return what a day begins with."""
    return {kind: Sketch() for kind in KINDS}


class _Place(NamedTuple):
    """What a document is of."""

    mode: Mode
    organisation: str
    day: date


class Activity:
    """Counts who is active, in this process's memory until it is flushed.

    Who was counted before costs a hash. Loses, if the process is killed, what came since the last
    flush; and, of more than MOST_DAYS organisations at once, what the oldest had not flushed.
    """

    def __init__(self, storage: Storage, hash: Callable[[str], str]) -> None:  # noqa: A002 - what it is
        self._storage = storage
        self._hash = hash
        self._counted: dict[_Place, Active] = {}
        self._unkept: set[_Place] = set()
        """The places of which more is counted than is kept."""

    @property
    def pending(self) -> bool:
        """Whether there is anything to flush."""
        return bool(self._unkept)

    def see(self, mode: Mode, organisation: str, kind: Kind, who: str, at: datetime) -> None:
        """Count somebody as active: by a hash of who they are, of a visitor also of the day."""
        place = _Place(mode, organisation, at.date())
        counted = self._counted.get(place)
        if counted is None:
            counted = self._begin(place)
        day = f" {place.day}" if kind == "visitor" else ""
        hashed = self._hash(f"active {kind}{day} {mode} {organisation} {who}")
        if counted[kind].add(int(hashed[: HASH_BITS // 4], 16)):
            self._unkept.add(place)

    def _begin(self, place: _Place) -> Active:
        if len(self._counted) >= MOST_DAYS:
            oldest = next(iter(self._counted))
            del self._counted[oldest]
            self._unkept.discard(oldest)
        self._counted[place] = nobody()
        return self._counted[place]

    async def flush(self, now: datetime) -> None:
        """Merge what was counted into what is kept.

        What cannot be merged waits for the next flush. Raises UnavailableError.
        """
        places, self._unkept = self._unkept, set()
        try:
            for _ in range(MOST_TRIES if places else 0):
                places = await self._merge(places, now)
                if not places:
                    break
                await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))  # noqa: S311 - jitter is no secret
        finally:
            self._unkept |= places & self._counted.keys()
        past = {place for place in self._counted if place.day < now.date()}
        for place in past - self._unkept:
            del self._counted[place]

    async def _merge(self, places: Iterable[_Place], now: datetime) -> set[_Place]:
        """Merge what was counted at some places; return those where others were faster."""
        known = [(place, self._counted[place]) for place in places if place in self._counted]
        slower: set[_Place] = set()
        for first in range(0, len(known), AT_ONCE):
            some = known[first : first + AT_ONCE]
            documents = await self._storage.get([_key(*place) for place, _ in some])
            puts = (self._put(*each, kept, now) for each, kept in zip(some, documents, strict=True))
            outcomes = await asyncio.gather(*puts, return_exceptions=True)
            for (place, _), outcome in zip(some, outcomes, strict=True):
                if isinstance(outcome, BaseException):
                    raise outcome
                if not outcome:
                    slower.add(place)
        return slower

    async def _put(
        self, place: _Place, counted: Active, document: Document | None, now: datetime
    ) -> bool:
        """Write what was counted over a document, and tell whether nobody else was faster.

        What others have counted is counted here from now on, too: it need not be written again.
        """
        version = None
        if document is not None:
            version, kept = document.version, _read(document)
            for kind in KINDS:
                counted[kind].merge([kept[kind]])
            if counted == kept:
                return True
        key = _key(*place)
        day = ActiveDay(
            id=key.id,
            endUsers=counted["end_user"].pack(),
            visitors=counted["visitor"].pack(),
        )
        put = Put(key, day.dump(), version, now + LIFE)
        marker = new_marker(key.space, key.owner, ids.mint("use", now), now)
        try:
            await self._storage.commit([put, marker], marker.key)
        except ConflictError:
            return False
        return True


def _key(mode: Mode, organisation: str, day: date) -> Key:
    return Key(mode, organisation, ActiveDay.collection, day.isoformat())


def _read(document: Document) -> Active:
    day = ActiveDay.load(document.data)
    return {"end_user": Sketch.unpack(day.endUsers), "visitor": Sketch.unpack(day.visitors)}
