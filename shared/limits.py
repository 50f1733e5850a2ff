"""How many requests a key, an end user or a visitor may make: a quota for each window of time.

All instances share it, and no request writes for it. An instance admits a first part of the quota
(`FREE`) by itself; whoever goes on takes slices of the quota from a document that all instances
share, one read and one commit for each slice. So an instance alone admits exactly the quota, and n
instances together at most the quota and their n free parts: docs/decisions/0009-rate-limits.md.
What a visitor sends, who has only opened a page, never costs a read or a write: each instance
admits the whole quota by itself.
"""

import asyncio
import math
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple, get_args

from shared import ids
from shared.backends import ConflictError, Key, Put, Storage, new_marker
from shared.callers import Caller, Quota
from shared.errors import ApiError
from shared.settings import Mode

FREE = 0.05
"""The part of a quota that each instance admits without asking the others."""
SLICE = 0.1
"""The part of a quota that an instance takes at a time."""
MOST_KEYS = 10_000
LIFE = timedelta(hours=1)
LONGEST_PAUSE = 0.05


class Allowance(NamedTuple):
    """Whether a request is admitted, and what its caller has left: requests, seconds until more."""

    whose: str
    admitted: bool
    quota: int
    seconds: int
    remaining: int
    reset: int

    @property
    def lines(self) -> list[tuple[bytes, bytes]]:
        """The headers of the IETF's draft-ietf-httpapi-ratelimit-headers."""
        whose = self.whose.encode()
        return [
            (b"ratelimit-policy", b'"%b";q=%d;w=%d' % (whose, self.quota, self.seconds)),
            (b"ratelimit", b'"%b";r=%d;t=%d' % (whose, self.remaining, self.reset)),
        ]

    def check(self) -> None:
        """Refuse what is not admitted."""
        if not self.admitted:
            headers = {
                "Retry-After": str(self.reset),
                "Ally-Rate-Limited-Reason": f"{self.whose}-rate",
            }
            raise ApiError("rate_limited", headers=headers, limit=self.quota, seconds=self.seconds)


@dataclass(slots=True, eq=False, repr=False)
class _Use:
    """What an instance knows of one key in one window.

    `left` may still be admitted here; `taken` is what all instances have taken, as last heard;
    `own` is what this one has admitted and not told the others yet.
    """

    window: int
    left: int
    taken: int
    own: int
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Limiter:
    """Admits the requests of keys, up to a quota in each window of `seconds`."""

    def __init__(
        self, storage: Storage, keys: Mapping[Mode, int], *, end_user: int, seconds: int
    ) -> None:
        """Take the quotas of a key of each mode, and of an end user: visitors and users have it."""
        self._storage = storage
        self._keys = keys
        self._end_user = end_user
        self._seconds = seconds
        self._uses: dict[Quota, dict[str, _Use]] = {each: {} for each in get_args(Quota)}
        """Apart, so that no flood of one kind makes the others' be forgotten."""

    async def admit(self, caller: Caller, now: datetime) -> Allowance:
        """Count one request of a caller, and say whether it is admitted."""
        whose, name = caller.limited_as
        quota = self._keys[caller.mode] if whose == "key" else self._end_user
        moment = now.timestamp()
        window = int(moment // self._seconds)
        use = self._uses[whose].get(name)
        if use is None or use.window != window:
            free = quota if whose == "visitor" else math.ceil(quota * FREE)
            use = self._begin(self._uses[whose], name, _Use(window, free, free, free))
        if use.left <= 0:
            async with use.lock:
                if use.left <= 0 and use.taken < quota:
                    await self._take(caller, use, quota, now)
        admitted = use.left > 0
        use.left -= admitted
        reset = math.ceil((window + 1) * self._seconds - moment)
        remaining = use.left + quota - use.taken
        return Allowance(whose, admitted, quota, self._seconds, remaining, reset)

    def _begin(self, uses: dict[str, _Use], name: str, use: _Use) -> _Use:
        uses.pop(name, None)
        if len(uses) >= MOST_KEYS:
            del uses[next(iter(uses))]
        uses[name] = use
        return use

    async def _take(self, caller: Caller, use: _Use, quota: int, now: datetime) -> None:
        """Take a slice of what is left of the quota, if anything is."""
        key = Key(caller.mode, caller.organisation, "quotas", f"{caller.id}-{use.window}")
        while True:
            (document,) = await self._storage.get([key])
            before = 0 if document is None else int(document.data["taken"])
            part = min(math.ceil(quota * SLICE), quota - before - use.own)
            if part <= 0:
                use.taken = quota
                return
            taken = before + use.own + part
            version = None if document is None else document.version
            slice_taken = Put(key, {"taken": taken}, version, now + LIFE)
            marker = new_marker(key.space, key.owner, ids.mint("use", now), now)
            try:
                await self._storage.commit([slice_taken, marker], marker.key)
            except ConflictError:  # somebody took a slice, and of those there are few
                await asyncio.sleep(random.uniform(0, LONGEST_PAUSE))  # noqa: S311 - jitter is no secret
                continue
            use.left, use.taken, use.own = part, taken, 0
            return
