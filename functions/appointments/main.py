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
    find_cancellation,
    reasons,
)
from shared.pages import page_of

api = Api("appointments", audience="partner")


@api.post(
    "/v1/appointments",
    permission="appointments:write",
    end_user="appointments:create",
    refuses=(
        "resource_missing",
        "task_inactive",
        "not_in_coverage",
        "window_unsuitable",
        "window_unavailable",
        "appointment_overlaps",
        "documents_not_enabled",
        "planned_scheduling_not_enabled",
        "patient_led_scheduling_not_enabled",
    ),
)
async def create(call: Call, body: AppointmentIn) -> Appointment:
    """Request an appointment, in a window of GET /v1/availability.

    Of several that want the last place of a window exactly one gets it; the others are told
    `window_unavailable`.
    """
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
    refuses=(
        "appointment_not_changeable",
        "not_in_coverage",
        "window_unsuitable",
    ),
)
async def update(call: Call, appointment: str, body: Changes[AppointmentChanges]) -> Appointment:
    """Change an appointment that stays in its window.

    What is left out stays as it is, what is sent empty is unset. Of an appointment that has ended
    only `externalRef` and `metadata` can be changed.
    """
    return await change(call.store, appointment, body)


@api.post(
    "/v1/appointments/{appointment}/reschedule",
    permission="appointments:write",
    end_user="appointments:reschedule",
    refuses=(
        "appointment_not_reschedulable",
        "not_in_coverage",
        "window_unsuitable",
        "window_unavailable",
        "appointment_overlaps",
    ),
)
async def reschedule_appointment(call: Call, appointment: str, body: Rescheduling) -> Appointment:
    """Move an appointment to another window, as long as it has not begun."""
    return await reschedule(call.store, appointment, body.windowId)


@api.post(
    "/v1/appointments/{appointment}/cancel",
    permission="appointments:write",
    end_user="appointments:cancel",
    refuses=(
        "appointment_already_cancelled",
        "appointment_not_cancellable",
    ),
)
async def cancel_appointment(call: Call, appointment: str, body: CancellationIn) -> Cancellation:
    """Cancel an appointment.

    That can be done once, and gives its place in the window back. It is in general chargeable when
    less than 24 hours remain before the window; the organisation's agreement decides.
    """
    return await cancel(call.store, call.caller.account, appointment, body)


@api.get(
    "/v1/appointments/{appointment}/cancellation",
    permission="appointments:read",
    end_user="appointments:read",
)
async def get_cancellation(call: Call, appointment: str) -> Cancellation:
    """Return the cancellation of an appointment."""
    return await find_cancellation(call.store, appointment)


@api.get("/v1/cancellation_reasons", permission="appointments:read", end_user="appointments:read")
async def list_cancellation_reasons(call: Call, query: PageQuery) -> Page[CancellationReason]:
    """List the reasons for which appointments are cancelled, and when that is chargeable."""
    return page_of(reasons(livemode=call.livemode), query, CancellationReason.prefix)


@functions_framework.aio.http
async def appointments(request: Request) -> Response:
    """Serve /v1/appointments and /v1/cancellation_reasons."""
    return await api(request)
