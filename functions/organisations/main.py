"""Organisations: the caller's own, and no other."""

import functions_framework.aio

from shared import Api, Call, Changes, ListQuery, Page, Request, Response
from shared.amending import amend
from shared.organisations import Organisation, OrganisationIn

api = Api("organisations", audience="partner", account=True)


@api.get("/v1/organisations", permission="organisations:read")
async def index(call: Call, query: ListQuery) -> Page[Organisation]:
    """List the organisations of the caller: one."""
    return await call.store.page(Organisation, query)


@api.get("/v1/organisations/{organisation}", permission="organisations:read")
async def get(call: Call, organisation: str) -> Organisation:
    """Return the caller's organisation."""
    return await call.store.get(Organisation, organisation)


@api.update("/v1/organisations/{organisation}", permission="organisations:write")
async def update(call: Call, organisation: str, body: Changes[OrganisationIn]) -> Organisation:
    """Change the display name, how patients are written to, and what front ends may do.

    Patients read the name, so the new one of an active organisation waits for review.
    """
    return await amend(call.store, organisation, body)


@functions_framework.aio.http
async def organisations(request: Request) -> Response:
    """Serve /v1/organisations."""
    return await api(request)
