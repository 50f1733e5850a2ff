"""Front ends: what their end users see and do, and from which pages they may call."""

import re
import uuid
from typing import Any

import httpx
import pytest

from functions import discover
from shared.cancelling import CancellationReason
from shared.models import Deleted, Record
from shared.origins import SHOWN
from shared.refusing import HEADERS
from shared.routes import PUBLIC, Route
from shared.scheduling import CoverageAnswer, OpenWindow
from shared.tasks import Task
from tests.support.inprocess import InProcess
from tests.support.serving import ADDRESS, PATIENT, PREFIXES, REASON, TEXTS, Json, Partner

ORIGIN = "https://www.front-end.example"
"""The origin of the partner's front end."""
EVERY = [
    *("patients:create", "patients:read", "patients:update", "patients:delete"),
    *("appointments:create", "appointments:read", "appointments:update"),
    *("appointments:reschedule", "appointments:cancel", "availability:read", "tasks:read"),
]
ROUTES = [
    route
    for api in discover()
    if api.reachable
    for route in api.routes
    if route.permission != PUBLIC
]
COMMON = {Task, OpenWindow, CoverageAnswer, CancellationReason, Deleted}
"""What end users may see that belongs to none of them: nothing of it is about a person."""


def route_id(route: Route) -> str:
    return f"{route.method} {route.template}"


def path_of(route: Route, **ids: str) -> str:
    """Return a path of a route: of the objects that are named, or of some that do not exist."""
    known = {noun: f"{prefix}_{'0' * 22}" for noun, prefix in PREFIXES.items()}
    return route.template.format(**{**known, **TEXTS, **ids})


def open_to_all(partner: Partner) -> Partner:
    """Let the end users of a partner do everything that end users can do at all."""
    partner.patch_organisation(endUserPermissions=EVERY)
    return partner


def book(end_user: Partner, partner: Partner) -> Json:
    """Let an end user make a patient and an appointment."""
    patient = end_user.post("/v1/patients", PATIENT)
    task = partner.task()
    window = next(each for each in partner.windows(task) if each["remaining"] > 1)
    body = partner.request(patient, task, window)
    return end_user.post("/v1/appointments", body)


# --- What is theirs ------------------------------------------------------------------------------


def test_an_end_user_walks_from_availability_to_an_appointment(partner: Partner) -> None:
    ada = partner.end_user("ada")
    patient = ada.post("/v1/patients", PATIENT)
    assert patient["endUserId"] == "ada"
    task = partner.task()
    query = {"taskId": task["id"], "postcode": ADDRESS["postcode"]}
    window = ada.get("/v1/availability", **query)["data"][0]
    appointment = ada.post("/v1/appointments", partner.request(patient, task, window))
    assert appointment["endUserId"] == "ada"
    expanded = ada.get(f"/v1/appointments/{appointment['id']}", **{"expand[]": "patient"})
    assert expanded["patient"] == patient
    # The partner's own servers see it too, and whose it is.
    assert partner.get("/v1/patients", endUserId="ada")["data"] == [patient]
    assert partner.get("/v1/appointments", endUserId="ada")["data"] == [appointment]
    assert partner.get("/v1/appointments", endUserId="grace")["data"] == []


def test_what_a_partner_makes_for_an_end_user_is_theirs(partner: Partner) -> None:
    made = partner.create_patient(endUserId="ada")
    for_nobody = partner.create_patient()
    task = partner.task()
    window = partner.windows(task)[-1]
    booked = partner.post("/v1/appointments", partner.request(made, task, window))
    ada = partner.end_user("ada")
    assert ada.get(f"/v1/patients/{made['id']}") == made
    assert ada.get("/v1/appointments")["data"] == [booked]
    assert ada.get("/v1/patients")["data"] == [made]
    assert ada.get(f"/v1/patients/{for_nobody['id']}", 404)
    grace = partner.end_user("grace")
    assert grace.get("/v1/patients")["data"] == grace.get("/v1/appointments")["data"] == []


@pytest.mark.parametrize("route", ROUTES, ids=route_id)
def test_an_end_user_sees_of_anothers_what_they_see_of_what_is_not_there(
    partner: Partner, route: Route
) -> None:
    if not {"patient", "appointment"} & set(re.findall(r"\{(\w+)\}", route.template)):
        assert route.end_user == "" or not issubclass(route.shows, Record) or listed_or_made(route)
        return
    graces = book(open_to_all(partner).end_user("grace"), partner)
    partner.cancel(graces)
    ada = partner.end_user("ada")
    theirs = {"patient": graces["patientId"], "appointment": graces["id"]}
    body = REASON if route.template.endswith("/cancel") else {}
    if route.template.endswith("/reschedule"):
        body = {"windowId": graces["windowId"]}
    answers = []
    for ids in ({}, theirs):
        path = path_of(route, **ids)
        sent = {"json": body} if route.method in ("POST", "PATCH") else {}
        answer = ada.send(route.method, path, **sent)
        assert answer.status_code == 404, answer.text
        told = answer.text.replace(answer.headers["Request-Id"], "")
        for named in path.split("/"):
            told = told.replace(named.partition("_")[2] or "\0", "")
        answers.append(told)
    assert answers[0] == answers[1]
    assert partner.get(f"/v1/patients/{theirs['patient']}")["endUserId"] == "grace"


def listed_or_made(route: Route) -> bool:
    """Tell whether a route names no object: a list, a search, or what is made."""
    return route.listed or "{" not in route.template or route.shows in COMMON


def test_ids_of_anothers_in_bodies_filters_and_cursors_lead_nowhere(partner: Partner) -> None:
    grace, ada = open_to_all(partner).end_user("grace"), partner.end_user("ada")
    graces, own = book(grace, partner), book(ada, partner)
    task, window = partner.task(), partner.windows(partner.task())[-1]
    stolen = partner.request({"id": graces["patientId"]}, task, window)
    error = ada.post("/v1/appointments", stolen, 404)["error"]
    assert (error["code"], error["param"]) == ("resource_missing", "patientId")
    for query in (
        {"patientId": graces["patientId"]},
        {"endUserId": "grace"},
        {"filter": f'patient.id:"{graces["patientId"]}"'},
    ):
        assert ada.get("/v1/appointments", **query)["data"] == []
    assert [
        each["id"] for each in ada.get("/v1/appointments", filter='patient.name~"love"')["data"]
    ] == [own["id"]]
    found = ada.post("/v1/patients/search", {"name": "loveworth", "phone": PATIENT["phone"]})
    assert [each["id"] for each in found["data"]] == [own["patientId"]]
    for cursor in ("starting_after", "ending_before"):
        for page in (
            ada.get("/v1/appointments", **{cursor: graces["id"]}),
            ada.post(
                "/v1/patients/search", {cursor: graces["patientId"], "phone": PATIENT["phone"]}
            ),
        ):
            assert {each["endUserId"] for each in page["data"]} <= {"ada"}


def test_an_end_user_makes_nothing_for_anybody_else(partner: Partner) -> None:
    ada = partner.end_user("ada")
    error = ada.post("/v1/patients", {**PATIENT, "endUserId": "grace"}, 400)["error"]
    assert (error["code"], error["param"]) == ("parameter_invalid", "endUserId")
    assert ada.post("/v1/patients", {**PATIENT, "endUserId": "ada"})["endUserId"] == "ada"


def test_whose_a_patient_is_never_changes(partner: Partner) -> None:
    made = partner.create_patient(endUserId="ada")
    error = partner.send("POST", f"/v1/patients/{made['id']}", json={"endUserId": "grace"}).json()
    assert (error["error"]["code"], error["error"]["param"]) == ("parameter_unknown", "endUserId")


def test_an_end_user_may_do_the_whole_of_it_where_the_organisation_says_so(
    partner: Partner,
) -> None:
    ada = open_to_all(partner).end_user("ada")
    booked = book(ada, partner)
    path = f"/v1/appointments/{booked['id']}"
    assert ada.get(path, **{"expand[]": "task"})["task"] == partner.task()
    assert ada.post(path, {"note": "Ring twice."})["note"] == "Ring twice."
    other_window = partner.windows(partner.task())[-1]["id"]
    assert ada.post(f"{path}/reschedule", {"windowId": other_window})["windowId"] == other_window
    ada.post(f"{path}/cancel", REASON)
    assert ada.get(f"{path}/cancellation", **{"expand[]": "appointment"})["endUserId"] == "ada"
    assert ada.call("DELETE", f"/v1/patients/{booked['patientId']}")["deleted"] is True


# --- What they may do ----------------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES, ids=route_id)
def test_a_route_is_closed_to_end_users_unless_it_and_their_organisation_open_it(
    partner: Partner, route: Route
) -> None:
    partner.patch_organisation(
        endUserPermissions=[each for each in EVERY if each != route.end_user]
    )
    if route.publishable:  # open to every page is open to whoever is signed in to one
        assert not route.end_user
        partner.end_user("ada").call(route.method, path_of(route), 400)
        return
    error = partner.end_user("ada").call(route.method, path_of(route), 403)["error"]
    if route.end_user:
        assert error["code"] == "end_user_permission_missing"
        assert route.end_user in error["message"]
        assert getattr(route.shows, "owned", False) or route.shows in COMMON
    else:
        assert error["code"] == "end_users_not_served"


def test_an_organisation_that_says_nothing_lets_its_end_users_make_and_read_what_is_theirs(
    partner: Partner,
) -> None:
    assert partner.get("/v1/organisations")["data"][0]["endUserPermissions"] == [
        "patients:create",
        "patients:read",
        "appointments:create",
        "appointments:read",
        "availability:read",
    ]
    ada = partner.end_user("ada")
    booked = book(ada, partner)
    denied = ada.send("GET", f"/v1/appointments/{booked['id']}", params={"expand[]": "task"})
    assert (denied.status_code, "tasks:read" in denied.text) == (403, True)


def test_a_permission_that_is_taken_away_is_gone_when_what_is_remembered_is_old(
    partner: Partner,
) -> None:
    api = InProcess(partner.backing, partner.end_user("ada").key)
    api.call("GET", "/v1/patients")
    partner.patch_organisation(endUserPermissions=["availability:read"])
    api.elapsed = 10.1
    api.call("GET", "/v1/patients", 403)


def test_each_end_user_has_a_quota_of_their_own(partner: Partner) -> None:
    ada, grace = (partner.end_user(uid).key for uid in ("ada", "grace"))
    api = InProcess(partner.backing, ada, rate_end_user=3)
    for _ in range(3):
        answer = api.send("GET", "/v1/patients")
        assert answer.headers["RateLimit-Policy"] == '"end-user";q=3;w=10'
    refused = api.send("GET", "/v1/patients")
    assert refused.json()["error"]["code"] == "rate_limited"
    assert refused.headers["Ally-Rate-Limited-Reason"] == "end-user-rate"
    api.key = grace
    api.call("GET", "/v1/patients")
    api.key = partner.key
    api.call("GET", "/v1/patients")


def test_who_an_end_user_is_stands_in_no_line_of_the_log(partner: Partner) -> None:
    uid = "ada.loveworth@example.com"
    ada = partner.end_user(uid)
    made = ada.post("/v1/patients", PATIENT)
    partner.post(f"/v1/end_users/{uid}/revoke")
    lines = partner.lines()
    assert uid not in str(lines)
    assert ada.token not in str(lines)
    (line,) = (each for each in lines if made["id"] in each.get("objects", []))
    assert re.fullmatch("eu_[0-9a-f]{24}", line["principal"])


# --- Pages of other origins ----------------------------------------------------------------------


def preflight(partner: Partner, origin: str, path: str = "/v1/patients") -> httpx.Response:
    """Ask what a browser asks before a page may send a request with a token."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,idempotency-key",
    }
    return partner.server.send("OPTIONS", path, headers=asked)


@pytest.fixture
def fronted(partner: Partner) -> Partner:
    """A partner that has registered the origin of its front end."""
    partner.patch_organisation(frontEndOrigins=[ORIGIN])
    return partner


@pytest.mark.parametrize("path", ["/v1/patients", "/v1/patients/p_1", "/v1/nothing", "/"])
def test_a_browser_that_asks_from_a_registered_origin_is_told_yes_on_every_path(
    fronted: Partner, path: str
) -> None:
    told = preflight(fronted, ORIGIN, path)
    assert told.status_code == 200
    assert told.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "POST" in told.headers["Access-Control-Allow-Methods"]
    taken = told.headers["Access-Control-Allow-Headers"].lower().split(", ")
    assert {"authorization", "content-type", "idempotency-key"} <= set(taken)
    assert told.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in told.headers
    assert told.json() == {}


@pytest.mark.parametrize(
    "origin",
    [
        "https://nobody.example",
        ORIGIN.upper(),
        f"{ORIGIN}.evil.example",
        f"{ORIGIN}:8443",
        ORIGIN.replace("https", "http"),
        "null",
        "*",
        "https://" + "x" * 300,
    ],
)
def test_a_browser_that_asks_from_another_origin_is_told_no(fronted: Partner, origin: str) -> None:
    told = preflight(fronted, origin)
    assert (told.status_code, told.json()["error"]["code"]) == (403, "origin_not_allowed")
    assert not [name for name in told.headers if name.startswith("access-control-")]
    assert told.headers["Vary"] == "Origin"


def test_a_page_can_read_answers_errors_and_their_headers(fronted: Partner) -> None:
    ada, page = fronted.end_user("ada"), {"Origin": ORIGIN}
    for answer, status in (
        (ada.send("GET", "/v1/patients", headers=page), 200),
        (ada.send("POST", "/v1/patients", json={}, headers=page), 400),
        (ada.send("GET", "/v1/nothing", headers=page), 404),
        (ada.send("PUT", "/v1/patients", headers=page), 405),
        (ada.send("GET", "/v1/organisations", headers=page), 403),
        (fronted.server.send("GET", "/v1/patients", headers=page), 401),
    ):
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
        assert answer.headers["Access-Control-Expose-Headers"] == SHOWN
        assert {"Request-Id", "Retry-After", "RateLimit"} <= set(SHOWN.split(", "))


def test_a_page_can_read_every_header_that_the_document_describes() -> None:
    # What varies an answer is for those that keep it, before a page sees it.
    assert set(SHOWN.split(", ")) == set(HEADERS) - {"Vary"}


def test_an_origin_is_for_the_organisation_that_registered_it_alone(
    fronted: Partner, other: Partner
) -> None:
    theirs = f"https://{uuid.uuid4()}.example"
    other.patch_organisation(frontEndOrigins=[theirs])
    for caller, origin, status in (
        (fronted.end_user("ada"), ORIGIN, 200),
        (other.end_user("ada"), theirs, 200),
        (fronted.end_user("ada"), theirs, 403),
        (other.end_user("ada"), ORIGIN, 403),
        (other, ORIGIN, 403),
        (fronted, ORIGIN, 200),
    ):
        fresh = InProcess(caller.backing, caller.key)  # which remembers nothing of either
        answer = fresh.send("GET", "/v1/patients", headers={"Origin": origin})
        assert answer.status_code == status
        assert answer.headers["Access-Control-Allow-Origin"] == origin
        if status == 403:
            assert answer.json()["error"]["code"] == "origin_not_allowed"


def test_two_organisations_may_share_an_origin_and_each_leaves_it_by_itself(
    partner: Partner, other: Partner
) -> None:
    shared, theirs = (f"https://{uuid.uuid4()}.example" for _ in range(2))
    partner.patch_organisation(frontEndOrigins=[shared])
    other.patch_organisation(frontEndOrigins=[shared, theirs])
    partner.patch_organisation(frontEndOrigins=[])
    asking = InProcess(partner.backing, "")

    def told(origin: str) -> int:
        asked = {"Origin": origin, "Access-Control-Request-Method": "GET"}
        return asking.send("OPTIONS", "/v1/patients", headers=asked).status_code

    assert told(shared) == 200
    other.patch_organisation(frontEndOrigins=[theirs])
    asking.elapsed = 10.1
    assert (told(shared), told(theirs)) == (403, 200)


def test_a_page_on_the_developers_own_machine_may_ask_and_must_be_registered_to_call(
    partner: Partner,
) -> None:
    local = "http://localhost:5173"
    assert preflight(partner, local).status_code == 200
    ada = partner.end_user("ada")
    assert ada.send("GET", "/v1/patients", headers={"Origin": local}).status_code == 403
    partner.patch_organisation(frontEndOrigins=[local])
    api = InProcess(partner.backing, ada.key)
    api.call("GET", "/v1/patients", headers={"Origin": local})


def test_a_page_of_our_own_needs_no_registration(partner: Partner) -> None:
    for headers in (
        {"Origin": partner.backing.environment["ALLY_URL"]},
        {"Origin": "https://localhost:1", "Sec-Fetch-Site": "same-origin"},
    ):
        answer = partner.send("GET", "/v1/patients", headers=headers)
        assert answer.status_code == 200
        assert "Access-Control-Allow-Origin" not in answer.headers


@pytest.mark.parametrize("path", ["/docs", "/v1/openapi.json", "/v1/nothing"])
def test_what_anybody_may_read_every_page_may_and_nothing_is_looked_up(
    fronted: Partner, path: str
) -> None:
    api = InProcess(fronted.backing, "")
    asked = {"Access-Control-Request-Method": "GET"}
    for origin, readable in (("https://nobody.example", True), ("null", False)):
        for method, headers in (("OPTIONS", asked), ("GET", {})):
            told = api.send(method, path, headers={"Origin": origin, **headers})
            assert (told.headers.get("Access-Control-Allow-Origin") == origin) == readable
    assert api.watched.gets == []


def test_origins_are_looked_up_once_in_a_while_and_from_a_budget(fronted: Partner) -> None:
    api = InProcess(fronted.backing, fronted.end_user("ada").key, key_lookups=2.0)
    for _ in range(5):
        api.call("GET", "/v1/patients", headers={"Origin": ORIGIN})
    api.watched.forget()
    asked = {"Access-Control-Request-Method": "GET"}
    for number in range(100):
        origin = f"https://made-up-{number}.example"
        told = api.send("OPTIONS", "/v1/patients", headers={"Origin": origin, **asked})
        assert told.status_code == 403
    assert len(api.watched.gets) == 9  # ten at once, of which the registered one took the first
    api.call("GET", "/v1/patients", headers={"Origin": ORIGIN})


@pytest.mark.parametrize(
    "origin",
    ["https://www.example.org/", "http://www.example.org", "https://*.example.org", "null", "x"],
)
def test_what_is_no_origin_cannot_be_registered(partner: Partner, origin: str) -> None:
    body: Any = {"frontEndOrigins": [origin]}
    error = partner.send("PATCH", f"/v1/organisations/{partner.organisation.id}", json=body).json()[
        "error"
    ]
    assert (error["code"], error["param"]) == ("parameter_invalid", "frontEndOrigins[0]")


# --- Other methods -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "allowed"),
    [
        ("/v1/patients", "POST, GET, HEAD, OPTIONS"),
        ("/v1/patients/p_1", "GET, POST, PATCH, DELETE, HEAD, OPTIONS"),
        ("/v1/patients/search", "POST, OPTIONS"),
    ],
)
def test_options_tells_what_a_path_takes(partner: Partner, path: str, allowed: str) -> None:
    told = partner.server.send("OPTIONS", path)
    assert (told.status_code, told.headers["Allow"]) == (200, allowed)
    assert partner.server.send("OPTIONS", "/v1/nothing").status_code == 404


def test_head_answers_as_get_without_a_body(partner: Partner) -> None:
    partner.create_patient()
    got, told = (partner.send(method, "/v1/patients") for method in ("GET", "HEAD"))
    assert (told.status_code, told.content) == (200, b"")
    assert told.headers["Content-Length"] == str(len(got.content))
    assert partner.server.send("HEAD", "/v1/patients").status_code == 401
