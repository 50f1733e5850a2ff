"""API keys: made, restricted, shown once, rolled and revoked by administrators."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlencode

from pydantic import Field

from functions.dashboard.days import OurDay, end_of, last_day
from functions.dashboard.lines import LINES
from functions.dashboard.links import reachable
from functions.dashboard.portal import portal
from shared import issuing
from shared.fields import Line, Origin, Whole
from shared.issuing import RollIn
from shared.keys import (
    ADMINISTRATION,
    MOST_ENTRIES,
    Access,
    ApiKey,
    ApiKeyChanges,
    ApiKeyIn,
    Cidr,
    Kind,
    Scopes,
    access,
)
from shared.models import Changes, Model
from shared.pages import NamedQuery
from shared.portals import Form, View, Visit
from shared.visits import page_for
from shared.words import LONGEST, normalise

READ, WRITE = "api_keys:read", "api_keys:write"

RESOURCES: Mapping[str, str] = {
    "patients": "Patients",
    "appointments": "Appointments",
    "availability": "Availability and coverage",
    "tasks": "Tasks",
    "end_users": "End users",
    "frontend_events": "Events of front ends",
    "organisations": "The organisation",
    "usage": "Usage",
    "requests": "Requests",
    "audit_events": "Audit trail",
    "api_keys": "API keys",
}
"""What a key can be let see or change, and what people call it."""

Preset = Literal["everything", "administrator", "read", "chosen"]
PRESETS: Mapping[Preset, dict[str, Access]] = {
    "everything": {"*": "write"},
    "administrator": {"*": "write", **dict.fromkeys(ADMINISTRATION, "write")},
    "read": {"*": "read"},
}
"""Scopes that are chosen as a whole; they include what comes later."""

_NAME = re.compile(r"(?!(test|live|key)_)(?!.*[0-9A-Za-z]{20})[^.]*")
"""What can be the beginning of a name and no part of a key: those are longer words."""
_SHOWN = re.compile(r"(?:test|live)_(?:pub_)?([0-9A-Za-z]{22})[0-9A-Za-z]{2}(?:\..*)?")


class Restrictions(Model):
    """What is said of a key, new or old."""

    name: Line
    preset: Preset = "everything"
    scopes: Scopes = {}
    allowedCidrs: Annotated[list[Cidr], LINES, Field(max_length=MOST_ENTRIES)] = []
    origins: Annotated[list[Origin], LINES, Field(max_length=MOST_ENTRIES)] = []
    expiresAt: OurDay | None = None
    """The last day on which it is valid."""

    @property
    def chosen(self) -> dict[str, Access]:
        """The scopes that were chosen."""
        if self.preset != "chosen":
            return PRESETS[self.preset]
        return {name: each for name, each in self.scopes.items() if each != "none"}

    @property
    def end(self) -> datetime | None:
        """The moment at which it ends."""
        return None if self.expiresAt is None else end_of(self.expiresAt)


class NewKey(Restrictions):
    """A key that is to be made."""

    type: Kind = "secret"


class Sought(Model):
    """The beginning of a key's name; or the key or its id, pasted."""

    secretive: ClassVar[bool] = True

    key: Line


# --- Looking -------------------------------------------------------------------------------------


class KeysQuery(NamedQuery):
    """Keys as the page is asked for them."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 25


@portal.get("/{mode}/api_keys", permission=READ)
async def index(visit: Visit, query: Form[KeysQuery]) -> View:
    """List keys, newest first."""
    return await _list(visit, query)


@portal.post("/{mode}/api_keys/find", permission=READ)
async def find(visit: Visit, body: Form[Sought]) -> View:
    """Lead to a key by its id or itself, or to those of a name.

    It is posted, for a key belongs in no address; nor does what looks like a part of one.
    """
    if body.value is not None:
        sought = body.value.key
        matched = _SHOWN.fullmatch(sought)
        key_id = f"{ApiKey.prefix}_{matched[1]}" if matched else sought
        if ApiKey.accepts(key_id):
            return visit.redirect(f"/{visit.mode}/api_keys/{key_id}")
        if _NAME.fullmatch(sought) and 1 <= len(normalise(sought)) <= LONGEST:
            return visit.redirect(f"/{visit.mode}/api_keys?{urlencode({'name': sought})}")
        body.saying("Type how the name begins, or paste the whole key or its id.", "key")
    return await _list(visit, Form({}, KeysQuery()), body)


@portal.get("/{mode}/api_keys/new", permission=WRITE, fresh="live")
async def new(visit: Visit) -> View:
    """Show the form of a new key."""
    return _form(visit, None, None)


@portal.get("/{mode}/api_keys/{api_key}", permission=READ)
async def show(visit: Visit, api_key: str) -> View:
    """Show a key, without its secret."""
    return await _page(visit, "api_keys/show.html", api_key)


# --- Changing ------------------------------------------------------------------------------------


@portal.post("/{mode}/api_keys", permission=WRITE, fresh="live")
async def create(visit: Visit, body: Form[NewKey]) -> View:
    """Make a key. This page alone has its secret: it is led to by no address, and shown once."""
    if body.value is not None:
        sent = body.value
        secret = sent.type == "secret"
        asked = ApiKeyIn(
            type=sent.type,
            name=sent.name,
            scopes=sent.chosen if secret else None,
            allowedCidrs=sent.allowedCidrs if secret else None,
            origins=[] if secret else sent.origins,
            expiresAt=sent.end,
        )
        with body.blaming():
            made = await issuing.create(visit.store, visit.keyring, visit.user, asked)
            return _shown_once(visit, made, "made")
    return _form(visit, None, body)


@portal.get("/{mode}/api_keys/{api_key}/edit", permission=WRITE)
async def edit(visit: Visit, api_key: str) -> View:
    """Show the form that changes a key."""
    return _form(visit, await visit.store.get(ApiKey, api_key), None)


@portal.post("/{mode}/api_keys/{api_key}/edit", permission=WRITE)
async def change(visit: Visit, api_key: str, body: Form[Restrictions]) -> View:
    """Change a key's name, or what it may do, from where, and until when."""
    found = await visit.store.get(ApiKey, api_key)
    if body.value is not None:
        changes = Changes[ApiKeyChanges](_changes(found, body.value))
        with body.blaming():
            await issuing.change(visit.store, visit.user, api_key, changes)
            return visit.redirect(f"/{visit.mode}/api_keys/{api_key}", said="key_changed")
    return _form(visit, found, body)


@portal.get("/{mode}/api_keys/{api_key}/roll", permission=WRITE, fresh="live")
async def ask_roll(visit: Visit, api_key: str) -> View:
    """Ask when the old key is to end."""
    return await _page(visit, "api_keys/roll.html", api_key)


@portal.post("/{mode}/api_keys/{api_key}/roll", permission=WRITE, fresh="live")
async def roll(visit: Visit, api_key: str, body: RollIn) -> View:
    """Replace a key by a new one like it, shown once."""
    made = await issuing.roll(visit.store, visit.keyring, visit.user, api_key, body)
    return _shown_once(visit, made, "rolled")


@portal.get("/{mode}/api_keys/{api_key}/revoke", permission=WRITE)
async def ask_revoke(visit: Visit, api_key: str) -> View:
    """Ask whether a key is to end."""
    return await _page(visit, "api_keys/revoke.html", api_key)


@portal.post("/{mode}/api_keys/{api_key}/revoke", permission=WRITE)
async def revoke(visit: Visit, api_key: str) -> View:
    """End a key, and those that it replaced."""
    await issuing.revoke(visit.store, visit.user, api_key)
    return visit.redirect(f"/{visit.mode}/api_keys/{api_key}", said="key_revoked")


@portal.get("/{mode}/api_keys/{api_key}/reveal", permission=WRITE, fresh=True)
async def ask_reveal(visit: Visit, api_key: str) -> View:
    """Ask whether the secret is to be shown."""
    return await _page(visit, "api_keys/reveal.html", api_key)


@portal.post("/{mode}/api_keys/{api_key}/reveal", permission=WRITE, fresh=True)
async def reveal(visit: Visit, api_key: str) -> View:
    """Show the secret of a test key again, or make that of a live key, which is shown once."""
    if visit.mode == "live":
        found = await issuing.reveal_live(visit.store, visit.keyring, visit.user, api_key)
    else:
        found = await issuing.reveal(visit.store, visit.keyring, visit.user, api_key)
    return _shown_once(visit, found, "revealed")


# --- Pages ---------------------------------------------------------------------------------------


async def _list(visit: Visit, query: Form[KeysQuery], sought: Form[Sought] | None = None) -> View:
    page = await page_for(query, lambda asked: visit.store.page(ApiKey, asked))
    return visit.page(
        "api_keys/list.html",
        title="API keys",
        status=400 if query.errors or sought else 200,
        page=page,
        query=query,
        standings={each.id: _standing(each, visit.now) for each in page.data},
        presets={each.id: _preset(each.scopes) for each in page.data},
        form=sought,
    )


async def _page(visit: Visit, template: str, api_key: str) -> View:
    key = await visit.store.get(ApiKey, api_key)
    return visit.page(
        template,
        title=key.name,
        key=key,
        standing=_standing(key, visit.now),
        allowed={each: access(key.scopes, each) for each in RESOURCES},
        resources=RESOURCES,
        preset=_preset(key.scopes),
        usage=reachable(visit, f"/{visit.mode}/usage?keyId={key.id}"),
    )


def _form(visit: Visit, key: ApiKey | None, body: Form[Any] | None) -> View:
    scopes: Mapping[str, Access] = {"*": "write"} if key is None else key.scopes
    if body is not None and body.sent:
        typed = {each: body.text(f"scopes[{each}]") for each in RESOURCES}
    else:
        typed = {each: access(scopes, each) for each in RESOURCES}
    return visit.page(
        "api_keys/form.html",
        title="New key" if key is None else f"Change {key.name}",
        status=200 if body is None else 400,
        key=key,
        form=body,
        preset=_preset(scopes),
        allowed=typed,
        resources=RESOURCES,
        last_day=_last_day(key),
    )


def _shown_once(visit: Visit, key: ApiKey, why: str) -> View:
    return visit.page("api_keys/secret.html", title=key.name, key=key, why=why)


def _standing(key: ApiKey, now: datetime) -> str:
    """Return how a key is: its status, or that another one takes its place until it ends."""
    standing = key.standing(now)
    return "replaced" if standing == "active" and key.replacedBy else standing


def _last_day(key: ApiKey | None) -> date | None:
    """Return the last day on which a key is valid, if it ends and there is one yet."""
    return None if key is None or key.expiresAt is None else last_day(key.expiresAt)


def _preset(scopes: Mapping[str, Access]) -> Preset:
    """Return the preset that some scopes are."""
    return next((name for name, each in PRESETS.items() if each == scopes), "chosen")


def _changes(key: ApiKey, sent: Restrictions) -> ApiKeyChanges:
    """Return what somebody changed: what the form shows less exactly than it is stays as it is."""
    values: dict[str, Any] = {"name": sent.name}
    if key.type == "publishable":
        values["origins"] = sent.origins
    else:
        values["allowedCidrs"] = sent.allowedCidrs
        before, after = key.scopes, sent.chosen
        differs = any(access(before, each) != access(after, each) for each in RESOURCES)
        if differs or sent.preset != _preset(before):
            values["scopes"] = after
    if sent.expiresAt != _last_day(key):
        values["expiresAt"] = sent.end
    return ApiKeyChanges.model_construct(**values)
