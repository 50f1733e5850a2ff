"""What is deployed, as it is deployed: every function out of the image, behind a real Envoy.

The image is what gcloud would upload, in an environment made of requirements.txt alone; the command
and the variables are those of the deployment; the Envoy plays the gateway and Cloud Run.
"""

import base64
import json
import os
import re
import secrets
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import product
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from functions import discover, discover_portals
from functions.docs import pages, reference
from infra.watching import STYLE
from shared.api import Api
from shared.routes import INTERNAL, PUBLIC, Content, Site
from tests.support.deployed import VALUES, Deployed, Function
from tests.support.emulator import Emulator
from tests.support.monitoring import monitoring
from tests.support.processes import listens
from tests.support.secret_manager import SecretManager
from tests.support.serving import PATIENT, Backing, Partner, Server

PAGE = "http://localhost:3000"
"""Where a page of a front end under development comes from: it may always ask."""


SECONDS_TO_END = 10
"""What Cloud Run gives an instance that it has told to end."""


class Private(ThreadingHTTPServer):
    """A service for nobody outside: it would answer whoever reached it."""

    def __init__(self) -> None:
        reached: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                reached.append(self.path)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), Handler)
        self.reached = reached
        threading.Thread(target=self.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def private() -> Iterator[Private]:
    server = Private()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def deployed(
    uploaded: set[str],
    private: Private,
    emulator: Emulator,
    secret_manager: SecretManager,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Deployed]:
    running = Deployed(
        uploaded,
        [
            *discover(),
            *(portal for portal in discover_portals() if portal.deployed),
            *(closed("inside", "internal"), closed("office", "staff")),
        ],
        {"inside": private.server_port, "office": private.server_port},
        (emulator, secret_manager),
        tmp_path_factory.mktemp("deployed"),
    )
    try:
        running.wait()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def backing(deployed: Deployed) -> Iterator[Backing]:
    made = Backing(deployed.environment)
    yield made
    made.close()


@pytest.fixture(scope="module")
def partner(backing: Backing, deployed: Deployed) -> Partner:
    return backing.partner(cast("Server", deployed))  # it sends as one


@pytest.fixture(scope="module")
def other(backing: Backing, deployed: Deployed) -> Partner:
    return backing.partner(cast("Server", deployed), "Other Health")


def closed(name: str, audience: Any) -> Api:
    """Return a function with a public route, which is for nobody outside."""
    api = Api(name, audience=audience)

    @api.get(f"/v1/{name}", permission=INTERNAL if audience == "internal" else PUBLIC)
    async def tell(_: Site) -> Content:
        return Content("text/plain", "")

    return api


def code(answer: httpx.Response) -> str:
    """Return the code of a refusal in our own envelope."""
    return str(answer.json()["error"]["code"])


def line(deployed: Deployed, function: str, answer: httpx.Response) -> dict[str, Any]:
    """Return what a function wrote of the request that it answered."""
    (found,) = (
        each
        for each in deployed.functions[function].lines()
        if each["requestId"] == answer.headers["Request-Id"]
    )
    return found


# --- Every function answers ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "api", [api for api in discover() if api.reachable], ids=lambda api: api.name
)
def test_a_function_answers_its_own_calls_and_nobody_elses(
    api: Api, deployed: Deployed, partner: Partner
) -> None:
    route = next((each for each in api.routes if each.method == "GET"), api.routes[0])
    path = re.sub(r"\{\w+\}", "start", route.template)
    answer = deployed.send(route.method, path, partner.administrator().key)
    assert answer.status_code in (200, 400, 404)
    told = line(deployed, api.name, answer)
    assert (told["route"], told["status"]) == (route.template, answer.status_code)
    assert told["organisation"] == ("-" if route.permission == PUBLIC else partner.organisation.id)


def test_a_partner_books_and_cancels(partner: Partner) -> None:
    appointment = partner.book()
    found = partner.get("/v1/appointments", patientId=appointment["patientId"])["data"]
    assert [each["id"] for each in found] == [appointment["id"]]
    partner.cancel(appointment)
    assert partner.get(f"/v1/appointments/{appointment['id']}")["status"] == "cancelled"


def test_what_is_sent_again_is_done_once(partner: Partner) -> None:
    again = {"headers": {"Idempotency-Key": "once"}}
    first, second = (partner.send("POST", "/v1/patients", json=PATIENT, **again) for _ in "12")
    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotent-Replayed"] == "true"


def test_a_slash_that_is_escaped_divides_no_path_on_its_way(partner: Partner) -> None:
    assert partner.post("/v1/end_users/a%2Fb/revoke")["endUserId"] == "a/b"


def test_a_line_break_in_a_path_is_ours_to_refuse(deployed: Deployed, partner: Partner) -> None:
    for path, refusal in (("/v1/tasks/a%0Ab", "resource_missing"), ("/a%0Ab", "route_unknown")):
        answer = deployed.send("GET", path, partner.key)
        assert (answer.status_code, code(answer)) == (404, refusal)


def test_every_page_and_document_is_in_the_image(deployed: Deployed) -> None:
    paths = [*pages.GUIDES, reference.INDEX, *(group.path for group in reference.groups())]
    assets = [f"/docs/assets/{name}" for name in pages.ASSETS]
    documents = ["/v1/openapi.json", "/v1/openapi-3.2.json"]
    for path in (*paths, *assets, *documents):
        answer = deployed.send("GET", path)
        assert answer.status_code == 200, path
        assert answer.text
    assert deployed.host in deployed.send("GET", "/v1/openapi.json").json()["servers"][0]["url"]


@pytest.mark.parametrize("path", ["/", "/v1", "/v1/nothing", "/v1/patients/p/no/such", "/nothing"])
def test_a_path_that_does_not_exist_is_refused_in_our_envelope(
    path: str, deployed: Deployed, partner: Partner
) -> None:
    verbs = ("GET", "POST", "PATCH", "PUT", "DELETE", "OPTIONS")
    for verb, key in product(verbs, (None, partner.key)):
        answer = deployed.send(verb, path, key)
        assert (answer.status_code, code(answer)) == (404, "route_unknown")


def test_a_verb_that_a_path_does_not_take_is_refused_in_our_envelope(deployed: Deployed) -> None:
    answer = deployed.send("PUT", "/v1/patients")
    assert (answer.status_code, code(answer)) == (405, "method_not_allowed")
    assert "POST" in answer.headers["Allow"]


@pytest.mark.parametrize("path", ["/v1/patients", "/v1/tasks/x", "/docs", "/v1/nothing"])
def test_a_browser_that_asks_beforehand_is_answered_on_every_path(
    path: str, deployed: Deployed
) -> None:
    headers = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    answer = deployed.send("OPTIONS", path, headers=headers)
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == PAGE
    assert "POST" in answer.headers["Access-Control-Allow-Methods"]


def test_what_the_gateway_itself_refuses_is_in_googles_words(deployed: Deployed) -> None:
    answer = deployed.ask("TRACE", "/v1/patients")
    assert (answer.status_code, answer.json()["code"]) == (405, 405)
    assert "Request-Id" not in answer.headers
    assert deployed.ask("GET", "/v1/tasks", headers={"x_forwarded_for": "1.2.3.4"}).is_error


# --- Who calls -----------------------------------------------------------------------------------


def test_without_a_key_nobody_is_let_in(deployed: Deployed) -> None:
    answer = deployed.send("GET", "/v1/patients")
    assert (answer.status_code, code(answer)) == (401, "key_missing")
    assert answer.headers["WWW-Authenticate"]


@pytest.mark.parametrize("form", ["{}", "Bearer {}", "Basic {}"])
def test_a_key_is_taken_in_its_three_forms(form: str, deployed: Deployed, partner: Partner) -> None:
    key = partner.key
    if form.startswith("Basic"):
        key = base64.b64encode(f"{key}:".encode()).decode()
    answer = deployed.send("GET", "/v1/tasks", form.format(key))
    assert line(deployed, "tasks", answer)["principal"] == partner.api_key.id


def test_a_forged_forwarded_authorization_gives_way_to_the_callers_own(
    deployed: Deployed, partner: Partner, other: Partner
) -> None:
    forged = {"X-Forwarded-Authorization": other.key}
    answer = deployed.send("GET", "/v1/tasks", partner.key, headers=forged)
    assert line(deployed, "tasks", answer)["principal"] == partner.api_key.id
    answer = deployed.send("GET", "/v1/tasks", "garbage", headers=forged)
    assert (answer.status_code, code(answer)) == (401, "key_malformed")


def test_a_forged_forwarded_authorization_alone_is_the_key_that_it_is_and_no_more(
    deployed: Deployed, partner: Partner
) -> None:
    for forged, status in (("garbage", 401), (f"Bearer {deployed.token('tasks')}", 401)):
        answer = deployed.send("GET", "/v1/tasks", headers={"X-Forwarded-Authorization": forged})
        assert answer.status_code == status
    readable = partner.with_key({"tasks": "read"})
    alone = {"X-Forwarded-Authorization": readable.key}
    answer = deployed.send("GET", "/v1/tasks", headers=alone)
    assert line(deployed, "tasks", answer)["principal"] == readable.api_key.id
    answer = deployed.send("GET", "/v1/patients", headers=alone)
    assert (answer.status_code, code(answer)) == (403, "permission_missing")


def test_an_end_user_is_who_the_token_says_and_never_who_a_header_says(
    deployed: Deployed, partner: Partner
) -> None:
    partner.patch_organisation(endUserPermissions=["tasks:read"])
    project = VALUES["firebase_test"]
    issued = {"iss": f"https://securetoken.google.com/{project}", "aud": project}
    ada, grace = (partner.end_user(uid, **issued) for uid in ("ada", "grace"))
    known = [line(deployed, "tasks", each.send("GET", "/v1/tasks")) for each in (ada, grace)]
    principals = [each["principal"] for each in known]
    assert all(each.startswith("eu_") for each in principals)
    said = json.dumps({"user_id": "grace", "firebase": {"tenant": partner.tenant}, **issued})
    told = base64.urlsafe_b64encode(said.encode()).decode()
    forged = {"X-Apigateway-Api-Userinfo": told, "X-Endpoint-Api-Userinfo": told}
    answer = ada.send("GET", "/v1/tasks", headers=forged)
    assert line(deployed, "tasks", answer)["principal"] == principals[0]
    answer = deployed.send("GET", "/v1/tasks", headers=forged)
    assert (answer.status_code, code(answer)) == (401, "key_missing")


def test_a_caller_does_not_choose_the_address_that_is_seen(
    deployed: Deployed, partner: Partner
) -> None:
    bound = partner.with_key({"*": "read"}, allowedCidrs=["127.0.0.7/32"])
    sent = {"Authorization": bound.key}
    forged = {**sent, "X-Forwarded-For": "127.0.0.7, 127.0.0.7"}
    for headers in (sent, forged):
        refused = deployed.ask("GET", "/v1/tasks", headers=headers)
        assert (refused.status_code, code(refused)) == (403, "address_not_allowed")
    for headers in (sent, {**sent, "X-Forwarded-For": "127.0.0.1"}):
        answer = deployed.ask("GET", "/v1/tasks", headers=headers, source="127.0.0.7")
        assert answer.status_code == 200


def test_a_service_is_asked_with_googles_token_for_it_or_not_at_all(
    deployed: Deployed, partner: Partner
) -> None:
    key = {"X-Forwarded-Authorization": partner.key}
    before = deployed.functions["tasks"].lines()
    own = partner.key, f"Bearer {partner.key}", f"Bearer {deployed.token('docs')}"
    for headers in (key, *({**key, "Authorization": each} for each in own)):
        answer = deployed.ask_directly("tasks", "/v1/tasks", **headers)
        assert answer.status_code == 403
        assert answer.headers["Content-Type"].startswith("text/html")
    assert deployed.functions["tasks"].lines() == before
    right = {**key, "Authorization": f"Bearer {deployed.token('tasks')}"}
    assert deployed.ask_directly("tasks", "/v1/tasks", **right).status_code == 200


@pytest.mark.parametrize("name", ["inside", "office"])
def test_a_function_for_nobody_outside_is_not_reached_through_the_gateway(
    name: str, deployed: Deployed, private: Private, partner: Partner
) -> None:
    private.reached.clear()
    answer = deployed.send("GET", f"/v1/{name}", partner.key)
    assert (answer.status_code, code(answer)) == (404, "route_unknown")
    assert deployed.ask_directly(name, f"/v1/{name}").status_code == 403
    assert private.reached == []
    inside = {"Authorization": f"Bearer {deployed.token(name)}"}
    assert deployed.ask_directly(name, f"/v1/{name}", **inside).status_code == 200
    assert private.reached == [f"/v1/{name}"]


# --- Pages ---------------------------------------------------------------------------------------

PORTALS = {each["function"]: each for each in VALUES["portals"]}


@pytest.mark.parametrize("name", PORTALS)
def test_a_portals_host_leads_to_it_whatever_is_asked(name: str, deployed: Deployed) -> None:
    host = PORTALS[name]["host"]
    for path, status in ((STYLE, 200), ("/nothing", 404), ("/v1/patients", 404), ("/docs", 404)):
        answer = deployed.ask("GET", path, host=host)
        assert answer.status_code == status, path
        assert line(deployed, name, answer)["status"] == status
    page = deployed.ask("GET", "/v1/patients", host=host)
    assert page.headers["Content-Type"].startswith("text/html")
    assert page.headers["Content-Security-Policy"]


@pytest.mark.parametrize("name", PORTALS)
def test_the_apis_host_leads_to_no_page_so_that_no_cookie_meets_the_api(
    name: str, deployed: Deployed
) -> None:
    before = deployed.functions[name].lines()
    for path in (STYLE, "/sign-in", "/test", f"/{name}"):
        answer = deployed.send("GET", path, headers={"Cookie": "__Host-session=x"})
        assert (answer.status_code, code(answer)) == (404, "route_unknown")
        assert "Set-Cookie" not in answer.headers
    assert deployed.ask_directly(name, STYLE).status_code == 404
    assert deployed.functions[name].lines() == before


@pytest.mark.parametrize("name", PORTALS)
def test_a_portal_answers_what_it_is_asked_for_before_it_serves(
    name: str, deployed: Deployed
) -> None:
    """As Cloud Run asks: the process itself, by no host of ours."""
    answer = httpx.get(f"http://127.0.0.1:{deployed.functions[name].port}{STYLE}")
    assert answer.status_code == 200


# --- What it leaves ------------------------------------------------------------------------------


def test_what_callers_send_is_in_no_line_that_a_function_writes(
    deployed: Deployed, partner: Partner
) -> None:
    word = f"canary{secrets.token_hex(8)}"
    headers = {f"X-{word}": word, "User-Agent": word, "Referer": f"https://x.example/{word}"}
    calls = [
        ("GET", f"/v1/tasks?{word}={word}", partner.key),
        ("GET", f"/v1/patients/{word}", partner.key),
        ("GET", f"/v1/patients?filter=externalRef:%22{word}%22", partner.key),
        ("POST", f"/v1/end_users/{word}/revoke", partner.key),
        ("GET", f"/v1/{word}?{word}", None),
        ("GET", f"/{word}", None),
        ("GET", f"/docs/{word}", None),
        ("GET", "/v1/tasks", word),
        ("GET", "/v1/tasks", f"test_{word}"),
    ]
    for method, path, key in calls:
        answer = deployed.send(method, path, key, headers=headers)
        assert answer.headers["Request-Id"] in deployed.output()
    body = {**PATIENT, "note": word, word: word}
    assert deployed.send("POST", "/v1/patients", partner.key, json=body).status_code == 400
    assert word not in deployed.output()


def test_a_function_that_had_no_cpu_between_two_requests_goes_on(deployed: Deployed) -> None:
    server = deployed.functions["tasks"].process.child.pid
    children = Path(f"/proc/{server}/task/{server}/children")
    worker = children.read_text()
    os.killpg(server, signal.SIGSTOP)
    time.sleep(2)  # longer than a request may take, as an instance rests that nobody calls
    os.killpg(server, signal.SIGCONT)
    time.sleep(1.5)  # the server looks after its worker each second
    assert children.read_text() == worker != ""


def test_a_function_that_is_told_to_end_finishes_what_it_has_begun_and_counted(
    deployed: Deployed, backing: Backing, secret_manager: SecretManager
) -> None:
    partner = backing.partner(cast("Server", deployed))
    ending = Function("tasks", deployed.workspace, deployed.stand_ins)
    ending.wait()
    url = f"http://127.0.0.1:{ending.port}/v1/tasks"
    with httpx.Client(headers={"X-Forwarded-Authorization": partner.key}) as client:
        assert client.get(url).status_code == 200
    read_only = partner.with_key({"*": "read"})
    unknown = {"X-Forwarded-Authorization": read_only.key}
    reads = secret_manager.reads
    secret_manager.dawdle(2.5)
    try:
        with ThreadPoolExecutor(1) as pool:
            begun = pool.submit(httpx.get, url, headers=unknown, timeout=30)
            while secret_manager.reads == reads:
                time.sleep(0.01)
            ending.process.child.send_signal(signal.SIGTERM)
            while listens(ending.port):
                time.sleep(0.01)
            secret_manager.recover()
            assert begun.result().status_code == 200
        assert ending.process.child.wait(SECONDS_TO_END) == 0
    finally:
        secret_manager.recover()
        ending.process.kill()
    points = monitoring().points
    kept = points.totals("requests", "organisation", "mode", "route", "status", "key")
    each = (partner.organisation.id, "test", "/v1/tasks", "200")
    mine = {labels: count for labels, count in kept.items() if labels[0] == each[0]}
    assert mine == {(*each, partner.api_key.id): 1, (*each, read_only.api_key.id): 1}
    jobs = {
        dict(series.resource)["job"]
        for series in points.series
        if series.label("key") == partner.api_key.id
    }
    assert jobs == {"ally-tasks"}
    assert points.refusals == []
