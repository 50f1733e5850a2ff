"""Portals as far as a deployment sees them: a name, and who it is for."""

from shared.routes import Routes


class Pages(Routes):
    """The routes of a portal, which the gateway does not lead to."""

    @property
    def reachable(self) -> bool:
        return False


PORTALS = [Pages("dashboard", audience="browser"), Pages("operations", audience="staff")]
