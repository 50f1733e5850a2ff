"""Who is calling: API keys, checked against the secret store and remembered for some seconds.

The secret store holds one secret for each key, written once: whose it is and a keyed hash of it,
never the key itself. Whether the key is still valid, and what it allows, stands in its document,
which is read again when it is older than `believe`: so in the steady state a request costs no
look-up, a key that was seen before outlives a failure of the secret store, and a revoked one is
refused by every instance soon. docs/decisions/0008-keys.md says why it is so.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import orjson

from shared import ids
from shared.backends import (
    ConflictError,
    Document,
    Put,
    Secrets,
    Storage,
    UnavailableError,
    new_marker,
)
from shared.backends import Key as Place
from shared.callers import KeyCaller, PublishableCaller
from shared.errors import ApiError
from shared.keys import (
    CHALLENGE,
    CHECK_LENGTH,
    ApiKey,
    SecretKey,
    networks,
    new_secret,
    parse,
    parse_publishable,
)
from shared.memory import Budget, Lookups, remember
from shared.organisations import Organisation
from shared.settings import Mode

if TYPE_CHECKING:
    from cryptography.fernet import Fernet

REASON = "key-lookups"
_NO_HASH = "0" * 64
_TEST_SECRETS = "test secrets"
_USE_NOTED_EVERY = timedelta(hours=1)


_Place = tuple[Mode, str]
"""Where a key is remembered: its mode and its id."""


class _Known(NamedTuple):
    """A key as it was last looked up, and until when that is believed.

    The hash of a publishable one is empty: it is no secret.
    """

    hash: str
    caller: KeyCaller
    document: Document
    until: float


class Keyring:
    """Makes keys and checks them, and remembers what it found for a while.

    At most `lookups` unknown keys a second are looked up, so that nobody who makes keys up can
    exhaust the secret store for everyone; most of those fail their check and cost no look-up.
    """

    def __init__(
        self,
        secrets: Secrets,
        storage: Storage,
        pepper: bytes,
        *,
        believe: float,
        lookups: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._secrets = secrets
        self._storage = storage
        self._pepper = hashlib.sha512(pepper).digest()
        self._believe = believe
        self._timer = timer
        self._budget = Budget(lookups, timer)
        self._known: dict[_Place, _Known] = {}
        self._unknown: dict[_Place, float] = {}
        self._asked = Lookups[_Place, _Known | None]()

    def hash(self, text: str) -> str:
        """Return a keyed hash: BLAKE2b (RFC 7693), 256 bits in hexadecimal."""
        return hashlib.blake2b(text.encode(), key=self._pepper, digest_size=32).hexdigest()

    # --- Checking --------------------------------------------------------------------------------

    async def authenticate(self, header: str | None) -> KeyCaller:
        """Return who holds the key in a header, or refuse with 401.

        Whether that key is still valid is the caller's `check`: nobody but its holder learns it.
        """
        key = parse(header)
        known = await self._find((key.mode, key.id))
        # The hash is computed and compared for an unknown id too, so that time tells nothing.
        expected = _NO_HASH if known is None else known.hash or _NO_HASH
        matches = hmac.compare_digest(self.hash(str(key)), expected)
        if known is None or not matches:
            raise ApiError("key_invalid", headers=CHALLENGE)
        return known.caller

    async def recognise(self, sent: object, address: str, agent: str) -> PublishableCaller:
        """Return who shows a publishable key, from an address with a browser, or refuse with 401.

        Whether that key is still valid, and for the page, is the caller's to check.
        """
        mode, key_id = parse_publishable(sent)
        known = await self._find((mode, key_id))
        if known is None or known.caller.key.type != "publishable":
            raise ApiError("key_invalid", headers=CHALLENGE)
        return PublishableCaller(mode, known.caller.account, known.caller.key, address, agent)

    async def _find(self, place: _Place) -> _Known | None:
        """Return what is known of a key; None where there is none."""
        known = self._known.get(place)
        if known is not None and known.until >= self._timer():
            return known
        if known is None:
            mode, key_id = place
            if key_id[-CHECK_LENGTH:] != self._check(mode, key_id[:-CHECK_LENGTH]):
                return None
            if self._unknown.get(place, 0) > self._timer():
                return None
            if place not in self._asked and not self._budget.spend():
                headers = {"Retry-After": "1", "Ally-Rate-Limited-Reason": REASON}
                raise ApiError("authentication_busy", headers=headers)
        return await self._asked.find(place, lambda: self._look_up(place, known))

    async def _look_up(self, place: _Place, known: _Known | None) -> _Known | None:
        until = self._timer() + self._believe
        mode, key_id = place
        if known is None:
            value = await self._secrets.read(_name(mode, key_id))
            secret = {} if value is None else orjson.loads(value)
            hashed, organisation = secret.get("hash", ""), secret.get("organisation", "")
        else:
            hashed, organisation = known.hash, known.caller.organisation
        found = await self._documents(place, organisation) if organisation else None
        if found is None:
            self._known.pop(place, None)
            remember(self._unknown, place, until)
            return None
        document, account = found
        record = ApiKey.load(document.data)
        caller = KeyCaller(mode, account, record, networks(record.allowedCidrs))
        return remember(self._known, place, _Known(hashed, caller, document, until))

    async def _documents(
        self, place: _Place, organisation: str
    ) -> tuple[Document, Organisation] | None:
        """Read the documents of a key and of its organisation; None unless there are both."""
        mode, key_id = place
        object_id = f"{ApiKey.prefix}_{key_id[:-CHECK_LENGTH]}"
        document, account = await self._storage.get(
            [
                Place(mode, organisation, ApiKey.collection, object_id),
                Place("account", organisation, Organisation.collection, organisation),
            ]
        )
        if document is None or account is None:
            return None
        return document, Organisation.load(account.data)

    async def note_use(self, caller: KeyCaller | PublishableCaller, now: datetime) -> None:
        """Write into a key's document that it is in use: once an hour, and never over a change.

        A note that cannot be written is left to the next look-up: the request is not about it.
        """
        noted = caller.key.lastUsedAt
        if noted is not None and now - noted <= _USE_NOTED_EVERY:
            return
        known = self._known.get((caller.mode, self.key_id(caller.mode, caller.key.id)))
        if known is None or known.caller.key is not caller.key:  # looked up anew by somebody else
            return
        key, place = caller.key, known.document.key
        key.lastUsedAt = now
        used = Put(place, key.dump(), known.document.version, terms=key.terms())
        marker = new_marker(place.space, place.owner, ids.mint("use", now), now)
        try:
            await self._storage.commit([used, marker], marker.key)
        except (ConflictError, UnavailableError):
            return

    # --- Making ----------------------------------------------------------------------------------

    def _check(self, mode: Mode, body: str) -> str:
        """Return the letters that show that a key's id is one of ours."""
        digest = int(self.hash(f"check {mode} {body}"), 16)
        return ids.encode(digest % len(ids.ALPHABET) ** CHECK_LENGTH, CHECK_LENGTH)

    def key_id(self, mode: Mode, object_id: str) -> str:
        """Return the id that a key carries, of that of its object."""
        body = object_id.partition("_")[2]
        return body + self._check(mode, body)

    async def issue(self, mode: Mode, organisation: str, object_id: str) -> SecretKey:
        """Make the secret of a key and keep what checks it; that of a test key can be seen again.

        The key opens nothing until its document is stored too.
        """
        key = SecretKey(mode, self.key_id(mode, object_id), new_secret())
        record = {"organisation": organisation, "hash": self.hash(str(key))}
        if mode == "test":
            record["sealed"] = self.seal(_TEST_SECRETS, str(key))
        try:
            await self._secrets.create(_name(key.mode, key.id), orjson.dumps(record))
        except ConflictError:  # who began this before got no further
            made = await self.reveal(mode, object_id)
            if made is None:
                raise
            return parse(made)
        return key

    async def publish(self, mode: Mode, organisation: str, object_id: str) -> str:
        """Make a publishable key and keep whose it is."""
        key_id = self.key_id(mode, object_id)
        record = {"organisation": organisation}
        await self._secrets.create(_name(mode, key_id), orjson.dumps(record))
        return f"{mode}_pub_{key_id}"

    async def reveal(self, mode: Mode, object_id: str) -> str | None:
        """Return a test key once more; None where only its hash was kept."""
        value = await self._secrets.read(_name(mode, self.key_id(mode, object_id)))
        sealed = None if value is None else orjson.loads(value).get("sealed")
        return None if sealed is None else self.unseal(_TEST_SECRETS, sealed)

    # --- Sealing ---------------------------------------------------------------------------------

    def seal(self, purpose: str, text: str) -> str:
        """Encrypt what storage keeps and only we may read: Fernet, with a key for each purpose.

        The name of a purpose has at most 16 letters, and never changes.
        """
        return self._fernet(purpose).encrypt(text.encode()).decode()

    def unseal(self, purpose: str, sealed: str) -> str:
        """Return what was sealed for a purpose. InvalidToken (cryptography) where it was not."""
        return self._fernet(purpose).decrypt(sealed.encode()).decode()

    def _fernet(self, purpose: str) -> "Fernet":
        from cryptography.fernet import Fernet

        derived = hashlib.blake2b(key=self._pepper, digest_size=32, person=purpose.encode())
        return Fernet(base64.urlsafe_b64encode(derived.digest()))


def _name(mode: Mode, key_id: str) -> str:
    return f"key-{mode}-{key_id}"
