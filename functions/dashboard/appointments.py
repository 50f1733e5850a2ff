"""Appointments: found, shown with their history, moved and cancelled. booking.py makes them."""

from collections.abc import Iterator
from datetime import datetime
from typing import NamedTuple, get_args

from functions.dashboard.days import OurDay
from functions.dashboard.listing import ChangesQuery, tasks_of
from functions.dashboard.portal import portal
from functions.dashboard.windows import find_days
from shared.appointments import (
    NOT_BEGUN,
    Appointment,
    AppointmentChanges,
    AppointmentQuery,
    Rescheduling,
    Status,
    change,
    find_appointments,
    reschedule,
)
from shared.cancelling import (
    Cancellation,
    CancellationIn,
    cancel,
    cancellation_id,
    chargeable,
    reasons,
)
from shared.design import words
from shared.errors import ApiError
from shared.models import Changes, Model
from shared.patients import Patient
from shared.portals import Form, View, Visit
from shared.store import Ref
from shared.tasks import Task
from shared.visits import page_for


class AppointmentListing(ChangesQuery, AppointmentQuery):
    """Appointments as the page is asked for them."""


class Entry(NamedTuple):
    """Something that happened to an appointment, or is to happen."""

    at: datetime | str
    what: str
    to_come: bool = False


class FromDay(Model):
    """The first day of the windows to choose from."""

    fromDate: OurDay | None = None


@portal.get("/{mode}/appointments", permission="appointments:read")
async def index(visit: Visit, query: Form[AppointmentListing]) -> View:
    """List appointments, newest first."""
    tasks = await tasks_of(visit.store)
    page = await page_for(query, lambda it: find_appointments(visit.store, visit.caller, it))
    named = dict.fromkeys(each.patientId for each in page.data)
    patients = await visit.store.related(Patient, named) if named else {}
    return visit.page(
        "appointments/list.html",
        title="Appointments",
        status=400 if query.errors else 200,
        form=query,
        page=page,
        patients=patients,
        tasks={task.id: task.name for task in tasks},
        options=[(task.id, task.name) for task in tasks],
        statuses=[(name, words(name)) for name in get_args(Status)],
    )


class Known(NamedTuple):
    """An appointment as it is now, and what belongs to it."""

    appointment: Appointment
    patient: Patient | None
    task: Task | None
    cancellation: Cancellation | None


@portal.get("/{mode}/appointments/{appointment}", permission="appointments:read")
async def show(visit: Visit, appointment: str) -> View:
    """Show an appointment and what happened to it."""
    known = await _know(visit, appointment)
    return visit.page(
        "appointments/show.html",
        title="Appointment",
        history=list(history(known.appointment, known.cancellation, visit.now)),
        reason=_reason(visit, known.cancellation),
        **known._asdict(),
    )


@portal.get("/{mode}/appointments/{appointment}/edit", permission="appointments:write")
async def edit(visit: Visit, appointment: str) -> View:
    """Ask what is to be changed of an appointment that stays in its window."""
    return await _ask(visit, appointment)


@portal.post("/{mode}/appointments/{appointment}/edit", permission="appointments:write")
async def change_appointment(
    visit: Visit, appointment: str, body: Form[Changes[AppointmentChanges]]
) -> View:
    """Change an appointment that stays in its window."""
    if body.value is not None:
        try:
            await change(visit.store, appointment, body.value)
        except ApiError as refusal:
            if refusal.status != 402:
                raise
            body.blame(refusal)
        else:
            way = f"/{visit.mode}/appointments/{appointment}"
            return visit.redirect(way, "appointment_changed")
    return await _ask(visit, appointment, form=body, status=400)


@portal.get("/{mode}/appointments/{appointment}/reschedule", permission="appointments:write")
async def ask_window(visit: Visit, appointment: str, query: Form[FromDay]) -> View:
    """Ask for the window to move to."""
    return await _choose(visit, appointment, query.value)


@portal.post("/{mode}/appointments/{appointment}/reschedule", permission="appointments:write")
async def move(visit: Visit, appointment: str, body: Form[Rescheduling]) -> View:
    """Move an appointment to another window."""
    if body.value is not None:
        try:
            await reschedule(visit.store, appointment, body.value.windowId)
        except ApiError as refusal:
            if refusal.param != "windowId":
                raise
            body.blame(refusal)
        else:
            return visit.redirect(f"/{visit.mode}/appointments/{appointment}", "appointment_moved")
    return await _choose(visit, appointment, None, form=body, status=400)


@portal.get("/{mode}/appointments/{appointment}/cancel", permission="appointments:write")
async def ask_reason(visit: Visit, appointment: str) -> View:
    """Ask who cancels and why, and say what that costs."""
    return await _confirm(visit, appointment)


@portal.post("/{mode}/appointments/{appointment}/cancel", permission="appointments:write")
async def cancel_appointment(visit: Visit, appointment: str, body: Form[CancellationIn]) -> View:
    """Cancel an appointment."""
    if body.value is None:
        return await _confirm(visit, appointment, form=body, status=400)
    try:
        await cancel(visit.store, visit.caller.account, appointment, body.value)
    except ApiError as refusal:
        if refusal.status != 402:
            raise
        return await _confirm(visit, appointment, form=body, status=409)
    return visit.redirect(f"/{visit.mode}/appointments/{appointment}", "appointment_cancelled")


def history(
    appointment: Appointment, cancellation: Cancellation | None, now: datetime
) -> Iterator[Entry]:
    """Yield what is known to have happened to an appointment, and what is to come, in order."""
    yield Entry(appointment.createdAt, "Created")
    ended = cancellation.createdAt if cancellation else None
    if appointment.updatedAt not in (appointment.createdAt, ended):
        yield Entry(appointment.updatedAt, "Last changed")
    if cancellation:
        who = "the patient" if cancellation.cancellingEntity == "patient" else "your organisation"
        yield Entry(cancellation.createdAt, f"Cancelled by {who}")
        if cancellation.updatedAt != cancellation.createdAt:
            yield Entry(cancellation.updatedAt, "Cancellation amended by Ally")
        return
    if appointment.estimatedTimeOfArrival:
        yield Entry(appointment.estimatedTimeOfArrival, "The practitioner is expected")
    for at, what in (
        (appointment.window.startAt, "The window begins"),
        (appointment.window.endAt, "The window ends"),
    ):
        yield Entry(at, what, to_come=at > now)


async def _know(visit: Visit, appointment: str) -> Known:
    """Read an appointment and what belongs to it."""
    found = await visit.store.get(Appointment, appointment)
    patient, task, cancellation = await visit.store.find(
        Ref(Patient, found.patientId),
        Ref(Task, found.taskId),
        Ref(Cancellation, cancellation_id(found.id)),
    )
    seen = found.seen(visit.now, livemode=visit.store.livemode)
    return Known(seen, patient, task, cancellation)


async def _ask(
    visit: Visit,
    appointment: str,
    form: Form[Changes[AppointmentChanges]] | None = None,
    status: int = 200,
) -> View:
    """Show what can be changed of an appointment as it is now."""
    known = await _know(visit, appointment)
    return visit.page(
        "appointments/edit.html",
        title="Edit appointment",
        status=status,
        form=form,
        ended=known.appointment.status not in NOT_BEGUN,
        **known._asdict(),
    )


async def _choose(
    visit: Visit,
    appointment: str,
    asked: FromDay | None,
    form: Form[Rescheduling] | None = None,
    status: int = 200,
) -> View:
    """Show the windows that an appointment can move to."""
    known = await _know(visit, appointment)
    found, days, refused = known.appointment, None, ""
    if found.canReschedule:
        postcode = found.location.address.postcode
        first = asked.fromDate if asked else None
        try:
            days = await find_days(visit.store, found.taskId, postcode, first)
        except ApiError as refusal:
            if refusal.status != 402:
                raise
            refused = str(refusal.describe()["message"])
    return visit.page(
        "appointments/reschedule.html",
        title="Reschedule",
        status=status,
        form=form,
        days=days,
        refused=refused,
        **known._asdict(),
    )


async def _confirm(
    visit: Visit, appointment: str, form: Form[CancellationIn] | None = None, status: int = 200
) -> View:
    """Show an appointment that somebody wants to cancel, with the reasons that there are."""
    known = await _know(visit, appointment)
    remaining = known.appointment.window.startAt - visit.now
    account = visit.caller.account
    listed = [
        (each.code, each.description, _charge(chargeable(each.code, remaining, account)))
        for each in reversed(reasons(livemode=visit.store.livemode))
    ]
    return visit.page(
        "appointments/cancel.html",
        title="Cancel appointment",
        status=status,
        form=form,
        reasons=listed,
        notice_hours=account.cancellationNoticeHours,
        **known._asdict(),
    )


def _charge(expected: bool) -> str:
    return "Expected to be charged." if expected else "Not charged."


def _reason(visit: Visit, cancellation: Cancellation | None) -> str:
    """Return why an appointment was cancelled, in a sentence."""
    known = {each.code: each.description for each in reasons(livemode=visit.store.livemode)}
    return known.get(cancellation.reasonCode, "") if cancellation else ""
