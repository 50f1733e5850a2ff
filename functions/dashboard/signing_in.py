"""Signing in: password, then second factor; again, where it must have been just now; and out."""

from typing import Annotated, ClassVar

from pydantic import StringConstraints

from functions.dashboard.portal import portal
from shared import mail
from shared.fields import Email
from shared.joining import PasswordReset, by_code, forget_password
from shared.letters import password_changed
from shared.models import Model
from shared.passwords import objection
from shared.portals import Form, View, Visit
from shared.routes import PUBLIC, SIGNED_IN
from shared.second_factors import Factors, PasskeyError, Passkeys
from shared.sessions import COOKIE
from shared.signing import begin, end_sessions, hand_out, take_back, with_code
from shared.store import Ref, Store
from shared.throttles import MAILS, MAILS_FROM, SECOND_FACTORS, SIGN_INS, SIGN_INS_FROM
from shared.users import Login, Session, User, login_id

NOBODY = "0" * 22
"""In place of what is not found, the same is read of nobody: so nobody sees by time who is here."""
WRONG = "The e-mail address or the password is not right."
USED_UP = "This code no longer works. Ask for another."

Password = Annotated[str, StringConstraints(strip_whitespace=False, max_length=512)]
"""A password as it is typed, white space included."""
Code = Annotated[str, StringConstraints(max_length=100)]


class SignInIn(Model):
    """Who signs in."""

    email: Email
    password: Password


class SecondFactorIn(Model):
    """A code of an app or a recovery code, or a passkey's answer and what it was asked."""

    secretive: ClassVar[bool] = True

    code: Code = ""
    answer: Annotated[str, StringConstraints(max_length=10_000)] = ""
    asked: Annotated[str, StringConstraints(max_length=2_000)] = ""


class AgainIn(Model):
    """The password of who has signed in already."""

    secretive: ClassVar[bool] = True

    password: Password


class ForgottenIn(Model):
    """Whose password was forgotten."""

    email: Email


class ResetIn(Model):
    """A code of a mail, and a new password."""

    code: Code
    password: Password


# --- Password ------------------------------------------------------------------------------------


@portal.get("/sign-in", permission=PUBLIC)
async def sign_in_page(visit: Visit) -> View:
    """Ask for address and password."""
    if visit.visitor is not None:
        return visit.redirect(visit.next)
    return _sign_in_page(visit)


@portal.post("/sign-in", permission=PUBLIC, account=True)
async def sign_in(visit: Visit, body: Form[SignInIn]) -> View:
    """Begin a session for who knows the password; the door asks for a second factor."""
    asked = body.value
    if asked is None:
        return _sign_in_page(visit, body)
    tries = (SIGN_INS, visit.tried_by(asked.email)), (SIGN_INS_FROM, visit.household)
    if refusal := await visit.too_often(*tries):
        return _sign_in_page(visit, body.saying(refusal), 429)
    (login,) = await visit.store.find(Ref(Login, login_id(visit.keyring.hash, asked.email)))
    store = visit.enter(login.organisation if login else f"org_{NOBODY}")
    (user,) = await store.find(Ref(User, login.user if login else f"usr_{NOBODY}"))
    kept = None if user is None else user.passwordHash
    right = await visit.passwords.check(asked.email, asked.password, kept)
    if user is None or not right:
        return _sign_in_page(visit, body.saying(WRONG))
    if kept is not None and visit.passwords.outdated(kept):
        kept = await visit.passwords.keep(asked.email, asked.password)
    store.put(user.model_copy(update={"passwordHash": kept, "signedInAt": visit.now}))
    await let_in(visit, store, user)
    return visit.redirect(visit.next)


def _sign_in_page(visit: Visit, form: Form[SignInIn] | None = None, status: int = 400) -> View:
    found = 200 if form is None else status
    return visit.page("signing_in/sign_in.html", title="Sign in", form=form, status=found)


async def let_in(visit: Visit, store: Store, user: User, *, second_factor: bool = False) -> None:
    """Stage a session of a user, in the store of their organisation, and end the browser's last."""
    earlier = None
    session_id = visit.sessions.id_of(visit.cookie(COOKIE))
    if session_id is not None:
        (earlier,) = await store.find(Ref(Session, session_id))
    token = begin(
        store,
        visit.sessions,
        user,
        agent=visit.agent,
        second_factor=second_factor,
        instead_of=earlier,
    )
    visit.set_cookie(COOKIE, token)
    if second_factor or not user.second_factor:
        visit.remember(user.email)


@portal.post("/sign-out", permission=PUBLIC, account=True)
async def sign_out(visit: Visit) -> View:
    """End the session."""
    session_id = visit.sessions.id_of(visit.cookie(COOKIE))
    if session_id is not None:
        (session,) = await visit.store.find(Ref(Session, session_id))
        if session is not None:
            visit.store.delete(session)
            visit.sessions.forget(session.id)
    visit.set_cookie(COOKIE, "", 0)
    return visit.redirect("/sign-in", "signed_out")


# --- Second factor -------------------------------------------------------------------------------


@portal.get("/sign-in/second-factor", permission=PUBLIC)
async def second_factor_page(visit: Visit) -> View:
    """Ask for a second factor of who has shown the password."""
    if visit.visitor is None:
        return visit.redirect("/sign-in")
    if visit.user.complete:
        return visit.redirect(visit.next)
    return _second_factor_page(visit, visit.user.user)


@portal.post("/sign-in/second-factor", permission=PUBLIC, account=True)
async def second_factor(visit: Visit, body: Form[SecondFactorIn]) -> View:
    """Take a second factor, and begin a session that has it."""
    if visit.visitor is None:
        return visit.redirect("/sign-in")
    user, session = await visit.store.find(
        Ref(User, visit.user.user.id), Ref(Session, visit.user.session.id)
    )
    if user is None or session is None:
        return visit.redirect("/sign-in")
    if body.value is None:
        return _second_factor_page(visit, user, body)
    if refusal := await visit.too_often((SECOND_FACTORS, visit.tried_by(user.email))):
        return _second_factor_page(visit, user, body.saying(refusal), 429)
    factors = _proved(visit, user, body.value)
    if factors is None:
        text = "The passkey was not taken." if body.value.answer else "This code is not right."
        return _second_factor_page(visit, user, body.saying(f"{text} Try again."))
    visit.store.put(user.model_copy(update={"factors": factors}))
    await let_in(visit, visit.store, user, second_factor=True)
    return visit.redirect(visit.next)


def _proved(visit: Visit, user: User, shown: SecondFactorIn) -> Factors | None:
    """Return a user's factors after what was shown of one; None where it proves nothing."""
    if not shown.answer:
        return with_code(visit.keyring, user, shown.code, visit.now)
    challenge = take_back(visit.keyring, visit.user.session.id, shown.asked, visit.now)
    if challenge is None:
        return None
    passkeys = Passkeys(visit.settings.dashboard_url)
    try:
        used = passkeys.check(user.factors.passkeys, challenge, shown.answer, visit.now)
    except PasskeyError:
        return None
    return user.factors.model_copy(update={"passkeys": used})


def _second_factor_page(
    visit: Visit, user: User, form: Form[SecondFactorIn] | None = None, status: int = 400
) -> View:
    asked = Passkeys(visit.settings.dashboard_url).ask(user.factors.passkeys)
    return visit.page(
        "signing_in/second_factor.html",
        title="Second factor",
        form=form,
        status=200 if form is None else status,
        factors=user.factors,
        options=asked.options,
        asked=hand_out(visit.keyring, visit.user.session.id, asked.challenge, visit.now),
    )


# --- Again ---------------------------------------------------------------------------------------


@portal.get("/sign-in/again", permission=SIGNED_IN)
async def again_page(visit: Visit) -> View:
    """Ask who has signed in some time ago to show that it is still they."""
    return visit.page("signing_in/again.html", title="Is it still you?", form=None)


@portal.post("/sign-in/again", permission=SIGNED_IN, account=True)
async def again(visit: Visit, body: Form[AgainIn]) -> View:
    """Begin a session anew for who knows the password; the door asks for a second factor."""
    user = await visit.store.get(User, visit.user.user.id)
    refusal = "" if body.value is None else await check_password(visit, user, body.value.password)
    if body.value is None or refusal:
        form = body.saying(refusal) if refusal else body
        return visit.page("signing_in/again.html", title="Is it still you?", form=form, status=400)
    visit.store.guard(user)
    await let_in(visit, visit.store, user)
    return visit.redirect(visit.next)


async def check_password(visit: Visit, user: User, password: str) -> str:
    """Return what to say where a password is not right, or was tried too often."""
    if refusal := await visit.too_often((SIGN_INS, visit.tried_by(user.email))):
        return refusal
    right = await visit.passwords.check(user.email, password, user.passwordHash)
    return "" if right else "The password is not right."


# --- Forgotten -----------------------------------------------------------------------------------


@portal.get("/forgotten", permission=PUBLIC)
async def forgotten_page(visit: Visit) -> View:
    """Ask whose password was forgotten."""
    return _forgotten_page(visit)


@portal.post("/forgotten", permission=PUBLIC, account=True)
async def forgotten(visit: Visit, body: Form[ForgottenIn]) -> View:
    """Have a mail written: the same is done and said whether the address is known or not."""
    asked = body.value
    refusal = asked and await visit.too_often(
        (MAILS, visit.tried_by(asked.email)), (MAILS_FROM, visit.household)
    )
    if refusal:
        return _forgotten_page(visit, body.saying(refusal), 429)
    if asked is None:
        return _forgotten_page(visit, body)
    forget_password(visit.store, asked.email)
    return visit.redirect("/mail")


def _forgotten_page(visit: Visit, form: Form[ForgottenIn] | None = None, status: int = 400) -> View:
    found = 200 if form is None else status
    title = "Forgotten password"
    return visit.page("signing_in/forgotten.html", title=title, form=form, status=found)


@portal.get("/mail", permission=PUBLIC)
async def look_at_your_mail(visit: Visit) -> View:
    """Say that there is a mail."""
    return visit.page("signing_in/mail.html", title="Check your mail")


@portal.get("/reset", permission=PUBLIC)
async def reset_page(visit: Visit) -> View:
    """Ask for a code and a new password."""
    return _reset_page(visit)


@portal.post("/reset", permission=PUBLIC, account=True)
async def reset(visit: Visit, body: Form[ResetIn]) -> View:
    """Take a new password, and end all sessions of before. Second factors stay."""
    if body.value is None:
        return _reset_page(visit, body)
    wish = await by_code(visit.store, visit.keyring, PasswordReset, body.value.code)
    login = None
    if wish is not None:
        (login,) = await visit.store.find(Ref(Login, login_id(visit.keyring.hash, wish.email)))
    if wish is None or login is None:
        return _reset_page(visit, body.saying(USED_UP, "code"))
    store = visit.enter(login.organisation)
    user, read_again = await store.find(Ref(User, login.user), Ref(PasswordReset, wish.id))
    if user is None or read_again is None or _older(wish, user):
        return _reset_page(visit, body.saying(USED_UP, "code"))
    if bad := objection(body.value.password, (user.email, user.name)):
        return _reset_page(visit, body.saying(bad, "password"))
    await keep_password(visit, store, user, body.value.password)
    store.delete(read_again)
    await end_sessions(store, visit.sessions, user.id)
    mail.send(store, visit.keyring, user.email, password_changed())
    await let_in(visit, store, user)
    return visit.redirect("/", "password_changed")


def _older(wish: PasswordReset, user: User) -> bool:
    """Tell whether the password was changed since somebody asked for another."""
    return user.passwordChangedAt is not None and wish.createdAt <= user.passwordChangedAt


async def keep_password(visit: Visit, store: Store, user: User, password: str) -> None:
    """Stage a new password of a user."""
    kept = await visit.passwords.keep(user.email, password)
    store.put(user.model_copy(update={"passwordHash": kept, "passwordChangedAt": visit.now}))


def _reset_page(visit: Visit, form: Form[ResetIn] | None = None) -> View:
    status = 200 if form is None else 400
    return visit.page(
        "signing_in/reset.html", title="Choose a new password", form=form, status=status
    )
