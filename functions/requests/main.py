"""Requests: what was asked of us, and what became of it, for 30 days; also as an audit."""

import functions_framework.aio

from shared import Api, Call, Page, Request, Response
from shared.requests import (
    AuditEvent,
    AuditQuery,
    LoggedRequest,
    RequestQuery,
    audit_events,
    find_request,
    list_requests,
)

api = Api("requests", audience="partner")


@api.get("/v1/requests", permission="requests:read")
async def index(call: Call, query: RequestQuery) -> Page[LoggedRequest]:
    """List requests, newest first.

    One is there within 10 seconds after its answer, and for 30 days. Of an organisation that makes
    very many in a second, those that changed nothing and touched no patient are not all listed,
    unless they were refused.
    """
    return await list_requests(call.store, query.hashed(call.keyring, call.store))


@api.get("/v1/requests/{request}", permission="requests:read")
async def get(call: Call, request: str) -> LoggedRequest:
    """Return a request: its id is in the header `Request-Id` of every answer."""
    return await find_request(call.store, request)


@api.get("/v1/audit_events", permission="audit_events:read")
async def list_audit_events(call: Call, query: AuditQuery) -> Page[AuditEvent]:
    """List who saw or changed what belongs to patients, newest first.

    Every request that showed or changed it is listed, within 10 seconds and for 30 days, also when
    the patient has been deleted since. Ask us for what is older.
    """
    return await audit_events(call.store, query)


@functions_framework.aio.http
async def requests(request: Request) -> Response:
    """Serve /v1/requests and /v1/audit_events."""
    return await api(request)
