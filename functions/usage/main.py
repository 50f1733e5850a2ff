"""Usage: how the API is used, counted over time."""

import functions_framework.aio

from shared import Api, Call, Request, Response
from shared.usage import Usage, UsageQuery

api = Api("usage", audience="partner")


@api.get("/v1/usage", permission="usage:read")
async def get(call: Call, query: UsageQuery) -> Usage:
    """Count requests, errors, times, bytes, events or people of your organisation, in one mode.

    With `Accept: text/csv` the answer is the same as a table: a row for each step of each series.
    """
    return await call.usage.read(query)


@functions_framework.aio.http
async def usage(request: Request) -> Response:
    """Serve /v1/usage."""
    return await api(request)
