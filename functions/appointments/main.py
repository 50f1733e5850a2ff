"""Appointments: a practitioner meets a patient in a window to do a task."""

import functions_framework.aio

from shared import Api, Call, Changes, Page, PageQuery, Request, Response
from shared.appointments import (
    Appointment,
    AppointmentChanges,
    AppointmentIn,
    AppointmentQuery,
    Rescheduling,
    book,
    change,
    find_appointments,
    reschedule,
)
from shared.cancelling import (
    Cancellation,
    CancellationIn,
    CancellationReason,
    cancel,
    cancellation_id,
    reasons,
)
from shared.pages import page_of

api = Api("appointments", audience="partner")


@api.post("/v1/appointments", permission="appointments:write", end_user="appointments:create")
async def create(call: Call, body: AppointmentIn) -> Appointment:
    """Request an appointment in a window of GET /v1/availability."""
    return await book(call.store, body)


@api.get("/v1/appointments", permission="appointments:read", end_user="appointments:read")
async def index(call: Call, query: AppointmentQuery) -> Page[Appointment]:
    """List appointments, newest first."""
    return await find_appointments(call.store, call.caller, query)


@api.get(
    "/v1/appointments/{appointment}", permission="appointments:read", end_user="appointments:read"
)
async def get(call: Call, appointment: str) -> Appointment:
    """Return an appointment."""
    return await call.store.get(Appointment, appointment)


@api.update(
    "/v1/appointments/{appointment}",
    permission="appointments:write",
    end_user="appointments:update",
)
async def update(call: Call, appointment: str, body: Changes[AppointmentChanges]) -> Appointment:
    """Change an appointment: what is left out stays, what is sent empty is unset."""
    return await change(call.store, appointment, body)


@api.post(
    "/v1/appointments/{appointment}/reschedule",
    permission="appointments:write",
    end_user="appointments:reschedule",
)
async def move(call: Call, appointment: str, body: Rescheduling) -> Appointment:
    """Move an appointment to another window, as long as it has not begun."""
    return await reschedule(call.store, appointment, body.windowId)


@api.post(
    "/v1/appointments/{appointment}/cancel",
    permission="appointments:write",
    end_user="appointments:cancel",
)
async def cancel_appointment(call: Call, appointment: str, body: CancellationIn) -> Cancellation:
    """Cancel an appointment, once."""
    return await cancel(call.store, call.caller.account, appointment, body)


@api.get(
    "/v1/appointments/{appointment}/cancellation",
    permission="appointments:read",
    end_user="appointments:read",
)
async def get_cancellation(call: Call, appointment: str) -> Cancellation:
    """Return the cancellation of an appointment."""
    return await call.store.get(Cancellation, cancellation_id(appointment))


@api.get("/v1/cancellation_reasons", permission="appointments:read", end_user="appointments:read")
async def list_reasons(call: Call, query: PageQuery) -> Page[CancellationReason]:
    """List the reasons for which appointments are cancelled, and when that is chargeable."""
    return page_of(reasons(livemode=call.livemode), query, CancellationReason.prefix)


@functions_framework.aio.http
async def appointments(request: Request) -> Response:
    """Serve /v1/appointments and /v1/cancellation_reasons."""
    return await api(request)
