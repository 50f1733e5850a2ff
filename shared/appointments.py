"""Appointments: a practitioner meets a patient in a window to do a task."""

from typing import Any, ClassVar, Literal

from shared import ids
from shared.clock import TIMEZONE
from shared.errors import ApiError
from shared.models import (
    Day,
    Line,
    Metadata,
    MetadataChanges,
    Model,
    Moment,
    Note,
    Phone,
    Resource,
)
from shared.pages import ListQuery
from shared.patients import Address, Patient
from shared.scheduling import Coverage, Window, outward, recognise
from shared.store import Ref, Store
from shared.tasks import Task

Status = Literal["scheduling", "scheduled", "in_progress", "completed", "cancelled", "failed"]


class Location(Model):
    """Where the appointment takes place: at home, at work or in another suitable private place."""

    address: Address


class AppointmentIn(Model):
    """What a partner says of an appointment that it requests.

    `phone` is who to call about the visit. `planFrom` and `planTo` ask for planned scheduling.
    """

    patientId: Line
    taskId: Line
    phone: Phone
    location: Location
    windowId: Line | None = None
    externalRef: Line | None = None
    note: Note | None = None
    documentIds: list[Line] | None = None
    planFrom: Day | None = None
    planTo: Day | None = None
    metadata: MetadataChanges | None = None


class AppointmentWindow(Model):
    """The window of an appointment, as it was committed to."""

    id: str
    startAt: Moment
    endAt: Moment
    timezone: str = TIMEZONE


class Appointment(Resource):
    """A visit. `data` is what the practitioner measured; its shape varies with the task."""

    collection: ClassVar[str] = "appointments"
    prefix: ClassVar[str] = "apt"

    object: str = "appointment"
    status: str
    patientId: str
    taskId: str
    phone: str
    location: Location
    windowId: str
    window: AppointmentWindow
    externalRef: str | None = None
    note: str | None = None
    documentIds: list[str] = []
    planFrom: Day | None = None
    planTo: Day | None = None
    estimatedTimeOfArrival: Moment | None = None
    data: dict[str, Any] | None = None
    metadata: Metadata = {}


class AppointmentQuery(ListQuery):
    """Appointments of one patient, or in one status."""

    patientId: Line | None = None
    status: Status | None = None


async def book(store: Store, request: AppointmentIn) -> Appointment:
    """Stage an appointment in the window that the request names, and the claim of a place in it."""
    now = store.now
    wanted_patient = Ref(Patient, request.patientId, "patientId")
    wanted_task = Ref(Task, request.taskId, "taskId")
    wanted_window = Ref(Window, request.windowId or "", "windowId")
    patient, task, coverage, window = await store.find(
        wanted_patient,
        wanted_task,
        Ref(Coverage, outward(request.location.address.postcode)),
        wanted_window,
    )
    _check_kind(request)
    patient = store.required(patient, wanted_patient)
    task = store.required(task, wanted_task)
    if not task.active:
        raise ApiError("task_inactive", param="taskId")
    if coverage is None:
        raise ApiError("not_in_coverage", param="location[address][postcode]")
    if window is None and not store.livemode:
        window = recognise(store.organisation, wanted_window.id, coverage.area, now)
    window = store.required(window, wanted_window)
    window.check(task, coverage)

    appointment_id = ids.mint(Appointment.prefix, now)
    window = store.put(window.claim(appointment_id, now))
    store.put(patient.book(appointment_id, window.startAt, window.endAt, now))
    return store.insert(
        Appointment.new(
            at=now,
            livemode=store.livemode,
            id=appointment_id,
            status="scheduled",
            window=AppointmentWindow(id=window.id, startAt=window.startAt, endAt=window.endAt),
            **request.model_dump(exclude={"documentIds"}),
        )
    )


def _check_kind(request: AppointmentIn) -> None:
    """Refuse the kinds of scheduling that are not enabled."""
    if request.documentIds:
        raise ApiError("documents_not_enabled", param="documentIds")
    if request.planFrom or request.planTo:
        param = "planFrom" if request.planFrom else "planTo"
        raise ApiError("planned_scheduling_not_enabled", param=param)
    if request.windowId is None:
        raise ApiError("patient_led_scheduling_not_enabled", param="windowId")
