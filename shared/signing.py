"""Signing in and out: sessions that begin, rise and end, and what proves a second factor.

A sign-in, and each rise of what a session may do, begins a new one with a token of its own, so that
nobody who knew the token before has anything of it.
"""

import re
from collections.abc import Iterable
from datetime import datetime

from pydantic import ValidationError

from shared import second_factors
from shared.auth import Keyring
from shared.backends import Condition
from shared.fields import Moment
from shared.models import Model
from shared.pages import bound
from shared.second_factors import PATIENCE, Factors
from shared.sessions import Sessions
from shared.store import Store
from shared.users import Session, User

MOST_SESSIONS = 100
"""Sessions of one user that are listed, or read at once."""
APP = "second-factor"
FORM = "form"
"""What is sealed for itself: secrets of apps, and what a page brings back."""

_BROWSERS = (
    ("Edg", "Edge"),
    ("OPR", "Opera"),
    ("SamsungBrowser", "Samsung Internet"),
    ("Firefox|FxiOS", "Firefox"),
    ("Chrome|CriOS", "Chrome"),
    ("Safari", "Safari"),
)
_SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("CrOS", "ChromeOS"),
    ("Mac OS X|Macintosh", "macOS"),
    ("Linux", "Linux"),
)


# --- Sessions ------------------------------------------------------------------------------------


def begin(
    store: Store,
    sessions: Sessions,
    user: User,
    *,
    agent: str,
    second_factor: bool,
    instead_of: Session | None = None,
) -> str:
    """Stage a session of somebody who has just shown that it is they; return its token.

    `instead_of` is the session, read by this store, that it takes the place of.
    """
    token = sessions.make_token()
    session_id = sessions.id_of(token)
    if session_id is None:
        raise RuntimeError("a token that was just made is not known")
    store.insert(
        Session(
            id=session_id,
            organisation=user.organisation,
            user=user.id,
            createdAt=store.now,
            authenticatedAt=store.now,
            seenAt=store.now,
            secondFactor=second_factor,
            browser=family(agent),
        )
    )
    if instead_of is not None:
        store.delete(instead_of)
        sessions.forget(instead_of.id)
    return token


async def sessions_of(store: Store, user: str) -> list[Session]:
    """Return a user's sessions that last, the one that was used last first."""
    found = await store.select(Session, [("user", "==", user)], limit=MOST_SESSIONS)
    lasting = [each for each in found if each.lasts(store.now)]
    return sorted(lasting, key=lambda each: each.seenAt, reverse=True)


async def end_sessions(store: Store, sessions: Sessions, user: str, *, besides: str = "") -> None:
    """Stage the end of all of a user's sessions but one, however many there are."""
    after: list[Condition] = []
    while True:
        whose: list[Condition] = [("user", "==", user), *after]
        found = await store.select(Session, whose, limit=MOST_SESSIONS)
        for each in found:
            if each.id != besides:
                store.delete(each)
                sessions.forget(each.id)
        if len(found) < MOST_SESSIONS:
            return
        after = bound(found[-1].id, ascending=False)


def family(agent: str) -> str:
    """Return which browser on which system a User-Agent names: `Firefox on Windows`."""
    browser = _first(_BROWSERS, agent) or "A browser"
    system = _first(_SYSTEMS, agent)
    return f"{browser} on {system}" if system else browser


def _first(families: Iterable[tuple[str, str]], agent: str) -> str:
    return next((name for mark, name in families if re.search(mark, agent)), "")


# --- Second factors ------------------------------------------------------------------------------


def with_code(keyring: Keyring, user: User, typed: str, now: datetime) -> Factors | None:
    """Return a user's factors after a code of their app, or a recovery code; None if it is none."""
    factors = user.factors
    if factors.app:
        secret = keyring.unseal(APP, factors.app)
        step = second_factors.step_of_code(secret, typed, now, factors.lastStep)
        if step is not None:
            return factors.model_copy(update={"lastStep": step})
    hashed = second_factors.recovery_hash(keyring.hash, user.id, typed)
    return second_factors.without_recovery_code(factors, hashed)


class _Handed(Model):
    """What a page brings back, whose it is, and when it was handed out."""

    whose: str
    text: str
    at: Moment


def hand_out(keyring: Keyring, whose: str, text: str, now: datetime) -> str:
    """Seal what a page is to bring back, for one session or user."""
    return keyring.seal(FORM, _Handed(whose=whose, text=text, at=now).model_dump_json())


def take_back(keyring: Keyring, whose: str, sealed: str, now: datetime) -> str | None:
    """Return what a page brought back; None where it is another's, too old, or made up."""
    from cryptography.fernet import InvalidToken

    try:
        handed = _Handed.model_validate_json(keyring.unseal(FORM, sealed))
    except (InvalidToken, ValidationError):
        return None
    return handed.text if handed.whose == whose and now - handed.at <= PATIENCE else None
