"""Cancelling an appointment: once, with a reason, and with its place given back."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, Literal

from shared import ids
from shared.appointments import NOT_BEGUN, Appointment
from shared.errors import ApiError, invalid
from shared.fields import Note, Shape, known
from shared.forms import wrong
from shared.models import Expansion, Model, Resource
from shared.organisations import Organisation
from shared.patients import Patient
from shared.scheduling import Window
from shared.store import Ref, Store

Charge = Literal["never", "within_notice", "always"]
"""When a cancellation for a reason is chargeable: `within_notice` is when less time remains before
the window than the organisation's agreement asks for, 24 hours in general."""

Entity = Literal["organisation", "patient"]

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

_REASONS: Mapping[str, tuple[str, Charge]] = {
    "practitioner_delayed": ("The practitioner could not come in time.", "never"),
    "practitioner_cancelled": ("The practitioner could not come.", "never"),
    "cannot_find_location": ("The practitioner did not find the address.", "within_notice"),
    "patient_not_present": ("The patient was not there.", "always"),
    "patient_unwell": ("The patient is not well enough.", "within_notice"),
    "patient_changed_mind": ("The patient does not want the visit any more.", "within_notice"),
    "no_longer_needed": ("The visit is not needed any more.", "within_notice"),
    "booked_by_mistake": ("The appointment was made by mistake.", "within_notice"),
    "other": ("Another reason: say it in the note.", "within_notice"),
}
_LISTED_SINCE = datetime(2026, 11, 22, tzinfo=UTC)


class CancellationReason(Resource):
    """A reason that an appointment can be cancelled for, and a hint of the charge."""

    prefix: ClassVar[str] = "rsn"

    object: str = "cancellation_reason"
    code: Annotated[str, known(ReasonCode)]
    """What POST …/cancel takes as `reasonCode`."""
    description: Annotated[str, Shape(examples=["The patient is not well enough."])]
    """The reason, in a sentence."""
    charge: Annotated[str, known(Charge)]
    """When a cancellation for this reason is chargeable: never, always, or within the notice that
    the organisation's agreement asks for (in general 24 hours before the window)."""


def reasons(*, livemode: bool) -> list[CancellationReason]:
    """Return all reasons, in the order of lists. They are the same for everyone."""
    listed = []
    for number, (code, (description, charge)) in enumerate(_REASONS.items()):
        at = _LISTED_SINCE + timedelta(seconds=number)
        listed.append(
            CancellationReason.new(
                at=at,
                livemode=livemode,
                id=ids.place(CancellationReason.prefix, at, "0" * ids.TAIL_LENGTH),
                code=code,
                description=description,
                charge=charge,
            )
        )
    return listed[::-1]


class CancellationIn(Model):
    """Who cancels, and why."""

    cancellingEntity: Entity
    """Who cancels. Where an end user calls, it is the patient."""
    reasonCode: ReasonCode
    """Why: a code of GET /v1/cancellation_reasons."""
    note: Note | None = None
    """What there is to say about it."""


class Cancellation(Resource):
    """The record of one appointment's cancellation: there can only be one.

    Its id is the appointment's with another prefix.
    """

    collection: ClassVar[str] = "cancellations"
    prefix: ClassVar[str] = "can"
    owned: ClassVar[bool] = True
    private: ClassVar[set[str]] = {"patientId"}

    expands: ClassVar[Mapping[str, Expansion]] = {
        "appointment": Expansion("appointmentId", Appointment)
    }

    object: str = "cancellation"
    appointmentId: str
    """The appointment that was cancelled."""
    endUserId: str | None = None
    """The end user of your front end whose patient it was."""
    cancellingEntity: Annotated[str, known(Entity)]
    reasonCode: Annotated[str, known(ReasonCode)]
    note: str | None = None
    chargeable: bool
    """Whether the cancellation is expected to be charged."""
    patientId: str | None = None
    """Whose appointment it was; the first cancellations did not keep it."""

    def concerns(self) -> Sequence[str]:
        """Return the patient whose appointment it was."""
        return () if self.patientId is None else (self.patientId,)


def cancellation_id(appointment_id: str) -> str:
    """Return the id of the cancellation that an appointment has or may have."""
    known = Appointment.accepts(appointment_id)
    return Cancellation.prefix + appointment_id.removeprefix(Appointment.prefix) if known else ""


async def find_cancellation(store: Store, appointment_id: str) -> Cancellation:
    """Return the cancellation of an appointment, or refuse with 404."""
    found = await store.get(Cancellation, cancellation_id(appointment_id))
    if found.patientId is None:  # the appointment says whom the reading of it concerns
        await store.find(Ref(Appointment, appointment_id))
    return found


async def cancel(
    store: Store, account: Organisation, appointment_id: str, request: CancellationIn
) -> Cancellation:
    """Stage the cancellation of an appointment and the return of its place."""
    if store.end_user is not None and request.cancellingEntity != "patient":
        raise invalid([wrong("cancellingEntity", "must be patient where an end user cancels")])
    now = store.now
    appointment = await store.get(Appointment, appointment_id)
    if appointment.status == "cancelled":
        raise ApiError("appointment_already_cancelled", id=appointment_id)
    if appointment.status not in NOT_BEGUN:
        raise ApiError("appointment_not_cancellable", status=appointment.status)
    patient, window = await store.find(
        Ref(Patient, appointment.patientId), Ref(Window, appointment.windowId)
    )
    if patient is not None:
        store.put(patient.release(appointment_id))
    if window is not None:
        store.put(window.release(appointment_id, now))
    store.put(appointment.changed(now, status="cancelled"))
    cancellation = Cancellation.new(
        at=now,
        livemode=appointment.livemode,
        id=cancellation_id(appointment_id),
        appointmentId=appointment_id,
        endUserId=appointment.endUserId,
        patientId=appointment.patientId,
        chargeable=chargeable(request.reasonCode, appointment.window.startAt - now, account),
        **request.model_dump(),
    )
    return store.put(cancellation)  # not `insert`: its id is not this request's alone


def chargeable(reason: str, remaining: timedelta, account: Organisation) -> bool:
    """Tell whether a cancellation is expected to be charged, so long before its window.

    The reason is one of `ReasonCode`; the organisation's agreement says how long before.
    """
    _, charge = _REASONS[reason]
    notice = timedelta(hours=account.cancellationNoticeHours)
    return charge == "always" or (charge == "within_notice" and remaining < notice)
