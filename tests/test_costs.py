"""What each route costs: what it asks of storage and how many bytes it moves, counted and pinned.

The numbers stand in infra/cost/operations.yaml, and `make cost` prices them.
"""

import re
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions import discover
from shared import clock, ids
from shared.appointments import Appointment
from shared.backends import Guard, Put
from shared.backends.metrics import METRICS
from shared.exchange import VERSION
from shared.folding import Folder, keep
from shared.jobs import SHARDS
from shared.limits import SLICE
from shared.metering import Series
from shared.patients import Patient
from shared.requests import KEPT, LoggedRequest, RequestLine
from shared.rollups import RollUp
from shared.scheduling import Window
from shared.service import Service
from shared.settings import SPACES
from tests.support.counted import Counted, count
from tests.support.inprocess import InProcess
from tests.support.processes import ROOT
from tests.support.serving import ADDRESS, PATIENT, POSTCODE, REASON, Backing, Json, Partner, Server
from tests.support.stored import check_unindexed, stored_bytes

DECLARED = yaml.safe_load((ROOT / "infra" / "cost" / "operations.yaml").read_text())
ROUTES: dict[str, dict[str, Any]] = DECLARED["routes"]
WITH_A_KEY: dict[str, dict[str, Any]] = DECLARED["with_a_key"]
LIVE: dict[str, dict[str, Any]] = DECLARED["live"]
CALLERS: dict[str, dict[str, Any]] = DECLARED["callers"]
LINES: dict[str, dict[str, Any]] = DECLARED["lines"]
WORKER: dict[str, dict[str, Any]] = DECLARED["worker"]
BYTES = ("answer", "line", "kept", "indexed", "passing")
"""What is declared to within a quarter; all else is exact."""
PREFLIGHT = "OPTIONS /v1/patients"
LOGS = ("GET /v1/audit_events", "GET /v1/requests", "GET /v1/usage")
"""Routes that tell of earlier requests."""
ORIGIN = "https://app.partner.example"
PAGE = 10
SERIES_OF_A_DAY = 120
"""What is counted of an organisation in a day: 30 routes, statuses and keys, in four metrics."""


class Scene:
    """Objects for every route to be called on, and a watched storage under them."""

    def __init__(self, partner: Partner) -> None:
        partner = partner.administrator()
        self.api = InProcess(partner.backing, partner.key)
        self.partner = partner
        assert partner.tenant
        partner.patch_organisation(frontEndOrigins=[ORIGIN])
        self.made_key = partner.with_key({"tasks": "read"}).api_key
        self.task = partner.task()
        window = next(each for each in partner.windows(self.task) if each["remaining"] > 2)
        self.booked = partner.book(window)
        self.open = partner.windows(self.task)[-1]
        self.cancelled = partner.book(window)
        partner.post(f"/v1/appointments/{self.cancelled['id']}/cancel", REASON)
        self.fill_pages()
        count(partner, [Counted(clock.now() - timedelta(minutes=20))])
        self.bodies: dict[str, Json] = {
            "POST /v1/patients": {**PATIENT, "address": ADDRESS},
            "POST /v1/patients/{patient}": {"note": "x"},
            "POST /v1/appointments": partner.request(
                {"id": self.booked["patientId"]}, self.task, self.open
            ),
            "POST /v1/appointments/{appointment}/cancel": REASON,
            "POST /v1/appointments/{appointment}/reschedule": {"windowId": self.open["id"]},
            "POST /v1/patients/search": {"name": "love"},
            "POST /v1/api_keys": {"name": "x"},
            "POST /v1/test_helpers/end_user_tokens": {"endUserId": "ada"},
            "POST /v1/frontend_events": {"event": "step.booked"},
            "POST /v1/organisations/{organisation}": {"displayName": "New Name"},
            "POST /v1/api_keys/{api_key}": {"name": "x"},
        }
        moved = {"location": {"address": ADDRESS}}
        self.bodies["POST /v1/appointments/{appointment}"] = moved
        for name, body in list(self.bodies.items()):
            self.bodies.setdefault(name.replace("POST", "PATCH"), body)
        self.queries: dict[str, Json] = {
            "GET /v1/availability": {
                "taskId": self.task["id"],
                "postcode": POSTCODE,
                "fromDate": window["startAt"][:10],
            },
            "GET /v1/coverage": {"taskId": self.task["id"], "postcode": POSTCODE},
            "GET /v1/appointments": {"status": "scheduled"},
        }

    def fill_pages(self) -> None:
        """Store so many more patients and appointments that a page of them is full."""
        at = clock.now()
        fields: Json = {**PATIENT, "address": ADDRESS}
        patients = [Patient.new(at=at, livemode=False, **fields) for _ in range(PAGE)]
        pattern = Appointment.model_validate(self.booked)
        appointments = [
            pattern.model_copy(update={"id": ids.mint(Appointment.prefix, at)}) for _ in range(PAGE)
        ]
        at = clock.now()
        self.request = LoggedRequest.of(line_of(self.partner, self.booked["patientId"], at))
        requests = [
            self.request.model_copy(update={"id": ids.mint("req", at)}) for _ in range(PAGE)
        ]
        made = [*patients, *appointments, self.request, *requests]
        self.partner.backing.keep("test", self.partner.organisation.id, made)

    def path(self, name: str) -> str:
        method, _, template = name.partition(" ")
        which = self.cancelled if template.endswith("/cancellation") else self.booked
        free = self.cancelled["patientId"] if method == "DELETE" else self.booked["patientId"]
        parts = {
            "{organisation}": self.partner.organisation.id,
            "{task}": self.task["id"],
            "{patient}": free,
            "{appointment}": which["id"],
            "{api_key}": self.made_key.id,
            "{uid}": "ada",
            "{request}": self.request.id,
            "{page}": "authentication",
            "{resource}": "patients",
            "{name}": "ally.css",
        }
        return re.sub(r"\{\w+\}", lambda found: str(parts[found[0]]), template)

    def cost(self, name: str, **headers: str) -> dict[str, Any]:
        """Call a route once and return what it cost."""
        method, _, _ = name.partition(" ")
        if name == PREFLIGHT:
            headers = {"Origin": ORIGIN, "Access-Control-Request-Method": "GET"}
        self.api.call("GET", "/v1/organisations")  # the key is known from here on
        self.api.watched.forget()
        self.api.metrics.forget()
        log = Path(self.partner.backing.environment["ALLY_LOG"])
        before = log.stat().st_size
        answer = self.api.send(
            method,
            self.path(name),
            params=self.queries.get(name),
            json=self.bodies.get(name),
            headers=headers,
        )
        if "tokens_not_issued_here" in answer.text:  # which only the local backend does not say
            return counted(self.api)
        assert answer.status_code == 200, answer.text
        moved = {"answer": len(answer.content), "line": log.stat().st_size - before}
        return counted(self.api) | moved


def line_of(partner: Partner, patient: str | None, at: datetime) -> RequestLine:
    """Return the line of a request that reads a patient, or touches none."""
    line = {
        "kind": "request",
        "time": clock.isoformat(at),
        "requestId": ids.mint("req", at),
        "organisation": partner.organisation.id,
        "mode": partner.mode,
        "principal": partner.api_key.id,
        "method": "GET",
        "route": "/v1/patients/{patient}",
        "status": 200,
        "code": "",
        "objects": [] if patient is None else [patient],
        "version": VERSION,
        "address": "203.0.113.7",
        "milliseconds": 12.345,
        "bytesIn": 0,
        "bytesOut": 400,
    }
    return RequestLine.model_validate(line)


def counted(api: InProcess) -> dict[str, Any]:
    """Return what was asked of storage since it was forgotten."""
    watched = api.watched
    puts = [write for write in watched.writes if isinstance(write, Put)]
    for put in puts:
        check_unindexed(put.key.collection)
    kept = [
        put
        for put in puts  # a window is stored once, for all who book it
        if put.version is None and put.expires is None and put.key.collection != Window.collection
    ]
    found = {
        "gets": list(watched.gets),
        "queries": [documents for _, documents in watched.queries],
        "commits": list(watched.commits),
        "guards": sum(isinstance(write, Guard) for write in watched.writes),
        "series": api.metrics.series,
        "expiring": sum(put.expires is not None for put in puts),
        "kept": sum(stored_bytes(put)[0] for put in kept),
        "indexed": sum(stored_bytes(put)[1] for put in kept),
    }
    return {name: number for name, number in found.items() if number}


def operations(numbers: dict[str, Any]) -> dict[str, Any]:
    """Return those of a route's numbers that are exact."""
    return {name: number for name, number in numbers.items() if name not in BYTES}


@pytest.fixture(scope="session")
def looked_at(backing: Backing, server: Server) -> Scene:
    """The scene of all routes that change nothing and do not tell of requests."""
    return Scene(backing.partner(server))


def test_every_route_has_its_price() -> None:
    found = {
        f"{route.method} {route.template}"
        for api in discover()
        if api.reachable
        for route in api.routes
    }
    assert set(ROUTES) == found | {PREFLIGHT}


@pytest.mark.parametrize("name", ROUTES)
def test_a_route_costs_what_is_pinned(
    backing: Backing, server: Server, looked_at: Scene, name: str
) -> None:
    alone = name in LOGS or not name.startswith(("GET ", "OPTIONS "))
    scene = Scene(backing.partner(server)) if alone else looked_at
    cost = scene.cost(name)
    assert operations(cost) == operations(ROUTES[name])
    for size in {*cost, "kept", "indexed"} & set(BYTES):
        assert cost.get(size, 0) == pytest.approx(ROUTES[name].get(size, 0), rel=0.25), size


@pytest.mark.parametrize("name", WITH_A_KEY)
def test_with_an_idempotency_key_a_route_costs_one_document_more(
    partner: Partner, name: str
) -> None:
    cost = Scene(partner).cost(name, **{"Idempotency-Key": "k"})
    assert operations(cost) == WITH_A_KEY[name]


def test_in_live_mode_a_search_reads_the_windows_of_its_page(partner: Partner) -> None:
    live = partner.live()
    # Windows are everybody's: these lie on a day of their own.
    windows = [live.live_window(days_ahead=15, hour=hour) for hour in range(1, PAGE + 2)]
    api = InProcess(live.backing, live.key)
    api.call("GET", "/v1/organisations")  # the key is known from here on
    api.watched.forget()
    first = windows[0].startAt.date().isoformat()
    params = {"taskId": live.task()["id"], "postcode": POSTCODE, "fromDate": first}
    api.call("GET", "/v1/availability", params=params)
    assert counted(api) == LIVE["GET /v1/availability"]


def test_authentication_costs_nothing_in_the_steady_state(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    for _ in range(20):
        api.call("GET", "/v1/tasks")
    api.watched.queries.clear()
    assert api.secrets.reads == CALLERS["key met"]["secrets"]
    assert counted(api) == CALLERS["key read"] | CALLERS["key noted"]


def test_an_end_user_is_read_like_a_key(partner: Partner) -> None:
    partner.patch_organisation(endUserPermissions=["tasks:read"])
    api = InProcess(partner.backing, partner.end_user("ada").key)
    api.call("GET", "/v1/tasks")  # whose the tenant is stays known
    api.elapsed += 11
    api.watched.forget()
    api.call("GET", "/v1/tasks")
    api.watched.queries.clear()
    assert counted(api) == CALLERS["end user read"]


def test_who_is_new_on_a_day_costs_a_merge_with_the_next_flush(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.end_user("ada").key)
    for _ in range(3):
        api.call("GET", "/v1/patients")
    api.watched.forget()

    async def flush(_: Service) -> None:
        await api.activity.flush(clock.now())

    partner.backing.run(flush)
    assert counted(api) == CALLERS["active"]


def test_a_slice_of_a_quota_is_one_read_and_one_commit(partner: Partner) -> None:
    quota = 40
    api = InProcess(partner.backing, partner.key, rate_test=quota, rate_window=3600)
    api.at = clock.now()
    for _ in range(int(quota * 0.05)):  # what an instance admits by itself
        api.call("GET", "/v1/tasks")
    api.watched.forget()
    for _ in range(int(quota * SLICE)):
        api.call("GET", "/v1/tasks")
    api.watched.queries.clear()
    assert counted(api) == CALLERS["slice"]


@pytest.mark.parametrize(
    ("name", "number", "patient"),
    [
        ("line", 1, None),
        ("line of a patient", 1, f"p_{'0' * 22}"),
        ("ten lines", 10, f"p_{'0' * 22}"),
    ],
)
def test_a_line_is_kept_as_one_document_for_thirty_days(
    partner: Partner, name: str, number: int, patient: str | None
) -> None:
    api = InProcess(partner.backing, partner.key)
    folder = Folder(api.watched, rate=number, patience=1)
    at = clock.now()
    made = (folder.copy(line_of(partner, patient, at)) for _ in range(number))
    copies = [copy for copy in made if copy is not None]
    partner.backing.run(lambda _: keep(api.watched, copies, "test"))
    cost = counted(api)
    passing = sum(sum(stored_bytes(copy)) for copy in copies)
    assert operations(cost) == operations(LINES[name])
    assert passing == pytest.approx(LINES[name]["passing"], rel=0.25)
    kept = sum(stored_bytes(copy)[0] for copy in copies)
    assert kept == pytest.approx(LINES[name]["kept"], rel=0.25)
    assert {copy.expires for copy in copies} == {at + KEPT}


def test_a_sweep_is_priced_as_a_read_for_each_shard() -> None:
    """Which is what tests/test_sweeps.py holds it to."""
    assert WORKER["sweep"] == {"queries": [0] * len(SPACES) * SHARDS}


def test_a_roll_up_costs_what_is_pinned_for_each_organisation_mode_and_day(
    partner: Partner,
) -> None:
    api = InProcess(partner.backing, partner.key)
    yesterday = clock.now().date() - timedelta(days=1)
    at = datetime.combine(yesterday, time(12), UTC)
    routes = [f"GET /v1/things{number}" for number in range(SERIES_OF_A_DAY // 4)]
    count(partner, [Counted(at, route=route) for route in routes])

    async def roll(_: Service) -> None:
        rolling = RollUp(api.metrics, api.watched, clock.now())
        start = datetime.combine(yesterday, time(), UTC)
        for metric in METRICS:
            await rolling.roll(partner.organisation.id, metric, start)

    for name in ("rolled up", "rolled up again"):
        api.watched.forget()
        api.metrics.forget()
        partner.backing.run(roll)
        assert operations(counted(api)) == CALLERS[name]


def test_a_page_costs_the_same_wherever_it_is(partner: Partner) -> None:
    made = [partner.create_patient()["id"] for _ in range(12)]
    api = InProcess(partner.backing, partner.key)
    api.call("GET", "/v1/organisations")  # the key is known from here on
    api.watched.forget()
    costs = set()
    for cursor in [{}, *({name: made[6]} for name in ("starting_after", "ending_before"))]:
        api.call("GET", "/v1/patients", params={"limit": 3, **cursor})
        costs.add((len(api.watched.gets), *(number for _, number in api.watched.queries)))
        api.watched.forget()
    assert costs == {(0, 4)}


def test_usage_is_counted_by_bounded_words(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    patient = api.call("POST", "/v1/patients", json=PATIENT)
    for _ in range(3):
        api.call("GET", f"/v1/patients/{patient['id']}")
    api.call("POST", "/v1/patients", 400, json={})

    found = {
        Series(*labels): (tally.count, tally.total > 0 and tally.bytes_out > 0)
        for (_, labels), tally in api.meter._counted.items()
    }

    def series(method: str, route: str, status: str, code: str = "") -> Series:
        mine = (partner.organisation.id, "test")
        return Series(*mine, method, route, status, code, partner.api_key.id, VERSION)

    assert found == {
        series("POST", "/v1/patients", "200"): (1, True),
        series("GET", "/v1/patients/{patient}", "200"): (3, True),
        series("POST", "/v1/patients", "400", "parameter_missing"): (1, True),
    }
