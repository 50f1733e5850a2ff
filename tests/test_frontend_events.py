"""Events of front ends: who may send them and from where, what is counted, and what is kept."""

import json
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions import discover
from shared.backends.metrics import FRONT_END_EVENTS, FRONT_END_TIMINGS
from shared.front_ends import EVENTS, is_timing
from shared.issuing import draw
from shared.keys import ApiKey
from shared.provision import keep
from shared.routes import PUBLIC, Route
from shared.service import Service
from shared.settings import Settings
from tests.support.inprocess import InProcess
from tests.support.serving import Json, Partner

PATH = "/v1/frontend_events"
ORIGIN = "https://www.page.example"
NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)
BELIEVED = Settings.key_cache
ROUTES = [
    route
    for api in discover()
    if api.reachable
    for route in api.routes
    if route.permission != PUBLIC
]
BROWSER = {"Origin": ORIGIN, "User-Agent": "Browser"}


class Page:
    """A page with a publishable key of an organisation, and an instance that it calls."""

    def __init__(self, partner: Partner, *, at: datetime | None = NOW, **fields: Any) -> None:
        self.partner = partner
        self.key = publishable(partner, **fields)
        self.api = InProcess(partner.backing, "", proxies=1)
        self.api.at = at

    @property
    def shown(self) -> str:
        return self.key.maskedKey

    def send(self, address: str = "203.0.113.7", **fields: Any) -> httpx.Response:
        """Send an event as a browser does by itself: a form, without asking beforehand."""
        headers = {**BROWSER, **fields.pop("headers", {}), "X-Forwarded-For": address}
        form = {"event": "view.home", "key": self.shown, **fields}
        return send(self.api, headers, data=form)

    def code(self, address: str = "203.0.113.7", **fields: Any) -> str:
        return code(self.send(address, **fields))


def publishable(partner: Partner, **fields: Any) -> ApiKey:
    """Make a publishable key of a partner's mode."""

    async def make(service: Service) -> ApiKey:
        at = service.now()
        described = {"name": "Page", "type": "publishable", "origins": [ORIGIN], **fields}
        organisation = partner.organisation.id
        key = await draw(service.keyring, partner.mode, organisation, at, **described)
        await keep(service, partner.mode, organisation, [key], at)
        return key

    return partner.backing.run(make)


def send(api: InProcess, headers: Json, **options: Any) -> httpx.Response:
    """Send a request without the header Authorization."""
    with_headers = httpx.Headers(headers)
    return api.send("POST", PATH, headers=with_headers, anonymous=True, **options)


def code(answer: httpx.Response) -> str:
    """Return the code of a refusal, or nothing."""
    return str(answer.json()["error"]["code"]) if answer.is_error else ""


def counted(partner: Partner, *apis: InProcess) -> Counter[str]:
    """Return how often each event was counted for a partner in its mode, by some instances."""
    whose = (partner.organisation.id, partner.mode)
    found = Counter[str]()
    for api in apis:
        for (metric, labels), tally in api.meter._counted.items():
            if metric in (FRONT_END_EVENTS, FRONT_END_TIMINGS) and labels[:2] == whose:
                found[".".join(labels[2:])] += tally.count
    return found


# --- What is counted -----------------------------------------------------------------------------


def test_every_event_is_counted_under_its_word_for_whoever_may_send_it(partner: Partner) -> None:
    page = Page(partner, at=None)
    ada = InProcess(partner.backing, partner.end_user("ada").key)
    server = InProcess(partner.backing, partner.key)
    for event in EVENTS:
        fields: Json = {"event": event} | ({"milliseconds": 840} if is_timing(event) else {})
        told = page.send(**fields).json()
        assert (told["object"], told["event"]) == ("frontend_event", event)
        assert (told["livemode"], told["milliseconds"]) == (False, fields.get("milliseconds"))
        ada.call("POST", PATH, json=fields)
        server.call("POST", PATH, json=fields)
    assert counted(partner, page.api, ada, server) == dict.fromkeys(EVENTS, 3)


def test_a_mode_is_that_of_the_key(partner: Partner) -> None:
    live = partner.live()
    page = Page(live)
    assert page.send().json()["livemode"] is True
    assert (counted(live, page.api), counted(partner, page.api)) == ({"view.home": 1}, {})


@pytest.mark.parametrize(
    "fields",
    [
        {"event": "view.Home"},
        {"event": "view"},
        {"event": "home"},
        {"event": "view.home "},
        {"event": "visit.home"},
        {"event": ""},
        {"event[]": "view.home"},
        {"event": ["view.home", "step.booked"]},
        {"event": "view.p_0000000000000000000000"},
        {"event": "timing.booking"},
        {"event": "timing.booking", "milliseconds": "-1"},
        {"event": "timing.booking", "milliseconds": "600001"},
        {"event": "timing.booking", "milliseconds": "1.5"},
        {"event": "view.home", "milliseconds": "5"},
        {"name": "Ada Lovelace"},
        {"text": "I cannot book"},
        {"url": "https://www.page.example/?patient=ada"},
        {"patientId": "p_0000000000000000000000"},
    ],
    ids=str,
)
def test_nothing_can_be_said_but_the_words_that_there_are(partner: Partner, fields: Json) -> None:
    page = Page(partner)
    answer = page.send(**fields)
    assert (answer.status_code, answer.json()["error"]["type"]) == (400, "invalid_request_error")
    assert counted(partner, page.api) == {}


# --- Who may send it -----------------------------------------------------------------------------


def test_a_page_needs_no_leave_beforehand_and_can_read_the_answer(partner: Partner) -> None:
    answer = Page(partner).send()
    assert answer.status_code == 200
    assert answer.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert answer.headers["RateLimit-Policy"] == '"visitor";q=1000000;w=10'
    assert "Access-Control-Allow-Credentials" not in answer.headers


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": ""},
        {"Origin": "null"},
        {"Origin": "https://www.page.example.evil.example"},
        {"Origin": "https://WWW.page.example"},
        {"Origin": "http://www.page.example"},
        {"Origin": f"{ORIGIN}, https://evil.example"},
        {"Origin": "https://api.ally.example"},
        {"Origin": ORIGIN, "Sec-Fetch-Site": "same-origin"},
        {"Origin": "", "Referer": f"{ORIGIN}/"},
    ],
    ids=str,
)
def test_a_page_of_another_origin_counts_nothing(partner: Partner, headers: Json) -> None:
    page = Page(partner)
    # What the organisation registered for its end users is another list.
    partner.patch_organisation(frontEndOrigins=["https://app.page.example"])
    for more in ({}, {"Origin": "https://app.page.example"}):
        answer = page.send(headers={**headers, **more})
        assert (answer.status_code, code(answer)) == (403, "origin_not_allowed")
    assert counted(partner, page.api) == {}


def test_what_is_no_browser_and_names_no_origin_counts_nothing(partner: Partner) -> None:
    page = Page(partner)
    form = {"event": "view.home", "key": page.shown}
    assert code(send(page.api, {"User-Agent": "curl"}, data=form)) == "origin_not_allowed"
    assert counted(partner, page.api) == {}


def test_what_is_shown_in_the_place_of_a_publishable_key_opens_nothing(partner: Partner) -> None:
    page = Page(partner)
    _, _, key_id = page.shown.rpartition("_")
    secret_id = partner.key.partition(".")[0].removeprefix("test_")
    refused: list[tuple[Any, str]] = [
        (None, "key_missing"),
        ("", "key_missing"),
        ("  ", "key_missing"),
        (7, "key_missing"),
        ([page.shown], "key_missing"),
        ({"a": page.shown}, "key_missing"),
        (partner.key, "key_malformed"),
        (f"test_{key_id}", "key_malformed"),
        (f"test_pub_{key_id}0", "key_malformed"),
        (f"test_pub_{key_id}\n.", "key_malformed"),
        (f"TEST_pub_{key_id}", "key_malformed"),
        (f"test_pub_{secret_id}", "key_invalid"),  # the id of a secret key, which is no secret
        (f"live_pub_{key_id}", "key_invalid"),
        (f"test_pub_{key_id[:-1]}{'a' if key_id[-1] != 'a' else 'b'}", "key_invalid"),
        (f"test_pub_{'0' * 24}", "key_invalid"),
    ]
    for shown, named in refused:
        answer = send(page.api, BROWSER, json={"event": "view.home", "key": shown})
        assert (answer.status_code, code(answer)) == (401, named), shown
        assert answer.headers["WWW-Authenticate"]
        assert not isinstance(shown, str) or not shown.strip() or shown not in answer.text
    assert counted(partner, page.api) == {}


def test_a_publishable_key_is_taken_from_the_body_alone(partner: Partner) -> None:
    page = Page(partner)
    form = {"event": "view.home"}
    for shown in (page.shown, f"Bearer {page.shown}"):
        answer = send(page.api, {**BROWSER, "Authorization": shown}, data=form)
        assert (answer.status_code, code(answer)) == (401, "key_publishable")
    answer = send(page.api, BROWSER, params={"key": page.shown}, data=form)
    assert (answer.status_code, code(answer)) == (401, "key_missing")
    answer = page.send(headers={"X-Key": page.shown}, key="")
    assert code(answer) == "key_missing"


def test_behind_the_gateway_its_own_token_is_nobodys_and_a_page_is_let_in(
    partner: Partner,
) -> None:
    page = Page(partner)
    page.api = InProcess(partner.backing, "", proxies=1, behind_gateway=True)
    page.api.at = NOW
    assert page.code(headers={"Authorization": "Bearer eyJhbGciOiJSUzI1NiJ9.e30.AA"}) == ""
    forged = {"X-Forwarded-Authorization": f"Bearer {page.shown}"}
    assert page.code(headers=forged) == "key_publishable"


def test_a_key_in_the_body_beside_another_caller_is_refused(partner: Partner) -> None:
    page = Page(partner)
    for caller in (partner, partner.end_user("ada")):
        api = InProcess(partner.backing, caller.key)
        error = api.call("POST", PATH, 400, json={"event": "view.home", "key": page.shown})["error"]
        assert (error["code"], error["param"]) == ("parameter_invalid", "key")
        assert counted(partner, api) == {}


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.template}")
def test_a_publishable_key_opens_no_other_route(partner: Partner, route: Route) -> None:
    if route.publishable:
        assert route.template == PATH
        return
    page = Page(partner)
    path = route.template.replace("{", "").replace("}", "")
    body = {"json": {"key": page.shown}} if route.method in ("POST", "PATCH") else {}
    for sent in (body, {"params": {"key": page.shown}}):
        answer = page.api.send(
            route.method, path, headers=httpx.Headers(BROWSER), anonymous=True, **sent
        )
        assert (answer.status_code, code(answer)) == (401, "key_missing")


def test_a_secret_key_needs_the_permission_and_the_page_of_an_end_user_its_origin(
    partner: Partner,
) -> None:
    asked = {"event": "step.booked"}
    partner.with_key({"frontend_events": "write"}).post(PATH, asked)
    error = partner.with_key({"frontend_events": "read"}).post(PATH, asked, 403)["error"]
    assert error["code"] == "permission_missing"
    ada = InProcess(partner.backing, partner.end_user("ada").key)
    partner.patch_organisation(frontEndOrigins=[ORIGIN], endUserPermissions=[])
    ada.call("POST", PATH, headers={"Origin": ORIGIN}, json=asked)
    ada.call("POST", PATH, 403, headers={"Origin": "https://evil.example"}, json=asked)


# --- When a key has ended ------------------------------------------------------------------------


def test_a_revoked_key_is_refused_once_what_is_known_of_it_is_old(partner: Partner) -> None:
    page = Page(partner, at=None)
    assert page.code() == ""
    partner.administrator().post(f"/v1/api_keys/{page.key.id}/revoke")
    page.api.elapsed = BELIEVED + 0.1
    assert page.code() == "key_revoked"
    assert counted(partner, page.api) == {"view.home": 1}


def test_a_rolled_key_goes_on_for_its_overlap(partner: Partner) -> None:
    page = Page(partner, at=None)
    rolled = partner.administrator().post(f"/v1/api_keys/{page.key.id}/roll", {"overlap": "1h"})
    assert page.code() == page.code(key=rolled["maskedKey"]) == ""
    page.api.at = datetime.now(UTC) + timedelta(hours=1, seconds=1)
    assert (page.code(), page.code(key=rolled["maskedKey"])) == ("key_expired", "")


def test_origins_that_are_taken_from_a_key_are_refused_soon(partner: Partner) -> None:
    page = Page(partner, at=None)
    assert page.code() == ""
    changed = {"origins": ["https://new.page.example"]}
    partner.administrator().post(f"/v1/api_keys/{page.key.id}", changed)
    page.api.elapsed = BELIEVED + 0.1
    assert page.code() == "origin_not_allowed"
    assert page.code(headers={"Origin": "https://new.page.example"}) == ""


def test_the_pages_of_an_organisation_that_is_suspended_count_nothing_in_live_mode(
    partner: Partner,
) -> None:
    page = Page(partner.live())
    partner.change_organisation(activation="suspended")
    assert page.code() == "organisation_not_activated"


# --- Whose it is ---------------------------------------------------------------------------------


def test_what_is_counted_is_the_callers_whatever_else_is_sent(
    partner: Partner, other: Partner
) -> None:
    page, theirs = Page(partner), Page(other)
    whose = other.organisation.id
    for name, forged in (
        ("organisation", whose),
        ("organisationId", whose),
        ("mode", "live"),
        ("livemode", "true"),
        ("kind", "step"),
        ("labels[0]", whose),
        ("endUserId", "ada"),
    ):
        assert page.code(**{name: forged}) == "parameter_unknown"
    for header in ("X-Organisation", "Ally-Organisation", "X-Apigateway-Api-Userinfo"):
        assert page.code(headers={header: whose}) == ""
    # Another organisation's key on this one's page counts for neither.
    foreign = publishable(other, origins=["https://theirs.example"]).maskedKey
    assert page.code(key=foreign) == "origin_not_allowed"
    # And where both name the same origin, the key decides.
    assert theirs.code() == ""
    both = (page.api, theirs.api)
    assert counted(partner, *both) == {"view.home": 3}
    assert counted(other, *both) == {"view.home": 1}


# --- What it costs -------------------------------------------------------------------------------


def test_an_event_of_a_page_is_kept_nowhere_even_with_an_idempotency_key(
    partner: Partner,
) -> None:
    page = Page(partner)
    page.send()  # the key is known, and its use is noted
    page.api.watched.forget()
    for number in range(5):
        page.send(address=f"198.51.100.{number}", headers={"Idempotency-Key": "k"})
    assert (page.api.watched.commits, page.api.watched.queries) == ([], [])
    assert sum(page.api.watched.gets) == 0
    assert counted(partner, page.api) == {"view.home": 6}


def test_the_use_of_a_publishable_key_is_noted_once_an_hour(partner: Partner) -> None:
    page = Page(partner)
    for minutes, noted in ((0, NOW), (30, NOW), (61, NOW + timedelta(minutes=61))):
        page.api.at = NOW + timedelta(minutes=minutes)
        page.api.elapsed += BELIEVED + 1
        page.send()
        shown = partner.administrator().get(f"/v1/api_keys/{page.key.id}")["lastUsedAt"]
        assert datetime.fromisoformat(shown) == noted


def test_who_sends_too_much_silences_nobody_else_on_the_page(partner: Partner) -> None:
    page = Page(partner)
    page.api = InProcess(partner.backing, "", proxies=1, rate_end_user=40)
    page.api.at = NOW
    answers = [page.send() for _ in range(41)]
    assert [answer.status_code for answer in answers] == [200] * 40 + [429]
    assert answers[-1].headers["Ally-Rate-Limited-Reason"] == "visitor-rate"
    assert answers[0].headers["RateLimit"] == '"visitor";r=39;t=10'
    assert page.send("203.0.113.8").status_code == 200
    # A household chooses the last half of its addresses of IPv6 by itself.
    page.api = InProcess(partner.backing, "", proxies=1, rate_end_user=2)
    page.api.at = NOW
    told = [
        page.send(f"2001:db8:0:{net}::{host}") for net, host in ((1, 1), (1, 2), (1, 3), (2, 1))
    ]
    assert [answer.status_code for answer in told] == [200, 200, 429, 200]
    # Nothing of it costs a read or a write.
    page.api.watched.forget()
    assert [page.code("203.0.113.9") for _ in range(3)] == ["", "", "rate_limited"]
    assert (page.api.watched.gets, page.api.watched.commits) == ([], [])


def test_a_flood_of_visitors_makes_no_key_start_its_quota_again(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.limits.MOST_KEYS", 10)
    page = Page(partner)
    page.api = InProcess(partner.backing, partner.key, proxies=1, rate_test=20, rate_window=3600)
    page.api.at = NOW
    statuses = []
    for number in range(25):
        statuses.append(page.api.send("GET", "/v1/cancellation_reasons").status_code)
        for each in range(12):
            page.send(f"198.51.{number}.{each}")
    assert statuses == [200] * 20 + [429] * 5


def test_publishable_keys_that_are_made_up_cost_a_bounded_number_of_look_ups(
    partner: Partner,
) -> None:
    page = Page(partner)
    page.api = InProcess(partner.backing, partner.key, key_lookups=2.0)

    async def plausible(service: Service) -> list[str]:
        ids = [f"key_{uuid.uuid4().hex[:22]}" for _ in range(30)]
        return [f"test_pub_{service.keyring.key_id('test', each)}" for each in ids]

    unknown = partner.backing.run(plausible)
    codes = Counter(page.code(key=shown) for shown in unknown)
    assert codes == {"key_invalid": 10, "authentication_busy": 20}  # five seconds' worth at once
    assert page.api.secrets.reads == 10
    for shown in unknown:
        assert page.code(key=shown[:-1] + ("1" if shown[-1] == "0" else "0")) == "key_invalid"
    page.api.elapsed = 1.0
    assert page.code() == ""
    assert page.code() == ""


# --- What is told of it --------------------------------------------------------------------------


def test_a_publishable_key_stands_in_no_line_and_in_no_refusal(partner: Partner) -> None:
    key = publishable(partner)
    for form in (
        {"event": "view.home"},
        {"event": "view.nowhere"},
        {"event": "view.home", "colour": "red"},
    ):
        answer = partner.server.send(
            "POST", PATH, headers=BROWSER, data={**form, "key": key.maskedKey}
        )
        assert key.maskedKey not in answer.text + str(answer.headers)
    lines = [line for line in partner.lines() if line.get("principal") == key.id]
    assert [line["status"] for line in lines] == [200, 400, 400]
    assert all(line["page"] and "address" not in line for line in lines)
    log = Path(partner.backing.environment["ALLY_LOG"]).read_text()
    assert key.maskedKey not in log
    assert "Browser" not in json.dumps(lines)


def test_visitors_are_counted_by_address_and_browser_and_end_users_by_who_they_are(
    partner: Partner,
) -> None:
    page = Page(partner)
    for address, agent in (("1", "a"), ("1", "a"), ("1", "b"), ("2", "a")):
        page.send(f"203.0.113.{address}", headers={"User-Agent": agent})
    page.send("203.0.113.9", headers={"Origin": "https://evil.example"})
    (place,) = page.api.activity._counted
    assert (place.organisation, place.mode, place.day) == (
        partner.organisation.id,
        "test",
        NOW.date(),
    )
    found = page.api.activity._counted[place]
    assert {kind: sketch.count() for kind, sketch in found.items()} == {"visitor": 3, "end_user": 0}


# --- The script ----------------------------------------------------------------------------------


def test_the_script_is_served_to_every_page_and_is_small(partner: Partner) -> None:
    answer = partner.server.send("GET", "/ally.js", headers={"Origin": "https://any.example"})
    assert answer.headers["Content-Type"] == "text/javascript; charset=utf-8"
    assert answer.headers["Cache-Control"] == "public, max-age=3600"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cross-Origin-Resource-Policy"] == "cross-origin"
    assert answer.headers["Access-Control-Allow-Origin"] == "https://any.example"
    assert len(answer.content) < 3 * 1024


def test_the_script_reads_nothing_of_a_page_and_keeps_nothing(partner: Partner) -> None:
    text = partner.server.send("GET", "/ally.js").text
    for word in ("cookie", "localStorage", "sessionStorage", "indexedDB", "location", "innerText"):
        assert word not in text.partition("*/")[2]
    assert "eval" not in text
    assert "querySelector" not in text
