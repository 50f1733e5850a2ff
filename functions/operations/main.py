"""Operations: the pages in which Ally's own staff work. Nobody else reaches them."""

import functions_framework.aio

from functions.operations import (  # noqa: F401 - they declare pages
    entrance,
    jobs,
    organisations,
    supply,
    tasks,
)
from functions.operations.portal import portal
from shared import Request, Response

__all__ = ["operations", "portal"]


@functions_framework.aio.http
async def operations(request: Request) -> Response:
    """Serve Operations' host."""
    return await portal(request)
