"""Patients: the people who receive care."""

from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Annotated, ClassVar, Literal

from shared.backends import TERMS, Condition
from shared.errors import ApiError, invalid
from shared.fields import (
    Birthday,
    ChiNumber,
    Day,
    Email,
    EndUserId,
    Findable,
    HscNumber,
    Line,
    Metadata,
    MetadataChanges,
    Moment,
    Name,
    NhsNumber,
    Note,
    Phone,
    Postcode,
    known,
)
from shared.filters import Filterable
from shared.forms import wrong
from shared.models import PATIENT, Model, Resource
from shared.pages import ListQuery
from shared.store import Store
from shared.words import beginnings, normalise

Sex = Literal["female", "male", "other", "unknown"]


class Address(Model):
    """A place in the United Kingdom."""

    # As it is kept: what was checked once is only loaded.
    line1: str
    """The house and the street."""
    line2: str | None = None
    """The flat, the building, the estate."""
    city: str
    """The town or city."""
    county: str | None = None
    """The county."""
    postcode: str
    """Decides whether Ally can come, and in which windows."""
    accessNotes: str | None = None
    """What helps the practitioner to find the door."""


class AddressIn(Address):
    """A place in the United Kingdom."""

    line1: Line
    line2: Line | None = None
    city: Line
    county: Line | None = None
    postcode: Postcode
    accessNotes: Note | None = None


class PatientChanges(Model):
    """What can be changed of a patient."""

    firstName: Name
    """The first name."""
    lastName: Name
    """The last name."""
    phone: Phone
    """Where the patient is called and gets messages."""
    email: Email
    """Where the patient gets e-mail."""
    dateOfBirth: Birthday
    """The day of birth."""
    title: Line | None = None
    """How the patient is addressed, such as `Ms` or `Dr`."""
    sex: Sex | None = None
    """The administrative gender, in the words of FHIR."""
    nhsNumber: NhsNumber | None = None
    """The NHS number of England, Wales and the Isle of Man."""
    chi: ChiNumber | None = None
    """The CHI number of Scotland."""
    hsc: HscNumber | None = None
    """The Health and Care number of Northern Ireland."""
    externalRef: Line | None = None
    """Your own reference; it need not be unique. Lists can be filtered by it."""
    note: Note | None = None
    """What the practitioner should know; it is shown to them."""
    address: AddressIn | None = None
    """Where the patient lives."""
    metadata: MetadataChanges | None = None
    """Your own facts, texts by name."""


class PatientIn(PatientChanges):
    """What is known of a new patient."""

    endUserId: EndUserId | None = None
    """The end user of your front end whose patient it is, for ever: they see the patient and the
    patient's appointments. Where an end user calls, it is they."""


class PatientQuery(ListQuery):
    """Patients with one reference of the partner's, or of one end user."""

    externalRef: Line | None = None
    """Only those with this reference of yours."""
    endUserId: EndUserId | None = None
    """Only those of this end user."""

    filterable: ClassVar[Mapping[str, Filterable]] = {
        **ListQuery.filterable,
        "externalRef": Filterable("externalRef", "exact"),
        "name": Filterable(TERMS, "words", personal=True),
    }


class PatientSearch(PatientQuery):
    """What patients are sought by: `name` by how its words begin, all else by equality."""

    name: Findable | None = None
    """How the name begins, from any of its words on: `love` and `ada lov` find Ada Lovelace."""
    phone: Phone | None = None
    """Only those with this phone number."""
    email: Email | None = None
    """Only those with this e-mail address."""
    dateOfBirth: Day | None = None
    """Only those born on this day."""
    nhsNumber: NhsNumber | None = None
    """Only the one with this NHS number."""
    chi: ChiNumber | None = None
    """Only the one with this CHI number."""
    hsc: HscNumber | None = None
    """Only the one with this Health and Care number."""

    personal: ClassVar[bool] = True

    def equalities(self) -> list[Condition]:
        """Return what the fields ask for; the name is sought by the beginnings of its words."""
        return [
            (TERMS, "contains", normalise(value)) if field == "name" else (field, operator, value)
            for field, operator, value in super().equalities()
        ]


class Booking(Model):
    """The time that one appointment takes of a patient."""

    startAt: Moment
    endAt: Moment


class Patient(Resource):
    """A person who receives care."""

    collection: ClassVar[str] = "patients"
    prefix: ClassVar[str] = PATIENT
    owned: ClassVar[bool] = True
    private: ClassVar[set[str]] = {"bookings"}

    object: str = "patient"
    endUserId: str | None = None
    firstName: str
    lastName: str
    phone: str
    email: str
    dateOfBirth: date
    title: str | None = None
    sex: Annotated[str, known(Sex)] | None = None
    nhsNumber: str | None = None
    chi: str | None = None
    hsc: str | None = None
    externalRef: str | None = None
    note: str | None = None
    address: Address | None = None
    metadata: Metadata = {}
    bookings: dict[str, Booking] = {}
    """The times of the appointments to come, by appointment. They lie in the patient's own
    document, so that two appointments can never overlap and a patient who is expected somewhere
    cannot be deleted: each of these is decided by one version of one document."""

    @classmethod
    def of(cls, store: Store, request: PatientIn) -> "Patient":
        """Make a patient: of the end user who calls, or of the one whom the partner names."""
        theirs = request.endUserId if store.end_user is None else store.end_user
        if request.endUserId not in (None, theirs):
            raise invalid([wrong("endUserId", "must be your own, or left out")])
        fields = {**request.model_dump(), "endUserId": theirs}
        return cls.new(at=store.now, livemode=store.livemode, **fields)

    def terms(self) -> Sequence[str]:
        """Return everything that the name is found by."""
        return beginnings(f"{self.firstName} {self.lastName}")

    def concerns(self) -> Sequence[str]:
        """Return the patient's own id."""
        return (self.id,)

    def book(self, appointment_id: str, start: datetime, end: datetime, now: datetime) -> "Patient":
        """Return the patient with an appointment at a time, or refuse because another takes it."""
        coming = self._coming(now)
        for other, booking in coming.items():
            if other != appointment_id and booking.startAt < end and start < booking.endAt:
                raise ApiError("appointment_overlaps", param="windowId", id=other)
        bookings = {**coming, appointment_id: Booking(startAt=start, endAt=end)}
        return self.model_copy(update={"bookings": bookings})

    def release(self, appointment_id: str) -> "Patient":
        """Return the patient without the booking of an appointment."""
        bookings = {key: kept for key, kept in self.bookings.items() if key != appointment_id}
        return self.model_copy(update={"bookings": bookings})

    def check_deletable(self, now: datetime) -> None:
        """Refuse while the patient is expected somewhere."""
        for appointment_id in self._coming(now):
            raise ApiError("patient_has_appointments", id=appointment_id)

    def _coming(self, now: datetime) -> dict[str, Booking]:
        """Return what is to come, the soonest first: a store need not keep the order of a map."""
        soonest = sorted(self.bookings.items(), key=lambda item: (item[1].startAt, item[0]))
        return {key: booking for key, booking in soonest if booking.endAt > now}


async def erase(store: Store, patient_id: str) -> Patient:
    """Stage the deletion of a patient who has no appointment to come, and of what names them.

    What is remembered of requests that named the patient, for retries, is deleted too.
    """
    found = await store.get(Patient, patient_id)
    found.check_deletable(store.now)
    await store.forget(found.id)
    store.delete(found)
    return found
