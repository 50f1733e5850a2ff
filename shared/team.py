"""The team: whom administrators invite, what role each has, who leaves.

What is known of who asks may be some seconds old: each change reads them anew and demands that they
stay administrator until it is committed. An organisation always has one.
"""

from shared import codes, ids, letters, mail
from shared.auth import Keyring
from shared.backends import Condition
from shared.callers import UserCaller
from shared.errors import ApiError
from shared.fields import Email
from shared.forms import wrong
from shared.jobs import kind
from shared.joining import INVITATION_LIFE, Invitation, InvitationCode
from shared.models import Model
from shared.pages import ListQuery, Page, PageQuery
from shared.passwords import Passwords
from shared.service import Service
from shared.sessions import Sessions
from shared.signing import end_sessions
from shared.store import Ref, Store
from shared.users import Login, Role, User, login_id

MOST_LISTED = 200
"""Users of one organisation, and invitations, that are shown."""


class InvitationIn(Model):
    """Whom an administrator invites."""

    email: Email
    role: Role


async def members(store: Store) -> list[User]:
    """Return the users of an organisation, who joined first first."""
    return await store.select(User, _own(store), limit=MOST_LISTED, descending=False)


async def page_of_members(store: Store, query: PageQuery) -> Page[User]:
    """Return a page of the users of an organisation, who joined last first."""
    return await store.page(User, ListQuery(**query.model_dump()), _own(store))


async def find_member(store: Store, keyring: Keyring, email: str) -> str | None:
    """Return the id of the user who has an address; None where nobody in the organisation has."""
    (login,) = await store.find(Ref(Login, login_id(keyring.hash, email)))
    ours = login is not None and login.organisation == store.organisation
    return login.user if login is not None and ours else None


async def page_of_invitations(store: Store, query: PageQuery) -> Page[Invitation]:
    """Return a page of the invitations that nobody has accepted, the newest first."""
    return await store.page(Invitation, ListQuery(**query.model_dump()), _own(store))


async def find_invitation(store: Store, email: str) -> Invitation | None:
    """Return the invitation that waits for an address."""
    found = (each for each in await invitations(store) if _same(each.email, email))
    return next(found, None)


async def invitations(store: Store) -> list[Invitation]:
    """Return the invitations that nobody has accepted, the newest first."""
    return await store.select(Invitation, _own(store), limit=MOST_LISTED)


def _same(one: str, other: str) -> bool:
    return one.casefold() == other.casefold()


def _own(store: Store) -> list[Condition]:
    """Return what all records of an organisation are: Firestore has no index of an id alone."""
    return [("organisation", "==", store.organisation)]


async def invite(
    store: Store, keyring: Keyring, caller: UserCaller, asked: InvitationIn
) -> Invitation:
    """Stage an invitation and its mail."""
    inviter = await _administrator(store, caller)
    if await find_member(store, keyring, asked.email):
        raise wrong("email", "belongs to somebody in your team")
    if await find_invitation(store, asked.email):
        raise wrong("email", "is that of an invitation: send it again from the list")
    now = store.now
    invitation = Invitation(
        id=ids.mint(Invitation.prefix, now),
        organisation=store.organisation,
        email=asked.email,
        role=asked.role,
        invitedBy=inviter.id,
        createdAt=now,
        until=now + INVITATION_LIFE,
        code=codes.new_id(),
    )
    _write(store, keyring, caller, inviter, invitation)
    return store.insert(invitation)


async def invite_again(
    store: Store, keyring: Keyring, caller: UserCaller, invitation_id: str
) -> None:
    """Stage a new code for an invitation, and the mail with it; the earlier code ends."""
    inviter = await _administrator(store, caller)
    invitation = await store.get(Invitation, invitation_id)
    renewed = {
        "code": codes.new_id(),
        "until": store.now + INVITATION_LIFE,
        "invitedBy": inviter.id,
    }
    again = invitation.model_copy(update=renewed)
    _write(store, keyring, caller, inviter, again)
    store.put(again)


async def withdraw(store: Store, caller: UserCaller, invitation_id: str) -> None:
    """Stage the end of an invitation."""
    await _administrator(store, caller)
    store.delete(await store.get(Invitation, invitation_id))


async def change_role(store: Store, caller: UserCaller, user_id: str, role: Role) -> None:
    """Stage another role of a user, unless nobody would be left who may change roles."""
    await _administrator(store, caller)
    user = await store.get(User, user_id)
    if role != "administrator":
        await _leave_administrator(store, user)
        await _withdraw_all(store, user)
    store.put(user.model_copy(update={"role": role}))


async def remove(
    store: Store,
    caller: UserCaller,
    user_id: str,
    *,
    keyring: Keyring,
    passwords: Passwords,
    sessions: Sessions,
) -> None:
    """Stage the end of a user: nothing is kept of them, and their sessions end."""
    await _administrator(store, caller)
    user = await store.get(User, user_id)
    await _leave_administrator(store, user)
    await _withdraw_all(store, user)
    login = Ref(Login, login_id(keyring.hash, user.email))
    (found,) = await store.find(login)
    if found is not None:
        store.delete(found)
    store.delete(user)
    await end_sessions(store, sessions, user.id)
    account = passwords.account(user.passwordHash or "")
    if account is not None:
        store.later(forget_password, Left(login=login.id, account=account))


class Left(Model):
    """Somebody who left: the id of their login, and their account where passwords are kept."""

    login: str
    account: str


@kind("forget_password")
async def forget_password(held: Service, store: Store, body: Left) -> None:
    """Delete the account of who left, unless they are back, which made it theirs again."""
    (back,) = await store.find(Ref(Login, body.login))
    if back is None:
        await held.passwords.forget(body.account)


async def _administrator(store: Store, caller: UserCaller) -> User:
    """Return who asks, as they are by now, and demand that they stay so."""
    user = await store.get(User, caller.user.id)
    if not user.may("users:write"):
        raise ApiError("permission_missing", permission="users:write")
    store.guard(user)
    return user


async def _leave_administrator(store: Store, leaving: User) -> None:
    """Demand that somebody else is administrator, and stays so until this is committed."""
    others = (each for each in await members(store) if each.id != leaving.id)
    another = next((each for each in others if each.role == "administrator"), None)
    if another is None:
        raise wrong("role", "cannot change: nobody else is administrator")
    store.guard(another)


async def _withdraw_all(store: Store, leaving: User) -> None:
    """Stage the end of what somebody invited, who could come back by it as whatever they wrote."""
    for invitation in await invitations(store):
        if invitation.invitedBy == leaving.id:
            store.delete(invitation)


def _write(
    store: Store, keyring: Keyring, caller: UserCaller, inviter: User, invitation: Invitation
) -> None:
    """Stage the code of an invitation and the mail that tells it."""
    store.insert(
        InvitationCode(
            id=invitation.code,
            createdAt=store.now,
            until=invitation.until,
            organisation=store.organisation,
            invitation=invitation.id,
        )
    )
    code = codes.write(keyring.hash, InvitationCode.purpose, invitation.code)
    name = caller.account.displayName
    letter = letters.invitation(name, inviter.email, invitation.role, code, invitation.until)
    mail.send(store, keyring, invitation.email, letter)
