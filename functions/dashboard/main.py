"""The dashboard: the pages in which an organisation's people work."""

import functions_framework.aio

<<<<<<< HEAD
from functions.dashboard import activation, home  # noqa: F401 - they declare pages
=======
from functions.dashboard import (  # noqa: F401 - they declare pages
    account,
    home,
    joining,
    signing_in,
    team,
)
>>>>>>> acc73d405feaa41f5393aacf6048449a402c6b4e
from functions.dashboard.portal import portal
from shared import Request, Response

__all__ = ["dashboard", "portal"]


@functions_framework.aio.http
async def dashboard(request: Request) -> Response:
    """Serve the dashboard's host."""
    return await portal(request)
