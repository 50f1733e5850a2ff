"""ID tokens of end users: who is let in by one, and who is not."""

import base64
import hmac
import json
import re
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from shared.settings import SettingError, load
from tests.support import cloud_tasks
from tests.support.addresses import ADDRESSES
from tests.support.id_tokens import PROJECTS, claims, new_key, signer, unsigned
from tests.support.inprocess import InProcess
from tests.support.serving import PATIENT, Json, Partner
from tests.support.waiting import until

NOW = int(time.time())
OLD: Json = {"auth_time": NOW - 7200, "iat": NOW - 7200}


def refused(partner: Partner, token: str, code: str = "token_invalid", status: int = 401) -> None:
    """Show a token in each way in which one can be sent, and see it refused."""
    for header in (token, f"Bearer {token}", f"bearer  {token}"):
        answer = partner.server.send("GET", "/v1/patients", header)
        assert answer.status_code == status, answer.text
        assert answer.json()["error"]["code"] == code
        assert token not in answer.text
        assert ("WWW-Authenticate" in answer.headers) == (status == 401)


def test_an_end_user_with_a_token_of_their_tenant_is_let_in(partner: Partner) -> None:
    ada = partner.end_user("ada")
    for header in (ada.token, f"Bearer {ada.token}", f"bearer  {ada.token}"):
        answer = partner.server.send("GET", "/v1/patients", header)
        assert (answer.status_code, answer.json()["data"]) == (200, [])


@pytest.mark.parametrize(
    "said",
    [
        {"aud": "another-project"},
        {"aud": [PROJECTS["test"]]},
        {"aud": None},
        {"iss": "https://securetoken.google.com/another-project"},
        {"iss": f"https://evil.example/{PROJECTS['test']}"},
        {"iss": None},
        {"sub": ""},
        {"sub": "x" * 129},
        {"sub": "ada\nX-Evil: 1"},
        {"sub": 7},
        {"sub": None},
        {"iat": NOW + 3600, "exp": NOW + 7200},
        {"auth_time": NOW + 3600},
        {"auth_time": None},
        {"iat": None},
        {"exp": None},
        {"exp": "never"},
        {"exp": 1e400},
        {"exp": 10**30},
        {"exp": True},
        {"exp": NOW - 10},  # before it was issued
        {"firebase": {"tenant": 7}},
        {"firebase": "tenant"},
    ],
    ids=lambda said: re.sub("[0-9]{10}", "time", str(said)),  # the same in each process
)
def test_a_token_that_is_not_for_us_or_not_complete_is_refused(
    partner: Partner, said: Json
) -> None:
    refused(partner, partner.end_user("ada", **said).token)


def test_a_token_that_has_expired_is_told_so_only_when_its_signature_is_right(
    partner: Partner,
) -> None:
    said = claims(partner.tenant, "ada", **OLD, exp=NOW - 3600)
    refused(partner, partner.backing.sign(said), "token_expired")
    refused(partner, signer().sign(said, key=new_key()))


def hs256_with_the_public_key(said: Json) -> str:
    """Sign with a secret that everybody knows: the public key (RFC 8725, section 2.1)."""
    public = signer().keys["first"].public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    token = unsigned(said, alg="HS256", kid="first").rstrip(".")
    signature = hmac.new(pem, token.encode(), sha256).digest()
    return f"{token}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"


def changed_after_it_was_signed(said: Json) -> str:
    head, _, signature = signer().sign(said).split(".")
    body = base64.urlsafe_b64encode(json.dumps({**said, "sub": "grace"}).encode()).decode()
    return f"{head}.{body.rstrip('=')}.{signature}"


FORGERIES: dict[str, Callable[[Json], str]] = {
    "another key": lambda said: signer().sign(said, key=new_key()),
    "a key that nobody published": lambda said: signer().sign(said, "unknown", new_key()),
    "alg none": unsigned,
    "alg none with a key": lambda said: unsigned(said, kid="first"),
    "alg none and a signature": lambda said: unsigned(said) + "c2lnbmF0dXJl",
    "the public key as a secret": hs256_with_the_public_key,
    "a changed body": changed_after_it_was_signed,
    "no signature": lambda said: signer().sign(said).rpartition(".")[0] + ".",
    "a body that is no JSON": lambda said: "eyJhbGciOiJSUzI1NiIsImtpZCI6ImZpcnN0In0.e30x.AA",
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_forged_token_is_refused(partner: Partner, forgery: str) -> None:
    refused(partner, FORGERIES[forgery](claims(partner.tenant, "ada")))


def test_a_token_without_a_tenant_or_with_that_of_nobody_is_refused(partner: Partner) -> None:
    assert partner.tenant
    for tenant in ("nobodys-tenant", "../evil", "x", ""):
        stranger = partner.end_user("ada", firebase={"tenant": tenant})
        refused(partner, stranger.token, "tenant_unknown", 403)
    refused(partner, partner.end_user("ada", firebase={}).token, "tenant_unknown", 403)
    refused(partner, partner.end_user("ada", firebase=None).token, "tenant_unknown", 403)


def test_a_tenant_leads_to_its_own_organisation_and_to_no_other(
    partner: Partner, other: Partner
) -> None:
    made = partner.end_user("ada").post("/v1/patients", PATIENT)
    namesake = other.end_user("ada")  # the same uid, in another organisation's tenant
    assert namesake.get(f"/v1/patients/{made['id']}", 404)["error"]["code"] == "resource_missing"
    assert namesake.get("/v1/patients")["data"] == []
    assert partner.end_user("ada").get(f"/v1/patients/{made['id']}")["id"] == made["id"]


def test_the_project_of_a_token_decides_the_mode(partner: Partner) -> None:
    live = partner.live()
    assert live.end_user("ada").post("/v1/patients", PATIENT)["livemode"] is True
    assert partner.end_user("ada").get("/v1/patients")["data"] == []
    # The tenant of one mode is unknown to the project of the other.
    crossed = partner.backing.sign(claims(partner.tenant, "ada", "live"))
    refused(partner, crossed, "tenant_unknown", 403)


def test_end_users_of_an_organisation_that_is_not_active_have_no_live_mode(
    partner: Partner,
) -> None:
    live = partner.live()
    suspended = live.end_user("ada")
    live.change_organisation(activation="suspended")
    error = InProcess(partner.backing, suspended.key).call("GET", "/v1/patients", 403)["error"]
    assert error["code"] == "organisation_not_activated"


def test_an_end_user_costs_no_look_up_in_the_steady_state(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.end_user("ada").key)
    for _ in range(20):
        api.call("GET", "/v1/coverage", params={"postcode": "SW1A 1AA"})
    assert api.watched.gets == [1, 2, *[1] * 20]  # the tenant; who it is; and the coverage
    assert api.secrets.reads <= 1  # the local backend's own key
    assert api.watched.commits == []


# --- Sessions that were ended --------------------------------------------------------------------


def test_a_revoked_end_user_is_refused_everywhere_when_what_is_remembered_is_old(
    partner: Partner,
) -> None:
    ada = partner.end_user("ada", auth_time=NOW - 60, iat=NOW - 60)
    elsewhere = InProcess(partner.backing, ada.key)
    elsewhere.call("GET", "/v1/patients")
    ended = partner.post("/v1/end_users/ada/revoke")
    assert (ended["object"], ended["endUserId"]) == ("end_user", "ada")
    assert ended["revokedAt"] == ended["updatedAt"]
    elsewhere.call("GET", "/v1/patients")
    elsewhere.elapsed = 10.1
    error = elsewhere.call("GET", "/v1/patients", 401)["error"]
    assert error["code"] == "token_revoked"
    again = partner.post("/v1/end_users/ada/revoke")
    assert (again["id"], again["createdAt"]) == (ended["id"], ended["createdAt"])
    assert again["revokedAt"] > ended["revokedAt"]


def test_a_revoked_end_user_may_sign_in_again_and_others_are_not_concerned(
    partner: Partner, other: Partner
) -> None:
    before = {"auth_time": NOW - 60, "iat": NOW - 60}
    partner.post("/v1/end_users/ada/revoke")
    # Refreshed by the front end since then, but of the session that was ended.
    refreshed = partner.end_user("ada", auth_time=NOW - 60)
    assert refreshed.get("/v1/patients", 401)["error"]["code"] == "token_revoked"
    later = int(time.time()) + 30
    assert partner.end_user("ada", auth_time=later, iat=later).get("/v1/patients")["data"] == []
    assert partner.end_user("grace", **before).get("/v1/patients")["data"] == []
    assert other.end_user("ada", **before).get("/v1/patients")["data"] == []


@pytest.mark.parametrize("uid", ["x" * 129, "ada%0A", "%00"])
def test_who_cannot_be_an_end_user_cannot_be_revoked(partner: Partner, uid: str) -> None:
    error = partner.post(f"/v1/end_users/{uid}/revoke", status=400)["error"]
    assert (error["code"], error["param"]) == ("parameter_invalid", "uid")


# --- The keys that sign --------------------------------------------------------------------------


@pytest.fixture
def fetching(partner: Partner) -> InProcess:
    """An instance that fetches keys, has fetched none yet, and is called by an end user."""
    token = signer().sign(claims(partner.tenant, "ada"))
    return InProcess(partner.backing, token, firebase_keys=signer().address)


def test_the_keys_are_fetched_once_and_made_up_ones_fetch_nothing(
    partner: Partner, fetching: InProcess
) -> None:
    before = signer().fetched
    key, said = new_key(), claims(partner.tenant, "ada")
    for number in range(50):
        fetching.call("GET", "/v1/patients")
        made_up = signer().sign(said, str(number), key)
        fetching.call("GET", "/v1/patients", 401, headers={"Authorization": made_up})
    assert signer().fetched == before + 1


def test_while_the_keys_cannot_be_fetched_nobody_is_let_in_and_then_everybody_is(
    fetching: InProcess,
) -> None:
    signer().failing = True
    try:
        answer = fetching.send("GET", "/v1/patients")
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    finally:
        signer().failing = False
    until(lambda: fetching.send("GET", "/v1/patients").status_code != 503)
    fetching.call("GET", "/v1/patients")


def test_known_keys_outlive_a_failure_of_who_publishes_them(fetching: InProcess) -> None:
    fetching.call("GET", "/v1/patients")
    tokens: Any = fetching.end_users._tokens
    tokens._until = tokens._not_before = 0.0  # they have become old
    signer().failing = True
    try:
        fetching.call("GET", "/v1/patients")
    finally:
        signer().failing = False


# --- Settings ------------------------------------------------------------------------------------

GOOGLE = {
    "ALLY_BACKEND": "google",
    "GOOGLE_CLOUD_PROJECT": "p",
    "ALLY_PEPPER": "x" * 32,
    **ADDRESSES,
    **cloud_tasks.settings("https://worker.example", ""),
}


@pytest.mark.parametrize(
    "environment",
    [
        {**GOOGLE, "FIREBASE_AUTH_EMULATOR_HOST": "127.0.0.1:9099"},
        {**GOOGLE, "ALLY_FIREBASE_KEYS": "http://127.0.0.1:9099/jwks"},
        {**GOOGLE, "ALLY_FIREBASE_KEYS": "https://evil.example/jwks"},
        {"ALLY_BACKEND": "local", "ALLY_FIREBASE_KEYS": "keys.json"},
        {**GOOGLE, "ALLY_FIREBASE_TEST": "one", "ALLY_FIREBASE_LIVE": "one"},
        {"ALLY_BACKEND": "local", "FIREBASE_AUTH_EMULATOR_HOST": "firebase.example:9099"},
        {"ALLY_BACKEND": "local", "ALLY_FIREBASE_KEYS": "http://keys.example/jwks"},
        {**GOOGLE, "ALLY_IAP_KEYS": "https://evil.example/jwks"},
        {**GOOGLE, "ALLY_IAP_KEYS": ""},
        {"ALLY_BACKEND": "local", "ALLY_IAP_KEYS": "http://keys.example/jwks"},
    ],
    ids=str,
)
def test_the_service_does_not_start_where_anybody_could_sign_tokens(environment: Json) -> None:
    load(GOOGLE)
    with pytest.raises(SettingError, match=r"FIREBASE|ALLY_IAP_KEYS"):
        load(environment)


def test_tokens_of_the_firebase_emulator_are_taken_in_its_mode_alone(partner: Partner) -> None:
    token = unsigned(claims(partner.tenant, "ada"))
    signed = partner.end_user("ada").token
    emulating = InProcess(partner.backing, token, firebase_emulator="127.0.0.1:9099")
    emulating.call("GET", "/v1/patients")
    emulating.call("GET", "/v1/patients", 401, headers={"Authorization": signed})
    InProcess(partner.backing, signed).call("GET", "/v1/patients")
    InProcess(partner.backing, token).call("GET", "/v1/patients", 401)


# --- Tokens that the local backend makes ---------------------------------------------------------


def test_the_local_backend_makes_tokens_so_that_front_ends_can_be_tried(partner: Partner) -> None:
    assert partner.tenant
    path, who = "/v1/test_helpers/end_user_tokens", {"endUserId": "ada"}
    if partner.backing.environment["ALLY_BACKEND"] == "google":
        assert partner.post(path, who, 403)["error"]["code"] == "tokens_not_issued_here"
        return
    made = partner.post(path, who, headers={"Idempotency-Key": "k"})
    assert (made["object"], made["endUserId"]) == ("end_user_token", "ada")
    patient = partner.server.send("POST", "/v1/patients", made["token"], json=PATIENT).json()
    assert patient["endUserId"] == "ada"
    again = partner.post(path, who, headers={"Idempotency-Key": "k"})
    assert again == {**made, "token": None}


def test_live_mode_has_no_test_helpers(partner: Partner) -> None:
    path, who = "/v1/test_helpers/end_user_tokens", {"endUserId": "ada"}
    assert partner.live().post(path, who, 404)["error"]["code"] == "route_unknown"
