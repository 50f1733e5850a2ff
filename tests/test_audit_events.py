"""The audit of patients' data: complete, and of nobody else's, held against what callers know.

Several keys and end users of two organisations make random requests of every route of patients and
appointments. Who touched whom follows from what each of them sent and got; the audit must say the
same of every patient, no more and no less, however badly the lines are carried to it.
"""

import random
import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

import pytest

from functions import discover
from shared.backends import UnavailableError
from shared.organisations import EndUserPermission
from tests.support.inprocess import InProcess
from tests.support.log_sink import LogSink
from tests.support.scale import SEED, examples
from tests.support.serving import PATIENT, REASON, Json, Partner
from tests.support.waiting import until

STEPS = examples(120)
"""Requests of each organisation, beside those that it begins with."""
PATIENT_ID = re.compile(r"p_[0-9A-Za-z]{22}")
VISIT_ID = re.compile(r"(?:apt|can)(_[0-9A-Za-z]{22})")
COVERED = {
    f"{route.method} {route.template}"
    for api in discover()
    for route in api.routes
    if api.name in ("patients", "appointments") and route.template != "/v1/cancellation_reasons"
}
"""The routes that show or change what belongs to patients."""


class Event(NamedTuple):
    """What the audit should say of a request, beside its patients."""

    request: str
    principal: str
    operation: str
    status: int
    code: str | None


@dataclass
class Ward:
    """An organisation whose callers make requests, and what they know of who touched whom."""

    callers: list[tuple[Partner, str]]
    """Each with the id of its principal; none where nobody but the audit knows it."""
    task: Json
    windows: list[Json]
    chance: random.Random
    patients: list[str] = field(default_factory=list)
    visits: dict[str, str] = field(default_factory=dict)
    """The patient of each appointment."""
    expected: dict[str, set[Event]] = field(default_factory=lambda: defaultdict(set))
    used: set[str] = field(default_factory=set)

    def ask(self, operation: str, path: str, **sent: Any) -> Json:
        """Make a request as somebody, and note whom it touched."""
        caller, principal = self.chance.choice(self.callers)
        method = operation.partition(" ")[0]
        for _ in range(2 if "headers" in sent and self.chance.random() < 0.5 else 1):
            answer = caller.send(method, path, **sent)
            assert answer.status_code in (200, 400, 402, 404), answer.text
            told: Json = answer.json()
            event = Event(
                answer.headers["Request-Id"],
                principal,
                operation,
                answer.status_code,
                told.get("error", {}).get("code"),
            )
            if answer.status_code == 200:
                self.learn(operation, told)
                touched = self.named(answer.text)
            elif answer.status_code == 402:  # the request is right: it is about who is there
                touched = self.named(path + str(sent.get("json", "")))
            else:
                touched = set()
            for patient in touched:
                self.expected[patient].add(event)
            self.used.add(operation)
        return told

    def learn(self, operation: str, told: Json) -> None:
        if operation == "POST /v1/patients":
            self.patients.append(told["id"])
        if operation == "POST /v1/appointments":
            self.visits[told["id"].partition("_")[2]] = told["patientId"]

    def named(self, text: str) -> set[str]:
        """Return the patients whom a text is about: by their ids, or by those of their visits."""
        visits = {self.visits[found[1][1:]] for found in VISIT_ID.finditer(text)}
        return visits | set(PATIENT_ID.findall(text))


def _once(ward: Ward) -> Json:
    keyed: Json = {"headers": {"Idempotency-Key": f"{ward.chance.random()}"}}
    return keyed if ward.chance.random() < 0.3 else {}


def _patient(ward: Ward) -> str:
    return ward.chance.choice(ward.patients)


def _visit(ward: Ward) -> str:
    return "apt_" + ward.chance.choice(list(ward.visits))


def _book(ward: Ward) -> None:
    window = ward.chance.choice(ward.windows)
    partner, _ = ward.callers[0]
    body = partner.request({"id": _patient(ward)}, ward.task, window)
    ward.ask("POST /v1/appointments", "/v1/appointments", json=body, **_once(ward))


def _on(operation: str, which: Callable[[Ward], str], **sent: Any) -> Callable[[Ward], Any]:
    """Return what asks for one object; a body makes it a write."""

    def act(ward: Ward) -> None:
        path = re.sub(r"\{\w+\}", lambda _: which(ward), operation.partition(" ")[2])
        ward.ask(operation, path, **sent, **(_once(ward) if "json" in sent else {}))

    return act


def _list(operation: str, **sent: Any) -> Callable[[Ward], Any]:
    return lambda ward: ward.ask(operation, operation.partition(" ")[2], **sent)


def _reschedule(ward: Ward) -> None:
    body = {"windowId": ward.chance.choice(ward.windows)["id"]}
    _on("POST /v1/appointments/{appointment}/reschedule", _visit, json=body)(ward)


def _of_one(ward: Ward) -> None:
    params = {"patientId": _patient(ward), "expand[]": "data.patient"}
    ward.ask("GET /v1/appointments", "/v1/appointments", params=params)


NOTE: Json = {"json": {"note": "x"}}
DEEDS: list[Callable[[Ward], Any]] = [
    lambda ward: ward.ask("POST /v1/patients", "/v1/patients", json=PATIENT, **_once(ward)),
    _list("GET /v1/patients", params={"limit": 3}),
    _list("POST /v1/patients/search", json={"name": "love", "limit": 3}),
    _on("GET /v1/patients/{patient}", _patient),
    _on("POST /v1/patients/{patient}", _patient, **NOTE),
    _on("PATCH /v1/patients/{patient}", _patient, **NOTE),
    _on("DELETE /v1/patients/{patient}", _patient),
    _book,
    _book,
    _book,
    _list("GET /v1/appointments", params={"limit": 3}),
    _of_one,
    _on("GET /v1/appointments/{appointment}", _visit, params={"expand[]": "patient"}),
    _on("POST /v1/appointments/{appointment}", _visit, **NOTE),
    _on("PATCH /v1/appointments/{appointment}", _visit, **NOTE),
    _reschedule,
    _on("POST /v1/appointments/{appointment}/cancel", _visit, json=REASON),
    _on("GET /v1/appointments/{appointment}/cancellation", _visit),
    _list("GET /v1/tasks"),
]


@pytest.fixture
def wards(partner: Partner, other: Partner, log_sink: LogSink | None) -> Iterator[list[Ward]]:
    """Two organisations, each with two keys and two end users; and lines that are carried badly."""
    print(f"seed {SEED}")
    if log_sink is not None:
        log_sink.chance = random.Random(SEED)
    yield [
        ward_of(each, random.Random(SEED + number)) for number, each in enumerate((partner, other))
    ]
    if log_sink is not None:
        log_sink.chance = None


def ward_of(partner: Partner, chance: random.Random) -> Ward:
    partner.patch_organisation(endUserPermissions=list(get_args(EndUserPermission)))
    second = partner.with_key({"*": "write"})
    callers = [(each, each.api_key.id) for each in (partner, second)]
    for uid in ("ada", "grace"):
        end_user = partner.end_user(uid)
        answer = end_user.send("GET", "/v1/tasks")
        (line,) = (
            each
            for each in partner.lines()
            if each.get("requestId") == answer.headers["Request-Id"]
        )
        callers.append((end_user, line["principal"]))
    task = partner.task()
    ward = Ward(callers, task, partner.windows(task)[:4], chance)
    for _ in range(4):
        DEEDS[0](ward)
    while not ward.visits:
        _book(ward)
    return ward


def events(partner: Partner, **asked: Any) -> dict[str, set[Event]]:
    """Return what the audit has, by patient; a patient who is listed twice in one event fails."""
    found: dict[str, set[Event]] = defaultdict(set)
    for each in partner.everything("/v1/audit_events", limit=100, **asked):
        assert each["id"] == each["requestId"].replace("req_", "aud_")
        event = Event(
            each["requestId"],
            each["principal"]["id"],
            f"{each['operation']['method']} {each['operation']['route']}",
            each["result"]["status"],
            each["result"]["code"],
        )
        assert each["principal"]["kind"] == ("key" if event.principal[0] == "k" else "end_user")
        assert set(each["patients"]) <= set(each["objects"])
        for patient in each["patients"]:
            assert event not in found[patient]
            found[patient].add(event)
    return found


def test_the_audit_of_every_patient_is_what_callers_know_of_it(
    wards: list[Ward], log_sink: LogSink | None
) -> None:
    for _ in range(STEPS):
        for ward in wards:
            ward.chance.choice(DEEDS)(ward)
    for ward in wards:
        for deed in DEEDS:
            deed(ward)
        reader, principal = ward.callers[0]
        last = max(event.request for seen in ward.expected.values() for event in seen)
        until(
            lambda reader=reader, last=last: (
                reader.send(  # type: ignore[misc]  # bound here
                    "GET", f"/v1/requests/{last}"
                ).status_code
                == 200
            ),
            "the last request does not come to the log",
        )
        if log_sink is not None:
            until(log_sink.idle, "lines are never all folded")
        assert ward.used >= COVERED
        assert events(reader) == ward.expected
        for patient, expected in ward.expected.items():
            assert events(reader, patientId=patient)[patient] == expected
        own = {
            patient: {event for event in seen if event.principal == principal}
            for patient, seen in ward.expected.items()
        }
        assert events(reader, principal=principal) == {
            patient: seen for patient, seen in own.items() if seen
        }


def test_what_may_have_been_changed_is_told_where_nobody_knows(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    api.fail("commit", UnavailableError("no answer"))
    answer = api.send("POST", "/v1/patients", json=PATIENT)
    assert answer.status_code == 503
    (line,) = (
        each for each in partner.lines() if each.get("requestId") == answer.headers["Request-Id"]
    )
    (patient,) = line["objects"]
    assert PATIENT_ID.fullmatch(patient)
