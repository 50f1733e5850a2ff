"""End users of partners' front ends: who an ID token names, and what they may see and do.

Each organisation has a tenant of its own in Firebase Authentication, for each mode, so its end
users are its own. Their ID token is checked here, without asking anybody: signature, project, who
issued it, and its times, as firebase.google.com/docs/auth/admin/verify-id-tokens says. Which
organisation the tenant is, what the organisation lets its end users do, and whether this one's
sessions were ended, is read when it is older than `believe`. docs/decisions/0013-front-ends.md.
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import ConfigDict, Field, ValidationError

from shared.backends import OURS, Key, Storage, Tokens
from shared.callers import EndUserCaller
from shared.errors import ApiError, invalid
from shared.fields import LONGEST_UID, Moment, is_one_line
from shared.forms import wrong
from shared.keys import CHALLENGE
from shared.memory import Lookups, remember
from shared.models import Model, Record, Resource
from shared.organisations import Organisation
from shared.settings import Mode

SKEW = timedelta(seconds=60)
"""How far the clock of who made a token may be ahead of ours."""
LIFE = timedelta(hours=1)
"""How long a token is valid; the front end gets a new one from Firebase by itself."""

_SHAPE = r"(?a:(?:(?i:bearer) +)?(eyJ[\w-]*\.[\w-]+\.[\w-]*))"
_TENANT = "[A-Za-z][A-Za-z0-9-]{3,63}"
_ISSUER = "https://securetoken.google.com/"
_LATEST = 253_402_300_799  # the last second of the year 9999

_Seconds = Annotated[int, Field(strict=True, ge=0, le=_LATEST)]


def find_token(header: str | None) -> str | None:
    """Return the ID token in an Authorization header, if that is what it holds."""
    if header is None or "eyJ" not in header:  # as most requests, which have a key
        return None
    matched = re.fullmatch(_SHAPE, header.strip())
    return None if matched is None else matched[1]


class Tenant(Record):
    """Whose a tenant of Firebase Authentication is. The id is its mode and its own id."""

    collection: ClassVar[str] = "tenants"
    account: ClassVar[bool] = True
    shared: ClassVar[frozenset[Mode]] = frozenset({"test", "live"})

    organisation: str

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be a mode and the id of a tenant."""
        mode, _, tenant = record_id.partition("-")
        return mode in ("test", "live") and re.fullmatch(_TENANT, tenant) is not None


class EndUser(Resource):
    """An end user of a front end whose sessions were ended."""

    collection: ClassVar[str] = "end_users"
    prefix: ClassVar[str] = "eu"

    object: str = "end_user"
    endUserId: str
    """Who the end user is to the front end: the uid of Firebase Authentication."""
    revokedAt: Moment
    """The sessions that began before this moment have ended."""

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be the id of an end user."""
        return re.fullmatch(r"eu_[0-9a-f]{24}", record_id) is not None

    def revoked(self, at: datetime) -> Self:
        """Return the end user with all sessions ended that began before a moment.

        Of several who do that at once the last to come may be the first to have begun.
        """
        latest = max(at, self.revokedAt)
        return self.changed(latest, revokedAt=latest)


_Place = tuple[Mode, str, str]
"""Where an end user is remembered: the mode, the tenant, and who they are in it."""


class _Said(Model):
    """A part of what a token says: as it is, for ` ada` is somebody else than `ada`."""

    model_config = ConfigDict(str_strip_whitespace=False)


class _Provider(_Said):
    """The member `firebase` of a token."""

    tenant: str = ""


class _Claims(_Said):
    """What a token says that we go by. Times are in seconds (RFC 7519, NumericDate)."""

    iss: str
    aud: str
    sub: str
    auth_time: _Seconds
    iat: _Seconds
    exp: _Seconds
    firebase: _Provider = _Provider()


class _Known(NamedTuple):
    """What was read of an end user, and until when that is believed."""

    account: Organisation
    handle: str
    signed_out: datetime | None
    until: float


class EndUsers:
    """Tells who the end user is that shows an ID token, and makes such tokens where that is local.

    `projects` says which Firebase project is which mode; `hash` is a keyed hash of texts.
    """

    def __init__(
        self,
        tokens: Tokens,
        storage: Storage,
        projects: Mapping[Mode, str],
        *,
        hash: Callable[[str], str],  # noqa: A002 - what it is
        believe: float,
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tokens = tokens
        self._storage = storage
        self._projects = projects
        self._modes: dict[Any, Mode] = {name: mode for mode, name in projects.items() if name}
        self._hash = hash
        self._believe = believe
        self._timer = timer
        self._owners: dict[tuple[Mode, str], str] = {}
        self._known: dict[_Place, _Known] = {}
        self._asked = Lookups[_Place, _Known | None]()

    def handle(self, mode: Mode, organisation: str, uid: str) -> str:
        """Return the id that an end user has here. It does not tell who they are."""
        if not _is_uid(uid):
            reason = f"must be 1 to {LONGEST_UID} printable characters, without space around them"
            raise invalid([wrong("uid", reason)])
        return f"{EndUser.prefix}_{self._hash(f'end-user {mode} {organisation} {uid}')[:24]}"

    async def authenticate(self, token: str, now: datetime) -> EndUserCaller:
        """Return whose token it is, or refuse with 401, or 403 where its tenant is nobody's."""
        said = await self._tokens.open(token)
        claims = None if said is None else self._understood(said)
        if claims is None or _moment(claims.iat) > now + SKEW:
            raise ApiError("token_invalid", headers=CHALLENGE)
        if _moment(claims.exp) <= now:
            raise ApiError("token_expired", headers=CHALLENGE)
        mode = self._modes[claims.aud]
        known = await self._find((mode, claims.firebase.tenant, claims.sub))
        if known is None:
            raise ApiError("tenant_unknown")
        return EndUserCaller(
            mode=mode,
            account=known.account,
            uid=claims.sub,
            handle=known.handle,
            signed_in=_moment(claims.auth_time),
            signed_out=known.signed_out,
        )

    async def issue(self, mode: Mode, account: Organisation, uid: str, now: datetime) -> str:
        """Make the token of an end user who signs in now, or refuse where others make them."""
        tenant = account.firebaseTenants.of(mode)
        project = self._projects[mode]
        at = int(now.timestamp())
        claims = {
            "iss": f"{_ISSUER}{project}",
            "aud": project,
            "sub": uid,
            "auth_time": at,
            "iat": at,
            "exp": at + int(LIFE.total_seconds()),
            "firebase": {"tenant": tenant, "sign_in_provider": "custom", "identities": {}},
        }
        token = None if tenant is None else await self._tokens.issue(claims)
        if token is None:
            raise ApiError("tokens_not_issued_here")
        return token

    def _understood(self, said: Mapping[str, Any]) -> _Claims | None:
        """Return what a token says, if it is complete and for us."""
        try:
            claims = _Claims.model_validate(said)
        except ValidationError:
            return None
        for_us = claims.aud in self._modes and claims.iss == _ISSUER + claims.aud
        in_order = claims.auth_time <= claims.iat <= claims.exp
        return claims if for_us and in_order and _is_uid(claims.sub) else None

    async def _find(self, place: _Place) -> _Known | None:
        """Return what is known of an end user, read once for all who ask at the same time."""
        known = self._known.get(place)
        if known is not None and known.until >= self._timer():
            return known
        return await self._asked.find(place, lambda: self._look_up(place))

    async def _look_up(self, place: _Place) -> _Known | None:
        """Read the organisation whose tenant it is, and whether sessions were ended."""
        until = self._timer() + self._believe
        mode, tenant, uid = place
        self._known.pop(place, None)
        owner = self._owners.get((mode, tenant)) or await self._owner(mode, tenant)
        if owner is None:
            return None
        handle = self.handle(mode, owner, uid)
        found, ended = await self._storage.get(
            [
                Key("account", owner, Organisation.collection, owner),
                Key(mode, owner, EndUser.collection, handle),
            ]
        )
        account = None if found is None else Organisation.load(found.data)
        if account is None or account.firebaseTenants.of(mode) != tenant:
            return None
        signed_out = None if ended is None else EndUser.load(ended.data).revokedAt
        return remember(self._known, place, _Known(account, handle, signed_out, until))

    async def _owner(self, mode: Mode, tenant: str) -> str | None:
        """Read which organisation a tenant was made for, which never changes."""
        record_id = f"{mode}-{tenant}"
        if not Tenant.accepts(record_id):
            return None
        (found,) = await self._storage.get([Key("account", OURS, Tenant.collection, record_id)])
        if found is None:
            return None
        return remember(self._owners, (mode, tenant), Tenant.load(found.data).organisation)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _is_uid(text: str) -> bool:
    """Tell whether a text names an end user, exactly as partners write it in `endUserId`."""
    return 1 <= len(text) <= LONGEST_UID and text == text.strip() and is_one_line(text)
