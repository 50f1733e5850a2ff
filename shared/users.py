"""Users: the people of an organisation who work in the dashboard, their roles and their sessions.

Users, what leads to them by their e-mail, and sessions belong to an organisation's account, not to
a mode. docs/decisions/0027-portals.md.
"""

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import ClassVar, Literal, Self

from shared import ids
from shared.fields import Moment
from shared.keys import Access, access
from shared.models import Record
from shared.second_factors import Factors
from shared.settings import Mode

Role = Literal["administrator", "developer", "member"]

ROLES: Mapping[Role, Mapping[str, Access]] = {
    "administrator": {
        "*": "write",
        "api_keys": "write",
    },
    "developer": {
        "organisations": "read",
        "requests": "read",
        "usage": "read",
        "events": "read",
        "webhook_endpoints": "write",
    },
    "member": {
        "organisations": "read",
        "patients": "write",
        "appointments": "write",
        "tasks": "read",
        "availability": "read",
    },
}
"""What each role may do with each kind of object (product.md, "User")."""

EVERY_MODE: frozenset[Mode] = frozenset({"test", "live"})
IDLE = timedelta(hours=2)
"""How long a session lasts in which nothing is asked for."""
LONGEST = timedelta(hours=12)
"""How long a session lasts: a day's work."""
FRESH = timedelta(minutes=5)
"""How long ago somebody may have signed in who is let do what only they themselves may."""


class User(Record):
    """Somebody who works in the dashboard of one organisation, the record's owner."""

    collection: ClassVar[str] = "users"
    prefix: ClassVar[str] = "usr"
    account: ClassVar[bool] = True

    organisation: str
    email: str
    name: str
    role: Role
    createdAt: Moment
    passwordHash: str | None = None
    """What checks the password (shared/passwords.py)."""
    passwordChangedAt: Moment | None = None
    signedInAt: Moment | None = None
    """When they last signed in. It changes the record, so that whoever changes that at the same
    moment begins again, and finds the new session too."""
    factors: Factors = Factors()

    @classmethod
    def new(cls, *, at: datetime, **fields: object) -> Self:
        """Make a user of the moment `at`."""
        made = {"id": ids.mint(cls.prefix, at), "createdAt": at, **fields}
        return cls.model_validate(made)

    @property
    def second_factor(self) -> bool:
        """Whether there is a second factor, without which a sign-in is not complete."""
        return self.factors.present

    def may(self, permission: str) -> bool:
        """Tell whether the user's role includes a permission such as `patients:read`."""
        resource, _, wanted = permission.partition(":")
        return access(ROLES[self.role], resource) in ("write", wanted)


def login_id(keyed: Callable[[str], str], email: str) -> str:
    """Return the id of the login of an e-mail address, in whatever capitals it was typed.

    Folding would take `straße.example` for `strasse.example`: two domains, and mail to one of them
    would open the account of the other.
    """
    return keyed(f"login {email.lower()}")


class Login(Record):
    """Whose an e-mail address is. The id is a keyed hash of it: one address is one user's."""

    collection: ClassVar[str] = "logins"
    account: ClassVar[bool] = True
    shared: ClassVar[frozenset[Mode]] = EVERY_MODE
    traced: ClassVar[bool] = False

    organisation: str
    user: str

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be the hash of an address."""
        return ids.is_hash(record_id)


class Session(Record):
    """A browser in which a user has signed in. The id is a keyed hash of what its cookie holds."""

    collection: ClassVar[str] = "sessions"
    account: ClassVar[bool] = True
    shared: ClassVar[frozenset[Mode]] = EVERY_MODE
    traced: ClassVar[bool] = False

    organisation: str
    user: str
    createdAt: Moment
    authenticatedAt: Moment
    """When the user last showed that it is they."""
    seenAt: Moment
    """When something was last asked for, to ten minutes."""
    secondFactor: bool = False
    """Whether a second factor was shown too."""
    browser: str = ""
    """The family of browser and system, by which a person knows it again."""

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be the hash of a cookie."""
        return ids.is_hash(record_id)

    @property
    def expires(self) -> datetime:
        """The moment at which it ends at the latest."""
        return self.createdAt + LONGEST

    def lasts(self, now: datetime) -> bool:
        """Tell whether it has not ended by itself."""
        return now < self.expires and now < self.seenAt + IDLE

    def fresh(self, now: datetime) -> bool:
        """Tell whether the user has just shown that it is they."""
        return now < self.authenticatedAt + FRESH
