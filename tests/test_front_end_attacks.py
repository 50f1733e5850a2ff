"""Attacks on front ends: names made to be taken for another's, floods, answers that are no keys."""

import asyncio
import base64
import json
import time
import uuid
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

import pytest

from shared import clock, exchange, memory
from shared.backends import ConflictError, UnavailableError
from shared.exchange import KEYED_BODY
from shared.provision import connect_tenant
from shared.service import Service
from shared.settings import SettingError, load
from tests.support.id_tokens import Signer, claims, unsigned
from tests.support.inprocess import InProcess
from tests.support.serving import PATIENT, REASON, Json, Partner
from tests.test_frontend_events import BROWSER, Page, send

NOW = int(time.time())
BEFORE: Json = {"auth_time": NOW - 60, "iat": NOW - 60}
"""What the token of a session says that began a minute ago."""
PREFLIGHT = {"Access-Control-Request-Method": "GET"}


def new_origin() -> str:
    return f"https://{uuid.uuid4()}.example"


# --- Names that are like another's ---------------------------------------------------------------


@pytest.mark.parametrize("uid", [" ada", "ada ", "\u00a0ada", "ada\u3000", " "])
def test_a_uid_that_only_white_space_tells_from_anothers_lets_nobody_in(
    partner: Partner, uid: str
) -> None:
    partner.create_patient(endUserId="ada")
    told = partner.end_user(uid).get("/v1/patients", 401)["error"]
    assert told["code"] == "token_invalid"
    error = partner.post(f"/v1/end_users/{quote(uid)}/revoke", status=400)["error"]
    assert (error["code"], error["param"]) == ("parameter_invalid", "uid")


def test_a_uid_that_is_no_text_lets_nobody_in(partner: Partner) -> None:
    told = partner.end_user("ada\ud800").get("/v1/patients", 401)["error"]
    assert told["code"] == "token_invalid"


@pytest.mark.parametrize("claim", ["aud", "iss"])
def test_what_a_token_says_is_taken_as_it_is(partner: Partner, claim: str) -> None:
    said = claims(partner.tenant, "ada")
    spaced = partner.end_user("ada", **{claim: f" {said[claim]} "})
    assert spaced.get("/v1/patients", 401)["error"]["code"] == "token_invalid"


def test_an_end_user_whose_uid_and_key_run_together_as_anothers_do_gets_no_replay_of_theirs(
    partner: Partner,
) -> None:
    ada, namesake = partner.end_user("ada"), partner.end_user("ada x")
    made = ada.post("/v1/patients", PATIENT, headers={"Idempotency-Key": "x y"})
    own = namesake.post("/v1/patients", PATIENT, headers={"Idempotency-Key": "y"})
    assert (made["endUserId"], own["endUserId"]) == ("ada", "ada x")


@pytest.mark.parametrize(
    "uid",
    ["auth/ada", "/", "ada/revoke", "a%2Fb", "a b", "ä", "ada?x=1#y", "Ada", "x" * 128, "..."],
)
def test_every_end_user_who_can_sign_in_can_be_revoked(partner: Partner, uid: str) -> None:
    ada = partner.end_user(uid, **BEFORE)
    assert partner.post(f"/v1/end_users/{quote(uid, safe='')}/revoke")["endUserId"] == uid
    assert ada.get("/v1/patients", 401)["error"]["code"] == "token_revoked"


@pytest.mark.parametrize("path", ["a/b", "a%2Fb/c", "/"])
def test_a_slash_that_is_not_escaped_is_no_part_of_a_uid(partner: Partner, path: str) -> None:
    told = partner.post(f"/v1/end_users/{path}/revoke", status=404)["error"]
    assert told["code"] == "route_unknown"


def test_a_revocation_that_comes_late_does_not_take_back_a_later_one(partner: Partner) -> None:
    later = partner.post("/v1/end_users/ada/revoke")
    slow = InProcess(partner.backing, partner.key)
    slow.at = datetime.fromisoformat(later["revokedAt"]) - timedelta(seconds=30)
    assert slow.call("POST", "/v1/end_users/ada/revoke")["revokedAt"] == later["revokedAt"]


def test_an_end_user_cancels_in_no_name_but_the_patients(partner: Partner) -> None:
    partner.patch_organisation(endUserPermissions=["appointments:cancel"])
    patient = partner.create_patient(endUserId="ada")
    task = partner.task()
    request = partner.request(patient, task, partner.windows(task)[-1])
    path = f"/v1/appointments/{partner.post('/v1/appointments', request)['id']}/cancel"
    ada = partner.end_user("ada")
    error = ada.post(path, {**REASON, "cancellingEntity": "organisation"}, 400)["error"]
    assert (error["code"], error["param"]) == ("parameter_invalid", "cancellingEntity")
    assert ada.post(path, REASON)["cancellingEntity"] == "patient"


def test_a_tenant_is_one_organisations_for_ever(partner: Partner, other: Partner) -> None:
    tenant, backing = partner.tenant, partner.backing
    with pytest.raises(ConflictError):
        backing.run(lambda service: connect_tenant(service, "test", other.organisation.id, tenant))
    shown = other.get("/v1/organisations")["data"][0]["firebaseTenants"]
    assert shown["test"] != tenant
    assert partner.end_user("ada").get("/v1/patients")["data"] == []
    # Its organisation may have another one; then the first opens nothing, and is still its own.
    old, later = partner.end_user("ada"), f"later-{uuid.uuid4().hex[:8]}"
    mine = partner.organisation.id
    backing.run(lambda service: connect_tenant(service, "test", mine, later))
    stranger = InProcess(backing, old.key)
    assert stranger.call("GET", "/v1/patients", 403)["error"]["code"] == "tenant_unknown"
    InProcess(backing, backing.sign(claims(later, "ada"))).call("GET", "/v1/patients")


# --- Look-ups that are shared ---------------------------------------------------------------------


def test_a_look_up_that_fails_fails_for_all_who_wait_and_the_next_is_a_new_one(
    partner: Partner,
) -> None:
    api = InProcess(partner.backing, partner.end_user("ada").key)
    api.watched.failing = {"get": UnavailableError("gone")}

    async def both(_: Service) -> list[Any]:
        asked = [api.end_users.authenticate(str(api.key), clock.now()) for _ in range(2)]
        return await asyncio.gather(*asked, return_exceptions=True)

    told = partner.backing.run(both)
    assert [type(each) for each in told] == [UnavailableError] * 2
    api.watched.failing = {}
    api.call("GET", "/v1/patients")


def test_who_leaves_a_look_up_ends_it_for_nobody_else(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.end_user("ada").key)

    async def leave(_: Service) -> str:
        await api.end_users._tokens.open(str(api.key))  # its key is known from here on
        asked = [api.end_users.authenticate(str(api.key), clock.now()) for _ in range(2)]
        first, second = (asyncio.create_task(each) for each in asked)
        await asyncio.sleep(0)  # both wait for the same look-up now
        first.cancel()
        return (await second).uid

    assert partner.backing.run(leave) == "ada"
    assert api.watched.gets == [1, 2]


# --- Tokens that are made to hurt ----------------------------------------------------------------


@pytest.mark.parametrize(
    "header",
    [
        {"kid": "\ud800"},
        {"kid": ["first"]},
        {"kid": {}},
        {"kid": 7},
        {"alg": ["RS256"]},
        {"alg": "RS512"},
        {"crit": ["exp"]},
        {"b64": False},
        {"jwk": {"kty": "oct", "k": "AA"}},
        {"jku": "https://evil.example/jwks"},
        {"x": 10**4000},
    ],
    ids=str,
)
def test_a_header_that_is_made_to_hurt_is_a_plain_401(partner: Partner, header: Json) -> None:
    token = unsigned(claims(partner.tenant, "ada"), **{"alg": "RS256", "kid": "first", **header})
    for shown in (token, f"{token}AAAA"):
        error = InProcess(partner.backing, shown).call("GET", "/v1/patients", 401)["error"]
        assert error["code"] in ("token_invalid", "key_malformed")


def test_a_header_of_a_thousand_levels_is_a_plain_401(partner: Partner) -> None:
    deep: Any = "x"
    for _ in range(900):
        deep = [deep]
    whole = json.dumps({"alg": "RS256", "kid": "first", "x": deep})
    deeper = whole.replace('["x"]', "[" * 15_000 + "]" * 15_000)
    token = ".".join((_encoded(deeper), _encoded("{}"), "AA"))
    answer = partner.server.send("GET", "/v1/patients", token)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "token_invalid")


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


@pytest.mark.parametrize("shown", ["Basic", "Digest", "Bearer Bearer", "Token"])
def test_a_token_is_taken_bare_or_as_a_bearers_and_in_no_other_way(
    partner: Partner, shown: str
) -> None:
    token = partner.end_user("ada").token
    sent = base64.b64encode(f"{token}:".encode()).decode() if shown == "Basic" else token
    answer = partner.server.send("GET", "/v1/patients", f"{shown} {sent}")
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "key_malformed")


# --- The keys that sign --------------------------------------------------------------------------


@pytest.fixture
def publisher() -> Signer:
    """A publisher of keys of the test's own, which can be made to publish what is none."""
    return Signer()


def fetching(partner: Partner, publisher: Signer) -> InProcess:
    token = publisher.sign(claims(partner.tenant, "ada"))
    return InProcess(partner.backing, token, firebase_keys=publisher.address)


BROKEN: dict[str, Any] = {
    "no keys": [],
    "keys that are no objects": ["first"],
    "a key that has no numbers": [{"kty": "RSA", "kid": "first", "alg": "RS256"}],
    "a key that is no RSA key": [{"kty": "RSA", "kid": "first", "n": "AA", "e": "!"}],
    "a key without a name": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}],
}


@pytest.mark.parametrize("broken", BROKEN)
def test_what_is_published_that_is_no_keys_is_as_if_nothing_could_be_fetched(
    partner: Partner, publisher: Signer, broken: str
) -> None:
    api = fetching(partner, publisher)
    publisher.published = lambda: BROKEN[broken]  # type: ignore[method-assign]  # the fault that is injected
    for _ in range(3):
        answer = api.send("GET", "/v1/patients")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert publisher.fetched == 1


def test_known_keys_are_not_given_up_for_an_answer_that_has_none(
    partner: Partner, publisher: Signer
) -> None:
    api = fetching(partner, publisher)
    api.call("GET", "/v1/patients")
    publisher.published = list  # type: ignore[method-assign]  # the fault that is injected
    tokens: Any = api.end_users._tokens
    tokens._until = tokens._not_before = 0.0  # they have become old
    api.call("GET", "/v1/patients")
    assert publisher.fetched == 2


def test_known_keys_go_on_while_new_ones_are_waited_for(
    partner: Partner, publisher: Signer
) -> None:
    api = fetching(partner, publisher)
    api.call("GET", "/v1/patients")
    tokens: Any = api.end_users._tokens
    tokens._until = tokens._not_before = 0.0  # they have become old
    publisher.answering.clear()

    async def two(_: Service) -> None:
        first = asyncio.create_task(tokens.open(api.key))
        await asyncio.sleep(0)  # it fetches now
        assert await tokens.open(api.key)
        assert not first.done()
        publisher.answering.set()
        assert await first

    partner.backing.run(two)


# --- Origins -------------------------------------------------------------------------------------


@pytest.fixture
def origin(partner: Partner) -> str:
    """The registered origin of the partner's front end."""
    registered = new_origin()
    partner.patch_organisation(frontEndOrigins=[registered])
    return registered


def test_a_flood_of_origins_that_nobody_registered_drives_out_none_that_is(
    partner: Partner, origin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MOST", 10)
    api = InProcess(partner.backing, partner.end_user("ada").key, key_lookups=4.0)
    asked = {"Origin": origin, **PREFLIGHT}
    assert api.send("OPTIONS", "/v1/patients", headers=asked).status_code == 200
    for _ in range(30):  # more than are remembered, and than the budget has
        told = api.send("OPTIONS", "/v1/patients", headers={"Origin": new_origin(), **PREFLIGHT})
        assert told.status_code == 403
    assert api.send("OPTIONS", "/v1/patients", headers=asked).status_code == 200


def test_an_origin_is_looked_up_once_for_all_pages_that_ask_at_the_same_time(
    partner: Partner, origin: str
) -> None:
    api = InProcess(partner.backing, partner.key, key_lookups=1.0)
    assert api.registered([origin] * 50) == [True] * 50
    assert len(api.watched.gets) == 1


def test_of_organisations_that_share_an_origin_at_the_same_time_none_is_forgotten(
    partner: Partner,
) -> None:
    shared = new_origin()
    crowd = [partner.backing.partner(partner.server, f"Health {each}") for each in range(4)]

    def list_origins(origins: list[str]) -> None:
        with ThreadPoolExecutor() as pool:
            for done in [
                pool.submit(each.patch_organisation, frontEndOrigins=origins) for each in crowd
            ]:
                done.result()

    def told() -> int:
        fresh = InProcess(partner.backing, "")
        asked = {"Origin": shared, **PREFLIGHT}
        return fresh.send("OPTIONS", "/v1/patients", headers=asked).status_code

    list_origins([shared])
    first, *crowd = crowd
    list_origins([])
    assert told() == 200  # one of them still has it
    first.patch_organisation(frontEndOrigins=[])
    assert told() == 403


def test_while_storage_fails_a_page_that_is_known_can_still_read_so(
    partner: Partner, origin: str
) -> None:
    api = InProcess(partner.backing, partner.end_user("ada").key)
    api.call("GET", "/v1/patients", headers={"Origin": origin})
    api.watched.failing = {"get": UnavailableError("gone"), "query": UnavailableError("gone")}
    api.elapsed = 10.1
    told = api.send("OPTIONS", "/v1/patients", headers={"Origin": origin, **PREFLIGHT})
    assert told.status_code == 200
    answer = api.send("GET", "/v1/patients", headers={"Origin": origin})
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert answer.headers["Access-Control-Allow-Origin"] == origin
    # Of one that was never heard of nothing is known.
    asked = {"Origin": new_origin(), **PREFLIGHT}
    assert api.send("OPTIONS", "/v1/patients", headers=asked).status_code == 503


def test_what_was_done_for_a_page_can_be_read_by_it_though_the_budget_was_spent(
    partner: Partner, origin: str
) -> None:
    api = InProcess(partner.backing, partner.end_user("ada").key, key_lookups=1.0)
    for _ in range(10):
        api.send("OPTIONS", "/v1/patients", headers={"Origin": new_origin(), **PREFLIGHT})
    answer = api.send("POST", "/v1/patients", json=PATIENT, headers={"Origin": origin})
    assert answer.status_code == 200
    assert answer.headers.get_list("Access-Control-Allow-Origin") == [origin]


def test_an_origin_that_no_browser_sends_cannot_be_registered(partner: Partner) -> None:
    for written in ("https://www.example.org:443", "http://localhost:80", "https://a.example:0"):
        error = partner.call(
            "PATCH",
            f"/v1/organisations/{partner.organisation.id}",
            400,
            json={"frontEndOrigins": [written]},
        )["error"]
        assert error["param"] == "frontEndOrigins[0]"


# --- Before anybody is known ---------------------------------------------------------------------


def test_of_a_stranger_little_is_read_and_not_for_long(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = Page(partner)
    event = f"event=view.home&key={page.shown}"

    def sent(content: Any, **headers: str) -> Json:
        kind = {"Content-Type": "application/x-www-form-urlencoded", "X-Forwarded-For": "192.0.2.1"}
        answer = send(page.api, {**BROWSER, **kind, **headers}, content=content).json()
        told: Json = answer.get("error", answer)
        return told

    full = event + "&" * (KEYED_BODY.size - len(event))
    assert sent(full)["event"] == "view.home"
    assert sent(f"{full}&")["code"] == "body_too_large"
    by_server = sent(f"{full}&", Authorization=str(partner.key))
    assert by_server["code"] != "body_too_large"  # whose body is read once the key is known

    async def slowly() -> AsyncIterator[bytes]:
        yield event.encode()
        await asyncio.sleep(60)

    monkeypatch.setattr(exchange, "KEYED_BODY", KEYED_BODY._replace(seconds=0.05))
    assert "they did not end within 0.05 seconds" in sent(slowly())["message"]


# --- Settings ------------------------------------------------------------------------------------


def test_what_was_read_of_who_calls_is_believed_for_no_more_than_revoking_may_take() -> None:
    load({"ALLY_BACKEND": "local", "ALLY_KEY_CACHE": "15"})
    with pytest.raises(SettingError, match="ALLY_KEY_CACHE"):
        load({"ALLY_BACKEND": "local", "ALLY_KEY_CACHE": "16"})
