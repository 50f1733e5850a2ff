"""Making, changing, rolling and revoking API keys. Nobody gives more than they have.

Who holds a key gives no more than that can do, from where and for as long. An administrator of the
organisation is bounded by nothing but the mode.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from shared import ids
from shared.auth import Keyring
from shared.backends import ConflictError
from shared.callers import KeyCaller, UserCaller
from shared.errors import ApiError, invalid
from shared.forms import wrong
from shared.keys import (
    ADMINISTRATION,
    SECRET_LENGTH,
    Access,
    ApiKey,
    ApiKeyChanges,
    ApiKeyIn,
    access,
    covered,
    networks,
    within,
)
from shared.models import Changes, Model
from shared.settings import Mode
from shared.store import Ref, Store
from shared.users import User

Maker = KeyCaller | UserCaller
"""Who makes and changes keys."""
MOST_PREDECESSORS = 20
"""How many replaced keys may still be valid beside the one that replaced them."""

EVERYTHING: Mapping[str, Access] = {"*": "write"}
"""What an organisation's first key may do: all but what makes keys."""
OVERLAPS = {
    "0": timedelta(0),
    "1h": timedelta(hours=1),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
}


class _Bounds(NamedTuple):
    """What a key can do at most, from which networks, and until when; no network means any."""

    scopes: Mapping[str, Access]
    allowedCidrs: list[str]
    expiresAt: datetime | None


_NONE = _Bounds({"*": "write", **dict.fromkeys(ADMINISTRATION, "write")}, [], None)
"""What whoever may do everything is bounded by."""


class RollIn(Model):
    """How long the old key stays valid beside the new one."""

    overlap: Literal["0", "1h", "24h", "7d"] = "24h"
    """For how long the old key stays valid."""


async def draw(
    keyring: Keyring,
    mode: Mode,
    organisation: str,
    at: datetime,
    object_id: str = "",
    **fields: Any,
) -> ApiKey:
    """Make a key and its secret. It opens nothing until what is returned is stored.

    A test key whose id is given may have been made before, and not stored: it is the same then.
    """
    object_id = object_id or ids.mint(ApiKey.prefix, at)
    if fields.get("type") == "publishable":
        shown = {"maskedKey": await keyring.publish(mode, organisation, object_id)}
    else:
        shown = await _issue(keyring, mode, organisation, object_id)
    return ApiKey.new(at=at, livemode=mode == "live", **{"id": object_id, **shown, **fields})


async def _issue(keyring: Keyring, mode: Mode, organisation: str, object_id: str) -> dict[str, str]:
    """Make the secret of a key; return that, and how it is shown once it is hidden."""
    secret = str(await keyring.issue(mode, organisation, object_id))
    return {"secret": secret, "maskedKey": f"{secret[:-SECRET_LENGTH]}…{secret[-4:]}"}


def unrevealed(keyring: Keyring, at: datetime, **fields: Any) -> ApiKey:
    """Make a live key that has no secret yet, and so opens nothing, until it is revealed."""
    object_id = ids.mint(ApiKey.prefix, at)
    masked = f"live_{keyring.key_id('live', object_id)}.…"
    common = {"id": object_id, "maskedKey": masked, "unrevealed": True}
    return ApiKey.new(at=at, livemode=True, **common, **fields)


async def reveal_live(store: Store, keyring: Keyring, caller: UserCaller, key_id: str) -> ApiKey:
    """Make the secret of an unrevealed key and return the key with it, this once.

    Who lost the answer, or the commit, rolls the key: a secret is never made a second time.
    """
    _, (key,) = await _as_they_are(store, caller, key_id)
    if key.standing(store.now) != "unrevealed":
        raise ApiError("secret_not_revealable")
    try:
        shown = await _issue(keyring, store.mode, store.organisation, key.id)
    except (
        ConflictError
    ):  # somebody else reveals it at this moment, or could not keep that they did
        raise ApiError("secret_not_revealable") from None
    return store.put(key.changed(store.now, unrevealed=False, **shown))


async def create(store: Store, keyring: Keyring, caller: Maker, request: ApiKeyIn) -> ApiKey:
    """Stage a new key. What is not said of it is as in the key that makes it."""
    bounds, _ = await _as_they_are(store, caller)
    inherited = {name: each for name, each in bounds.scopes.items() if name not in ADMINISTRATION}
    cidrs = request.allowedCidrs
    fields: dict[str, Any] = {
        "name": request.name,
        "type": request.type,
        "scopes": inherited if request.scopes is None else request.scopes,
        "allowedCidrs": bounds.allowedCidrs if cidrs is None else cidrs,
        "origins": request.origins or [],
        "expiresAt": request.expiresAt or bounds.expiresAt,
    }
    if request.type == "publishable":
        fields |= {"scopes": {}, "allowedCidrs": []}
    _check_kind(request.type, fields["origins"], scoped=bool(request.scopes))
    _check_future(fields["expiresAt"], store.now)
    sketch = ApiKey.new(at=store.now, livemode=store.livemode, maskedKey="", **fields)
    _check_within(sketch, bounds)
    return store.insert(await draw(keyring, store.mode, store.organisation, store.now, **fields))


async def change(
    store: Store, caller: Maker, key_id: str, changes: Changes[ApiKeyChanges]
) -> ApiKey:
    """Stage a change of a key that is in use, neither beyond nor from beyond the caller's own."""
    bounds, (key,) = await _as_they_are(store, caller, key_id)
    _check_usable(key, store.now)
    _check_within(key, bounds)
    changed = changes.apply(key, store.now)
    scoped = bool(changes.values.get("scopes"))
    _check_kind(changed.type, changed.origins, scoped=scoped)
    if "expiresAt" in changes.values:
        _check_future(changed.expiresAt, store.now)
    _check_within(changed, bounds)
    return store.put(changed)


async def roll(
    store: Store, keyring: Keyring, caller: Maker, key_id: str, request: RollIn
) -> ApiKey:
    """Stage a new key like an old one, and the old one's end."""
    now = store.now
    bounds, (old,) = await _as_they_are(store, caller, key_id)
    _check_usable(old, now)
    _check_within(old, bounds)
    valid = {each: until for each, until in old.predecessors.items() if until > now}
    if len(valid) >= MOST_PREDECESSORS:
        raise ApiError("key_rolled_too_often")
    end = now + OVERLAPS[request.overlap]
    if old.expiresAt is not None:
        end = min(end, old.expiresAt)
    kept = ("name", "type", "scopes", "allowedCidrs", "origins", "expiresAt")
    new = await draw(
        keyring,
        store.mode,
        store.organisation,
        now,
        replaces=old.id,
        predecessors={**valid, old.id: end},
        **{name: getattr(old, name) for name in kept},
    )
    store.put(old.changed(now, expiresAt=end, replacedBy=new.id))
    return store.insert(new)


async def revoke(store: Store, caller: Maker, key_id: str) -> ApiKey:
    """Stage the end of a key, and of those that it replaced; one that has ended stays as it is."""
    now = store.now
    _, (key,) = await _as_they_are(store, caller, key_id)
    if key.revokedAt is not None:
        return key
    for predecessor in (await store.related(ApiKey, key.predecessors)).values():
        if predecessor.revokedAt is None:
            store.put(predecessor.changed(now, revokedAt=now))
    return store.put(key.changed(now, revokedAt=now))


async def reveal(store: Store, keyring: Keyring, caller: Maker, key_id: str) -> ApiKey:
    """Return a test key with its secret."""
    bounds, (key,) = await _as_they_are(store, caller, key_id)
    _check_within(key, bounds)
    secret = None
    if key.type == "secret":
        secret = await keyring.reveal(store.mode, key.id)
    if secret is None:
        raise ApiError("secret_not_revealable")
    return key.model_copy(update={"secret": secret})


async def _as_they_are(store: Store, caller: Maker, *key_ids: str) -> tuple[_Bounds, list[ApiKey]]:
    """Return what bounds the caller, and keys, as they are by now.

    What is known of a caller may be some seconds old, and what a key makes outlives them. So the
    commit demands that a caller's key stays as it was read. A user lies in another space, where
    this commit demands nothing: what they make while their role is taken away, they made before.
    """
    known: Ref[Any]
    if isinstance(caller, UserCaller):
        known = Ref(User, caller.user.id)
    else:
        known = Ref(ApiKey, caller.key.id)
    refs = [known, *(Ref(ApiKey, key_id) for key_id in key_ids)]
    found = await store.find_all(refs)
    maker, *keys = (store.required(each, ref) for each, ref in zip(found, refs, strict=True))
    permission = f"{ApiKey.collection}:write"
    if isinstance(maker, User):
        if not maker.may(permission):
            raise ApiError("permission_missing", permission=permission)
        return _NONE, keys
    maker.check(store.now)
    if access(maker.scopes, ApiKey.collection) != "write":
        raise ApiError("permission_missing", permission=permission)
    store.guard(maker)
    return _Bounds(maker.scopes, maker.allowedCidrs, maker.expiresAt), keys


def _check_usable(key: ApiKey, now: datetime) -> None:
    standing = "replaced" if key.replacedBy else key.standing(now)
    if standing not in ("active", "unrevealed"):
        raise ApiError("key_not_usable", status=standing)


def _check_kind(kind: str, origins: list[str], *, scoped: bool) -> None:
    """Refuse what only the other kind of key has."""
    if kind == "publishable" and not origins:
        raise invalid([wrong("origins", "must name the origins of the pages that send the key")])
    if kind == "publishable" and scoped:
        raise invalid([wrong("scopes", "cannot be given to a publishable key")])
    if kind == "secret" and origins:
        raise invalid([wrong("origins", "can be given to a publishable key only")])


def _check_future(moment: datetime | None, now: datetime) -> None:
    if moment is not None and moment <= now:
        raise invalid([wrong("expiresAt", "must be in the future")])


def _check_within(key: ApiKey, given: _Bounds) -> None:
    """Refuse a key that could do more, from more addresses, or for longer than another one."""
    if not within(key.scopes, given.scopes):
        raise ApiError("key_exceeds_yours", param="scopes", what="scopes")
    if given.expiresAt is not None and (key.expiresAt is None or key.expiresAt > given.expiresAt):
        raise ApiError("key_exceeds_yours", param="expiresAt", what="expiresAt")
    secret = key.type == "secret"  # a publishable one is for browsers, wherever they are
    if secret and not covered(networks(key.allowedCidrs), networks(given.allowedCidrs)):
        raise ApiError("key_exceeds_yours", param="allowedCidrs", what="allowedCidrs")
