"""Organisations: who waits for a decision, what is known of one, and the decisions."""

from typing import Any, Literal

from functions.operations.portal import portal
from shared import activation, directory, staff
from shared.activation import Decision
from shared.directory import DirectoryQuery
from shared.end_users import Tenant
from shared.errors import ApiError
from shared.fields import Line, Note
from shared.forms import wrong
from shared.models import Model
from shared.portals import Form, View, Visit
from shared.provision import stage_tenant
from shared.routes import SIGNED_IN
from shared.settings import Mode
from shared.visits import page_for

REASONED = ("reject", "suspend")
"""The decisions that the organisation is told the reason of."""


class DecisionIn(Model):
    """A decision on what was seen, and the reason of one that goes against what was asked."""

    decision: Decision
    seen: Line | None = None
    reason: Note | None = None


class NameIn(Model):
    """A decision on the name that was seen to wait."""

    decision: Literal["approve", "reject"]
    seen: Line
    reason: Note | None = None


class TenantIn(Model):
    """The tenant of Firebase Authentication of an organisation's end users in a mode."""

    mode: Mode
    tenant: Line


@portal.get("/queue", permission=SIGNED_IN)
async def queue(visit: Visit, query: Form[DirectoryQuery]) -> View:
    """Show the organisations for which Operations have something to decide, the oldest first."""
    return await _list(visit, query, "queue.html", "Review queue", waiting=True)


@portal.get("/organisations", permission=SIGNED_IN)
async def index(visit: Visit, query: Form[DirectoryQuery]) -> View:
    """Show organisations, the newest first: all, or those of a name."""
    return await _list(visit, query, "organisations.html", "Organisations", waiting=False)


async def _list(
    visit: Visit, query: Form[DirectoryQuery], template: str, title: str, *, waiting: bool
) -> View:
    storage = visit.service.storage
    page = await page_for(query, lambda asked: directory.look(storage, asked, waiting=waiting))
    status = 400 if query.errors else 200
    return visit.page(template, title=title, status=status, form=query, page=page)


@portal.get("/organisations/{organisation}", permission=SIGNED_IN)
async def show(visit: Visit, organisation: str) -> View:
    """Show what is known of an organisation, and what can be decided."""
    return await _show(visit, organisation)


@portal.post("/organisations/{organisation}/decision", permission=SIGNED_IN)
async def decide(visit: Visit, organisation: str, body: Form[DecisionIn]) -> View:
    """Approve, reject, suspend or resume an organisation."""
    asked = body.value
    if asked is not None and asked.decision in REASONED and not asked.reason:
        body.blame(ApiError("parameter_missing", param="reason", name="reason"))
    if asked is None or body.value is None:
        return await _show(visit, organisation, body)
    if asked.decision == "approve":
        standing = await activation.read(visit.enter(organisation))
        if standing.allows("approve", asked.seen or ""):
            await activation.open_live(visit.service, organisation)
    store = visit.enter(organisation)
    done = await activation.decide(
        store, visit.keyring, asked.decision, seen=asked.seen or "", reason=asked.reason or ""
    )
    if done:
        action: staff.Action = f"activation.{asked.decision}"  # type: ignore[assignment]  # each decision is an action
        staff.note(store, visit.caller, action, reason=asked.reason or "")
    return _back(visit, organisation, done=done)


@portal.post("/organisations/{organisation}/name", permission=SIGNED_IN)
async def decide_name(visit: Visit, organisation: str, body: Form[NameIn]) -> View:
    """Approve or reject the display name that waits."""
    asked = body.value
    rejected = asked is not None and asked.decision == "reject"
    if asked is not None and rejected and not asked.reason:
        body.blame(ApiError("parameter_missing", param="reason", name="reason"))
    if asked is None or body.value is None:
        return await _show(visit, organisation, body)
    store = visit.enter(organisation)
    reason = (asked.reason or "") if rejected else ""
    done = await activation.decide_name(store, visit.keyring, asked.seen, reason)
    if done:
        action: staff.Action = "display_name.reject" if rejected else "display_name.approve"
        staff.note(store, visit.caller, action, subject=asked.seen, reason=reason)
    return _back(visit, organisation, done=done)


@portal.post("/organisations/{organisation}/tenant", permission=SIGNED_IN)
async def connect(visit: Visit, organisation: str, body: Form[TenantIn]) -> View:
    """Give an organisation a tenant of Firebase Authentication."""
    asked = body.value
    if asked is not None:
        record = f"{asked.mode}-{asked.tenant}"
        (taken,) = await visit.enter(organisation).related(Tenant, [record]) or (None,)
        if not Tenant.accepts(record) or taken:
            body.blame(wrong("tenant", "must be the id of a tenant that no organisation has yet"))
    if asked is None or body.value is None:
        return await _show(visit, organisation, body)
    store = visit.enter(organisation)
    await stage_tenant(store, asked.mode, asked.tenant)
    staff.note(store, visit.caller, "tenant.connect", subject=record)
    return _back(visit, organisation, done=True)


def _back(visit: Visit, organisation: str, *, done: bool) -> View:
    return visit.redirect(f"/organisations/{organisation}", said="done" if done else "changed")


async def _show(visit: Visit, organisation: str, form: Form[Any] | None = None) -> View:
    standing = await activation.read(visit.enter(organisation))
    asked = staff.ActionsQuery(organisation=organisation, limit=10)
    recent = await staff.actions(visit.service.storage, asked)
    return visit.page(
        "organisation.html",
        status=200 if form is None else 400,
        title=standing.organisation.displayName,
        standing=standing,
        form=form,
        types=activation.TYPES,
        missing=[activation.LABELS[each.field] for each in standing.application.missing()],
        page=recent,
    )
