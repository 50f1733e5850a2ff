"""Appointments: a practitioner meets a patient in a window to do a task."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, Any, ClassVar, Literal, Self

from shared import ids
from shared.backends import TERMS
from shared.callers import Caller
from shared.clock import TIMEZONE, london_day
from shared.errors import ApiError
from shared.fields import (
    OR_NULL,
    Day,
    EndUserId,
    Line,
    Metadata,
    MetadataChanges,
    Moment,
    Note,
    Phone,
    known,
)
from shared.filters import Filterable, wrong_filter
from shared.models import Changes, Expansion, Model, Resource
from shared.pages import ListQuery, Page
from shared.patients import Address, AddressIn, Patient
from shared.scheduling import Coverage, Window, outward, recognise
from shared.store import Ref, Store
from shared.tasks import Task

NOT_BEGUN = ("scheduling", "scheduled")
POSTCODE = "location[address][postcode]"
MOST_NAMED = 30
"""How many patients a name may find, for their appointments to be sought in one query."""

Status = Literal["scheduling", "scheduled", "in_progress", "completed", "cancelled", "failed"]


class Location(Model):
    """Where the appointment takes place: at home, at work or in another suitable private place."""

    address: Address
    """The place."""


class LocationIn(Location):
    """Where the appointment takes place: at home, at work or in another suitable private place."""

    address: AddressIn


class AppointmentIn(Model):
    """An appointment as it is requested."""

    patientId: Line
    """The patient whom the practitioner meets."""
    taskId: Line
    """What is done."""
    phone: Phone
    """Whom to call about the visit."""
    location: LocationIn
    """Where the visit is."""
    windowId: Line | None = None
    """A window of GET /v1/availability. Without one the patient chooses (patient-led scheduling),
    where that is enabled."""
    externalRef: Line | None = None
    """Your own reference; it need not be unique. Lists can be filtered by it."""
    note: Note | None = None
    """What the practitioner should know of this visit; it is shown to them."""
    documentIds: list[Line] | None = None
    """Documents for the practitioner, where they are enabled."""
    planFrom: Day | None = None
    """The first day of a future period (planned scheduling), where that is enabled for the task."""
    planTo: Day | None = None
    """The last day of that period."""
    metadata: MetadataChanges | None = None
    """Your own facts, texts by name."""


class AppointmentChanges(Model):
    """What can be changed of an appointment while it stays in its window."""

    phone: Phone
    """Whom to call about the visit."""
    location: LocationIn
    """Where the visit is. A new address must be in the area of the window."""
    externalRef: Line | None = None
    """Your own reference; it need not be unique. Lists can be filtered by it."""
    note: Note | None = None
    """What the practitioner should know of this visit; it is shown to them."""
    metadata: MetadataChanges | None = None
    """Your own facts, texts by name."""


class Rescheduling(Model):
    """The window to move to."""

    windowId: Line
    """The window to move to, of GET /v1/availability."""


class AppointmentWindow(Model):
    """The window of an appointment, as it was committed to."""

    id: str
    startAt: Moment
    """The practitioner comes from then on."""
    endAt: Moment
    """The practitioner comes before then."""
    timezone: str = TIMEZONE
    """The IANA name of the time zone in which the patient lives."""


class Appointment(Resource):
    """A visit: a practitioner meets the patient in a window to do the task."""

    collection: ClassVar[str] = "appointments"
    prefix: ClassVar[str] = "apt"
    owned: ClassVar[bool] = True
    derived: ClassVar[set[str]] = {"canReschedule", "canCancel"}
    expands: ClassVar[Mapping[str, Expansion]] = {
        "patient": Expansion("patientId", Patient),
        "task": Expansion("taskId", Task),
    }

    object: str = "appointment"
    status: Annotated[str, known(Status)]
    """How far the appointment is."""
    patientId: str
    taskId: str
    endUserId: str | None = None
    """The end user of your front end whose patient it is."""
    phone: str
    location: Location
    windowId: Annotated[str, OR_NULL]
    """The window that the appointment is in; null while the patient has yet to choose one."""
    window: Annotated[AppointmentWindow, OR_NULL]
    """The window, as it was committed to; null while there is none."""
    externalRef: str | None = None
    note: str | None = None
    documentIds: list[str] = []
    planFrom: Day | None = None
    planTo: Day | None = None
    estimatedTimeOfArrival: Moment | None = None
    """When the practitioner is expected, once they are on their way."""
    data: dict[str, Any] | None = None
    """What the practitioner measured, such as a blood pressure; its shape varies with the task."""
    canReschedule: bool = False
    """Whether the appointment can still get another window."""
    canCancel: bool = False
    """Whether the appointment can still be cancelled."""
    metadata: Metadata = {}

    def concerns(self) -> Sequence[str]:
        """Return the patient whom the practitioner meets."""
        return (self.patientId,)

    @staticmethod
    def on(day: date) -> str:
        """Return what appointments of a day in London are found by, unless they have ended."""
        return f"on {day}"

    def terms(self) -> Sequence[str]:
        """Return the day of a visit that is to be made."""
        if self.status not in ("scheduled", "in_progress"):
            return ()
        return (self.on(london_day(self.window.startAt)),)

    def seen(self, now: datetime, *, livemode: bool) -> Self:
        """Return the appointment with what can be done with it at a moment."""
        can = {"canReschedule": self.movable(now), "canCancel": self.status in NOT_BEGUN}
        return self.model_copy(update=can)

    def movable(self, now: datetime) -> bool:
        """Tell whether the appointment can still get another window."""
        return self.status in NOT_BEGUN and self.window.startAt > now


class AppointmentQuery(ListQuery):
    """Appointments of one patient, end user or task, in one status, or with one reference."""

    patientId: Line | None = None
    """Only those of this patient."""
    taskId: Line | None = None
    """Only those in which this task is done."""
    endUserId: EndUserId | None = None
    """Only those of this end user."""
    status: Status | None = None
    """Only those in this status."""
    externalRef: Line | None = None
    """Only those with this reference of yours."""

    filterable: ClassVar[Mapping[str, Filterable]] = {
        **ListQuery.filterable,
        "externalRef": Filterable("externalRef", "exact"),
        "status": Filterable("status", "exact"),
        "patient.id": Filterable("patientId", "exact"),
        "patient.name": Filterable(TERMS, "words", personal=True),
    }


async def find_appointments(
    store: Store, caller: Caller, query: AppointmentQuery
) -> Page[Appointment]:
    """Return a page of appointments; patients' names are sought first, by who may see them."""
    query.cursor(Appointment.prefix)  # a wrong one is refused before anything is sought
    where = query.conditions(Appointment.prefix, livemode=store.livemode)
    named = [condition for condition in where if condition[0] == TERMS]
    if named:
        caller.require(f"{Patient.collection}:read")
        patients = await store.select(Patient, named, limit=MOST_NAMED + 1)
        if len(patients) > MOST_NAMED:
            raise wrong_filter(f"finds more than {MOST_NAMED} patients by their name")
        if not patients:
            return Page([], has_more=False)
        others = [condition for condition in where if condition not in named]
        where = [*others, ("patientId", "in", [patient.id for patient in patients])]
    return await store.page(Appointment, query, where)


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
    window = _suitable(store, window, wanted_window, task, coverage)

    appointment_id = ids.mint(Appointment.prefix, now)
    window = store.put(window.claim(appointment_id, now))
    store.put(patient.book(appointment_id, window.startAt, window.endAt, now))
    return store.insert(
        Appointment.new(
            at=now,
            livemode=store.livemode,
            id=appointment_id,
            status="scheduled",
            window=_as_committed(window),
            endUserId=patient.endUserId,
            **request.model_dump(exclude={"documentIds"}),
        )
    )


async def reschedule(store: Store, appointment_id: str, window_id: str) -> Appointment:
    """Stage the move of an appointment to another window: both places, and the patient's time."""
    now = store.now
    appointment = await store.get(Appointment, appointment_id)
    if not appointment.movable(now):
        raise ApiError("appointment_not_reschedulable", status=appointment.status)
    wanted_patient = Ref(Patient, appointment.patientId)
    wanted_task = Ref(Task, appointment.taskId)
    wanted_window = Ref(Window, window_id, "windowId")
    patient, task, coverage, old, window = await store.find(
        wanted_patient,
        wanted_task,
        Ref(Coverage, outward(appointment.location.address.postcode)),
        Ref(Window, appointment.windowId),
        wanted_window,
    )
    patient = store.required(patient, wanted_patient)
    task = store.required(task, wanted_task)
    window = _suitable(store, window, wanted_window, task, coverage)
    if old is not None and old.id != window.id:
        store.put(old.release(appointment_id, now))
    window = store.put(window.claim(appointment_id, now))
    store.put(patient.book(appointment_id, window.startAt, window.endAt, now))
    return store.put(appointment.changed(now, windowId=window.id, window=_as_committed(window)))


async def change(
    store: Store, appointment_id: str, changes: Changes[AppointmentChanges]
) -> Appointment:
    """Stage a change of an appointment. A new address must be in the area of its window."""
    appointment = await store.get(Appointment, appointment_id)
    if appointment.status not in NOT_BEGUN:
        for name in changes.values:
            if name not in ("externalRef", "metadata"):
                raise ApiError(
                    "appointment_not_changeable",
                    param=name,
                    name=name,
                    status=appointment.status,
                )
    changed = changes.apply(appointment, store.now)
    if "location" in changes.values:
        coverage, window = await store.find(
            Ref(Coverage, outward(changed.location.address.postcode)),
            Ref(Window, appointment.windowId),
        )
        if coverage is None:
            raise ApiError("not_in_coverage", param=POSTCODE)
        if window is not None and window.area != coverage.area:
            raise ApiError("window_unsuitable", param=POSTCODE, what="postcode")
    return store.put(changed)


def _suitable(
    store: Store, found: Window | None, wanted: Ref[Window], task: Task, coverage: Coverage | None
) -> Window:
    """Return the window that was asked for, if it serves the task there, or refuse."""
    if coverage is None:
        raise ApiError("not_in_coverage", param=POSTCODE)
    if found is None and not store.livemode:
        found = recognise(store.organisation, wanted.id, coverage.area, store.now)
    window = store.required(found, wanted)
    window.check(task, coverage)
    return window


def _as_committed(window: Window) -> AppointmentWindow:
    return AppointmentWindow(id=window.id, startAt=window.startAt, endAt=window.endAt)


def _check_kind(request: AppointmentIn) -> None:
    """Refuse the kinds of scheduling that are not enabled."""
    if request.documentIds:
        raise ApiError("documents_not_enabled", param="documentIds")
    if request.planFrom or request.planTo:
        param = "planFrom" if request.planFrom else "planTo"
        raise ApiError("planned_scheduling_not_enabled", param=param)
    if request.windowId is None:
        raise ApiError("patient_led_scheduling_not_enabled", param="windowId")
