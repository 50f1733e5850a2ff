"""Forms that were sent: whether they are of a page of somebody's, and from where they came.

A form has a token that is known to the session which opened its page, and no other; its end says
whose session that was, so that somebody who has signed in anew meanwhile is known by it.
"""

import secrets

from shared.auth import Keyring
from shared.exchange import Exchange

MARK = 16
"""The characters at the end of a token that say whose it is."""


def make_token(keyring: Keyring, secret: str, principal: str) -> str:
    """Return the token of all forms of a session, which is known by a secret, and of a person."""
    return _of_session(keyring, secret) + keyring.hash(f"whose {principal}")[:MARK]


def is_of_session(keyring: Keyring, token: str, secret: str) -> bool:
    """Tell whether a session has made a token, whoever that was."""
    return is_same(token[:-MARK], _of_session(keyring, secret))


def is_of_same_person(token: str, expected: str) -> bool:
    """Tell whether a token was made for whom another was made."""
    return is_same(token[-MARK:], expected[-MARK:])


def is_same(shown: str, expected: str) -> bool:
    """Tell whether two texts are the same, in a time that says nothing of them."""
    return secrets.compare_digest(shown.encode(), expected.encode())


def _of_session(keyring: Keyring, secret: str) -> str:
    return keyring.hash(f"form {secret}")


def asked_for(exchange: Exchange) -> str:
    """Return what was asked for: the path and the query, as they were sent."""
    query = exchange.request.scope["query_string"].decode("latin-1")
    return f"{exchange.sent_path}?{query}" if query else exchange.sent_path


def sent_from(exchange: Exchange, portal: str) -> str:
    """Return the page of a portal that a form was on, as browsers say; else what it was sent to."""
    page = exchange.header(b"referer") or ""
    return page.removeprefix(portal) if page.startswith(f"{portal}/") else asked_for(exchange)
