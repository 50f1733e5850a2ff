"""Requests as their partner sees them afterwards: what was asked, and what became of it.

The line in the log is the record (shared/audit.py). What is kept here is a copy of it that can be
queried, for 30 days; shared/folding.py makes it. The audit is another view of the same copies: of
those that showed or changed what belongs to a patient. docs/decisions/0022.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field

from shared import ids
from shared.auth import Keyring
from shared.backends import TERMS, Condition
from shared.errors import invalid
from shared.fields import Line, Shape, Timestamp, Whole, known
from shared.filters import Filterable
from shared.forms import wrong
from shared.models import PATIENT, Model, Resource
from shared.pages import ListQuery, Page
from shared.settings import Mode
from shared.store import Ref, Store

KEPT = timedelta(days=30)
"""How long a request can be found; the line in the log is kept for longer."""
AUDITED = "patients"
"""What every request is found by that touched a patient, beside the patient's id."""

OF_API = "api"
"""What every request is found by that was not made in the dashboard."""
FEW = 10
"""The objects of a request by each of which it is found; one that touched more, by its patients."""

PRINCIPALS: Mapping[str, str] = {"key": "key", "eu": "endUser", "usr": "user"}
"""The member of a request that names its principal, by what the principal's id begins with."""

Method = Literal["GET", "POST", "PATCH", "DELETE"]
PrincipalKind = Literal["key", "end_user", "user"]
StatusClass = Literal["4xx", "5xx"]


def unquoted(key: str) -> str:
    """Return an Idempotency-Key without the quotes in which some send it."""
    return key[1:-1] if len(key) > 1 and key[0] == key[-1] == '"' else key


def hashed_key(keyring: Keyring, organisation: str, mode: Mode, key: str) -> str:
    """Return what is kept of an Idempotency-Key: a hash, another in each organisation and mode."""
    return keyring.hash(f"{organisation} {mode} {key}")[:16]


def is_patient(object_id: str) -> bool:
    """Tell whether an id is that of a patient."""
    return object_id.startswith(f"{PATIENT}_")


class LoggedRequest(Resource):
    """A request that was made with a key of yours, by an end user, or in the dashboard.

    Who calls is asked once a route is found: what was sent to none is in no log.

    Nothing of its body, its query or its answer is kept but the ids of objects.
    """

    collection: ClassVar[str] = "requests"
    prefix: ClassVar[str] = "req"
    traced: ClassVar[bool] = False

    object: str = "request"
    method: Annotated[str, known(Method)]
    """How the route was called."""
    route: Annotated[str, Shape(examples=["/v1/patients/{patient}"])]
    """The path as the reference names it."""
    status: Annotated[int, Shape(examples=[402])]
    """The status of the answer."""
    code: Annotated[str, Shape(examples=["window_unavailable"])] | None = None
    """The code of the error, if it was one."""
    key: str | None = None
    """The id of the key that called; null where somebody else did."""
    endUser: Annotated[str, Shape(examples=["eu_0f1e2d3c4b5a69788796a5b4"])] | None = None
    """The id of the end user who called; null where somebody else did."""
    user: Annotated[str, Shape(examples=["usr_1gCqyaC2m0Qb3dE5gH7jK9"])] | None = None
    """The id of the user who did it in the dashboard; null where somebody else called."""
    address: Annotated[str, Shape(examples=["203.0.113.7"])] | None = None
    """The IP address of your server; null where somebody else called."""
    version: Annotated[str, Shape(examples=["2026-11-22"])]
    """The version of the API that answered."""
    idempotencyKey: Annotated[str, Shape(examples=["9f86d081884c7d65"])] | None = None
    """A hash of the Idempotency-Key, the same for the same key; null where none was sent."""
    milliseconds: Annotated[float, Shape(examples=[12.5])]
    """How long we took to answer."""
    bytesIn: Annotated[int, Shape(examples=[180])]
    """The size of the body that was sent, in bytes."""
    bytesOut: Annotated[int, Shape(examples=[400])]
    """The size of the body of the answer, in bytes."""
    objects: Annotated[list[str], Shape(examples=[["p_1gCqyaC2m0Qb3dE5gH7jK9"]])] = []
    """The ids of the objects that were shown or changed, and of their patients."""

    @classmethod
    def of(cls, line: "RequestLine") -> Self:
        """Make the copy of a line."""
        told = {name: None if value == "" else value for name, value in line}
        return cls.model_validate(
            {
                **told,
                "id": line.requestId,
                "livemode": line.mode == "live",
                "createdAt": line.time,
                "updatedAt": line.time,
                _whose(line.principal): line.principal,
            }
        )

    @property
    def principal(self) -> tuple[PrincipalKind, str | None]:
        """Who called: what they are, and their id."""
        if self.key is not None:
            return "key", self.key
        return ("end_user", self.endUser) if self.endUser is not None else ("user", self.user)

    @property
    def patients(self) -> list[str]:
        """The patients whose data was shown or changed."""
        return [each for each in self.objects if is_patient(each)]

    @property
    def expires(self) -> datetime:
        """The moment from which on the request is not found any more."""
        return ids.split(self.id)[0] + KEPT

    def terms(self) -> Sequence[str]:
        """Return what it is found by: failure, how it came, what it touched, its key's hash."""
        failed = [f"{self.status // 100}xx"] if self.status >= 400 else []
        by_api = [OF_API, *(f"{OF_API} {each}" for each in failed)] if self.user is None else []
        patients = self.patients
        touched = self.objects if len(self.objects) <= FEW else patients
        retried = [self.idempotencyKey] if self.idempotencyKey else []
        return [*failed, *by_api, *([AUDITED] if patients else []), *touched, *retried]


class RequestLine(Model):
    """The line of a request whose caller is known, as the door writes it (shared/exchange.py)."""

    kind: Literal["request"]
    time: Timestamp
    requestId: Annotated[str, Field(pattern=r"^req_[0-9A-Za-z]{22}$")]
    organisation: Annotated[str, Field(pattern=r"^org_[0-9A-Za-z]{22}$")]
    mode: Mode
    principal: Annotated[str, Field(pattern=r"^(key|eu|usr)_[0-9A-Za-z]+$")]
    method: Annotated[str, Field(pattern="^[A-Z]+$")]
    route: Annotated[str, Field(pattern="^/")]
    status: int
    code: str
    objects: list[str]
    version: str
    address: str | None = None
    page: bool = False
    """Whether a page called, with a publishable key."""
    idempotencyKey: str | None = None
    milliseconds: float
    bytesIn: int
    bytesOut: int


class RequestQuery(ListQuery):
    """Requests of one kind, of one caller, or that ended in one way."""

    status: Annotated[Whole, Field(ge=100, le=599), Shape(examples=[402])] | None = None
    """Only those that were answered with this status."""
    statusClass: StatusClass | None = None
    """Only those that were refused (`4xx`), or that failed (`5xx`)."""
    code: Line | None = None
    """Only those that were refused with this code."""
    method: Method | None = None
    """Only those with this method."""
    route: Annotated[Line, Shape(examples=["/v1/patients/{patient}"])] | None = None
    """Only those to this route, such as `/v1/patients/{patient}`."""
    principal: Line | None = None
    """Only those with this key, or of this end user or user: its id."""
    idempotencyKey: Line | None = None
    """Only those with this `Idempotency-Key`, as you sent it. Not together with `statusClass`."""

    sought: ClassVar[Sequence[str]] = ("idempotencyKey", "statusClass")
    """The fields that are sought as terms."""
    filterable: ClassVar[Mapping[str, Filterable]] = {
        **ListQuery.filterable,
        **{
            name: Filterable(name, "exact")
            for name in ("code", "method", "route", *PRINCIPALS.values())
        },
    }

    def hashed(self, keyring: Keyring, store: Store) -> Self:
        """Return the query as a store is asked: with the hash of its Idempotency-Key."""
        if self.idempotencyKey is None:
            return self
        key = unquoted(self.idempotencyKey)
        kept = hashed_key(keyring, store.organisation, store.mode, key)
        return self.model_copy(update={"idempotencyKey": kept})

    def equalities(self) -> list[Condition]:
        """Return what the fields ask for. Some are terms, of which a store seeks one at a time."""
        found = {field: value for field, _, value in super().equalities()}
        asked = _by(found.pop("principal", None))
        terms = {name: found.pop(name) for name in self.sought if name in found}
        if len(terms) > 1:
            one, other = list(terms)[:2]
            raise invalid([wrong(other, f"cannot be chosen together with {one}")])
        asked += [(TERMS, "contains", term) for term in terms.values()]
        return [*asked, *((field, "==", value) for field, value in found.items())]


class Principal(Model):
    """Somebody with a key, an end user of your front end, or a user of the dashboard."""

    id: Annotated[str, Shape(examples=["key_8DnxlVlj6aB3dE5gH7jK9m"])]
    """The id of the key, of the end user, or of the user."""
    kind: Annotated[str, known(PrincipalKind)]
    """What the principal is."""


class Operation(Model):
    """A route, and how it was called."""

    method: Annotated[str, known(Method)]
    """How the route was called."""
    route: Annotated[str, Shape(examples=["/v1/patients/{patient}"])]
    """The path as the reference names it."""


class Result(Model):
    """How the request was answered."""

    status: Annotated[int, Shape(examples=[200])]
    """The status of the answer."""
    code: Annotated[str, Shape(examples=["appointment_overlaps"])] | None
    """The code of the error, if it was one."""


class AuditEvent(Resource):
    """A request that showed or changed what belongs to patients: who did what to whom, and when."""

    prefix: ClassVar[str] = "aud"
    traced: ClassVar[bool] = False

    object: str = "audit_event"
    principal: Principal
    """Who did it."""
    operation: Operation
    """What was done."""
    patients: Annotated[list[str], Shape(examples=[["p_1gCqyaC2m0Qb3dE5gH7jK9"]])]
    """The patients whose data was shown or changed."""
    objects: Annotated[list[str], Shape(examples=[["apt_1gCqyaC2m0Qb3dE5gH7jK9"]])]
    """The ids of all objects that were shown or changed."""
    result: Result
    """What became of it."""
    requestId: Annotated[str, Shape(examples=["req_1gCqyaC2m0Qb3dE5gH7jK9"])]
    """The request, as GET /v1/requests/{request} shows it."""

    @classmethod
    def of(cls, request: LoggedRequest) -> Self:
        """Make the event that a request is."""
        kind, principal = request.principal
        return cls.model_validate(
            {
                "id": _renamed(request.id, cls.prefix),
                "livemode": request.livemode,
                "createdAt": request.createdAt,
                "updatedAt": request.updatedAt,
                "principal": {"id": principal, "kind": kind},
                "operation": {"method": request.method, "route": request.route},
                "patients": request.patients,
                "objects": request.objects,
                "result": {"status": request.status, "code": request.code},
                "requestId": request.id,
            }
        )


class AuditQuery(ListQuery):
    """Events of one patient, or of one who did it."""

    patientId: Annotated[str, Shape(pattern=ids.pattern(PATIENT))] | None = None
    """Only those that concern this patient, who may have been deleted since."""
    principal: Line | None = None
    """Only what was done with this key, or by this end user or user: its id."""

    def equalities(self) -> list[Condition]:
        """Return what an event must be: its request touched the patient, or any."""
        return [(TERMS, "contains", self._patient()), *_by(self.principal)]

    def _patient(self) -> str:
        if self.patientId is None:
            return AUDITED
        if not ids.is_id(PATIENT, self.patientId):
            raise invalid([wrong("patientId", f"must be the id of a patient, such as {PATIENT}_…")])
        return self.patientId


async def find_request(store: Store, request_id: str) -> LoggedRequest:
    """Return a request, or refuse with 404: after its time there is none."""
    wanted = Ref(LoggedRequest, request_id)
    (found,) = await store.find(wanted)
    return store.required(None if found is None or found.expires <= store.now else found, wanted)


async def list_requests(store: Store, query: ListQuery) -> Page[LoggedRequest]:
    """Return a page of requests, none of which is past its time."""
    oldest = ids.place(LoggedRequest.prefix, store.now - KEPT, ids.LAST_TAIL)
    where = query.conditions(LoggedRequest.prefix, livemode=store.livemode)
    return await store.page(LoggedRequest, query, [*where, ("id", ">", oldest)])


async def audit_events(store: Store, query: AuditQuery) -> Page[AuditEvent]:
    """Return a page of events; their ids are those of requests with another prefix."""
    cursor = query.cursor(AuditEvent.prefix)
    request = None if cursor is None else _renamed(cursor, LoggedRequest.prefix)
    name = "ending_before" if query.backwards else "starting_after"
    page = await list_requests(store, query.model_copy(update={name: request}))
    return Page([AuditEvent.of(each) for each in page.data], page.has_more)


def _whose(principal: str) -> str:
    """Return the member of a request that names a principal."""
    return PRINCIPALS.get(principal.partition("_")[0], "key")


def _by(principal: str | None) -> list[Condition]:
    """Return what a request must be to be a principal's."""
    return [] if principal is None else [(_whose(principal), "==", principal)]


def _renamed(object_id: str, prefix: str) -> str:
    """Return an id with another prefix."""
    return f"{prefix}_{object_id.partition('_')[2]}"
