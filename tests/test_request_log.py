"""The request log: what a partner sees of its requests afterwards, on both backends."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from ally import Ally, InvalidRequestError
from shared import clock, ids
from shared.following import EVERY_AFTER_TROUBLE
from shared.requests import KEPT
from tests.support.client import client_of
from tests.support.inprocess import InProcess
from tests.support.log_sink import push_of
from tests.support.scale import SEED, examples
from tests.support.serving import PATIENT, Json, Partner
from tests.support.waiting import until
from tests.test_folding import line_of
from tests.test_frontend_events import Page

pytestmark = pytest.mark.usefixtures("log_sink")


def logged(partner: Partner, request_id: str) -> Json:
    """Return a request of the log, once it is there."""
    path = f"/v1/requests/{request_id}"
    until(lambda: partner.send("GET", path).status_code == 200)
    return partner.get(path)


def test_a_request_comes_to_the_log_by_itself(partner: Partner) -> None:
    assert EVERY_AFTER_TROUBLE < 10  # seconds, within which it is promised
    sent = partner.send("POST", "/v1/patients", json=PATIENT, headers={"Idempotency-Key": "k"})
    found = logged(partner, sent.headers["Request-Id"])
    told = {"idempotencyKey": found["idempotencyKey"], "milliseconds": found["milliseconds"]}
    made = ids.split(found["id"])[0]
    assert len(told["idempotencyKey"]) == 16
    assert told["milliseconds"] > 0
    assert found == told | {
        "id": sent.headers["Request-Id"],
        "object": "request",
        "livemode": False,
        "createdAt": clock.isoformat(made),
        "updatedAt": clock.isoformat(made),
        "method": "POST",
        "route": "/v1/patients",
        "status": 200,
        "code": None,
        "key": partner.api_key.id,
        "endUser": None,
        "user": None,
        "address": "127.0.0.1",
        "version": sent.headers["Ally-Version"],
        "bytesIn": len(sent.request.content),
        "bytesOut": len(sent.content),
        "objects": [sent.json()["id"]],
    }


def test_requests_are_found_by_their_idempotency_key_of_which_only_a_hash_is_kept(
    partner: Partner, other: Partner
) -> None:
    key = "retry of A-17 & more"
    found = []
    for caller, sent in ((partner, key), (partner, f'"{key}"'), (partner, "l"), (other, key)):
        headers = {"Idempotency-Key": sent}
        answer = caller.send("POST", "/v1/patients", json=PATIENT, headers=headers)
        found.append(logged(caller, answer.headers["Request-Id"]))
    hashes = [each["idempotencyKey"] for each in found]
    assert hashes[0] == hashes[1]
    assert len(set(hashes)) == 3
    ids_of = [each["id"] for each in found]

    def listed(caller: Partner, **asked: str) -> list[str]:
        return [each["id"] for each in caller.get("/v1/requests", **asked)["data"]]

    for sent in (key, f'"{key}"'):
        assert listed(partner, idempotencyKey=sent) == [ids_of[1], ids_of[0]]
    assert listed(partner, idempotencyKey=key, method="GET") == []
    assert listed(partner, idempotencyKey=hashes[0]) == []
    assert listed(other, idempotencyKey=key) == [ids_of[3]]
    error = partner.get("/v1/requests", 400, idempotencyKey=key, statusClass="4xx")["error"]
    assert error["param"] == "statusClass"
    assert "A-17" not in str((partner.lines(), other.lines(), error))


def test_an_end_users_address_is_neither_in_the_log_nor_in_the_line(partner: Partner) -> None:
    partner.patch_organisation(endUserPermissions=["tasks:read"])
    sent = partner.end_user("ada").send("GET", "/v1/tasks")
    found = logged(partner, sent.headers["Request-Id"])
    assert (found["address"], found["key"]) == (None, None)
    assert found["endUser"].startswith("eu_")
    (line,) = (each for each in partner.lines() if each.get("requestId") == found["id"])
    assert "address" not in line
    assert "127.0.0.1" not in str(line)


def test_the_address_of_who_opens_a_page_is_not_in_the_line(partner: Partner) -> None:
    sent = Page(partner).send(address="203.0.113.7")
    (line,) = (
        each for each in partner.lines() if each.get("requestId") == sent.headers["Request-Id"]
    )
    assert (line["status"], line["organisation"]) == (200, partner.organisation.id)
    assert "address" not in line
    assert "203.0.113.7" not in str(line)


def test_an_end_user_reads_no_log(partner: Partner) -> None:
    partner.patch_organisation(endUserPermissions=["tasks:read", "patients:read"])
    end_user = partner.end_user("ada")
    for path in ("/v1/requests", "/v1/audit_events", f"/v1/requests/req_{'0' * 22}"):
        assert end_user.call("GET", path, 403)["error"]["code"] == "end_users_not_served"


def test_reading_the_log_touches_nobody_and_is_in_the_log_itself(partner: Partner) -> None:
    made = partner.send("POST", "/v1/patients", json=PATIENT)
    logged(partner, made.headers["Request-Id"])
    read = partner.send("GET", "/v1/requests")
    assert made.json()["id"] in read.text
    assert logged(partner, read.headers["Request-Id"])["objects"] == []
    audit = partner.send("GET", "/v1/audit_events")
    assert logged(partner, audit.headers["Request-Id"])["objects"] == []


# --- request_log_url -----------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["application/json", "application/problem+json"])
@pytest.mark.parametrize(
    ("status", "method", "path"),
    [
        (400, "POST", "/v1/patients"),
        (403, "GET", "/v1/api_keys"),
        (404, "GET", f"/v1/patients/p_{'0' * 22}"),
    ],
)
def test_an_error_leads_to_its_request_in_the_log(
    partner: Partner, status: int, method: str, path: str, form: str
) -> None:
    answer = partner.send(method, path, headers={"Accept": form})
    assert answer.status_code == status
    told = answer.json()
    url = httpx.URL(told.get("error", told)["request_log_url"])
    base = partner.backing.environment["ALLY_URL"]
    assert str(url) == f"{base}/v1/requests/{answer.headers['Request-Id']}"
    found = logged(partner, url.path.rpartition("/")[2])
    assert (found["status"], found["code"]) == (status, told.get("error", told)["code"])


@pytest.mark.parametrize(("path", "key"), [("/v1/patients", "test_no"), ("/v1/nothing", None)])
def test_where_nobody_known_called_there_is_no_log_to_lead_to(
    partner: Partner, path: str, key: str | None
) -> None:
    answer = partner.server.send("GET", path, key or partner.key)
    assert answer.status_code in (401, 404)
    assert "request_log_url" not in answer.json()["error"]


def test_the_python_client_leads_there_too(partner: Partner) -> None:
    with client_of(partner) as ally:
        wrong: Any = {**PATIENT, "firstName": "A"}
        with pytest.raises(InvalidRequestError) as caught:
            ally.patients.create(**wrong)
        url = str(caught.value.request_log_url)
        request_id = str(caught.value.request_id)
        assert url.endswith(f"/v1/requests/{request_id}")
        logged(partner, request_id)
        assert ally.requests.get(request_id).code == "parameter_invalid"
        check_client(ally, request_id)


def check_client(ally: Ally, request_id: str) -> None:
    """Hold what the client lists against what it gets."""
    (found,) = ally.requests.list(code="parameter_invalid").data
    assert found.id == request_id
    assert ally.audit_events.list(patientId=f"p_{'0' * 22}").data == []


# --- Finding -------------------------------------------------------------------------------------

ROUTES = (("GET", "/v1/tasks"), ("GET", "/v1/patients/{patient}"), ("POST", "/v1/patients"))
ENDS = (
    (200, ""),
    (400, "parameter_invalid"),
    (404, "resource_missing"),
    (503, "temporarily_unavailable"),
)
KEYS = ("key_" + "0" * 22, "key_" + "1" * 22, "eu_" + "0" * 24)
PATIENTS = ("p_" + "0" * 22, "p_" + "1" * 22)


def stored(api: InProcess, partner: Partner, number: int) -> list[Json]:
    """Have lines of all kinds folded, two in each second."""
    chance = random.Random(SEED)
    begin = clock.now() - timedelta(days=1)
    lines = []
    for index in range(number):
        method, route = chance.choice(ROUTES)
        status, code = chance.choice(ENDS)
        facts = {"method": method, "route": route, "status": status, "code": code}
        touched = chance.sample(PATIENTS, chance.randrange(3))
        at = begin + timedelta(seconds=index // 2)
        who = chance.choice(KEYS)
        lines.append(line_of(partner, at=at, principal=who, objects=touched, **facts))
    assert set(api.push(push_of(line) for line in lines)) == {200}
    return sorted(lines, key=lambda line: str(line["requestId"]), reverse=True)


Ask = tuple[Json, Callable[[Json], bool]]
"""Parameters, and whether a line is one of what they ask for."""


def question(chance: random.Random, lines: list[Json]) -> tuple[Json, list[str]]:
    """Return parameters, and what a scan of all lines finds by them."""
    line = chance.choice(lines)
    moment = chance.choice(lines)["time"]
    known: list[Ask] = [
        ({"status": line["status"]}, lambda each: each["status"] == line["status"]),
        ({"statusClass": "4xx"}, lambda each: 400 <= each["status"] < 500),
        ({"statusClass": "5xx"}, lambda each: each["status"] >= 500),
        ({"code": "resource_missing"}, lambda each: each["code"] == "resource_missing"),
        ({"method": line["method"]}, lambda each: each["method"] == line["method"]),
        ({"route": line["route"]}, lambda each: each["route"] == line["route"]),
        ({"principal": line["principal"]}, lambda each: each["principal"] == line["principal"]),
        ({"createdAt[gte]": moment}, lambda each: each["time"] >= moment),
        ({"filter": f'createdAt<"{moment}"'}, lambda each: each["time"] < moment),
        ({"filter": 'method:"GET"'}, lambda each: each["method"] == "GET"),
    ]
    chosen = chance.sample(known, chance.randrange(1, 4))
    params = {name: value for asked, _ in chosen for name, value in asked.items()}
    tests = [is_one for asked, is_one in chosen if params.items() >= asked.items()]
    found = [line for line in lines if all(is_one(line) for is_one in tests)]
    return params, [line["requestId"] for line in found]


def walk(api: InProcess, path: str, params: Json, *, backwards: bool) -> list[str]:
    """Return the ids of a whole list, page by page, in the order of the list."""
    found: list[str] = []
    cursor: Json = {"ending_before": f"{'aud' if 'audit' in path else 'req'}_{'0' * 22}"}
    asked = {**params, "limit": 7, **(cursor if backwards else {})}
    while True:
        page = api.call("GET", path, params=asked)
        shown = [each["id"] for each in page["data"]]
        found = [*shown, *found] if backwards else [*found, *shown]
        if not page["has_more"]:
            return found
        edge = {"ending_before": shown[0]} if backwards else {"starting_after": shown[-1]}
        asked |= edge


def test_every_filter_finds_what_a_scan_of_all_lines_does(partner: Partner) -> None:
    print(f"seed {SEED}")
    api = InProcess(partner.backing, partner.key)
    lines = stored(api, partner, 60)
    chance = random.Random(SEED)
    for _ in range(examples(40)):
        params, found = question(chance, lines)
        params["createdAt[lte]"] = lines[0]["time"]  # these requests come to the log themselves
        backwards = chance.random() < 0.5
        assert walk(api, "/v1/requests", params, backwards=backwards) == found, params


def test_audit_events_are_those_that_touched_a_patient_by_patient_and_principal(
    partner: Partner,
) -> None:
    print(f"seed {SEED}")
    api = InProcess(partner.backing, partner.key)
    lines = [line for line in stored(api, partner, 60) if line["objects"]]
    for patient in (None, *PATIENTS, "p_" + "2" * 22):
        for principal in (None, *KEYS):
            found = [
                line["requestId"].replace("req_", "aud_")
                for line in lines
                if patient in (None, *line["objects"]) and principal in (None, line["principal"])
            ]
            asked = {"patientId": patient, "principal": principal}
            params = {name: value for name, value in asked.items() if value}
            for backwards in (False, True):
                assert walk(api, "/v1/audit_events", params, backwards=backwards) == found


def test_after_thirty_days_there_is_nothing_though_it_still_reads_back(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    at = clock.now()
    old, new = (
        line_of(partner, at=at + timedelta(seconds=n), objects=[PATIENTS[0]]) for n in (0, 1)
    )
    assert api.push([push_of(old), push_of(new)]) == [200, 200]
    api.at = at + KEPT
    assert api.call("GET", f"/v1/requests/{new['requestId']}")["id"] == new["requestId"]
    api.call("GET", f"/v1/requests/{old['requestId']}", 404)
    for path in ("/v1/requests", "/v1/audit_events"):
        for backwards in (False, True):
            shown = walk(api, path, {"createdAt[lte]": new["time"]}, backwards=backwards)
            assert [each.partition("_")[2] for each in shown] == [
                new["requestId"].partition("_")[2]
            ]


def test_a_patient_who_is_named_to_the_audit_is_named_by_an_id(partner: Partner) -> None:
    error = partner.get("/v1/audit_events", 400, patientId="Ada Lovelace")["error"]
    assert (error["code"], error["param"]) == ("parameter_invalid", "patientId")


def test_erasing_a_patient_erases_nothing_of_the_audit(partner: Partner) -> None:
    patient = partner.create_patient()["id"]
    gone = partner.send("DELETE", f"/v1/patients/{patient}")
    logged(partner, gone.headers["Request-Id"])
    found = partner.get("/v1/audit_events", patientId=patient)["data"]
    assert [each["operation"]["method"] for each in found] == ["DELETE", "POST"]


def test_a_cancellation_of_the_first_kind_names_its_patient_when_it_is_read(
    partner: Partner,
) -> None:
    """It did not keep whom it concerns."""
    booked = partner.book()
    partner.cancel(booked)
    path = f"/v1/appointments/{booked['id']}/cancellation"
    told = partner.get(path)
    partner.forget_patient_of_cancellation(told["id"])
    read = partner.send("GET", path)
    assert read.json() == told
    assert booked["patientId"] in logged(partner, read.headers["Request-Id"])["objects"]
