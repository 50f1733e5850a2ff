"""The way in, and what staff have done."""

from typing import get_args

from functions.operations.doorman import COOKIE, new_cookie, shows_key
from functions.operations.portal import portal
from shared import directory
from shared.errors import ApiError
from shared.fields import Line
from shared.forms import wrong
from shared.models import Model
from shared.portals import Form, View, Visit
from shared.routes import PUBLIC, SIGNED_IN
from shared.staff import Action, ActionsQuery, actions
from shared.visits import page_for


class KeyIn(Model):
    """The key of this machine."""

    key: Line


@portal.get("/", permission=SIGNED_IN)
async def start(visit: Visit) -> View:
    """Lead to what waits."""
    return visit.redirect("/queue")


@portal.get("/sign-in", permission=PUBLIC)
async def ask(visit: Visit) -> View:
    """Ask for the key of this machine; in the cloud, say that somebody is not let in."""
    local = visit.settings.backend == "local"
    status = 200 if local else 403
    return visit.page("sign-in.html", status=status, title="Sign in", local=local, form=None)


@portal.post("/sign-in", permission=PUBLIC)
async def let_in(visit: Visit, body: Form[KeyIn]) -> View:
    """Let in who shows the key of this machine."""
    if visit.settings.backend != "local":
        raise ApiError("route_unknown")
    if body.value is not None and not shows_key(visit.service, body.value.key):
        body.blame(wrong("key", "is not the one in the state folder"))
    if body.value is None:
        return visit.page("sign-in.html", status=400, title="Sign in", local=True, form=body)
    visit.set_cookie(COOKIE, new_cookie(visit.service))
    return visit.redirect(visit.next)


@portal.post("/sign-out", permission=SIGNED_IN)
async def leave(visit: Visit) -> View:
    """Forget the cookie."""
    visit.set_cookie(COOKIE, "", 0)
    return visit.redirect("/sign-in", said="signed_out")


@portal.get("/actions", permission=SIGNED_IN)
async def show_actions(visit: Visit, query: Form[ActionsQuery]) -> View:
    """Show what staff did, the latest first."""
    page = await page_for(query, lambda asked: actions(visit.service.storage, asked))
    return visit.page(
        "actions.html",
        title="Staff activity",
        status=400 if query.errors else 200,
        form=query,
        page=page,
        names=await directory.names_of(visit.store, [each.organisation for each in page.data]),
        kinds=[("", "Anything"), *((each, each) for each in get_args(Action))],
    )
