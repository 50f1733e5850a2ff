"""Portals as far as a deployment sees them: a name, who it is for, and a page that anybody sees."""

from shared.routes import PUBLIC, Audience, Content, Routes, Site


class Pages(Routes):
    """The routes of a portal, which the gateway does not lead to."""

    @property
    def reachable(self) -> bool:
        return False


def pages(name: str, audience: Audience) -> Pages:
    """Return a portal that shows anybody where to sign in."""
    made = Pages(name, audience=audience)

    @made.get("/sign-in", permission=PUBLIC)
    async def sign_in(_: Site) -> Content:
        return Content("text/html", "")

    return made


PORTALS = [pages("dashboard", "browser"), pages("operations", "staff")]
