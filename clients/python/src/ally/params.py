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

    `key` replaces the client's key, `timeout` (seconds) and `max_retries` its settings. `expand`
    names what is to be shown in full: `["patient"]`, in a list `["data.patient"]`.
    """

    key: str
    timeout: float
    max_retries: int
    expand: Sequence[str]


class WriteOptions(Options, total=False):
    """What a request that changes something can be told too.

    `idempotency_key` is made up for each request unless it is given.
    """

    idempotency_key: str


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


class MessagingFields(TypedDict, total=False):
    """How patients are written to: whom they can ask, and how a message ends."""

    supportPhone: str | None
    supportEmail: str | None
    signature: str | None


class OrganisationChanges(WriteOptions, total=False):
    """What can be changed of an organisation."""

    displayName: str
    messaging: MessagingFields | None


# --- Patients ------------------------------------------------------------------------------------


class AddressFields(TypedDict, total=False):
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
    address: AddressFields | Address | None
    metadata: Metadata | None


class PatientFields(PatientOptional, total=False):
    """A new patient. `phone` is in E.164 form."""

    firstName: Required[str]
    lastName: Required[str]
    phone: Required[str]
    email: Required[str]
    dateOfBirth: Required[Day]


class PatientChanges(PatientOptional, total=False):
    """What can be changed of a patient."""

    firstName: str
    lastName: str
    phone: str
    email: str
    dateOfBirth: Day


class PatientQuery(ListOptions, total=False):
    """What patients can be listed by."""

    externalRef: str


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


class LocationFields(TypedDict):
    """Where an appointment takes place."""

    address: AddressFields | Address


class AppointmentFields(WriteOptions, total=False):
    """A new appointment. `phone` is whom to call about the visit, in E.164 form."""

    patientId: Required[str]
    taskId: Required[str]
    phone: Required[str]
    location: Required[LocationFields]
    windowId: str | None
    externalRef: str | None
    note: str | None
    documentIds: Sequence[str] | None
    planFrom: Day | None
    planTo: Day | None
    metadata: Metadata | None


class AppointmentChanges(WriteOptions, total=False):
    """What can be changed of an appointment while it stays in its window."""

    phone: str
    location: LocationFields
    externalRef: str | None
    note: str | None
    metadata: Metadata | None


class AppointmentQuery(ListOptions, total=False):
    """What appointments can be listed by."""

    patientId: str
    status: Literal["scheduling", "scheduled", "in_progress", "completed", "cancelled", "failed"]
    externalRef: str


class Rescheduling(WriteOptions):
    """The window to move to."""

    windowId: str


class CancellationFields(WriteOptions, total=False):
    """Who cancels, and why: a `code` of the cancellation reasons."""

    cancellingEntity: Required[Literal["organisation", "patient"]]
    reasonCode: Required[str]
    note: str | None


# --- Keys ----------------------------------------------------------------------------------------


class ApiKeyOptional(WriteOptions, total=False):
    """What a key may do, from where, and until when."""

    scopes: Mapping[str, Access] | None
    allowedCidrs: Sequence[str] | None
    origins: Sequence[str] | None
    expiresAt: Moment | None


class ApiKeyFields(ApiKeyOptional, total=False):
    """A new key. What is left out is as in the key that makes it."""

    name: Required[str]
    type: Literal["secret", "publishable"]


class ApiKeyChanges(ApiKeyOptional, total=False):
    """What can be changed of a key."""

    name: str


class RollFields(WriteOptions, total=False):
    """How long the old key stays valid beside the new one, 24 hours unless told."""

    overlap: Literal["0", "1h", "24h", "7d"]
