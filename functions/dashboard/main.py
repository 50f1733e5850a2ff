"""The dashboard: the pages in which an organisation's people work."""

import functions_framework.aio

from functions.dashboard import (  # noqa: F401 - they declare pages
    account,
    activation,
    api_keys,
    appointments,
    audit,
    availability,
    booking,
    home,
    joining,
    organisation,
    patients,
    requests,
    signing_in,
    tasks,
    team,
    usage,
)
from functions.dashboard.portal import portal
from shared import Request, Response

__all__ = ["dashboard", "portal"]


@functions_framework.aio.http
async def dashboard(request: Request) -> Response:
    """Serve the dashboard's host."""
    return await portal(request)
