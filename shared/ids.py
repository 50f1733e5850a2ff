"""Ids: a prefix, an underscore, 22 letters and digits, and an order.

The first nine characters are microseconds since 1970 in base 62, the other thirteen are random
(77 bits). The alphabet is in ASCII order, so sorting ids sorts objects by their creation, and a
list needs no other index than the id. docs/decisions/0004-ids-and-their-order.md says why.
"""

import re
import secrets
from datetime import UTC, datetime, timedelta
from functools import lru_cache

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
TIME_LENGTH = 9
TAIL_LENGTH = 13
LAST_TAIL = ALPHABET[-1] * TAIL_LENGTH
"""The tail of the last id of a moment."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PAIRS = tuple(a + b for a in ALPHABET for b in ALPHABET)
_LETTERS = "".join(ALPHABET[byte % len(ALPHABET)] for byte in range(256)).encode()
_BODY = re.compile(rf"[0-9A-Za-z]{{{TIME_LENGTH + TAIL_LENGTH}}}")
_HASH = re.compile("[0-9a-f]{64}")


def encode(number: int, length: int) -> str:
    """Write a number in base 62, padded with zeros to `length` characters."""
    pairs = []
    for _ in range(length // 2):
        number, pair = divmod(number, len(_PAIRS))
        pairs.append(_PAIRS[pair])
    head = ALPHABET[number] if length % 2 else ""
    return head + "".join(reversed(pairs))


def decode(text: str) -> int:
    """Read a number that `encode` wrote."""
    number = 0
    for character in text:
        number = number * len(ALPHABET) + ALPHABET.index(character)
    return number


def mint(prefix: str, at: datetime) -> str:
    """Make a new id whose place in the order is the moment `at`."""
    tail = secrets.token_bytes(TAIL_LENGTH).translate(_LETTERS).decode()
    return place(prefix, at, tail)


def scatter(prefix: str) -> str:
    """Make a new id that has no place in the order: all of it is random (131 bits).

    It is for documents that are made and deleted in great numbers at once: ids of one moment lie
    next to each other, and so would the load (docs/decisions/0020-jobs.md).
    """
    body = secrets.token_bytes(TIME_LENGTH + TAIL_LENGTH).translate(_LETTERS).decode()
    return f"{prefix}_{body}"


def place(prefix: str, at: datetime, tail: str = "") -> str:
    """Make the id of the moment `at` with a given tail; without one, the bound before them all."""
    head, rest = divmod((at - _EPOCH) // _MICROSECOND, len(_PAIRS) ** 2)
    high, low = divmod(rest, len(_PAIRS))
    return f"{prefix}_{_head(head)}{_PAIRS[high]}{_PAIRS[low]}{tail}"


@lru_cache(maxsize=64)
def _head(quarters: int) -> str:
    """Write the letters of a moment that stay the same for a quarter of a minute."""
    return encode(quarters, TIME_LENGTH - 4)


def pattern(prefix: str) -> str:
    """Return the regular expression that ids of a prefix match."""
    return rf"^{prefix}_{_BODY.pattern}$"


def is_id(prefix: str, text: str) -> bool:
    """Tell whether a text has the shape of an id of this prefix."""
    head, _, body = text.partition("_")
    return head == prefix and _BODY.fullmatch(body) is not None


def is_hash(text: str) -> bool:
    """Tell whether a text has the shape of a hash that serves as an id (Keyring.hash)."""
    return _HASH.fullmatch(text) is not None


def split(text: str) -> tuple[datetime, str]:
    """Return the moment and the tail of an id."""
    body = text.partition("_")[2]
    return _EPOCH + decode(body[:TIME_LENGTH]) * _MICROSECOND, body[TIME_LENGTH:]
