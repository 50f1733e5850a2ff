"""Organisations: the bodies that have an account, and how patients are written to in their name."""

from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, StringConstraints

from shared.fields import Email, Line, Origin, Phone, Shape, checked, known, one_line
from shared.models import Changes, Model, Resource
from shared.settings import Mode

EndUserPermission = Literal[
    "patients:create",
    "patients:read",
    "patients:update",
    "patients:delete",
    "appointments:create",
    "appointments:read",
    "appointments:update",
    "appointments:reschedule",
    "appointments:cancel",
    "availability:read",
    "tasks:read",
]
"""What end users may be let do, with what is theirs."""

AT_FIRST: tuple[EndUserPermission, ...] = (
    "patients:create",
    "patients:read",
    "appointments:create",
    "appointments:read",
    "availability:read",
)
"""What end users may do before an organisation says otherwise."""

MOST_LISTED = 50

DisplayName = Annotated[
    str,
    StringConstraints(min_length=2, max_length=40),
    checked(one_line),
    Shape(format="line", examples=["Example Health"]),
]
"""The name that patients read in an SMS: short."""
Activation = Literal["not_started", "begun", "under_review", "active", "rejected", "suspended"]
REVIEWED = ("under_review", "active", "suspended")
"""The states in which patients read, or will read, no name that Operations have not seen."""


class Messaging(Model):
    """How patients are written to: whom they can ask, and how a message ends."""

    supportPhone: str | None = None
    """The number that patients can call."""
    supportEmail: str | None = None
    """The address that patients can write to."""
    signature: str | None = None
    """The line at the end of a message."""


class MessagingIn(Messaging):
    """How patients are written to: whom they can ask, and how a message ends."""

    supportPhone: Phone | None = None
    supportEmail: Email | None = None
    signature: Line | None = None


class Tenants(Model):
    """The tenants of Firebase Authentication in which an organisation's end users are."""

    test: Annotated[str, Shape(examples=["demo-health-7qzpx"])] | None = None
    """That of test mode."""
    live: Annotated[str, Shape(examples=["demo-health-live-7qzpx"])] | None = None
    """That of live mode."""

    def of(self, mode: Mode) -> str | None:
        """Return the tenant of a mode, if there is one."""
        return self.live if mode == "live" else self.test


class OrganisationIn(Model):
    """What an organisation may change of itself."""

    displayName: DisplayName
    """The name that patients read in an SMS: keep it short."""
    messaging: MessagingIn | None = None
    """How patients are written to."""
    frontEndOrigins: Annotated[list[Origin], Field(max_length=MOST_LISTED)] = []
    """The origins of the pages from which browsers may call."""
    endUserPermissions: Annotated[list[EndUserPermission], Field(max_length=MOST_LISTED)] = list(
        AT_FIRST
    )
    """What end users who are signed in to your front ends may do, with what is theirs."""


class Organisation(Resource):
    """A trust, business, company, charity or other body with an account.

    It exists once for both modes.
    """

    collection: ClassVar[str] = "organisations"
    prefix: ClassVar[str] = "org"
    account: ClassVar[bool] = True

    object: str = "organisation"
    displayName: str
    displayNameUnderReview: str | None = None
    """The name that was asked for and waits for review, since patients will read it."""
    activation: Annotated[str, known(Activation)] = "not_started"
    """How far the organisation is on its way to live mode."""
    messaging: Messaging | None = None
    cancellationNoticeHours: int = 24
    """The hours before a window until which cancelling is free of charge, as agreed."""
    frontEndOrigins: list[str] = []
    endUserPermissions: list[Annotated[str, known(EndUserPermission)]] = list(AT_FIRST)
    firebaseTenants: Tenants = Tenants()
    """The tenants of Firebase Authentication in which the end users are."""

    def seen(self, now: datetime, *, livemode: bool) -> Self:
        """Return the organisation, which belongs to both modes, as a mode sees it."""
        return self.model_copy(update={"livemode": livemode})

    def amended(self, changes: Changes[OrganisationIn], at: datetime) -> Self:
        """Return the organisation with what it asked to be changed.

        Patients read the display name of one that is or was active, so a new one waits for
        Operations' review, and so it does where they review all of it. Whatever is asked for takes
        the place of one that waits.
        """
        changed = changes.apply(self, at)
        if "displayName" not in changes.values:
            return changed
        waits = self.activation in REVIEWED and changed.displayName != self.displayName
        return changed.model_copy(
            update={
                "displayName": self.displayName if waits else changed.displayName,
                "displayNameUnderReview": changed.displayName if waits else None,
            }
        )
