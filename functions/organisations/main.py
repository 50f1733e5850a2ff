"""Organisations: the caller's own, and no other."""

import functions_framework.aio

from shared import Api, Call, ListQuery, Page, Request, Response
from shared.organisations import Organisation

api = Api("organisations", audience="partner", account=True)


@api.get("/v1/organisations", permission="organisations:read")
async def index(call: Call, query: ListQuery) -> Page[Organisation]:
    """List the organisations of the caller: one."""
    page = await call.store.page(Organisation, query)
    return Page([_as_seen(each, call) for each in page.data], page.has_more)


@api.get("/v1/organisations/{organisation}", permission="organisations:read")
async def get(call: Call, organisation: str) -> Organisation:
    """Return the caller's organisation."""
    return _as_seen(await call.store.get(Organisation, organisation), call)


def _as_seen(organisation: Organisation, call: Call) -> Organisation:
    """Return an organisation, which belongs to both modes, as the caller's mode sees it."""
    return organisation.model_copy(update={"livemode": call.livemode})


@functions_framework.aio.http
async def organisations(request: Request) -> Response:
    """Serve /v1/organisations."""
    return await api(request)
