"""The catalogue of codes: each can be provoked, each has a page, and there is no other."""

import ast
import re
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from shared.backends import ConflictError, UnavailableError
from shared.catalogue import CATALOGUE, ON_THE_WAY, TYPES
from tests.support.inprocess import InProcess
from tests.support.processes import ROOT
from tests.support.serving import ADDRESS, OUTSIDE, PATIENT, REASON, Json, Partner, tomorrow
from tests.support.wire import BELOW, Line

ELSEWHERE = "LS1 1AA"
NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)

Provocation = Callable[[Partner], httpx.Response]
PROVOCATIONS: dict[str, Provocation] = {}
BEFORE = {"auth_time": int(time.time()) - 60, "iat": int(time.time()) - 60}
"""What the token of somebody says who signed in a minute ago."""


def provokes(code: str) -> Callable[[Provocation], Provocation]:
    """Say which code a call is answered with."""

    def register(provocation: Provocation) -> Provocation:
        PROVOCATIONS[code] = provocation
        return provocation

    return register


# --- Calls that need no more than a line ---------------------------------------------------------


def sends(code: str, method: str, path: str, **options: Any) -> None:
    """Say which code one request is answered with."""
    PROVOCATIONS[code] = lambda partner: partner.send(method, path, **options)


ODD = {"Content-Type": "application/octet-stream"}
NO_KEY = {"Idempotency-Key": ""}
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
sends("body_malformed", "POST", "/v1/patients", content=b"a[b=1", headers=FORM)
sends("body_is_json", "POST", "/v1/patients", content=b'{"a":1}', headers=FORM)
sends("body_unexpected", "GET", "/v1/tasks", content=b"a=1", headers=FORM)
sends("body_too_large", "POST", "/v1/patients", content=b"a" * 300_000, headers=FORM)
sends("content_type_unsupported", "POST", "/v1/patients", content=b"a", headers=ODD)
sends("version_unknown", "GET", "/v1/tasks", headers={"Ally-Version": "2001-01-01"})
sends("parameter_missing", "POST", "/v1/patients", json={})
sends("parameter_invalid", "GET", "/v1/tasks", params={"limit": 0})
sends("parameter_unknown", "GET", "/v1/tasks", params={"colour": "red"})
sends("metadata_nested", "POST", "/v1/patients", json={**PATIENT, "metadata": {"a": {"b": "c"}}})
sends("idempotency_key_invalid", "POST", "/v1/patients", json=PATIENT, headers=NO_KEY)
sends("route_unknown", "GET", "/v1/nothing")
sends("method_not_allowed", "PUT", "/v1/patients")
sends("resource_missing", "GET", "/v1/patients/p_1")
sends("permission_missing", "GET", "/v1/api_keys")


@provokes("https_required")
def _(partner: Partner) -> httpx.Response:
    return httpx.get(f"http://localhost:{partner.server.http_port}/v1/tasks")


@provokes("filter_personal")
def _(partner: Partner) -> httpx.Response:
    return partner.live().send("GET", "/v1/patients", params={"filter": 'name~"ada"'})


@provokes("idempotency_key_reused")
def _(partner: Partner) -> httpx.Response:
    options: Json = {"headers": {"Idempotency-Key": "k"}}
    partner.post("/v1/patients", PATIENT, **options)
    return partner.send("POST", "/v1/patients", json={**PATIENT, "note": "x"}, **options)


# --- Keys ----------------------------------------------------------------------------------------


@provokes("key_missing")
def _(partner: Partner) -> httpx.Response:
    return partner.server.send("GET", "/v1/tasks")


@provokes("key_malformed")
def _(partner: Partner) -> httpx.Response:
    return partner.server.send("GET", "/v1/tasks", "test_short")


@provokes("key_invalid")
def _(partner: Partner) -> httpx.Response:
    return partner.server.send("GET", "/v1/tasks", partner.key[:-30] + "0" * 30)


@provokes("key_publishable")
def _(partner: Partner) -> httpx.Response:
    asked = {"name": "x", "type": "publishable", "origins": ["https://www.example.org"]}
    made = partner.administrator().post("/v1/api_keys", asked)
    return partner.server.send("GET", "/v1/tasks", made["maskedKey"])


@provokes("key_expired")
def _(partner: Partner) -> httpx.Response:
    soon = partner.with_key({"*": "read"}, expiresAt=NOW)
    api = InProcess(partner.backing, soon.key)
    api.at = NOW
    return api.send("GET", "/v1/tasks")


@provokes("key_revoked")
def _(partner: Partner) -> httpx.Response:
    ended = partner.with_key({"*": "read"}, revokedAt=NOW)
    return ended.send("GET", "/v1/tasks")


@provokes("address_not_allowed")
def _(partner: Partner) -> httpx.Response:
    return partner.with_key({"*": "read"}, allowedCidrs=["203.0.113.0/24"]).send("GET", "/v1/tasks")


@provokes("organisation_not_activated")
def _(partner: Partner) -> httpx.Response:
    live = partner.live()
    partner.change_organisation(activation="suspended")
    return live.send("GET", "/v1/tasks")


@provokes("key_exceeds_yours")
def _(partner: Partner) -> httpx.Response:
    maker = partner.with_key({"api_keys": "write"})
    return maker.send("POST", "/v1/api_keys", json={"name": "x", "scopes": {"tasks": "read"}})


@provokes("key_not_usable")
def _(partner: Partner) -> httpx.Response:
    path = f"/v1/api_keys/{partner.api_key.id}"
    administrator = partner.administrator()
    administrator.post(f"{path}/revoke")
    return administrator.send("POST", path, json={"name": "x"})


@provokes("key_rolled_too_often")
def _(partner: Partner) -> httpx.Response:
    administrator, rolled = partner.administrator(), partner.api_key.id
    for _ in range(20):
        rolled = administrator.post(f"/v1/api_keys/{rolled}/roll")["id"]
    return administrator.send("POST", f"/v1/api_keys/{rolled}/roll")


@provokes("secret_not_revealable")
def _(partner: Partner) -> httpx.Response:
    live = partner.live().administrator()
    return live.send("POST", f"/v1/api_keys/{live.api_key.id}/reveal")


# --- What the world refuses ----------------------------------------------------------------------


def books(partner: Partner, **fields: Any) -> httpx.Response:
    """Try to book a new patient into the first open window, with some fields different."""
    task = partner.task()
    window = {"id": fields["windowId"]} if "windowId" in fields else partner.windows(task)[0]
    body = partner.request(partner.create_patient(), task, window, **fields)
    return partner.send("POST", "/v1/appointments", json=body)


@provokes("documents_not_enabled")
def _(partner: Partner) -> httpx.Response:
    return books(partner, documentIds=["doc_1"])


@provokes("patient_led_scheduling_not_enabled")
def _(partner: Partner) -> httpx.Response:
    return books(partner, windowId=None)


@provokes("planned_scheduling_not_enabled")
def _(partner: Partner) -> httpx.Response:
    return books(partner, windowId=None, planFrom=tomorrow())


@provokes("not_in_coverage")
def _(partner: Partner) -> httpx.Response:
    return books(partner, location={"address": {**ADDRESS, "postcode": OUTSIDE}})


@provokes("window_unsuitable")
def _(partner: Partner) -> httpx.Response:
    return books(partner, location={"address": {**ADDRESS, "postcode": ELSEWHERE}})


@provokes("window_unavailable")
def _(partner: Partner) -> httpx.Response:
    live = partner.live()
    return books(live, windowId=live.live_window(capacity=0).id)


@provokes("task_inactive")
def _(partner: Partner) -> httpx.Response:
    return books(partner, taskId=partner.inactive_task()["id"])


@provokes("appointment_overlaps")
def _(partner: Partner) -> httpx.Response:
    roomy = next(each for each in partner.windows(partner.task()) if each["remaining"] > 1)
    booked = partner.book(roomy)
    return books(partner, patientId=booked["patientId"], windowId=booked["windowId"])


@provokes("patient_has_appointments")
def _(partner: Partner) -> httpx.Response:
    return partner.send("DELETE", f"/v1/patients/{partner.book()['patientId']}")


@provokes("token_invalid")
def _(partner: Partner) -> httpx.Response:
    return partner.end_user("ada", aud="another-project").send("GET", "/v1/patients")


@provokes("token_expired")
def _(partner: Partner) -> httpx.Response:
    return partner.end_user("ada", exp=int(time.time()) - 1, **BEFORE).send("GET", "/v1/patients")


@provokes("token_revoked")
def _(partner: Partner) -> httpx.Response:
    partner.post("/v1/end_users/ada/revoke")
    return partner.end_user("ada", **BEFORE).send("GET", "/v1/patients")


@provokes("tenant_unknown")
def _(partner: Partner) -> httpx.Response:
    stranger = partner.end_user("ada", firebase={"tenant": "nobodys-tenant"})
    return stranger.send("GET", "/v1/patients")


@provokes("origin_not_allowed")
def _(partner: Partner) -> httpx.Response:
    return partner.send("GET", "/v1/tasks", headers={"Origin": "https://unknown.example"})


@provokes("end_users_not_served")
def _(partner: Partner) -> httpx.Response:
    return partner.end_user("ada").send("GET", "/v1/organisations")


@provokes("end_user_permission_missing")
def _(partner: Partner) -> httpx.Response:
    return partner.end_user("ada").send("GET", "/v1/tasks")


@provokes("tokens_not_issued_here")
def _(partner: Partner) -> httpx.Response:
    who = {"endUserId": "ada"}  # whose organisation has no tenant yet
    return partner.send("POST", "/v1/test_helpers/end_user_tokens", json=who)


def cancelled(partner: Partner) -> str:
    """Return the path of an appointment that is cancelled."""
    booked = partner.book()
    partner.cancel(booked)
    return f"/v1/appointments/{booked['id']}"


@provokes("appointment_already_cancelled")
def _(partner: Partner) -> httpx.Response:
    return partner.send("POST", f"{cancelled(partner)}/cancel", json=REASON)


@provokes("appointment_not_cancellable")
def _(partner: Partner) -> httpx.Response:
    booked = partner.book()
    partner.change_appointment(booked["id"], status="completed")
    return partner.send("POST", f"/v1/appointments/{booked['id']}/cancel", json=REASON)


@provokes("appointment_not_reschedulable")
def _(partner: Partner) -> httpx.Response:
    window = partner.windows(partner.task())[0]
    path = f"{cancelled(partner)}/reschedule"
    return partner.send("POST", path, json={"windowId": window["id"]})


@provokes("appointment_not_changeable")
def _(partner: Partner) -> httpx.Response:
    return partner.send("POST", cancelled(partner), json={"note": "x"})


# --- Limits and troubles, in this process --------------------------------------------------------


@provokes("rate_limited")
def _(partner: Partner) -> httpx.Response:
    api = InProcess(partner.backing, partner.key, rate_test=1)
    api.at = NOW
    api.send("GET", "/v1/tasks")
    return api.send("GET", "/v1/tasks")


@provokes("authentication_busy")
def _(partner: Partner) -> httpx.Response:
    api = InProcess(partner.backing, partner.key, key_lookups=0.1)
    return api.send("GET", "/v1/tasks")


def in_trouble(partner: Partner, error: Exception) -> httpx.Response:
    api = InProcess(partner.backing, partner.key, lock_timeout=0.1)
    api.fail("commit", error)
    return api.send("POST", "/v1/patients", json=PATIENT)


@provokes("lock_timeout")
def _(partner: Partner) -> httpx.Response:
    return in_trouble(partner, ConflictError("others were faster"))


@provokes("temporarily_unavailable")
def _(partner: Partner) -> httpx.Response:
    return in_trouble(partner, UnavailableError("nobody answers"))


@provokes("internal_error")
def _(partner: Partner) -> httpx.Response:
    return in_trouble(partner, RuntimeError("a fault"))


# --- The promises --------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [code for code in CATALOGUE if code not in ON_THE_WAY.values()])
def test_each_code_is_answered_as_the_catalogue_says(partner: Partner, code: str) -> None:
    entry = CATALOGUE[code]
    answer = PROVOCATIONS[code](partner)
    error = answer.json()["error"]
    assert (error["code"], answer.status_code) == (code, entry.status), answer.text
    assert error["type"] == entry.type
    assert error["message"]
    assert error["fix"]
    assert error["request_id"] == answer.headers["Request-Id"]
    assert not re.search(r"[{}]", error["message"] + error["fix"])
    page = partner.server.send("GET", httpx.URL(error["doc_url"]).path)
    assert page.status_code == 200
    anchor = httpx.URL(error["doc_url"]).fragment
    assert f'id="{anchor}"' in page.text
    assert ("Retry-After" in answer.headers) == (entry.status in (409, 429, 503))
    assert ("Stripe-Should-Retry" in answer.headers) == (entry.status in (409, 429, 503))


def test_no_code_is_refused_with_outside_the_catalogue() -> None:
    used = set(_codes_in_the_source())
    assert used - set(CATALOGUE) == set()
    told_by_the_keys_standing = {"key_expired", "key_revoked"}
    assert set(CATALOGUE) - used == told_by_the_keys_standing | set(ON_THE_WAY.values())


def _codes_in_the_source() -> Iterator[str]:
    """Yield the first argument of every ApiError that the program makes, where it is a text."""
    for folder in ("shared", "functions"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                    continue
                if node.func.id == "ApiError":
                    yield from (
                        each.value
                        for each in ast.walk(node.args[0])
                        if isinstance(each, ast.Constant) and isinstance(each.value, str)
                        if re.fullmatch(r"[a-z]+(_[a-z]+)+", each.value)
                    )


def test_every_type_is_one_that_clients_know() -> None:
    assert {code.type for code in CATALOGUE.values()} <= {
        "invalid_request_error",
        "authentication_error",
        "permission_error",
        "request_failed",
        "idempotency_error",
        "rate_limit_error",
        "api_error",
    }
    assert {code.status for code in CATALOGUE.values()} == set(TYPES)


@pytest.mark.parametrize(
    "sent",
    [
        b"FOO /v1/tasks HTTP/1.1\r\n\r\n",
        b"GET /v1/tasks?limit=%b HTTP/1.1\r\n\r\n" % (b"1" * 70_000),
        b"GET /v1/t\xc3\xa4sks HTTP/1.1\r\n\r\n",
        b"POST /v1/patients HTTP/1.1\r\nContent-Length: x\r\n\r\n",
    ],
)
def test_the_page_of_errors_lists_what_the_server_answers_without_the_door(
    partner: Partner, sent: bytes
) -> None:
    line = Line(partner.server)
    assert line.exchange(sent).below
    line.close()
    page = " ".join(partner.server.send("GET", "/docs/errors").text.split())
    assert f"<code>{BELOW.decode()}</code>" in page


def test_problem_details_tell_the_same_facts(partner: Partner) -> None:
    options: Json = {"headers": {"Accept": "application/problem+json, application/json;q=0.5"}}
    answer = partner.send("POST", "/v1/patients", json={"firstName": "A"}, **options)
    assert answer.headers["Content-Type"] == "application/problem+json"
    problem = answer.json()
    plain = partner.post("/v1/patients", {"firstName": "A"}, 400)["error"]
    assert (problem["type"], problem["detail"]) == (plain["doc_url"], plain["message"])
    assert (problem["status"], problem["error_type"]) == (400, plain["type"])
    assert problem["title"] == "Parameter invalid"
    for name in ("code", "param", "errors", "fix"):
        assert problem[name] == plain[name]
    assert problem["request_id"] == answer.headers["Request-Id"]


@pytest.mark.parametrize(
    "accept",
    [
        ["application/problem+json", "*/*"],
        ["*/*", "application/problem+json"],
        ["Application/Problem+JSON"],
    ],
)
def test_problem_details_can_be_asked_for_in_several_lines_and_any_case(
    partner: Partner, accept: list[str]
) -> None:
    headers = [("Authorization", partner.key), *(("Accept", each) for each in accept)]
    with httpx.Client(base_url=partner.server.url, verify=partner.server.tls()) as client:
        client.headers.clear()
        answer = client.get("/v1/nothing", headers=headers)
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_a_replayed_402_is_told_in_the_form_that_is_asked_for(partner: Partner) -> None:
    path = f"{cancelled(partner)}/cancel"
    sent: Json = {"json": REASON}
    key = {"Idempotency-Key": "k"}
    first = partner.send("POST", path, headers=key, **sent)
    again = partner.send("POST", path, headers=key, **sent)
    assert (again.status_code, again.content) == (402, first.content)
    accept = {"Accept": "application/problem+json"}
    told = partner.send("POST", path, headers={**key, **accept}, **sent).json()
    assert told["detail"] == first.json()["error"]["message"]
