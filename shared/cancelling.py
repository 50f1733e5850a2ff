"""Cancelling an appointment: once, with a reason, and with its place given back."""

from datetime import timedelta
from typing import ClassVar, Literal

from shared.appointments import Appointment
from shared.clock import isoformat
from shared.errors import ApiError
from shared.models import Model, Note, Resource
from shared.patients import Patient
from shared.scheduling import Window
from shared.store import Ref, Store

FREE_UNTIL = timedelta(hours=24)
"""How long before the window starts a cancellation is free of charge, in general."""

ReasonCode = Literal[
    "practitioner_delayed",
    "practitioner_cancelled",
    "cannot_find_location",
    "patient_not_present",
    "patient_unwell",
    "patient_changed_mind",
    "no_longer_needed",
    "booked_by_mistake",
    "other",
]


class CancellationIn(Model):
    """Who cancels, and why."""

    cancellingEntity: Literal["organisation", "patient"]
    reasonCode: ReasonCode
    note: Note | None = None


class Cancellation(Resource):
    """The record of one appointment's cancellation. `chargeable` is what is expected at the time.

    Its id is the appointment's with another prefix: there can only be one.
    """

    collection: ClassVar[str] = "cancellations"
    prefix: ClassVar[str] = "can"

    object: str = "cancellation"
    appointmentId: str
    cancellingEntity: str
    reasonCode: str
    note: str | None = None
    chargeable: bool


def cancellation_id(appointment_id: str) -> str:
    """Return the id of the cancellation that an appointment has or may have."""
    known = Appointment.accepts(appointment_id)
    return Cancellation.prefix + appointment_id.removeprefix(Appointment.prefix) if known else ""


async def cancel(store: Store, appointment_id: str, request: CancellationIn) -> Cancellation:
    """Stage the cancellation of an appointment and the return of its place."""
    now = store.now
    appointment = await store.get(Appointment, appointment_id)
    if appointment.status == "cancelled":
        raise ApiError("appointment_already_cancelled", id=appointment_id)
    if appointment.status not in ("scheduling", "scheduled"):
        raise ApiError("appointment_not_cancellable", status=appointment.status)
    patient, window = await store.find(
        Ref(Patient, appointment.patientId), Ref(Window, appointment.windowId)
    )
    if patient is not None:
        store.put(patient.release(appointment_id))
    if window is not None:
        store.put(window.release(appointment_id, now))
    store.put(appointment.model_copy(update={"status": "cancelled", "updatedAt": isoformat(now)}))
    cancellation = Cancellation.new(
        at=now,
        livemode=appointment.livemode,
        id=cancellation_id(appointment_id),
        appointmentId=appointment_id,
        chargeable=appointment.window.startAt - now < FREE_UNTIL,
        **request.model_dump(),
    )
    return store.put(cancellation)  # not `insert`: its id is not this request's alone
