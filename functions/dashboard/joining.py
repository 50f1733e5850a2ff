"""Joining: signing up, confirming the address, accepting an invitation, and the first call."""

import shlex
from pathlib import Path

from functions.dashboard.portal import portal
from functions.dashboard.signing_in import USED_UP, Code, Password, let_in
from shared.joining import (
    Invitation,
    InvitationCode,
    PersonName,
    SignUp,
    SignUpIn,
    accept_invitation,
    by_code,
    found_organisation,
    prepare,
    sign_up,
)
from shared.keys import ApiKey
from shared.models import Model
from shared.passwords import objection
from shared.portals import Form, View, Visit
from shared.routes import PUBLIC
from shared.settings import AUTHORITY
from shared.store import Ref
from shared.throttles import MAILS, MAILS_FROM
from shared.users import Login, User, login_id

HAS_ACCOUNT = (
    "This address has an account already. Sign in with it, or let yourself be invited with another."
)


class ConfirmIn(Model):
    """A code of a mail, and a password."""

    code: Code
    password: Password


class AcceptIn(ConfirmIn):
    """A code of an invitation, and who accepts it."""

    name: PersonName


@portal.get("/sign-up", permission=PUBLIC)
async def sign_up_page(visit: Visit) -> View:
    """Ask who wants an account."""
    return _sign_up_page(visit)


@portal.post("/sign-up", permission=PUBLIC, account=True)
async def wish(visit: Visit, body: Form[SignUpIn]) -> View:
    """Have a mail written: the same is done and said whether the address is known or not."""
    asked = body.value
    refusal = asked and await visit.too_often(
        (MAILS, asked.email.casefold()), (MAILS_FROM, visit.household)
    )
    if refusal:
        return _sign_up_page(visit, body.saying(refusal), 429)
    if asked is None:
        return _sign_up_page(visit, body)
    sign_up(visit.store, asked)
    return visit.redirect("/mail")


def _sign_up_page(visit: Visit, form: Form[SignUpIn] | None = None, status: int = 400) -> View:
    found = 200 if form is None else status
    return visit.page("joining/sign_up.html", title="Create an account", form=form, status=found)


@portal.get("/confirm", permission=PUBLIC)
async def confirm_page(visit: Visit) -> View:
    """Ask for the code and a password."""
    return _confirm_page(visit)


@portal.post("/confirm", permission=PUBLIC, account=True)
async def confirm(visit: Visit, body: Form[ConfirmIn]) -> View:
    """Make an organisation, with what it has in test mode, and its first administrator."""
    asked = body.value
    if asked is None:
        return _confirm_page(visit, body)
    wished = await by_code(visit.store, visit.keyring, SignUp, asked.code)
    if wished is None:
        return _confirm_page(visit, body.saying(USED_UP, "code"))
    if bad := objection(asked.password, (wished.email, wished.name, wished.organisationName)):
        return _confirm_page(visit, body.saying(bad, "password"))
    store = visit.enter(wished.organisation)
    read, login = await store.find(
        Ref(SignUp, wished.id), Ref(Login, login_id(visit.keyring.hash, wished.email))
    )
    if read is None or login is not None:
        return _confirm_page(visit, body.saying(USED_UP if read is None else HAS_ACCOUNT, "code"))
    await prepare(visit.service, wished)
    kept = await visit.passwords.keep(wished.email, asked.password)
    user = found_organisation(store, visit.keyring, read, kept)
    await let_in(visit, store, user)
    return visit.redirect("/welcome")


def _confirm_page(visit: Visit, form: Form[ConfirmIn] | None = None) -> View:
    status = 200 if form is None else 400
    return visit.page(
        "joining/confirm.html", title="Confirm your e-mail address", form=form, status=status
    )


@portal.get("/invitation", permission=PUBLIC)
async def invitation_page(visit: Visit) -> View:
    """Ask for the code of an invitation, a name and a password."""
    return _invitation_page(visit)


@portal.post("/invitation", permission=PUBLIC, account=True)
async def accept(visit: Visit, body: Form[AcceptIn]) -> View:
    """Make a user of who was invited."""
    asked = body.value
    if asked is None:
        return _invitation_page(visit, body)
    code = await by_code(visit.store, visit.keyring, InvitationCode, asked.code)
    if code is None:
        return _invitation_page(visit, body.saying(USED_UP, "code"))
    store = visit.enter(code.organisation)
    code_read, invitation = await store.find(
        Ref(InvitationCode, code.id), Ref(Invitation, code.invitation)
    )
    if code_read is None or invitation is None or invitation.code != code.id:
        return _invitation_page(visit, body.saying(USED_UP, "code"))
    inviter, login = await store.find(
        Ref(User, invitation.invitedBy),
        Ref(Login, login_id(visit.keyring.hash, invitation.email)),
    )
    # Nobody comes back by what they invited while they might.
    if inviter is None or not inviter.may("users:write") or login is not None:
        refusal = USED_UP if login is None else HAS_ACCOUNT
        return _invitation_page(visit, body.saying(refusal, "code"))
    store.guard(inviter)
    if bad := objection(asked.password, (invitation.email, asked.name)):
        return _invitation_page(visit, body.saying(bad, "password"))
    kept = await visit.passwords.keep(invitation.email, asked.password)
    user = accept_invitation(store, visit.keyring, (code_read, invitation), asked.name, kept)
    await let_in(visit, store, user)
    return visit.redirect("/test", "joined")


def _invitation_page(visit: Visit, form: Form[AcceptIn] | None = None) -> View:
    status = 200 if form is None else 400
    return visit.page(
        "joining/invitation.html", title="Accept your invitation", form=form, status=status
    )


@portal.get("/welcome", permission="api_keys:read")
async def welcome(visit: Visit) -> View:
    """Show the first call, ready to paste, with the oldest test key that can make it."""
    keys = await visit.store.select(ApiKey, [], limit=20, descending=False)
    usable = (
        each
        for each in keys
        if each.type == "secret" and each.standing(visit.now) == "active" and not each.replacedBy
    )
    key = next(usable, None)
    secret = None
    if key is not None:
        secret = await visit.keyring.reveal("test", key.id)
        visit.store.touched[key.id] = None  # the audit tells who saw a secret
    return visit.page(
        "joining/welcome.html", title="Welcome", call=secret and _first_call(visit, secret)
    )


def _first_call(visit: Visit, secret: str) -> str:
    """Return a call of curl that creates a patient; by `make run` it trusts its certificate."""
    settings = visit.settings
    options = [
        *(_trust(Path(settings.state) / AUTHORITY) if settings.backend == "local" else ()),
        f"-H 'Authorization: {secret}'",
        "--data-urlencode 'firstName=Ada'",
        "--data-urlencode 'lastName=Lovelace'",
        "--data-urlencode 'phone=+447700900123'",
        "--data-urlencode 'email=ada@example.com'",
        "--data-urlencode 'dateOfBirth=1985-12-10'",
    ]
    lines = [f"curl {settings.url}/v1/patients", *(f"  {option}" for option in options)]
    return " \\\n".join(lines)


def _trust(authority: Path) -> list[str]:
    """Return the option that makes curl believe the certificate of `make run`."""
    return [f"--cacert {shlex.quote(str(authority.resolve()))}"]
