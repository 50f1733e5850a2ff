"""How often something may be tried: counted in the store, so that all instances count together.

A try is counted before anything is looked at that it could tell of, so tries at one time are not
more than tries one after the other; and it is counted for names that nobody has, so a refusal tells
nothing. docs/decisions/0028-users.md says why these numbers.
"""

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from typing import ClassVar, NamedTuple

from shared import ids
from shared.backends import OURS, Key, Put, Storage, new_marker
from shared.fields import Moment
from shared.models import Record
from shared.store import insist

QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


class Throttle(NamedTuple):
    """What may be tried `most` times `within` a time that begins with the first of them."""

    name: str
    most: int
    within: timedelta


SIGN_INS = (Throttle("sign_in", 10, QUARTER), Throttle("sign_in_day", 50, DAY))
"""Passwords for one e-mail address."""
SIGN_INS_FROM = (Throttle("sign_in_from", 200, QUARTER),)
"""Passwords from one address of the network, behind which a whole hospital may be."""
SECOND_FACTORS = (Throttle("second_factor", 5, QUARTER), Throttle("second_factor_day", 20, DAY))
"""Second factors of one user, by somebody who knows the password: 3 of a million codes are right.
"""
MAILS = (Throttle("mail", 3, QUARTER), Throttle("mail_day", 10, DAY))
"""Mails to one address that anybody can ask for."""
MAILS_FROM = (Throttle("mail_from", 30, HOUR),)
"""Mails that are asked for from one address of the network."""
INVITATIONS = (Throttle("invitation", 100, DAY),)
"""Invitations of one organisation."""

Try = tuple[tuple[Throttle, ...], str]
"""What is tried, and by or for whom."""


class Tries(Record):
    """How many tries of a kind were counted, for a name. The id is a keyed hash of both."""

    collection: ClassVar[str] = "tries"
    prefix: ClassVar[str] = ""
    account: ClassVar[bool] = True
    traced: ClassVar[bool] = False

    count: int
    until: Moment

    @property
    def expires(self) -> datetime:
        """When they count no more."""
        return self.until


class Throttles:
    """Counts tries."""

    def __init__(self, storage: Storage, keyed: Callable[[str], str], *, patience: float) -> None:
        """Take what makes keyed hashes, and the seconds for which a contended count is tried."""
        self._storage = storage
        self._keyed = keyed
        self._patience = patience

    async def count(self, now: datetime, *tries: Try) -> timedelta | None:
        """Count one try of each kind, unless one has been made too often.

        Return how long that is to wait; None where it may go on. ConflictError where so many try at
        once that this one was not counted in time.
        """
        places = [
            (
                throttle,
                Key("account", OURS, Tries.collection, self._keyed(f"{throttle.name} {whose}")),
            )
            for throttles, whose in tries
            for throttle in throttles
        ]
        return await insist(partial(self._attempt, now, places), self._patience)

    def _place(self, named: str) -> Key:
        return Key("account", OURS, Tries.collection, self._keyed(named))

    async def _attempt(
        self, now: datetime, places: Iterable[tuple[Throttle, Key]]
    ) -> timedelta | None:
        found = await self._storage.get([key for _, key in places])
        writes = []
        waits = []
        for (throttle, key), document in zip(places, found, strict=True):
            tries = None if document is None else Tries.load(document.data)
            if tries is None or tries.until <= now:
                tries = Tries(id=key.id, count=0, until=now + throttle.within)
            if tries.count >= throttle.most:
                waits.append(tries.until - now)
            tries.count += 1
            version = None if document is None else document.version
            writes.append(Put(key, tries.dump(), version, tries.expires))
        if waits:
            return max(waits)
        marker = new_marker("account", OURS, ids.mint("try", now), now)
        await self._storage.commit([*writes, marker], marker.key)
        return None


def in_words(wait: timedelta) -> str:
    """Say how long to wait, rounded up: `2 minutes`."""
    minutes = ceil(wait.total_seconds() / 60)
    if minutes < 60:
        return "a minute" if minutes <= 1 else f"{minutes} minutes"
    hours = ceil(minutes / 60)
    return "an hour" if hours == 1 else f"{hours} hours"
