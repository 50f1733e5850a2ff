"""The team: who works in the dashboard of an organisation, in which role, and who is invited."""

from typing import Annotated

from pydantic import Field

from functions.dashboard.portal import portal
from shared import team
from shared.errors import ApiError
from shared.fields import Email, Whole
from shared.joining import Invitation
from shared.models import Model
from shared.pages import Page, PageQuery
from shared.portals import Form, View, Visit
from shared.throttles import INVITATIONS, MAILS
from shared.users import ROLES, Role, User
from shared.visits import page_for

FEW = 10
"""The invitations that the page of the team shows."""

EXPLAINED: dict[Role, str] = {
    "administrator": "Everything, keys and the team included.",
    "developer": "Requests, usage and webhooks; no patients, no keys.",
    "member": "Patients and appointments.",
}


class TeamQuery(PageQuery):
    """Which of the team, or of those who are invited, are shown."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 20


class Sought(Model):
    """Somebody in the team, by what does not belong in an address of a page."""

    email: Email


class RoleIn(Model):
    """Another role of a user."""

    role: Role


def _roles() -> list[tuple[str, str, str]]:
    return [(role, role.capitalize(), EXPLAINED[role]) for role in ROLES]


@portal.get("/team", permission="users:read", account=True)
async def index(visit: Visit, query: Form[TeamQuery]) -> View:
    """List users, who joined last first, and the newest invitations that wait."""
    return await _index(visit, query)


async def _index(visit: Visit, query: Form[TeamQuery], form: Form[Sought] | None = None) -> View:
    return visit.page(
        "team/index.html",
        page=await page_for(query, lambda asked: team.page_of_members(visit.store, asked)),
        title="Team",
        invited=await team.page_of_invitations(visit.store, TeamQuery(limit=FEW)),
        query=query,
        form=form,
        status=400 if query.errors or form else 200,
    )


@portal.get("/team/invitations", permission="users:read", account=True)
async def invitations(visit: Visit, query: Form[TeamQuery]) -> View:
    """List the invitations that wait, the newest first."""
    page = await page_for(query, lambda asked: team.page_of_invitations(visit.store, asked))
    return _invitations(visit, page, query)


def _invitations(visit: Visit, page: Page[Invitation], query: Form[TeamQuery]) -> View:
    status = 400 if query.errors else 200
    return visit.page(
        "team/invitations.html", title="Invited", page=page, query=query, status=status
    )


@portal.post("/team/find", permission="users:read", account=True)
async def find(visit: Visit, body: Form[Sought]) -> View:
    """Lead to the user who has an e-mail address, or show the invitation that was sent there."""
    nobody: Form[TeamQuery] = Form({}, TeamQuery())
    asked = body.value
    if asked is not None:
        found = await team.find_member(visit.store, visit.keyring, asked.email)
        if found:
            return visit.redirect(f"/team/{found}")
        invitation = await team.find_invitation(visit.store, asked.email)
        if invitation:
            return _invitations(visit, Page([invitation], has_more=False), nobody)
        body.saying("Nobody in your team has this address, nor is anybody invited there.", "email")
    return await _index(visit, nobody, body)


@portal.get("/team/find", permission="users:read")
async def found(visit: Visit) -> View:
    """Lead to the list, for what was sought is in no address."""
    return visit.redirect("/team")


@portal.get("/team/invite", permission="users:write", account=True)
async def invite_page(visit: Visit) -> View:
    """Ask whom to invite."""
    return _invite_page(visit, None, 200)


@portal.post("/team/invite", permission="users:write", account=True)
async def invite(visit: Visit, body: Form[team.InvitationIn]) -> View:
    """Invite somebody."""
    asked = body.value
    if asked is not None:
        if sentence := await _too_many(visit, asked.email.casefold()):
            return _invite_page(visit, body.saying(sentence), 429)
        with body.blaming():
            await team.invite(visit.store, visit.keyring, visit.user, asked)
            return visit.redirect("/team", "invited")
    return _invite_page(visit, body, 400)


def _invite_page(visit: Visit, form: Form[team.InvitationIn] | None, status: int) -> View:
    return visit.page(
        "team/invite.html", title="Invite somebody", form=form, roles=_roles(), status=status
    )


async def _too_many(visit: Visit, whom: str) -> str:
    """Count an invitation, so that nobody is flooded with our mail; return what to say of many."""
    return await visit.too_often((MAILS, whom), (INVITATIONS, visit.user.organisation))


@portal.post("/team/invitations/{invitation}/again", permission="users:write", account=True)
async def invite_again(visit: Visit, invitation: str) -> View:
    """Send an invitation again."""
    found = await visit.store.get(Invitation, invitation)
    if await _too_many(visit, found.email.casefold()):
        return visit.redirect("/team", "invited_too_often")
    await team.invite_again(visit.store, visit.keyring, visit.user, invitation)
    return visit.redirect("/team", "invited")


@portal.post("/team/invitations/{invitation}/withdraw", permission="users:write", account=True)
async def withdraw(visit: Visit, invitation: str) -> View:
    """Withdraw an invitation."""
    await team.withdraw(visit.store, visit.user, invitation)
    return visit.redirect("/team", "invitation_withdrawn")


@portal.get("/team/{user}", permission="users:read", account=True)
async def show(visit: Visit, user: str) -> View:
    """Show a user, to change their role or to remove them."""
    return await _member_page(visit, user)


async def _member_page(
    visit: Visit, user_id: str, form: Form[RoleIn] | None = None, problem: str = ""
) -> View:
    user = await visit.store.get(User, user_id)
    return visit.page(
        "team/member.html",
        title=user.name,
        person=user,
        form=form,
        problem=problem,
        roles=_roles(),
        status=200 if form is None and not problem else 400,
    )


@portal.post("/team/{user}/role", permission="users:write", account=True)
async def change_role(visit: Visit, user: str, body: Form[RoleIn]) -> View:
    """Change the role of a user."""
    if body.value is not None:
        try:
            await team.change_role(visit.store, visit.user, user, body.value.role)
        except ApiError as refusal:
            if refusal.code != "parameter_invalid":
                raise
            body.blame(refusal)
        else:
            visit.sessions.forget(visit.user.session.id)
            return visit.redirect("/team", "role_changed")
    return await _member_page(visit, user, body)


@portal.post("/team/{user}/remove", permission="users:write", account=True)
async def remove(visit: Visit, user: str) -> View:
    """Remove a user."""
    try:
        await team.remove(
            visit.store,
            visit.user,
            user,
            keyring=visit.keyring,
            passwords=visit.passwords,
            sessions=visit.sessions,
        )
    except ApiError as refusal:
        if refusal.code != "parameter_invalid":
            raise
        return await _member_page(visit, user, problem="Nobody else is administrator.")
    return visit.redirect("/team", "removed")
