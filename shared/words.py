"""Finding names by how their words begin, whatever their accents, case and order.

A store can look for a member of an array at one price, at any size; so what a name can be found by
is kept as an array: every beginning of it, read from each of its words on.
"""

import re
import unicodedata

LONGEST = 24
"""The characters of the longest beginning that is kept."""
MOST_WORDS = 8
"""The words of a name from which beginnings are read, at most."""

_APOSTROPHES = "['`\u00b4\u2018\u2019\u02bb\u02bc\u2032\uff07]"
_PLAIN = str.maketrans(
    {
        "æ": "ae",
        "œ": "oe",
        "ø": "o",
        "ł": "l",
        "đ": "d",
        "ð": "d",
        "þ": "th",
        "ħ": "h",
        "\u0131": "i",
    }
)
"""Letters that Unicode does not take apart into a plain one and an accent."""
_BETWEEN_WORDS = r"[\W_]+"


def normalise(text: str) -> str:
    """Return the words of a text in small letters, without accents, with one space between."""
    letters = re.sub(_APOSTROPHES, "", text).casefold()
    if not letters.isascii():
        apart = unicodedata.normalize("NFKD", letters).casefold()
        # Every kind of mark: vowel signs of Indic scripts do not combine, and part no words either.
        plain = "".join(each for each in apart if unicodedata.category(each)[0] != "M")
        letters = plain.translate(_PLAIN)
    return re.sub(_BETWEEN_WORDS, " ", letters).strip()


def whole(text: str) -> str:
    """Return what a text is found by that must be equal to it."""
    return "=" + normalise(text)


def beginnings(text: str) -> list[str]:
    """Return everything that a text is found by."""
    words = normalise(text).split(" ")
    found = {whole(text): None}
    for first in range(min(len(words), MOST_WORDS)):
        turned = " ".join(words[first:] + words[:first])
        found |= {turned[:size].rstrip(): None for size in range(1, min(len(turned), LONGEST) + 1)}
    return list(found)
