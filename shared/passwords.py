"""Passwords: which may be chosen, how they are kept, and how one is checked.

They are kept as argon2id makes them (RFC 9106) of a keyed hash, so that who has only the store
cannot even begin to guess. The work is done in threads, a few at a time: it takes 19 MiB each. It
is done for somebody unknown too, so that time tells nobody who has an account.
"""

import asyncio
import re
import unicodedata
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from argon2 import PasswordHasher

SHORTEST, LONGEST = 12, 128
"""Characters of a password (NIST SP 800-63B asks for 8 where there is a second factor)."""
AT_ONCE = 4
"""Passwords that one process works on at a time."""
MEMORY, TIME, LANES = 19 * 1024, 2, 1
"""KiB, passes and lanes of argon2id, as the OWASP's Password Storage Cheat Sheet has them."""
LEAST_OWN = 4
"""Characters that a password must have beside words, runs and years that guessing begins with."""
SHORTEST_WORD = 4
"""Letters of a word or name that is looked for in a password: shorter ones occur by chance."""

_COMMON = (
    "access account admin administrator ally appointment change demo default doctor dragon england "
    "example football friend general guest health hello home hospital letmein live liverpool "
    "london login love manager master medical monday monkey nurse office open organisation pass "
    "password patient please practice private qwerty root school scotland secret security service "
    "spring staff starwars summer sunshine super system team temp test this trust user wales "
    "welcome winter word work"
)
"""Words that guessing begins with."""
_RUNS = ("abcdefghijklmnopqrstuvwxyz", "01234567890", "qwertyuiop", "asdfghjkl", "zxcvbnm")
_RUN = 3
"""Neighbours of an alphabet or a keyboard that are taken for a run."""
_LOOKALIKES = {"0": "o", "1": "l", "3": "e", "4": "a", "5": "s", "7": "t", "@": "a", "$": "s"}
_LOOKALIKE = re.compile(r"(?<=[a-z])[013457@$](?=[a-z])")
_REPEATED = re.compile(r"(.{1,4})\1{2,}")
_YEAR_OR_SIGN = re.compile(r"(?<!\d)\d{1,4}(?!\d)|[ -/:-@\[-`{-~]")

T = TypeVar("T")


class Passwords(Protocol):
    """Who keeps passwords and checks them."""

    async def keep(self, email: str, password: str) -> str:
        """Take a user's new password and return what the user's record holds of it."""

    async def check(self, email: str, password: str, kept: str | None) -> bool:
        """Tell whether a password is right; where nothing is kept, after the same work."""

    def outdated(self, kept: str) -> bool:
        """Tell whether a password that was right should be kept anew, in a better way."""

    def account(self, kept: str) -> str | None:
        """Return the id of the account by which others keep a password; None where we do."""

    async def forget(self, account: str) -> None:
        """Have others delete an account, if it is still there."""


class HashedPasswords:
    """Passwords that are kept as their hashes, here."""

    def __init__(self, keyed: Callable[[str], str]) -> None:
        """Take what makes a keyed hash of a text (Keyring.hash)."""
        self._keyed = keyed
        self._workers = ThreadPoolExecutor(AT_ONCE, "passwords")
        self._hashing: PasswordHasher | None = None
        self._nobodys = ""

    async def keep(self, email: str, password: str) -> str:
        """Return the hash of a password."""
        return await self._work(lambda: self._hasher().hash(self._prepared(password)))

    async def check(self, email: str, password: str, kept: str | None) -> bool:
        """Tell whether a password has this hash; without one, compare it with nobody's."""
        return await self._work(lambda: self._matches(password, kept))

    def outdated(self, kept: str) -> bool:
        """Tell whether a hash was made with less work than they are made with now."""
        return self._hasher().check_needs_rehash(kept)

    def account(self, kept: str) -> str | None:
        """Return none: there is nothing but the hash."""
        return None

    async def forget(self, account: str) -> None:
        """Do nothing: a hash goes with the record that holds it."""

    def _matches(self, password: str, kept: str | None) -> bool:
        from argon2.exceptions import InvalidHashError, VerificationError

        hasher = self._hasher()
        try:
            hasher.verify(kept or self._nobodys, self._prepared(password))
        except (InvalidHashError, VerificationError):
            return False
        return kept is not None

    def _hasher(self) -> "PasswordHasher":
        if self._hashing is None:
            from argon2 import PasswordHasher

            hashing = PasswordHasher(time_cost=TIME, memory_cost=MEMORY, parallelism=LANES)
            self._nobodys = hashing.hash("")
            self._hashing = hashing
        return self._hashing

    def _prepared(self, password: str) -> str:
        return self._keyed(f"password {normal(password)}")

    async def _work(self, work: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._workers, work)


def objection(password: str, known: Iterable[str] = ()) -> str | None:
    """Return why a password may not be chosen, and what to do; None where it may.

    `known` is what others know of the user: e-mail address, name, organisation. Neither capitals
    nor digits nor signs are asked for (NIST SP 800-63B, 3.1.1.2): length is what helps.
    """
    text = normal(password)
    if len(text) < SHORTEST:
        return f"Take at least {SHORTEST} characters: three or four words will do."
    if len(text) > LONGEST:
        return f"Take at most {LONGEST} characters."
    names = [part for name in known for part in re.split(r"[\W_]+", normal(name).casefold())]
    if len(_beside(text, [*names, *_COMMON.split()])) < LEAST_OWN:
        return "This is among the first that would be guessed. Take words that are not about you."
    return None


def _beside(text: str, words: Iterable[str]) -> str:
    """Return the characters of a password that belong to no word, run or year."""
    rest = _LOOKALIKE.sub(lambda found: _LOOKALIKES[found[0]], text.casefold())
    for word in sorted(words, key=len, reverse=True):
        if len(word) >= SHORTEST_WORD:
            rest = rest.replace(word, " ")
    for line in (*_RUNS, *(run[::-1] for run in _RUNS)):
        for length in range(len(line), _RUN - 1, -1):
            for at in range(len(line) - length + 1):
                rest = rest.replace(line[at : at + length], " ")
    return _YEAR_OR_SIGN.sub("", _REPEATED.sub(" ", rest))


def normal(password: str) -> str:
    """Return a password in one form, however its characters were typed (Unicode, NFKC)."""
    return unicodedata.normalize("NFKC", password)
