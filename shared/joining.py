"""Joining: how people get in for the first time, and back in when they forgot their password.

Each way goes over a mail with a code, and ends with a password that is chosen where the code is
shown: whoever typed the address of somebody else learns nothing and has nothing. What anybody can
ask for is written down without looking whose the address is; the job that writes the mail looks.
docs/decisions/0028-users.md.
"""

from datetime import datetime, timedelta
from typing import Annotated, ClassVar, TypeVar

from pydantic import Field

from shared import codes, ids, letters, mail
from shared.auth import Keyring
from shared.directory import Entry
from shared.fields import Email, Line, Moment
from shared.issuing import EVERYTHING, draw
from shared.jobs import kind
from shared.keys import ApiKey
from shared.models import Model, Record
from shared.organisations import DisplayName, Organisation
from shared.service import Service
from shared.settings import Mode
from shared.store import Ref, Store
from shared.tasks import standard_tasks
from shared.users import EVERY_MODE, Login, Role, User, login_id

SIGN_UP_LIFE = timedelta(days=1)
INVITATION_LIFE = timedelta(days=7)
RESET_LIFE = timedelta(hours=1)

PersonName = Annotated[Line, Field(min_length=1, max_length=100)]


class Coded(Record):
    """What a code of a mail leads to. The id is the first half of the code."""

    account: ClassVar[bool] = True
    shared: ClassVar[frozenset[Mode]] = EVERY_MODE
    prefix: ClassVar[str] = ""
    traced: ClassVar[bool] = False
    purpose: ClassVar[codes.Purpose]

    createdAt: Moment
    until: Moment
    """Until when the code is taken."""

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be the id of a code."""
        return codes.is_id(record_id)

    @property
    def expires(self) -> datetime:
        """When nobody needs it any more."""
        return self.until


class SignUp(Coded):
    """Somebody who wants an account, and the ids that what they get will have."""

    collection: ClassVar[str] = "sign_ups"
    purpose: ClassVar[codes.Purpose] = "sign_up"

    email: str
    name: str
    organisationName: str
    organisation: str
    user: str
    key: str


class PasswordReset(Coded):
    """Somebody who forgot the password of an address, or says so."""

    collection: ClassVar[str] = "password_resets"
    purpose: ClassVar[codes.Purpose] = "password_reset"

    email: str


class InvitationCode(Coded):
    """Which invitation a code is for; the invitation says whether it still is."""

    collection: ClassVar[str] = "invitation_codes"
    purpose: ClassVar[codes.Purpose] = "invitation"

    organisation: str
    invitation: str


class Invitation(Record):
    """Somebody whom an administrator wants in the team."""

    collection: ClassVar[str] = "invitations"
    prefix: ClassVar[str] = "inv"
    account: ClassVar[bool] = True

    organisation: str
    email: str
    role: Role
    invitedBy: str
    createdAt: Moment
    until: Moment
    code: str
    """The id of the code that was sent last: no earlier one is taken."""

    @property
    def expires(self) -> datetime:
        """When nobody need see any more that it was not accepted."""
        return self.until + INVITATION_LIFE


class SignUpIn(Model):
    """What somebody tells of themselves who signs up."""

    name: PersonName
    organisation: DisplayName
    email: Email


class About(Model):
    """The record that a mail is about, by its id."""

    id: str


C = TypeVar("C", bound=Coded)


async def by_code(store: Store, keyring: Keyring, model: type[C], typed: str) -> C | None:
    """Return what a code leads to; None where we did not make it, or it is not taken any more."""
    code_id = codes.read(keyring.hash, model.purpose, typed)
    if code_id is None:
        return None
    (found,) = await store.find(Ref(model, code_id))
    return found if found is not None and found.until > store.now else None


# --- Signing up ----------------------------------------------------------------------------------


def sign_up(store: Store, asked: SignUpIn) -> None:
    """Stage the wish for an account, and the mail that asks whether the address is theirs."""
    now = store.now
    wish = SignUp(
        id=codes.new_id(),
        createdAt=now,
        until=now + SIGN_UP_LIFE,
        email=asked.email,
        name=asked.name,
        organisationName=asked.organisation,
        organisation=ids.mint(Organisation.prefix, now),
        user=ids.mint(User.prefix, now),
        key=ids.mint(ApiKey.prefix, now),
    )
    store.insert(wish)
    store.later(write_to_newcomer, About(id=wish.id))


@kind("sign_up")
async def write_to_newcomer(held: Service, store: Store, body: About) -> None:
    """Write to who signed up: a code, or that the address has an account."""
    (wish,) = await store.find(Ref(SignUp, body.id))
    if wish is None:
        return
    keyed = held.keyring.hash
    (taken,) = await store.find(Ref(Login, login_id(keyed, wish.email)))
    if taken is None:
        code = codes.write(keyed, SignUp.purpose, wish.id)
        letter = letters.confirm_email(code, wish.until)
    else:
        letter = letters.already_registered()
    mail.send(store, held.keyring, wish.email, letter)


async def prepare(held: Service, wish: SignUp) -> None:
    """Make what a new organisation has in test mode: its tasks and its first key.

    Nobody can use them before the organisation is there. Tried again, it makes nothing twice.
    """
    now = held.now()
    store = Store(
        held.storage,
        mode="test",
        organisation=wish.organisation,
        now=now,
        request_id=ids.mint("req", now),
    )
    (made,) = await store.find(Ref(ApiKey, wish.key))
    if made is not None:
        return
    key = await draw(
        held.keyring,
        "test",
        wish.organisation,
        now,
        wish.key,
        name="First key",
        scopes=dict(EVERYTHING),
    )
    for record in (*standard_tasks(now), key):
        store.insert(record)
    await store.commit()


def found_organisation(store: Store, keyring: Keyring, wish: SignUp, kept: str) -> User:
    """Stage a new organisation, bound in, and its first administrator.

    Sign-up and login must have been read by this store: the one is used up, the other not there.
    """
    now = store.now
    made = Organisation.new(at=now, livemode=False, displayName=wish.organisationName).model_copy(
        update={"id": wish.organisation}
    )
    store.put(made)  # not `insert`, here and below: their ids are not this request's alone
    store.put(Entry.of(made, now))
    store.delete(wish)
    return _let_in(
        store, keyring, kept, id=wish.user, email=wish.email, name=wish.name, role="administrator"
    )


def accept_invitation(
    store: Store,
    keyring: Keyring,
    invited: tuple[InvitationCode, Invitation],
    name: str,
    kept: str,
) -> User:
    """Stage a new user of an organisation, bound in, who was invited to it."""
    code, invitation = invited
    store.delete(code)
    store.delete(invitation)
    return _let_in(store, keyring, kept, email=invitation.email, name=name, role=invitation.role)


def _let_in(store: Store, keyring: Keyring, kept: str, **fields: object) -> User:
    user = User.new(
        at=store.now,
        organisation=store.organisation,
        passwordHash=kept,
        passwordChangedAt=store.now,
        **fields,
    )
    login = login_id(keyring.hash, user.email)
    store.put(Login(id=login, organisation=user.organisation, user=user.id))
    return store.put(user)


# --- Passwords that were forgotten ---------------------------------------------------------------


def forget_password(store: Store, email: str) -> None:
    """Stage the wish for a new password, and the mail that lets its reader choose one."""
    wish = PasswordReset(
        id=codes.new_id(), createdAt=store.now, until=store.now + RESET_LIFE, email=email
    )
    store.insert(wish)
    store.later(write_to_forgetful, About(id=wish.id))


@kind("password_reset")
async def write_to_forgetful(held: Service, store: Store, body: About) -> None:
    """Write to who forgot their password: a code, or that nobody has the address."""
    (wish,) = await store.find(Ref(PasswordReset, body.id))
    if wish is None:
        return
    keyed = held.keyring.hash
    (login,) = await store.find(Ref(Login, login_id(keyed, wish.email)))
    if login is None:
        letter = letters.unknown_address()
    else:
        letter = letters.reset_password(
            codes.write(keyed, PasswordReset.purpose, wish.id), wish.until
        )
    mail.send(store, held.keyring, wish.email, letter)
