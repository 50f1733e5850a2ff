"""The dashboard: the pages in which an organisation's people work."""

import functions_framework.aio

from functions.dashboard import home, usage  # noqa: F401 - they declare pages
from functions.dashboard.portal import portal
from shared import Request, Response

__all__ = ["dashboard", "portal"]


@functions_framework.aio.http
async def dashboard(request: Request) -> Response:
    """Serve the dashboard's host."""
    return await portal(request)
