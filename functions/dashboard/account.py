"""One's own account: name, password, second factors, and the sessions that are open."""

from contextlib import suppress
from typing import Annotated, ClassVar

from pydantic import StringConstraints

from functions.dashboard.portal import portal
from functions.dashboard.signing_in import (
    Code,
    Password,
    SecondFactorIn,
    check_password,
    keep_password,
    let_in,
)
from shared import letters, mail, second_factors
from shared.fields import Line
from shared.joining import PersonName
from shared.models import Model
from shared.passwords import objection
from shared.portals import Form, View, Visit
from shared.routes import SIGNED_IN
from shared.second_factors import MOST_PASSKEYS, Factors, PasskeyError, Passkeys
from shared.signing import APP, end_sessions, hand_out, sessions_of, take_back
from shared.users import Session, User

AN_APP, A_PASSKEY = "an authenticator app", "a passkey"


class NameIn(Model):
    """What somebody wants to be called."""

    name: PersonName


class PasswordIn(Model):
    """A password, and the one that takes its place."""

    secretive: ClassVar[bool] = True

    current: Password
    password: Password


class AppIn(Model):
    """The code that an app shows, and the secret that it was given."""

    secretive: ClassVar[bool] = True

    code: Code
    asked: Annotated[str, StringConstraints(max_length=2_000)]


class PasskeyIn(SecondFactorIn):
    """A passkey that a browser made, and what it is to be called."""

    name: Line = "Passkey"


class RemovedIn(Model):
    """Which second factor is removed: `app`, or the id of a passkey."""

    factor: Annotated[str, StringConstraints(max_length=2_000)]


class EndedIn(Model):
    """Which session is ended."""

    session: Annotated[str, StringConstraints(max_length=100)]


async def _me(visit: Visit) -> User:
    """Return the user as they are by now."""
    return await visit.store.get(User, visit.user.user.id)


def _keep(visit: Visit, user: User, **changes: object) -> User:
    """Stage changes of the user, which this session sees at once."""
    visit.sessions.forget(visit.user.session.id)
    return visit.store.put(user.model_copy(update=changes))


# --- Name, password, sessions --------------------------------------------------------------------


@portal.get("/account", permission=SIGNED_IN, account=True)
async def account(visit: Visit) -> View:
    """Show one's own account."""
    return await _account_page(visit)


async def _account_page(
    visit: Visit, *, name: Form[NameIn] | None = None, password: Form[PasswordIn] | None = None
) -> View:
    return visit.page(
        "account/account.html",
        title="Your account",
        status=200 if name is None and password is None else 400,
        user=await _me(visit),
        name_form=name,
        password_form=password,
        sessions=await sessions_of(visit.store, visit.user.user.id),
        own=visit.user.session.id,
    )


@portal.post("/account/name", permission=SIGNED_IN, account=True)
async def rename(visit: Visit, body: Form[NameIn]) -> View:
    """Change one's name."""
    if body.value is None:
        return await _account_page(visit, name=body)
    _keep(visit, await _me(visit), name=body.value.name)
    return visit.redirect("/account", "saved")


@portal.post("/account/password", permission=SIGNED_IN, account=True)
async def change_password(visit: Visit, body: Form[PasswordIn]) -> View:
    """Change one's password, and end all other sessions."""
    if body.value is None:
        return await _account_page(visit, password=body)
    user = await _me(visit)
    if refusal := await check_password(visit, user, body.value.current):
        return await _account_page(visit, password=body.saying(refusal, "current"))
    known = (user.email, user.name, visit.user.account.displayName)
    if bad := objection(body.value.password, known):
        return await _account_page(visit, password=body.saying(bad, "password"))
    await keep_password(visit, visit.store, user, body.value.password)
    await end_sessions(visit.store, visit.sessions, user.id, besides=visit.user.session.id)
    mail.send(visit.store, visit.keyring, user.email, letters.password_changed())
    return visit.redirect("/account", "password_changed")


@portal.post("/account/sessions/end", permission=SIGNED_IN, account=True)
async def end_session(visit: Visit, body: EndedIn) -> View:
    """End one of one's sessions."""
    session = await visit.store.get(Session, body.session)
    if session.user == visit.user.user.id:
        visit.store.delete(session)
        visit.sessions.forget(session.id)
    return visit.redirect("/account", "session_ended")


@portal.post("/account/sessions/end-others", permission=SIGNED_IN, account=True)
async def end_other_sessions(visit: Visit) -> View:
    """End all of one's sessions but this one."""
    own = visit.user.session
    await end_sessions(visit.store, visit.sessions, own.user, besides=own.id)
    return visit.redirect("/account", "sessions_ended")


# --- Second factors ------------------------------------------------------------------------------


@portal.get("/account/second-factor", permission=SIGNED_IN, account=True, fresh=True)
async def second_factors_page(visit: Visit) -> View:
    """Show one's second factors, and how to get one."""
    return await _factors_page(visit)


async def _factors_page(
    visit: Visit, *, app: Form[AppIn] | None = None, passkey: Form[PasskeyIn] | None = None
) -> View:
    user = await _me(visit)
    session = visit.user.session.id
    secret = take_back(visit.keyring, session, app.text("asked"), visit.now) if app else None
    secret = secret or second_factors.new_secret()
    made = Passkeys(visit.settings.dashboard_url).ask_to_make(
        user.id, user.email, user.name, user.factors.passkeys
    )
    return visit.page(
        "account/second_factor.html",
        title="Second factors",
        status=200 if app is None and passkey is None else 400,
        factors=user.factors,
        app_form=app,
        passkey_form=passkey,
        secret=" ".join(secret[at : at + 4] for at in range(0, len(secret), 4)),
        picture=second_factors.picture(second_factors.app_address(secret, user.email)),
        secret_asked=hand_out(visit.keyring, session, secret, visit.now),
        options=made.options,
        asked=hand_out(visit.keyring, session, made.challenge, visit.now),
    )


@portal.post("/account/second-factor/app", permission=SIGNED_IN, account=True, fresh=True)
async def add_app(visit: Visit, body: Form[AppIn]) -> View:
    """Take an authenticator app that shows the right code."""
    if body.value is None:
        return await _factors_page(visit, app=body)
    secret = take_back(visit.keyring, visit.user.session.id, body.value.asked, visit.now)
    if secret is None:
        return await _factors_page(
            visit, app=body.saying("This page was open for too long. Scan the picture again.")
        )
    user = await _me(visit)
    step = second_factors.step_of_code(secret, body.value.code, visit.now)
    if step is None:
        wrong = "This is not the code that the app shows now. Is the time of your phone right?"
        return await _factors_page(visit, app=body.saying(wrong, "code"))
    added = {
        "app": visit.keyring.seal(APP, secret),
        "appAddedAt": visit.now,
        "lastStep": step,
    }
    return await _add(visit, user, user.factors.model_copy(update=added), AN_APP)


@portal.post("/account/second-factor/passkey", permission=SIGNED_IN, account=True, fresh=True)
async def add_passkey(visit: Visit, body: Form[PasskeyIn]) -> View:
    """Take a passkey that the browser made."""
    if body.value is None:
        return await _factors_page(visit, passkey=body)
    asked = body.value
    challenge = take_back(visit.keyring, visit.user.session.id, asked.asked, visit.now)
    user = await _me(visit)
    made = None
    with suppress(PasskeyError):
        if challenge is not None and len(user.factors.passkeys) < MOST_PASSKEYS:
            passkeys = Passkeys(visit.settings.dashboard_url)
            made = passkeys.make(challenge, asked.answer, asked.name, visit.now)
    has = user.factors.passkeys
    if made is None or any(each.id == made.id for each in has):
        return await _factors_page(
            visit, passkey=body.saying("The passkey was not taken. Try again, or use an app.")
        )
    changed = user.factors.model_copy(update={"passkeys": [*has, made]})
    return await _add(visit, user, changed, A_PASSKEY)


async def _add(visit: Visit, user: User, factors: Factors, what: str) -> View:
    """Stage another second factor, which this session has shown; the first brings codes along.

    A session that was just ended elsewhere, and is believed here still, begins no other.
    """
    await visit.store.get(Session, visit.user.session.id)
    mail.send(visit.store, visit.keyring, user.email, letters.new_second_factor(what))
    await let_in(visit, visit.store, user, second_factor=True)
    if factors.recoveryCodes:
        _keep(visit, user, factors=factors)
        return visit.redirect("/account/second-factor", "factor_added")
    return _with_new_codes(visit, user, factors)


@portal.post("/account/second-factor/remove", permission=SIGNED_IN, account=True, fresh=True)
async def remove_factor(visit: Visit, body: RemovedIn) -> View:
    """Remove a second factor, and end all other sessions: whoever found it may have used it.

    With the last one, the recovery codes go too, and this session has shown none any more.
    """
    user = await _me(visit)
    left = [each for each in user.factors.passkeys if each.id != body.factor]
    if body.factor == "app":
        changed = user.factors.having(app="", appAddedAt=None)
    else:
        changed = user.factors.having(passkeys=left)
    if changed == user.factors:
        return visit.redirect("/account/second-factor")
    what = AN_APP if body.factor == "app" else A_PASSKEY
    _keep(visit, user, factors=changed)
    own = await visit.store.get(Session, visit.user.session.id)
    await end_sessions(visit.store, visit.sessions, user.id, besides=own.id)
    if not changed.present:
        visit.store.put(own.model_copy(update={"secondFactor": False}))
    mail.send(visit.store, visit.keyring, user.email, letters.second_factor_removed(what))
    return visit.redirect("/account/second-factor", "factor_removed")


@portal.post("/account/second-factor/codes", permission=SIGNED_IN, account=True, fresh=True)
async def renew_codes(visit: Visit) -> View:
    """Make new recovery codes; those of before end."""
    user = await _me(visit)
    if not user.factors.present:
        return visit.redirect("/account/second-factor")
    return _with_new_codes(visit, user, user.factors)


def _with_new_codes(visit: Visit, user: User, factors: Factors) -> View:
    """Stage new recovery codes, and show them: this page alone ever does."""
    made = second_factors.new_recovery_codes()
    hashed = [second_factors.recovery_hash(visit.keyring.hash, user.id, each) for each in made]
    _keep(visit, user, factors=factors.model_copy(update={"recoveryCodes": hashed}))
    return visit.page("account/codes.html", title="Recovery codes", codes="\n".join(made))
