"""Origins of front ends: which pages a browser may let call us (fetch.spec.whatwg.org, CORS).

A browser asks beforehand, and says nothing of who will call. So it is told yes wherever any
organisation has registered the page's origin; when the call comes, the caller's own organisation
must have registered it. A page on the reader's own machine (localhost) may always ask.
"""

import hashlib
import time
from collections.abc import Callable, Iterable
from typing import ClassVar, Self

from shared import ids
from shared.backends import OURS, Key, Storage, UnavailableError
from shared.fields import is_local_origin, is_origin
from shared.memory import Budget, Lookups, remember
from shared.models import Record
from shared.organisations import Organisation
from shared.settings import Mode
from shared.store import Ref, Store

METHODS = "GET, POST, PATCH, DELETE"
TAKEN = "Authorization, Content-Type, Accept, Idempotency-Key, Ally-Version"
"""The headers that a page may send."""
SHOWN = (
    "Request-Id, Retry-After, RateLimit, RateLimit-Policy, Ally-Rate-Limited-Reason, Ally-Version,"
    " Ally-Warning, Idempotent-Replayed, Link, Deprecation, Sunset, WWW-Authenticate"
)
"""The headers of an answer that a page may read."""
ASKED_AGAIN = 600
"""Seconds for which a browser may remember what it was told beforehand."""


class RegisteredOrigin(Record):
    """Which organisations have registered an origin: one at least. The id is a hash of it."""

    collection: ClassVar[str] = "origins"
    account: ClassVar[bool] = True
    shared: ClassVar[frozenset[Mode]] = frozenset({"test", "live"})

    origin: str
    organisations: list[str]

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be the hash of an origin."""
        return ids.is_hash(record_id)

    def listed(self, organisation: str, *, among: bool) -> Self:
        """Return the origin with an organisation among those that registered it, or not."""
        others = [each for each in self.organisations if each != organisation]
        return self.model_copy(
            update={"organisations": [*others, organisation] if among else others}
        )


def _record_id(origin: str) -> str:
    return hashlib.sha256(origin.encode()).hexdigest()


async def register(store: Store, before: Organisation, after: Organisation) -> None:
    """Stage what changes of origins when an organisation changes the list of its own."""
    old, new = (_shared(each.frontEndOrigins) for each in (before, after))
    touched = sorted(old ^ new)
    if not touched:
        return
    refs = [Ref(RegisteredOrigin, _record_id(origin)) for origin in touched]
    for origin, found in zip(touched, await store.find_all(refs), strict=True):
        record = found or RegisteredOrigin(id=_record_id(origin), origin=origin, organisations=[])
        listed = record.listed(after.id, among=origin in new)
        if listed.organisations:
            store.put(listed)
        elif found is not None:
            store.delete(found)


def _shared(origins: Iterable[str]) -> set[str]:
    """Return the origins that are looked up; those of the reader's own machine are not."""
    return {origin for origin in origins if not is_local_origin(origin)}


class Origins:
    """Tells whether any organisation has registered an origin, and remembers for some seconds.

    Anybody can make origins up, so they are looked up from a budget. Beyond it, and while storage
    fails, one that was registered is taken to be so still: that lets nobody in, and its pages learn
    what is wrong.
    """

    def __init__(
        self,
        storage: Storage,
        *,
        believe: float,
        lookups: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._believe = believe
        self._timer = timer
        self._budget = Budget(lookups, timer)
        # Until when each is believed; apart, so that no flood of one drives out the other.
        self._known: dict[str, float] = {}
        self._unknown: dict[str, float] = {}
        self._asked = Lookups[str, bool]()

    async def registered(self, origin: str) -> bool:
        """Tell whether pages of an origin may be answered at all."""
        if is_local_origin(origin):
            return True
        if not is_origin(origin):
            return False
        known = origin in self._known
        until = (self._known if known else self._unknown).get(origin, 0.0)
        if self._timer() < until:
            return known
        if origin not in self._asked and not self._budget.spend():
            return known
        try:
            return await self._asked.find(origin, lambda: self._look_up(origin))
        except UnavailableError:
            if known:
                return True
            raise

    async def _look_up(self, origin: str) -> bool:
        until = self._timer() + self._believe
        key = Key("account", OURS, RegisteredOrigin.collection, _record_id(origin))
        (found,) = await self._storage.get([key])
        self._known.pop(origin, None)
        remember(self._unknown if found is None else self._known, origin, until)
        return found is not None


def headers(origin: str) -> list[tuple[bytes, bytes]]:
    """Return the headers that let a page read an answer."""
    return [
        (b"access-control-allow-origin", origin.encode()),
        (b"access-control-expose-headers", SHOWN.encode()),
    ]


def permission() -> list[tuple[bytes, bytes]]:
    """Return the headers that answer a browser which asks beforehand."""
    return [
        (b"access-control-allow-methods", METHODS.encode()),
        (b"access-control-allow-headers", TAKEN.encode()),
        (b"access-control-max-age", b"%d" % ASKED_AGAIN),
    ]
