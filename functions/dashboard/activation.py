"""Activation: the form by which an organisation goes live, saved step by step."""

from collections.abc import Awaitable, Callable
from typing import Any

from functions.dashboard.portal import portal
from shared import activation
from shared.activation import (
    LABELS,
    STEPS,
    TYPES,
    AddressStep,
    ContactStep,
    LegalStep,
    NameStep,
    Standing,
    TypeStep,
)
from shared.errors import ApiError
from shared.models import Model
from shared.portals import Form, View, Visit

TITLES = {
    "contact": "Contact",
    "type": "Type of organisation",
    "name": "Display name",
    "legal": "Registration",
    "address": "Registered address",
}


@portal.get("/activation", permission="activation:read", account=True)
async def show(visit: Visit) -> View:
    """Show how far the activation is, all answers, and what is still to be done."""
    standing = await activation.read(visit.store)
    return visit.page(
        "activation/show.html",
        title="Activation",
        standing=standing,
        answers={step: _given(standing, step) for step in STEPS},
        unfinished=_unfinished(standing),
        titles=TITLES,
        labels=LABELS,
        types=TYPES,
    )


def _asking(step: str) -> Callable[[Visit], Awaitable[View]]:
    async def ask(visit: Visit) -> View:
        """Show one step of the form."""
        standing = await activation.read(visit.store)
        if not standing.editable:
            return visit.redirect("/activation", said="activation_changed")
        return _form(visit, step, standing, None)

    return ask


for each in STEPS:
    portal.get(f"/activation/{each}", permission="activation:read", account=True)(_asking(each))


@portal.post("/activation/contact", permission="activation:write", account=True)
async def contact(visit: Visit, body: Form[ContactStep]) -> View:
    """Save whom Operations call."""
    return await _save(visit, "contact", body)


@portal.post("/activation/type", permission="activation:write", account=True)
async def kind(visit: Visit, body: Form[TypeStep]) -> View:
    """Save what kind of body it is."""
    return await _save(visit, "type", body)


@portal.post("/activation/name", permission="activation:write", account=True)
async def name(visit: Visit, body: Form[NameStep]) -> View:
    """Save the name that patients read."""
    return await _save(visit, "name", body)


@portal.post("/activation/legal", permission="activation:write", account=True)
async def legal(visit: Visit, body: Form[LegalStep]) -> View:
    """Save what the public registers call it."""
    return await _save(visit, "legal", body)


@portal.post("/activation/address", permission="activation:write", account=True)
async def address(visit: Visit, body: Form[AddressStep]) -> View:
    """Save the registered address."""
    return await _save(visit, "address", body)


@portal.post("/activation/submit", permission="activation:write", account=True)
async def submit(visit: Visit) -> View:
    """Send it to Operations."""
    done = await activation.submit(visit.store)
    return visit.redirect("/activation", "activation_submitted" if done else "activation_changed")


@portal.post("/activation/withdraw", permission="activation:write", account=True)
async def withdraw(visit: Visit) -> View:
    """Take it back, to change something."""
    done = await activation.withdraw(visit.store)
    return visit.redirect("/activation", "activation_withdrawn" if done else "activation_changed")


async def _save(visit: Visit, step: str, body: Form[Any]) -> View:
    """Save a step and lead to the next one; show it again where something is wrong or missing."""
    standing = await activation.read(visit.store)
    if body.value is not None:
        for left in standing.application.with_step(body.value).missing():
            if left.step == step:
                body.blame(ApiError("parameter_missing", param=left.field, name=left.field))
    values: Model | None = body.value
    if values is None:
        return _form(visit, step, standing, body)
    if not await activation.save(visit.store, values):
        return visit.redirect("/activation", said="activation_changed")
    following = [*STEPS, ""][[*STEPS].index(step) + 1]
    return visit.redirect(f"/activation/{following}" if following else "/activation")


def _form(visit: Visit, step: str, standing: Standing, body: Form[Any] | None) -> View:
    return visit.page(
        "activation/step.html",
        status=200 if body is None else 400,
        title=TITLES[step],
        step=step,
        answers=_answers(standing, step),
        form=body,
        unfinished=_unfinished(standing),
        titles=TITLES,
        types=[(name, text, "") for name, text in TYPES.items()],
        kind=standing.application.organisationType,
    )


def _answers(standing: Standing, step: str) -> dict[str, str | None]:
    """Return what was answered in a step: the display name is the organisation's own."""
    said = {**dict(standing.application), "displayName": standing.organisation.displayName}
    return {name: said[name] for name in STEPS[step].model_fields}


def _given(standing: Standing, step: str) -> dict[str, str]:
    """Return what was answered in a step, without what was left out."""
    return {name: text for name, text in _answers(standing, step).items() if text}


def _unfinished(standing: Standing) -> set[str]:
    return {each.step for each in standing.application.missing()}
