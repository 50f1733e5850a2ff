"""The key, kept where nothing prints it."""

import re
from typing import NoReturn

_KEY = re.compile(r"[\x21-\x7e]+")
_PUBLISHABLE = re.compile("(test|live)_pub_")


class Key:
    """A secret key. ValueError says, without the text, why it can be none."""

    __slots__ = ("_text",)

    def __init__(self, text: str) -> None:
        if _PUBLISHABLE.match(text):
            raise ValueError("This is a publishable key, for web pages: use a secret key here.")
        if not _KEY.fullmatch(text):
            raise ValueError(
                "A key is one word of ASCII: this text is empty, or has a space, a line break or"
                " another character that no key has."
            )
        self._text = text

    def __repr__(self) -> str:
        return "Key(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key is not pickled or copied: make a client where it is needed.")

    def reveal(self) -> str:
        """Return the key as it is sent."""
        return self._text

    def hide(self, text: str) -> str:
        """Return a text without the key, should somebody have repeated it."""
        return text.replace(self._text, "[key]")
