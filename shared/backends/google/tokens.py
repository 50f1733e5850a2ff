"""Tokens that Google signed, as Firebase or as Identity-Aware Proxy: its keys, remembered."""

import asyncio
import re
import time
from collections.abc import Mapping
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import orjson

from shared.backends import UnavailableError
from shared.backends.tokens import ALGORITHM, Claims, key_id, opened

KEYS = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
"""Where Google publishes the keys, as JWKs (RFC 7517):
firebase.google.com/docs/auth/admin/verify-id-tokens."""
KINDS = {"RS256": "RSA", "ES256": "EC"}
"""Of which type the keys of an algorithm are (RFC 7518, 6.1)."""
SHORTEST, LONGEST = 60, 86_400
"""The seconds for which an answer is believed, whatever it says itself."""
PAUSE = 1
"""Seconds between two attempts to fetch them while they cannot be had."""
LARGEST = 262_144
"""Bytes of an answer that are read."""


class PublishedTokens:
    """Opens the tokens that were signed with one of the keys at an address, by one algorithm.

    The keys are fetched when one is needed that is not known or when they have become old, at most
    once a minute. Keys that are known go on while others are fetched, and when that fails.
    """

    def __init__(self, address: str, *, timeout: float, algorithm: str = ALGORITHM) -> None:
        self._address = address
        self._algorithm = algorithm
        self._timeout = timeout
        self._keys: dict[str, Any] = {}
        self._until = 0.0
        self._not_before = 0.0
        self._failing = False
        self._lock = asyncio.Lock()

    async def open(self, token: str) -> Claims | None:
        """Return what a token says, if it was signed with one of the keys."""
        named = key_id(token, self._algorithm)
        if named is None:
            return None
        old = self._until < time.monotonic()
        if named not in self._keys or (old and not self._lock.locked()):
            await self._refresh(named)
        key = self._keys.get(named)
        return None if key is None else opened(token, key, self._algorithm)

    async def issue(self, claims: Mapping[str, Any]) -> str | None:
        """Make none: Firebase Authentication does."""
        return None

    async def _refresh(self, wanted: str) -> None:
        async with self._lock:
            at = time.monotonic()
            if at >= self._not_before and (wanted not in self._keys or at >= self._until):
                try:
                    fetching = asyncio.to_thread(self._fetch)
                    self._keys, life = await asyncio.wait_for(fetching, self._timeout)
                    self._until = at + life
                    self._failing, self._not_before = False, at + SHORTEST
                except (OSError, HTTPException, ValueError):
                    self._failing, self._not_before = True, time.monotonic() + PAUSE
            if self._failing and wanted not in self._keys:
                raise UnavailableError("the keys of tokens cannot be fetched")

    def _fetch(self) -> tuple[dict[str, Any], float]:
        """Fetch the keys, and for how many seconds they may be believed (RFC 9111, max-age)."""
        try:
            answer = urlopen(self._address, timeout=self._timeout)  # noqa: S310 - the settings' own
        except HTTPError as refusal:
            refusal.close()  # it holds the connection
            raise
        with answer:
            keys = _read(orjson.loads(answer.read(LARGEST)), self._algorithm)
            told = re.search(r"max-age=(\d+)", answer.headers.get("Cache-Control", ""))
        life = int(told[1]) if told else 3600
        return keys, min(max(life, SHORTEST), LONGEST)


def _read(sent: Any, algorithm: str) -> dict[str, Any]:
    """Return a set's keys of an algorithm, by their ids; ValueError where it is, or has, none."""
    import jwt

    try:
        keys = {
            each["kid"]: jwt.PyJWK(each, algorithm=algorithm).key
            for each in sent["keys"]
            if each["kty"] == KINDS[algorithm]
        }
    except (jwt.PyJWTError, LookupError, TypeError) as error:
        raise ValueError("this is no set of keys") from error
    if not keys:
        raise ValueError("this set of keys is empty")
    return keys
