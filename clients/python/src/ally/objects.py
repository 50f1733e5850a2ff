"""What the API answers with, as plain typed objects.

A field has the name that it has on the wire. A field that this version does not know is kept in
`extra`; a status or code that it does not know is a text like any other. What is printed of an
object is its kind and its id alone, since the rest is about patients and ends up in logs.
"""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from datetime import date, datetime
from functools import cache
from types import NoneType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Plain:
    """Any object of an answer. `extra` has the fields that this version does not know."""

    extra: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        shown = f"id={self.id!r}" if hasattr(self, "id") else "…"
        return f"{type(self).__name__}({shown})"


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Resource(Plain):
    """An object that the API keeps."""

    id: str
    object: str
    livemode: bool
    createdAt: datetime
    updatedAt: datetime


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Deleted(Plain):
    """What is left of an object that was deleted."""

    id: str
    object: str
    deleted: bool


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Messaging(Plain):
    """How an organisation's patients are written to."""

    supportPhone: str | None = None
    supportEmail: str | None = None
    signature: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Tenants(Plain):
    """The Firebase tenants that an organisation's end users sign in to, one for each mode."""

    test: str | None = None
    live: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Organisation(Resource):
    """A body that has an account. `activation` is how far it is on its way to live mode."""

    displayName: str
    displayNameUnderReview: str | None = None
    activation: str
    messaging: Messaging | None = None
    cancellationNoticeHours: int
    frontEndOrigins: list[str]
    endUserPermissions: list[str]
    firebaseTenants: Tenants


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Address(Plain):
    """A place in the United Kingdom. `accessNotes` helps the practitioner to find the door."""

    line1: str
    line2: str | None = None
    city: str
    county: str | None = None
    postcode: str
    accessNotes: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Patient(Resource):
    """A person who receives care. `externalRef` is your own reference."""

    firstName: str
    lastName: str
    phone: str
    email: str
    dateOfBirth: date
    title: str | None = None
    sex: str | None = None
    nhsNumber: str | None = None
    chi: str | None = None
    hsc: str | None = None
    externalRef: str | None = None
    endUserId: str | None = None
    note: str | None = None
    address: Address | None = None
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Coding(Plain):
    """A concept of a clinical terminology: the system's URI, the code and its usual name."""

    system: str
    code: str
    display: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Step(Plain):
    """One activity of a task. A clinical one is coded in SNOMED CT."""

    kind: str
    name: str
    coding: Coding | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Task(Resource):
    """A definition of what is done in one appointment."""

    name: str
    description: str
    durationMinutes: int
    active: bool
    steps: list[Step]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Window(Resource):
    """A time window that has a place, as it is offered."""

    startAt: datetime
    endAt: datetime
    timezone: str
    remaining: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Coverage(Plain):
    """Whether a postcode is served. It is worked out and not kept, so it has no times."""

    id: str
    object: str
    livemode: bool
    createdAt: datetime | None = None
    updatedAt: datetime | None = None
    postcode: str
    covered: bool
    area: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Location(Plain):
    """Where an appointment takes place."""

    address: Address


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AppointmentWindow(Plain):
    """The window of an appointment, as it was committed to."""

    id: str
    startAt: datetime
    endAt: datetime
    timezone: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Appointment(Resource):
    """A visit. `data` is what the practitioner measured; `patient` and `task` are expansions."""

    status: str
    patientId: str
    taskId: str
    endUserId: str | None = None
    phone: str
    location: Location
    windowId: str | None = None
    window: AppointmentWindow | None = None
    externalRef: str | None = None
    note: str | None = None
    documentIds: list[str] = field(default_factory=list)
    planFrom: date | None = None
    planTo: date | None = None
    estimatedTimeOfArrival: datetime | None = None
    data: dict[str, Any] | None = None
    canReschedule: bool
    canCancel: bool
    metadata: dict[str, str] = field(default_factory=dict)
    patient: Patient | None = None
    task: Task | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Cancellation(Resource):
    """The record of one appointment's cancellation; `appointment` is an expansion."""

    appointmentId: str
    endUserId: str | None = None
    cancellingEntity: str
    reasonCode: str
    note: str | None = None
    chargeable: bool
    appointment: Appointment | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class CancellationReason(Resource):
    """A reason that an appointment can be cancelled for, and when that is chargeable."""

    code: str
    description: str
    charge: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EndUser(Resource):
    """A person signed in to your front end, whose sessions until `revokedAt` have ended."""

    endUserId: str
    revokedAt: datetime


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EndUserToken(Resource):
    """The ID token that an end user has after signing in, made for a test."""

    endUserId: str
    token: str | None = None
    expiresAt: datetime


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class FrontendEvent(Resource):
    """An event of a front end as it was counted. It is not kept."""

    event: str
    milliseconds: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class ApiKey(Resource):
    """A key of your organisation. `secret` is the whole key, in the one answer that shows it."""

    name: str
    type: str
    maskedKey: str
    secret: str | None = None
    scopes: dict[str, str] = field(default_factory=dict)
    allowedCidrs: list[str] = field(default_factory=list)
    origins: list[str] = field(default_factory=list)
    status: str
    expiresAt: datetime | None = None
    revokedAt: datetime | None = None
    lastUsedAt: datetime | None = None
    replaces: str | None = None
    replacedBy: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Request(Resource):
    """A request of yours, of an end user or of the dashboard, and what became of it."""

    method: str
    route: str
    status: int
    code: str | None = None
    key: str | None = None
    endUser: str | None = None
    user: str | None = None
    address: str | None = None
    version: str
    idempotencyKey: str | None = None
    milliseconds: float
    bytesIn: int
    bytesOut: int
    objects: list[str]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Principal(Plain):
    """Who did it: a key (`key`), an end user (`end_user`) or somebody in the dashboard (`user`)."""

    id: str
    kind: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Operation(Plain):
    """A route, and how it was called."""

    method: str
    route: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Result(Plain):
    """How a request was answered."""

    status: int
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class AuditEvent(Resource):
    """A request that showed or changed what belongs to patients."""

    principal: Principal
    operation: Operation
    patients: list[str]
    objects: list[str]
    result: Result
    requestId: str


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Percentiles(Plain):
    """The milliseconds within which 50, 95 and 99 in 100 requests were done."""

    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UsagePoint(Plain):
    """One step of time: what was counted in it and, of times, how long they were."""

    at: datetime
    value: int
    percentiles: Percentiles | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class UsageSeries(Plain):
    """What was counted of one group; of all together where that is None."""

    group: str | None = None
    total: int
    percentiles: Percentiles | None = None
    points: list[UsagePoint]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Usage(Plain):
    """How the API was used. It is worked out and not kept, so it has no times of its own."""

    id: str
    object: str
    livemode: bool
    createdAt: datetime | None = None
    updatedAt: datetime | None = None
    metric: str
    by: str | None = None
    unit: str
    startAt: datetime
    endAt: datetime
    resolution: str
    asOf: datetime
    series: list[UsageSeries]


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EventData(Plain):
    """What an event tells of: the object as far as it is told, and what it was before.

    Both are as JSON has them, since later versions tell of other kinds of objects too.
    """

    object: dict[str, Any]
    previous_attributes: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class EventRequest(Plain):
    """The request that caused an event."""

    id: str | None = None
    idempotency_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Event(Plain):
    """Something that happened, as a webhook tells it: ids, status, times and codes alone."""

    id: str
    object: str
    type: str
    createdAt: datetime
    livemode: bool
    data: EventData
    request: EventRequest | None = None
    pending_webhooks: int | None = None


# --- Reading -------------------------------------------------------------------------------------


def read(kind: type[T], value: Any) -> T:
    """Make an object of a JSON value. ValueError says, without the value, what does not fit."""
    found: T = _reader(kind)(value)  # type: ignore[arg-type]  # a type is hashable
    return found


@cache
def _reader(kind: Any) -> Callable[[Any], Any]:
    """Return what makes a value of a field's type."""
    inner = get_args(kind)
    if NoneType in inner:
        return _optional(_reader(next(each for each in inner if each is not NoneType)))
    if inner:
        return _container(get_origin(kind), _reader(inner[-1]))
    if kind is Any:
        return lambda value: value
    if is_dataclass(kind):
        return _object_reader(kind)
    if issubclass(kind, date):  # a datetime is one too
        return lambda value: _moment(kind, _checked(str, value))
    return lambda value: _checked(kind, value)


def _optional(some: Callable[[Any], Any]) -> Callable[[Any], Any]:
    return lambda value: None if value is None else some(value)


def _container(kind: Any, one: Callable[[Any], Any]) -> Callable[[Any], Any]:
    if kind is list:
        return lambda value: [one(each) for each in _checked(list, value)]
    return lambda value: {name: one(each) for name, each in _checked(dict, value).items()}


def _object_reader(kind: Any) -> Callable[[Any], Any]:
    hints = get_type_hints(kind)
    known = [each for each in fields(kind) if each.name != "extra"]
    readers = {each.name: _reader(hints[each.name]) for each in known}
    required = {
        each.name for each in known if each.default is MISSING and each.default_factory is MISSING
    }

    def make(value: Any) -> Any:
        given = _checked(dict, value)
        missing = required - given.keys()
        if missing:
            raise ValueError(f"{kind.__name__} lacks {', '.join(sorted(missing))}")
        extra = {name: each for name, each in given.items() if name not in readers}
        read = {name: make(given[name]) for name, make in readers.items() if name in given}
        return kind(**read, extra=extra)

    return make


def _moment(kind: Any, text: str) -> Any:
    try:
        return kind.fromisoformat(text)
    except ValueError:
        raise ValueError(f"a text that is no {kind.__name__}") from None


def _checked(kind: type[T], value: Any) -> T:
    if not isinstance(value, kind):
        raise ValueError(f"{type(value).__name__} where {kind.__name__} was expected")  # noqa: TRY004 - the answer is wrong, not the caller
    return value
