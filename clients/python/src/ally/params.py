"""What each request takes, as typed keyword arguments.

Names are those of the wire. What is not passed is left alone; None unsets an optional field.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Literal, Required, TypedDict

from ally.objects import Address

Moment = datetime | date | str
"""A moment, or the beginning of a day; a text is ISO 8601."""
Day = date | str
Metadata = Mapping[str, str | None]
"""Your own facts. They are merged: a value of None removes its name."""
Access = Literal["none", "read", "write"]


class Options(TypedDict, total=False):
    """What each request can be told beside its parameters.

    `key` replaces the client's key, `timeout` (seconds) and `max_retries` its settings.
    """

    key: str
    timeout: float
    max_retries: int


class WriteOptions(Options, total=False):
    """What a request that changes something can be told too.

    `idempotency_key` is made up for each request unless it is given.
    """

    idempotency_key: str


class Expand(TypedDict, total=False):
    """What is to be shown in full, such as `["patient"]`, or in a list `["data.patient"]`."""

    expand: Sequence[str]


class ReadOptions(Options, Expand, total=False):
    """What a request for an object that names others can be told."""


class PageOptions(Options, total=False):
    """Which page is wanted. `limit` is 1 to 100, 10 unless told; the cursors are ids of objects."""

    limit: int
    starting_after: str
    ending_before: str


class Between(TypedDict, total=False):
    """A range of moments: after, from, before, until."""

    gt: Moment
    gte: Moment
    lt: Moment
    lte: Moment


class ListOptions(PageOptions, total=False):
    """What every list of objects can be narrowed by. `filter` is such as `externalRef:"A-17"`."""

    createdAt: Between
    filter: str


# --- Organisations -------------------------------------------------------------------------------


class MessagingInput(TypedDict, total=False):
    """How patients are written to: whom they can ask, and how a message ends."""

    supportPhone: str | None
    supportEmail: str | None
    signature: str | None


class OrganisationChanges(WriteOptions, total=False):
    """What can be changed of an organisation, and what its front ends may do."""

    displayName: str
    messaging: MessagingInput | None
    frontEndOrigins: Sequence[str]
    endUserPermissions: Sequence[str]


# --- Patients ------------------------------------------------------------------------------------


class AddressInput(TypedDict, total=False):
    """A place in the United Kingdom. It replaces an old one as a whole."""

    line1: Required[str]
    line2: str | None
    city: Required[str]
    county: str | None
    postcode: Required[str]
    accessNotes: str | None


class PatientOptional(WriteOptions, total=False):
    """What need not be known of a patient."""

    title: str | None
    sex: Literal["female", "male", "other", "unknown"] | None
    nhsNumber: str | None
    chi: str | None
    hsc: str | None
    externalRef: str | None
    note: str | None
    address: AddressInput | Address | None
    metadata: Metadata | None


class PatientInput(PatientOptional, total=False):
    """A new patient. `phone` is in E.164 form, `endUserId` who signs in to your front end."""

    firstName: Required[str]
    lastName: Required[str]
    phone: Required[str]
    email: Required[str]
    dateOfBirth: Required[Day]
    endUserId: str | None


class PatientChanges(PatientOptional, total=False):
    """What can be changed of a patient."""

    firstName: str
    lastName: str
    phone: str
    email: str
    dateOfBirth: Day


class PatientQuery(ListOptions, total=False):
    """What patients can be listed by. `endUserId` is the person signed in to your front end."""

    externalRef: str
    endUserId: str


class PatientSearch(PatientQuery, total=False):
    """What patients can be sought by: `name` by how its words begin, all else by equality."""

    name: str
    phone: str
    email: str
    dateOfBirth: Day
    nhsNumber: str
    chi: str
    hsc: str


# --- Where and when ------------------------------------------------------------------------------


class AvailabilityQuery(PageOptions, total=False):
    """A task, a place, and London days (both included) between which windows are wanted."""

    taskId: Required[str]
    postcode: Required[str]
    fromDate: Day
    toDate: Day


class CoverageQuery(Options, total=False):
    """A place to ask about and, perhaps, a task to be done there."""

    postcode: Required[str]
    taskId: str


# --- Appointments --------------------------------------------------------------------------------


class LocationInput(TypedDict):
    """Where an appointment takes place."""

    address: AddressInput | Address


class AppointmentInput(WriteOptions, Expand, total=False):
    """A new appointment. `phone` is whom to call about the visit, in E.164 form."""

    patientId: Required[str]
    taskId: Required[str]
    phone: Required[str]
    location: Required[LocationInput]
    windowId: str | None
    externalRef: str | None
    note: str | None
    documentIds: Sequence[str] | None
    planFrom: Day | None
    planTo: Day | None
    metadata: Metadata | None


class AppointmentChanges(WriteOptions, Expand, total=False):
    """What can be changed of an appointment while it stays in its window."""

    phone: str
    location: LocationInput
    externalRef: str | None
    note: str | None
    metadata: Metadata | None


class AppointmentQuery(ListOptions, Expand, total=False):
    """What appointments can be listed by."""

    patientId: str
    taskId: str
    endUserId: str
    status: Literal["scheduling", "scheduled", "in_progress", "completed", "cancelled", "failed"]
    externalRef: str


class Rescheduling(WriteOptions, Expand, total=False):
    """The window to move to."""

    windowId: Required[str]


class CancellationInput(WriteOptions, Expand, total=False):
    """Who cancels, and why: a `code` of the cancellation reasons."""

    cancellingEntity: Required[Literal["organisation", "patient"]]
    reasonCode: Required[str]
    note: str | None


# --- End users -----------------------------------------------------------------------------------


class EndUserTokenInput(WriteOptions, total=False):
    """Whose token is wanted."""

    endUserId: Required[str]


class FrontendEventInput(Options, total=False):
    """What happened in a front end: a word such as `step.booked`; of a timing how long it took."""

    event: Required[str]
    milliseconds: int


# --- Keys ----------------------------------------------------------------------------------------


class ApiKeyOptional(WriteOptions, total=False):
    """What a key may do, from where, and until when."""

    scopes: Mapping[str, Access] | None
    allowedCidrs: Sequence[str] | None
    origins: Sequence[str] | None
    expiresAt: Moment | None


class ApiKeyInput(ApiKeyOptional, total=False):
    """A new key. What is left out is as in the key that makes it."""

    name: Required[str]
    type: Literal["secret", "publishable"]


class ApiKeyChanges(ApiKeyOptional, total=False):
    """What can be changed of a key."""

    name: str


class RollInput(WriteOptions, total=False):
    """How long the old key stays valid beside the new one, 24 hours unless told."""

    overlap: Literal["0", "1h", "24h", "7d"]


# --- What was asked ------------------------------------------------------------------------------


class RequestQuery(ListOptions, total=False):
    """What requests can be listed by: `route` as the reference names it, `principal` a key's id.

    `idempotencyKey` is one that was sent, and not the hash of it that is shown.
    """

    status: int
    statusClass: Literal["4xx", "5xx"]
    code: str
    method: Literal["GET", "POST", "PATCH", "DELETE"]
    route: str
    principal: str
    idempotencyKey: str


class AuditQuery(ListOptions, total=False):
    """What audit events can be listed by. `principal` is the id of a key or of an end user."""

    patientId: str
    principal: str


# --- Usage ---------------------------------------------------------------------------------------


class UsageQuery(Options, total=False):
    """What to count, by what to group it, over which time and how finely.

    `period` is 1h, 6h, 24h, 7d, 30d or 90d until now, in place of `startAt` and `endAt`;
    `resolution` 1m, 5m, 15m, 1h or 1d.
    """

    metric: str
    by: str
    period: str
    startAt: Moment
    endAt: Moment
    resolution: str
    route: str
    status: int
    keyId: str
