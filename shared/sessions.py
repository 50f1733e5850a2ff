"""Sessions: who has signed in, told by a cookie, and remembered for some seconds.

The cookie holds 256 random bits and a check that only we can compute, so that what somebody makes
up costs no look-up. What is stored is a keyed hash of it. Session, user and organisation are read
when they are older than `believe`: a session that was ended, or a role that was taken away, stops
within that time on every instance. docs/decisions/0027-portals.md.
"""

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from typing import NamedTuple

from shared import ids
from shared.backends import OURS, ConflictError, Key, Put, Storage, UnavailableError, new_marker
from shared.callers import UserCaller
from shared.memory import Lookups, remember
from shared.organisations import Organisation
from shared.settings import Mode
from shared.users import Session, User

COOKIE = "__Host-session"
"""A cookie of this beginning is of one host, never sent in clear, and set by no other host
(RFC 6265bis, 4.1.3)."""
CHECK_LENGTH = 12
_SEEN_EVERY = timedelta(minutes=10)


class _Known(NamedTuple):
    """Who has signed in, as it was last read, and until when that is believed."""

    session: Session
    user: User
    account: Organisation
    until: float


class Sessions:
    """Finds who has signed in. `hash` is a keyed hash of texts."""

    def __init__(
        self,
        storage: Storage,
        hash: Callable[[str], str],  # noqa: A002 - what it is
        *,
        believe: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._storage = storage
        self._hash = hash
        self._believe = believe
        self._timer = timer
        self._known: dict[str, _Known] = {}
        self._asked = Lookups[str, _Known | None]()

    def make_token(self) -> str:
        """Return what the cookie of a new session holds."""
        body = secrets.token_urlsafe(32)
        return f"{body}.{self._check(body)}"

    def id_of(self, token: str) -> str | None:
        """Return the id of a token's session; None where we have not made the token."""
        body, _, check = token.partition(".")
        if not secrets.compare_digest(check.encode(), self._check(body).encode()):
            return None
        return self._hash(f"session {token}")

    def _check(self, body: str) -> str:
        return self._hash(f"session check {body}")[:CHECK_LENGTH]

    async def find(self, token: str, mode: Mode, now: datetime) -> UserCaller | None:
        """Return who has signed in with a cookie, in a mode; None where nobody has."""
        session_id = self.id_of(token)
        if session_id is None:
            return None
        known = self._known.get(session_id)
        if known is None or known.until < self._timer():
            known = await self._asked.find(session_id, lambda: self._look_up(session_id, now))
        if known is None or not known.session.lasts(now):
            return None
        return UserCaller(mode, known.account, known.user, known.session)

    def forget(self, session_id: str) -> None:
        """Have a session looked up anew, because it has just been changed or ended here."""
        self._known.pop(session_id, None)

    async def _look_up(self, session_id: str, now: datetime) -> _Known | None:
        until = self._timer() + self._believe
        self._known.pop(session_id, None)
        place = Key("account", OURS, Session.collection, session_id)
        (document,) = await self._storage.get([place])
        if document is None:
            return None
        session = Session.load(document.data)
        owner = session.organisation
        found, account = await self._storage.get(
            [
                Key("account", owner, User.collection, session.user),
                Key("account", owner, Organisation.collection, owner),
            ]
        )
        if found is None or account is None:
            return None
        if session.lasts(now) and now - session.seenAt > _SEEN_EVERY:
            session.seenAt = now
            seen = Put(place, session.dump(), document.version, session.expires)
            marker = new_marker("account", OURS, ids.scatter("use"), now)
            with suppress(ConflictError, UnavailableError):  # the next look-up notes it
                await self._storage.commit([seen, marker], marker.key)
        known = _Known(session, User.load(found.data), Organisation.load(account.data), until)
        return remember(self._known, session_id, known)
