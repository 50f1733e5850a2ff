"""Who is calling: API keys.

A key is `test_` or `live_`, an id of 24 letters and digits, a full stop, and a secret of 30. The
secret store holds one record for each key id, with a keyed hash of the secret part and never the
secret itself. A record is believed for some seconds before it is read again, so that in the steady
state a request costs no look-up and a revoked key dies soon on every instance.
"""

import base64
import hashlib
import hmac
import re
import secrets
import string
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import orjson

from shared.backends import Secrets
from shared.errors import ApiError
from shared.settings import Mode

Access = Literal["none", "read", "write"]

_PRESENTED = re.compile(
    r"(?:(?i:bearer) +)?(test|live)_([0-9A-Za-z]{24})\.([0-9A-Za-z]{30})", re.ASCII
)
_ALPHANUMERIC = string.digits + string.ascii_letters
_NO_HASH = "0" * 64
_CACHE_SIZE = 10_000
_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ally"'}


class ApiKey(NamedTuple):
    """A key as its owner holds it."""

    mode: Mode
    id: str
    secret: str

    def __str__(self) -> str:
        return f"{self.mode}_{self.id}.{self.secret}"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is calling: an organisation in one mode, through one key, with the key's permissions."""

    organisation: str
    mode: Mode
    key_id: str
    scopes: Mapping[str, Access]

    @property
    def principal(self) -> str:
        """Who shares replays: all secret keys of an organisation are one."""
        return "secret-keys"

    def may(self, permission: str) -> bool:
        """Tell whether the caller has a permission such as `patients:read`; write implies read."""
        resource, _, access = permission.partition(":")
        granted = self.scopes.get(resource, self.scopes.get("*", "none"))
        return granted in ("write", access)


@dataclass(frozen=True, slots=True)
class _Known:
    """A key's record as it was read, and until when it is believed."""

    hash: str
    caller: Caller | None
    until: float


def parse(header: str | None) -> ApiKey:
    """Read the key from a header: bare, after `Bearer`, or as the user name of `Basic`."""
    text = (header or "").strip()
    matched = _PRESENTED.fullmatch(text)
    if matched is None:
        matched = _PRESENTED.fullmatch(_user_name(text))
    if matched is None:
        missing = text.lower() in ("", "bearer", "basic")
        raise ApiError("key_missing" if missing else "key_malformed", headers=_CHALLENGE)
    mode, key_id, secret = matched.groups()
    return ApiKey("live" if mode == "live" else "test", key_id, secret)


def _user_name(text: str) -> str:
    """Return the user name of an `Authorization: Basic` header (RFC 7617), if it is one."""
    scheme, _, rest = text.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0]
    except ValueError:  # not base64, or not a text
        return ""


class Keyring:
    """Checks keys against the secret store and remembers what it found for a while."""

    def __init__(self, store: Secrets, pepper: bytes, believe: float) -> None:
        self._store = store
        self._pepper = hashlib.sha512(pepper).digest()
        self._believe = believe
        self._known: dict[tuple[Mode, str], _Known] = {}

    async def authenticate(self, header: str | None) -> Caller:
        """Return who holds the key in a header, or refuse with 401."""
        key = parse(header)
        known = self._known.get((key.mode, key.id))
        if known is None or known.until < time.monotonic():
            known = await self._look_up(key)
        # The hash is computed and compared for an unknown id too, so that time tells nothing.
        matches = hmac.compare_digest(self.hash(str(key)), known.hash)
        if known.caller is None or not matches:
            raise ApiError("key_invalid", headers=_CHALLENGE)
        return known.caller

    async def issue(self, mode: Mode, organisation: str, scopes: Mapping[str, Access]) -> ApiKey:
        """Make a key and store its record. The secret part is nowhere but in what is returned."""
        key = ApiKey(mode, _random(24), _random(30))
        record = {"organisation": organisation, "scopes": dict(scopes), "hash": self.hash(str(key))}
        await self._store.write(_name(key), orjson.dumps(record))
        return key

    async def _look_up(self, key: ApiKey) -> _Known:
        value = await self._store.read(_name(key))
        until = time.monotonic() + self._believe
        if value is None:
            known = _Known(_NO_HASH, None, until)
        else:
            record = orjson.loads(value)
            caller = Caller(record["organisation"], key.mode, key.id, record["scopes"])
            known = _Known(record["hash"], caller, until)
        if len(self._known) >= _CACHE_SIZE:
            self._known.pop(next(iter(self._known)))
        self._known[key.mode, key.id] = known
        return known

    def hash(self, text: str) -> str:
        """Return a keyed hash: BLAKE2b (RFC 7693), 256 bits in hexadecimal."""
        return hashlib.blake2b(text.encode(), key=self._pepper, digest_size=32).hexdigest()


def _name(key: ApiKey) -> str:
    return f"key-{key.mode}-{key.id}"


def _random(length: int) -> str:
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(length))
