"""The organisation: its name, how patients are written to, and what front ends may do."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Field

from functions.dashboard.lines import LINES
from functions.dashboard.links import reachable
from functions.dashboard.portal import portal
from shared.activation import Application
from shared.amending import amend
from shared.fields import Origin
from shared.models import Changes, Model
from shared.organisations import (
    MOST_LISTED,
    DisplayName,
    EndUserPermission,
    MessagingIn,
    Organisation,
    OrganisationIn,
)
from shared.portals import Form, View, Visit
from shared.store import Ref

PERMISSIONS: Mapping[EndUserPermission, str] = {
    "patients:create": "Enter themselves or somebody else as a patient",
    "patients:read": "See their patients",
    "patients:update": "Correct their patients",
    "patients:delete": "Delete their patients",
    "availability:read": "See the windows that are free",
    "tasks:read": "See the tasks",
    "appointments:create": "Book appointments",
    "appointments:read": "See their appointments",
    "appointments:update": "Change notes and contact details of an appointment",
    "appointments:reschedule": "Choose another window",
    "appointments:cancel": "Cancel their appointments",
}
"""What end users may be let do, in words."""


STATES: Mapping[str, tuple[str, str, str]] = {
    "not_started": ("Not active", "quiet", "Live mode opens once Ally has validated you."),
    "begun": ("Not active", "quiet", "You have begun to activate: go on where you were."),
    "under_review": ("Under review", "info", "Ally looks at what you sent, and writes to you."),
    "active": ("Active", "good", "Live mode is open."),
    "rejected": ("Rejected", "bad", "Ally could not validate you. Correct it and send it again."),
    "suspended": ("Suspended", "bad", "Live keys are refused. Ask support."),
}
"""What people read of each state of activation: the state, its kind, and what follows."""


class OrganisationForm(Model):
    """What the form has; all of it is sent each time."""

    displayName: DisplayName
    messaging: MessagingIn | None = None
    frontEndOrigins: Annotated[list[Origin], LINES, Field(max_length=MOST_LISTED)] = []
    endUserPermissions: list[EndUserPermission] = []

    @property
    def changes(self) -> Changes[OrganisationIn]:
        """What is to be changed: all of it."""
        said = self.messaging is not None and any(each for _, each in self.messaging)
        return Changes(
            OrganisationIn.model_construct(
                displayName=self.displayName,
                messaging=self.messaging if said else None,
                frontEndOrigins=self.frontEndOrigins,
                endUserPermissions=self.endUserPermissions,
            )
        )


@portal.get("/organisation", permission="organisations:read")
async def show(visit: Visit) -> View:
    """Show the organisation; whoever may change it finds a form."""
    return await _page(visit, None)


@portal.post("/organisation", permission="organisations:write", account=True)
async def change(visit: Visit, body: Form[OrganisationForm]) -> View:
    """Change the organisation. A new name of an active one waits for review."""
    if body.value is not None:
        with body.blaming():
            after = await amend(visit.store, visit.caller.organisation, body.value.changes)
            waits = after.displayNameUnderReview is not None
            said = "name_under_review" if waits else "organisation_changed"
            return visit.redirect("/organisation", said=said)
    return await _page(visit, body)


async def _page(visit: Visit, body: Form[OrganisationForm] | None) -> View:
    wanted = Ref(Organisation, visit.caller.organisation)
    may_activate = visit.caller.may("activation:read")
    if may_activate:
        found, application = await visit.store.find(wanted, Ref(Application, wanted.id))
    else:
        (found,), application = await visit.store.find(wanted), None
    organisation = visit.store.required(found, wanted)
    return visit.page(
        "organisation/show.html",
        title="Organisation",
        status=200 if body is None else 400,
        organisation=organisation,
        state=STATES[organisation.activation],
        reason=application.reason if application else None,
        activation=reachable(visit, "/activation"),
        permissions=PERMISSIONS,
        form=body,
    )
