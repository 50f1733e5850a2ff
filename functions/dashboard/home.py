"""The first page: how things are, and what to do next."""

from functions.dashboard.portal import portal
from shared.portals import View, Visit
from shared.routes import SIGNED_IN


@portal.get("/", permission=SIGNED_IN)
async def start(visit: Visit) -> View:
    """Lead to the home of the mode that was looked at last."""
    return visit.redirect(f"/{visit.shown_mode}")


@portal.get("/{mode}", permission=SIGNED_IN)
async def home(visit: Visit) -> View:
    """Show the home of a mode."""
    return visit.page("home.html", title="Home")
