"""Codes that people get by mail: four groups of four letters, such as `K7QD-M3XP-9V2B-T6WN`.

The first eight letters are an id, the other eight a keyed check of it and of what the code is for:
what somebody makes up is refused without a read, a code opens nothing but what it was made for, and
who reads only the store has no code. The alphabet is Douglas Crockford's base 32, which has no I,
L, O and U; they are read as the digits that they look like, and so are small letters.
"""

import hmac
import secrets
from collections.abc import Callable
from typing import Literal

Purpose = Literal["sign_up", "invitation", "password_reset"]
"""What a code is for."""
Hash = Callable[[str], str]
"""A keyed hash in hexadecimal, of at least 40 bits (Keyring.hash)."""

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
ID_LENGTH = 8
CHECK_LENGTH = 8
GROUP = 4

_AS_MEANT = str.maketrans("OIL", "011", "- \t\r\n\u2010\u2011\u2012\u2013\u2014\u00a0")
"""What is read for what, and what is left out: spaces, and what a mail program makes of hyphens."""


def new_id() -> str:
    """Return the id of a new code: 40 random bits."""
    return random_text(ID_LENGTH)


def is_id(text: str) -> bool:
    """Tell whether a text has the shape of a code's id."""
    return len(text) == ID_LENGTH and set(text) <= set(ALPHABET)


def write(keyed: Hash, purpose: Purpose, code_id: str) -> str:
    """Return the code of an id, as people read it."""
    whole = code_id + _check(keyed, purpose, code_id)
    return "-".join(whole[at : at + GROUP] for at in range(0, len(whole), GROUP))


def read(keyed: Hash, purpose: Purpose, text: str) -> str | None:
    """Return the id in a code that somebody typed; None unless we made it, for this purpose."""
    meant = plain(text)
    code_id, check = meant[:ID_LENGTH], meant[ID_LENGTH:]
    if not is_id(code_id):
        return None
    expected = _check(keyed, purpose, code_id)
    return code_id if hmac.compare_digest(check.encode(), expected.encode()) else None


def random_text(length: int) -> str:
    """Return so many random letters, each of which is five bits."""
    return _letters(secrets.randbits(5 * length), length)


def plain(text: str) -> str:
    """Return what somebody typed as it was meant: capitals and digits, and nothing between them."""
    return text.upper().translate(_AS_MEANT)


def _check(keyed: Hash, purpose: Purpose, code_id: str) -> str:
    return _letters(int(keyed(f"code {purpose} {code_id}"), 16), CHECK_LENGTH)


def _letters(number: int, length: int) -> str:
    """Write the lowest bits of a number, five in a letter."""
    return "".join(ALPHABET[number >> 5 * place & 31] for place in range(length))
