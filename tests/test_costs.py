"""What each route costs: storage verbs and documents, counted and pinned."""

import re
from typing import Any

import pytest

from functions import discover
from shared.metering import Series
from shared.routes import PUBLIC
from shared.service import Service
from tests.support.inprocess import InProcess
from tests.support.serving import ADDRESS, PATIENT, POSTCODE, REASON, Json, Partner

PRICES: dict[str, dict[str, Any]] = {
    # documents of each get · documents of each query · documents written by each commit
    "GET /v1/organisations": {"queries": [1]},
    "GET /v1/organisations/{organisation}": {"gets": [1]},
    "GET /v1/tasks": {"queries": [4]},
    "GET /v1/tasks/{task}": {"gets": [1]},
    "POST /v1/patients": {"commits": [1]},
    "GET /v1/patients": {"queries": [3]},
    "GET /v1/patients/{patient}": {"gets": [1]},
    "POST /v1/patients/{patient}": {"gets": [1], "commits": [2]},
    "PATCH /v1/patients/{patient}": {"gets": [1], "commits": [2]},
    "DELETE /v1/patients/{patient}": {"gets": [1], "queries": [0], "commits": [2]},
    "GET /v1/coverage": {"gets": [2]},
    "GET /v1/availability": {"gets": [2], "queries": [1]},
    "POST /v1/appointments": {"gets": [4], "commits": [3]},
    "GET /v1/appointments": {"queries": [1]},
    "GET /v1/appointments/{appointment}": {"gets": [1]},
    "POST /v1/appointments/{appointment}/cancel": {"gets": [1, 2], "commits": [5]},
    "GET /v1/appointments/{appointment}/cancellation": {"gets": [1]},
    "POST /v1/appointments/{appointment}": {"gets": [1, 2], "commits": [2]},
    "PATCH /v1/appointments/{appointment}": {"gets": [1, 2], "commits": [2]},
    "POST /v1/appointments/{appointment}/reschedule": {"gets": [1, 5], "commits": [5]},
    "GET /v1/cancellation_reasons": {},
    "POST /v1/organisations/{organisation}": {"gets": [1], "commits": [2]},
    "PATCH /v1/organisations/{organisation}": {"gets": [1], "commits": [2]},
    "POST /v1/patients/search": {"queries": [2]},
    # Who changes keys is looked at anew.
    "POST /v1/api_keys": {"gets": [1], "commits": [1]},
    "GET /v1/api_keys": {"queries": [3]},
    "GET /v1/api_keys/{api_key}": {"gets": [1]},
    "POST /v1/api_keys/{api_key}": {"gets": [2], "commits": [2]},
    "PATCH /v1/api_keys/{api_key}": {"gets": [2], "commits": [2]},
    "POST /v1/api_keys/{api_key}/roll": {"gets": [2], "commits": [2]},
    "POST /v1/api_keys/{api_key}/revoke": {"gets": [2], "commits": [2]},
    "POST /v1/api_keys/{api_key}/reveal": {"gets": [2]},
    "POST /v1/end_users/{uid}/revoke": {"gets": [1], "commits": [2]},
    "POST /v1/test_helpers/end_user_tokens": {},
}
WITH_A_KEY: dict[str, dict[str, Any]] = {
    "POST /v1/patients": {"commits": [2]},
    "POST /v1/patients/{patient}": {"gets": [2], "commits": [3]},
    "PATCH /v1/patients/{patient}": {"gets": [2], "commits": [3]},
    "POST /v1/appointments": {"gets": [5], "commits": [4]},
    "POST /v1/appointments/{appointment}/cancel": {"gets": [2, 2], "commits": [6]},
    "POST /v1/appointments/{appointment}/reschedule": {"gets": [2, 5], "commits": [6]},
    "POST /v1/patients/search": {"queries": [2]},
    "POST /v1/api_keys": {"gets": [2], "commits": [2]},
    "POST /v1/api_keys/{api_key}/roll": {"gets": [3], "commits": [3]},
}


class Scene:
    """Objects for every route to be called on, and a watched storage under them."""

    def __init__(self, partner: Partner) -> None:
        partner = partner.administrator()
        self.api = InProcess(partner.backing, partner.key)
        self.partner = partner
        assert partner.tenant
        self.made_key = partner.with_key({"tasks": "read"}).api_key
        self.task = partner.task()
        window = next(each for each in partner.windows(self.task) if each["remaining"] > 2)
        self.booked = partner.book(window)
        partner.create_patient()
        self.open = partner.windows(self.task)[-1]
        self.cancelled = partner.book(window)
        partner.post(f"/v1/appointments/{self.cancelled['id']}/cancel", REASON)
        self.bodies: dict[str, Json] = {
            "POST /v1/patients": PATIENT,
            "POST /v1/patients/{patient}": {"note": "x"},
            "POST /v1/appointments": partner.request(
                {"id": self.booked["patientId"]}, self.task, self.open
            ),
            "POST /v1/appointments/{appointment}/cancel": REASON,
            "POST /v1/appointments/{appointment}/reschedule": {"windowId": self.open["id"]},
            "POST /v1/patients/search": {"name": "love", "limit": 1},
            "POST /v1/api_keys": {"name": "x"},
            "POST /v1/test_helpers/end_user_tokens": {"endUserId": "ada"},
            "POST /v1/organisations/{organisation}": {"displayName": "New Name"},
            "POST /v1/api_keys/{api_key}": {"name": "x"},
        }
        moved = {"location": {"address": ADDRESS}}
        self.bodies["POST /v1/appointments/{appointment}"] = moved
        for name, body in list(self.bodies.items()):
            self.bodies.setdefault(name.replace("POST", "PATCH"), body)
        self.queries: dict[str, Json] = {
            "GET /v1/patients": {"limit": 2},
            "GET /v1/availability": {
                "taskId": self.task["id"],
                "postcode": POSTCODE,
                "fromDate": window["startAt"][:10],
            },
            "GET /v1/coverage": {"taskId": self.task["id"], "postcode": POSTCODE},
            "GET /v1/appointments": {"status": "scheduled"},
        }

    def path(self, name: str) -> str:
        method, _, template = name.partition(" ")
        which = self.cancelled if template.endswith("/cancellation") else self.booked
        free = self.cancelled["patientId"] if method == "DELETE" else self.booked["patientId"]
        ids = {
            "{organisation}": self.partner.organisation.id,
            "{task}": self.task["id"],
            "{patient}": free,
            "{appointment}": which["id"],
            "{api_key}": self.made_key.id,
            "{uid}": "ada",
        }
        return re.sub(r"\{\w+\}", lambda found: str(ids[found[0]]), template)

    def cost(self, name: str, **headers: str) -> dict[str, Any]:
        """Call a route once and return what it cost."""
        method, _, _ = name.partition(" ")
        self.api.call("GET", "/v1/organisations")  # the key is known from here on
        watched = self.api.watched
        watched.forget()
        answer = self.api.send(
            method,
            self.path(name),
            params=self.queries.get(name),
            json=self.bodies.get(name),
            headers=headers,
        )
        if "tokens_not_issued_here" not in answer.text:  # which only the local backend does not say
            assert answer.status_code == 200, answer.text
        counted = {
            "gets": list(watched.gets),
            "queries": [documents for _, documents in watched.queries],
            "commits": list(watched.commits),
        }
        return {verb: numbers for verb, numbers in counted.items() if numbers}


def test_every_route_has_its_price_here() -> None:
    found = {
        f"{route.method} {route.template}"
        for api in discover()
        for route in api.routes
        if route.permission != PUBLIC  # no store is at hand there
    }
    assert set(PRICES) == found


@pytest.mark.parametrize("name", PRICES)
def test_a_route_costs_what_is_pinned(partner: Partner, name: str) -> None:
    assert Scene(partner).cost(name) == PRICES[name]


@pytest.mark.parametrize("name", WITH_A_KEY)
def test_with_an_idempotency_key_a_route_costs_one_document_more(
    partner: Partner, name: str
) -> None:
    assert Scene(partner).cost(name, **{"Idempotency-Key": "k"}) == WITH_A_KEY[name]


def test_authentication_costs_nothing_in_the_steady_state(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    for _ in range(20):
        api.call("GET", "/v1/organisations")
    assert api.secrets.reads == 1
    assert api.watched.gets == [2]  # the key's document and its organisation's, once
    assert api.watched.commits == [2]  # that the key is in use, and the mark of that commit


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

    async def mine(service: Service) -> dict[Series, tuple[int, bool]]:
        return {
            series: (totals.requests, totals.seconds > 0 and totals.bytes_out > 0)
            for series, totals in service.meter.totals.items()
            if series.organisation == partner.organisation.id
        }

    series = (partner.organisation.id, "test")
    key = partner.api_key.id
    assert partner.backing.run(mine) == {
        Series(*series, "/v1/patients", "POST", 200, "", key): (1, True),
        Series(*series, "/v1/patients/{patient}", "GET", 200, "", key): (3, True),
        Series(*series, "/v1/patients", "POST", 400, "parameter_missing", key): (1, True),
    }
