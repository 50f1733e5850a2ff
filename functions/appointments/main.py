"""Appointments: a practitioner meets a patient in a window to do a task."""

import functions_framework.aio

from shared import Api, Call, Page, Request, Response
from shared.appointments import Appointment, AppointmentIn, AppointmentQuery, book
from shared.cancelling import Cancellation, CancellationIn, cancel, cancellation_id

api = Api("appointments", audience="partner")


@api.post("/v1/appointments", permission="appointments:write")
async def create(call: Call, body: AppointmentIn) -> Appointment:
    """Request an appointment in a window of GET /v1/availability."""
    return await book(call.store, body)


@api.get("/v1/appointments", permission="appointments:read")
async def index(call: Call, query: AppointmentQuery) -> Page[Appointment]:
    """List appointments, newest first."""
    return await call.store.page(Appointment, query)


@api.get("/v1/appointments/{appointment}", permission="appointments:read")
async def get(call: Call, appointment: str) -> Appointment:
    """Return an appointment."""
    return await call.store.get(Appointment, appointment)


@api.post("/v1/appointments/{appointment}/cancel", permission="appointments:write")
async def cancel_appointment(call: Call, appointment: str, body: CancellationIn) -> Cancellation:
    """Cancel an appointment, once."""
    return await cancel(call.store, appointment, body)


@api.get("/v1/appointments/{appointment}/cancellation", permission="appointments:read")
async def get_cancellation(call: Call, appointment: str) -> Cancellation:
    """Return the cancellation of an appointment."""
    return await call.store.get(Cancellation, cancellation_id(appointment))


@functions_framework.aio.http
async def appointments(request: Request) -> Response:
    """Serve /v1/appointments."""
    return await api(request)
