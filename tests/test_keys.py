"""API keys: what their owner sees of them, what they may do, and that nobody gives more."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backends import Query
from shared.callers import KeyCaller
from shared.issuing import MOST_PREDECESSORS
from shared.keys import Access, ApiKey, covered, within
from shared.organisations import Organisation
from shared.service import Service
from tests.support.inprocess import InProcess
from tests.support.serving import Json, Partner, problems

KEYS = "/v1/api_keys"
NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)
ORIGINS = ["https://www.example.org"]
BELIEVED = 11
"""Seconds after which no instance believes what it remembers of a key."""


@pytest.fixture
def admin(partner: Partner) -> Partner:
    return partner.administrator()


def make(maker: Partner, **asked: Any) -> Json:
    return maker.post(KEYS, {"name": "Made", **asked})


def with_made(maker: Partner, key: Json) -> Partner:
    """Return a partner who calls with a key that the API made."""
    return replace(maker, api_key=ApiKey.load(key))


def code(answer: httpx.Response) -> str:
    """Return the code of a refusal, or nothing."""
    return str(answer.json()["error"]["code"]) if answer.is_error else ""


# --- What its owner sees -------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["test", "live"])
def test_a_key_works_at_once_and_only_its_first_answer_has_the_secret(
    admin: Partner, mode: str
) -> None:
    if mode == "live":
        admin = admin.live().administrator()
    made = make(admin, scopes={"tasks": "read"})
    head, _, secret = made["secret"].partition(".")
    assert re.fullmatch(f"{mode}_[0-9A-Za-z]{{24}}", head)
    assert re.fullmatch("[0-9A-Za-z]{30}", secret)
    assert made["maskedKey"] == f"{head}.…{secret[-4:]}"
    assert (made["object"], made["livemode"]) == ("api_key", mode == "live")
    assert (made["status"], made["lastUsedAt"], made["replaces"]) == ("active", None, None)
    with_made(admin, made).get("/v1/tasks")

    path = f"{KEYS}/{made['id']}"
    later = [admin.get(path), *admin.get(KEYS)["data"][:1], admin.post(path, {"name": "Other"})]
    later += [admin.post(f"{path}/revoke"), admin.get(path)]
    assert [each["secret"] for each in later] == [None] * 5
    assert [each["id"] for each in later] == [made["id"]] * 5
    assert not any(secret in json.dumps(each) for each in later)


def test_a_retry_names_the_same_key_without_its_secret(admin: Partner) -> None:
    def twice(path: str, body: Json) -> tuple[Json, Json]:
        options = {"json": body, "headers": {"Idempotency-Key": path}}
        first, again = (admin.send("POST", path, **options) for _ in range(2))
        assert again.headers["Idempotent-Replayed"] == "true"
        return first.json(), again.json()

    made, again = twice(KEYS, {"name": "Made"})
    assert again == {**made, "secret": None}
    rolled, again = twice(f"{KEYS}/{made['id']}/roll", {})
    assert again == {**rolled, "secret": None}
    shown, again = twice(f"{KEYS}/{rolled['id']}/reveal", {})
    assert shown["secret"] == rolled["secret"]
    assert again == {**shown, "secret": None}
    assert len(admin.get(KEYS)["data"]) == 4  # the first, the administrator's, and these two


def test_a_retry_of_a_key_that_has_expired_by_then_still_names_it(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.administrator().key)
    api.at = NOW
    asked = {"name": "Made", "expiresAt": "2027-03-01T09:00:05Z"}
    made = api.call("POST", KEYS, json=asked, headers={"Idempotency-Key": "k"})
    api.at = NOW + timedelta(minutes=1)
    again = api.call("POST", KEYS, json=asked, headers={"Idempotency-Key": "k"})
    assert again == {**made, "secret": None}


@pytest.mark.parametrize("mode", ["test", "live"])
def test_a_secret_is_nowhere_in_what_is_kept(admin: Partner, mode: str) -> None:
    if mode == "live":
        admin = admin.live().administrator()
    made = make(admin)
    rolled = admin.post(f"{KEYS}/{made['id']}/roll", headers={"Idempotency-Key": "k"})
    with_made(admin, rolled).get("/v1/tasks")
    admin.server.send("GET", "/v1/tasks", f"{rolled['secret']}0")
    if mode == "test":
        admin.post(f"{KEYS}/{rolled['id']}/reveal", headers={"Idempotency-Key": "l"})

    async def read(service: Service) -> tuple[str, list[Json]]:
        found = ""
        for collection in ("api_keys", "replays", "commits"):
            query = Query(admin.mode, admin.organisation.id, collection, limit=1000)
            found += str([each.data for each in await service.storage.query(query)])
        names = [f"key-{key['maskedKey'].partition('.')[0].replace('_', '-')}" for key in keys]
        values = [await service.secrets.read(name) for name in names]
        return found, [orjson.loads(value or b"") for value in values]

    keys = [made, rolled]
    documents, kept = admin.backing.run(read)
    files = b"".join(
        file.read_bytes()
        for file in Path(admin.backing.environment["ALLY_STATE"]).rglob("*")
        if file.is_file()
    )
    sealed = {"sealed"} if mode == "test" else set()
    for key, record in zip(keys, kept, strict=True):
        secret = key["secret"].partition(".")[2]
        assert key["id"] in documents
        assert key["id"].encode() in files  # in the log at least
        assert secret not in documents + json.dumps(kept)
        assert secret.encode() not in files
        assert set(record) == {"organisation", "hash"} | sealed


def test_the_secret_of_a_test_key_can_be_seen_again_and_no_other(admin: Partner) -> None:
    made = make(admin)
    assert admin.post(f"{KEYS}/{made['id']}/reveal") == made
    publishable = make(admin, type="publishable", origins=ORIGINS)
    live = admin.live().administrator()
    for caller, key in ((admin, publishable), (live, make(live))):
        refused = caller.post(f"{KEYS}/{key['id']}/reveal", status=402)
        assert refused["error"]["code"] == "secret_not_revealable"


def test_what_is_left_out_of_a_change_stays_and_what_is_empty_is_unset(admin: Partner) -> None:
    asked = {
        "scopes": {"tasks": "read"},
        "allowedCidrs": ["203.0.113.7/24", "2001:DB8::/32"],
        "expiresAt": "2030-01-01",
    }
    made = make(admin, **asked)
    assert made["allowedCidrs"] == ["203.0.113.0/24", "2001:db8::/32"]
    path = f"{KEYS}/{made['id']}"
    named = admin.call("PATCH", path, json={"name": "Other"})
    assert named == {**made, "name": "Other", "secret": None, "updatedAt": named["updatedAt"]}
    form = "allowedCidrs=&expiresAt=&scopes="
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    unset = admin.call("POST", path, content=form, headers=headers)
    assert (unset["allowedCidrs"], unset["expiresAt"], unset["scopes"]) == ([], None, {})
    assert admin.get(path) == unset
    # Of a new key what is empty is as in its maker, and `{}` is nothing.
    inherited = admin.call("POST", KEYS, content=f"name=x&{form}", headers=headers)
    assert inherited["scopes"] == {"*": "write"}
    assert make(admin, scopes={})["scopes"] == {}


WRONG: list[Json] = [
    {"scopes": {"Patients": "read"}},
    {"scopes": {"patients": "all"}},
    {"scopes": {"patients": ""}},
    {"scopes": {"patients": {"a": "read"}}},
    {"scopes": {"x" * 41: "read"}},
    {"scopes": {f"a_{chr(97 + each % 26)}{chr(97 + each // 26)}": "read" for each in range(51)}},
    {"scopes": ["patients"]},
    {"scopes": "write"},
    {"allowedCidrs": ["203.0.113.0/33"]},
    {"allowedCidrs": ["::ffff:203.0.113.0/120"]},
    {"allowedCidrs": ["fe80::1%anything at all"]},
    {"allowedCidrs": ["localhost"]},
    {"allowedCidrs": [None]},
    {"allowedCidrs": [["203.0.113.0/24"]]},
    {"allowedCidrs": {"a": "203.0.113.0/24"}},
    {"allowedCidrs": ["203.0.113.0/24"] * 51},
    {"expiresAt": "2020-01-01"},
    {"expiresAt": "2027-01-01T00:00:00+99:99"},
    {"expiresAt": "0001-01-01T00:00:00+23:59"},
    {"expiresAt": "9999-12-31"},
    {"expiresAt": 5},
    {"expiresAt": ["2030-01-01"]},
    {"origins": ORIGINS},
    {"name": ""},
    {"name": "two\nlines"},
    {"secret": "x"},
    {"status": "active"},
    {"predecessors": {"x": "2030-01-01"}},
]


def test_what_is_wrong_is_named_and_changes_nothing(admin: Partner) -> None:
    made = make(admin, scopes={})
    before = admin.get(KEYS)["data"]
    for wrong in WRONG:
        (field,) = wrong
        for path, body in ((KEYS, {"name": "x", **wrong}), (f"{KEYS}/{made['id']}", wrong)):
            error = admin.post(path, body, 400)["error"]
            told = error.get("param", field).partition("[")[0]
            assert (told, error["code"] == "metadata_nested") == (field, False), wrong
    assert admin.get(KEYS)["data"] == before


# --- Nobody gives more than they have ------------------------------------------------------------

RESOURCES = ["patients", "tasks", "appointments", "api_keys"]
SCOPES = st.dictionaries(
    st.sampled_from(["*", *RESOURCES[1:]]), st.sampled_from(["none", "read", "write"])
)


def permissions(scopes: dict[str, Access]) -> set[str]:
    """Return the permissions that a caller has with some scopes."""
    common: dict[str, Any] = {"at": NOW, "livemode": False}
    key = ApiKey.new(**common, name="x", maskedKey="x", scopes=scopes)
    caller = KeyCaller("test", Organisation.new(**common, displayName="Test Health"), key)
    each = {f"{resource}:{way}" for resource in RESOURCES for way in ("read", "write")}
    return {permission for permission in each if caller.may(permission)}


@settings(max_examples=300)
@given(SCOPES, SCOPES)
def test_scopes_lie_within_others_where_every_permission_does(
    asked: dict[str, Access], given: dict[str, Access]
) -> None:
    """`patients` is never named: it stands for every resource that is yet to come."""
    assert within(asked, given) == (permissions(asked) <= permissions(given))


ADDRESSES = [IPv4Address("203.0.113.0") + each for each in range(8)]
NETWORKS = st.lists(
    st.sampled_from(
        [
            IPv4Network((address, size), strict=False)
            for address in ADDRESSES
            for size in (29, 30, 31, 32)
        ]
    ),
    max_size=3,
).map(tuple)


@settings(max_examples=300)
@given(NETWORKS, NETWORKS)
def test_networks_lie_within_others_only_where_every_address_does(
    asked: tuple[IPv4Network, ...], given: tuple[IPv4Network, ...]
) -> None:
    def allowed(networks: tuple[IPv4Network, ...]) -> set[IPv4Address]:
        found = {each for each in ADDRESSES if any(each in network for network in networks)}
        return found if networks else {*ADDRESSES, IPv4Address("198.51.100.1")}

    if covered(asked, given):
        assert allowed(asked) <= allowed(given)
    assert covered(given, given)
    assert covered(asked, ())


HERE = ["127.0.0.0/8"]
TOMORROW = datetime.now(UTC) + timedelta(days=1)
TOO_MUCH: list[tuple[dict[str, Access], Json, Json]] = [
    ({"tasks": "read"}, {}, {"scopes": {"tasks": "write"}}),
    ({"tasks": "write"}, {}, {"scopes": {"patients": "read"}}),
    ({"tasks": "write"}, {}, {"scopes": {"*": "read"}}),
    ({"*": "read"}, {}, {"scopes": {"*": "read", "tasks": "write"}}),
    ({"*": "write", "tasks": "none"}, {}, {"scopes": {"*": "read"}}),
    ({}, {"allowedCidrs": HERE}, {"allowedCidrs": ["0.0.0.0/0"], "scopes": {}}),
    ({}, {"allowedCidrs": HERE}, {"allowedCidrs": ["127.0.0.1", "::/0"], "scopes": {}}),
    ({}, {"allowedCidrs": HERE}, {"allowedCidrs": [], "scopes": {}}),
    ({}, {"expiresAt": TOMORROW}, {"expiresAt": "2300-01-01", "scopes": {}}),
]


@pytest.mark.parametrize(("scopes", "limits", "asked"), TOO_MUCH)
def test_a_key_neither_gives_nor_touches_more_than_it_has(
    admin: Partner, scopes: dict[str, Access], limits: Json, asked: Json
) -> None:
    maker = admin.with_key({**scopes, "api_keys": "write"}, **limits)
    refused = maker.post(KEYS, {"name": "Made", **asked}, 403)["error"]
    assert (refused["code"], refused["param"]) == ("key_exceeds_yours", next(iter(asked)))
    # One that has more already, be it the caller's better or a hole in what it asks for.
    stronger = make(admin, **asked)
    path = f"{KEYS}/{stronger['id']}"
    for action, body in (("", {"name": "Mine"}), ("/roll", {}), ("/reveal", {})):
        refused = maker.post(path + action, body, 403)["error"]
        assert (refused["code"], refused["param"]) == ("key_exceeds_yours", next(iter(asked)))
    weaker = make(maker, scopes={})
    assert maker.post(f"{KEYS}/{weaker['id']}", asked, 403)["error"]["code"] == "key_exceeds_yours"
    stored = [{**each, "secret": None} for each in (weaker, stronger)]
    kept = maker.get(KEYS)["data"]
    assert (kept[:2], len(kept)) == (stored, 5)  # with the maker, the administrator and the first


def test_what_is_left_out_is_as_in_the_maker_but_for_the_making_of_keys(admin: Partner) -> None:
    limits = {"allowedCidrs": HERE, "expiresAt": TOMORROW}
    maker = admin.with_key({"*": "read", "tasks": "none", "api_keys": "write"}, **limits)
    made = make(maker)
    assert made["scopes"] == {"*": "read", "tasks": "none"}
    mine = maker.get(f"{KEYS}/{maker.api_key.id}")
    for field in ("allowedCidrs", "expiresAt"):
        assert made[field] == mine[field]
    assert code(with_made(maker, made).send("GET", KEYS)) == "permission_missing"
    trusted = make(maker, scopes={"api_keys": "write"}, allowedCidrs=["127.0.0.1"])
    assert make(with_made(maker, trusted))["scopes"] == {}


def test_keys_of_one_mode_never_see_nor_make_those_of_the_other(admin: Partner) -> None:
    live = admin.live().administrator()
    for caller, other in ((admin, live), (live, admin)):
        made = make(caller)
        assert made["livemode"] == (caller.mode == "live")
        assert other.api_key.id not in {each["id"] for each in caller.get(KEYS)["data"]}
        other.get(f"{KEYS}/{made['id']}", 404)
        swapped = made["secret"].replace(caller.mode, other.mode, 1)
        assert code(admin.server.send("GET", "/v1/tasks", swapped)) == "key_invalid"


@pytest.mark.parametrize("restriction", ["revoked", "restricted"])
def test_a_key_that_is_still_believed_makes_no_more_than_it_may_by_now(
    partner: Partner, restriction: str
) -> None:
    """An instance that has not heard of it yet must not make a key that would outlive it."""
    live = partner.live().administrator()
    maker, another = live.administrator(), make(live, scopes={})
    api = InProcess(live.backing, maker.key)
    api.call("GET", "/v1/tasks")
    path = f"{KEYS}/{maker.api_key.id}"
    if restriction == "revoked":
        live.post(f"{path}/revoke")
    else:
        live.post(path, {"scopes": {"*": "read", "api_keys": "write"}})
    api.call("GET", "/v1/tasks")  # it is believed
    expected = {"revoked": "key_revoked", "restricted": "key_exceeds_yours"}[restriction]
    body: Json = {"name": "Made", "scopes": {"patients": "write"}}
    assert code(api.send("POST", KEYS, json=body)) == expected
    if restriction != "restricted":
        for action in ("", "/roll", "/revoke", "/reveal"):
            changed = api.send("POST", f"{KEYS}/{another['id']}{action}")
            assert code(changed) == expected


# --- Rolling and revoking ------------------------------------------------------------------------


class Times:
    """The API as an administrator sees it in this process, at a time that the test moves on."""

    def __init__(self, partner: Partner) -> None:
        self.api = InProcess(partner.backing, partner.administrator().key)
        self.api.at = NOW

    def post(self, path: str, status: int = 200, **body: Any) -> Json:
        return self.api.call("POST", path, status, json=body)

    def roll(self, key: Json, status: int = 200, **body: Any) -> Json:
        return self.post(f"{KEYS}/{key['id']}/roll", status, **body)

    def state(self, key: Json) -> str:
        """Return how a use of a key is refused, or nothing, where nothing is remembered."""
        self.api.elapsed += BELIEVED
        headers = {"Authorization": key["secret"]}
        return code(self.api.send("GET", "/v1/tasks", headers=headers))


@pytest.mark.parametrize(
    ("overlap", "seconds"), [("0", 0), ("1h", 3600), ("24h", 86_400), ("7d", 604_800)]
)
def test_a_rolled_key_works_until_its_overlap_ends_and_not_longer(
    partner: Partner, overlap: str, seconds: int
) -> None:
    times = Times(partner)
    old = times.post(KEYS, name="Made", scopes={"tasks": "read"}, expiresAt="2028-01-01")
    new = times.roll(old, overlap=overlap)
    kept = ("name", "type", "scopes", "allowedCidrs", "expiresAt")
    assert {name: new[name] for name in kept} == {name: old[name] for name in kept}
    assert (new["replaces"], new["secret"] != old["secret"]) == (old["id"], True)
    assert times.api.call("GET", f"{KEYS}/{old['id']}")["replacedBy"] == new["id"]
    if seconds:
        times.api.at = NOW + timedelta(seconds=seconds - 0.001)
        assert (times.state(old), times.state(new)) == ("", "")
    times.api.at = NOW + timedelta(seconds=seconds)
    assert (times.state(old), times.state(new)) == ("key_expired", "")


def test_a_key_that_ends_anyway_is_not_prolonged_by_a_roll(partner: Partner) -> None:
    times = Times(partner)
    old = times.post(KEYS, name="Made", expiresAt="2027-03-01T09:30:00Z")
    new = times.roll(old, overlap="7d")
    times.api.at = NOW + timedelta(minutes=30)
    assert (times.state(old), times.state(new)) == ("key_expired", "key_expired")
    refused = times.roll(new, 402)["error"]
    assert (refused["code"], "expired" in refused["message"]) == ("key_not_usable", True)


def test_revoking_the_newest_key_kills_all_that_it_replaced(partner: Partner) -> None:
    times = Times(partner)
    keys = [times.post(KEYS, name="Made")]
    keys += [times.roll(keys[0], overlap="7d")]
    keys += [times.roll(keys[1], overlap="1h")]
    bystander = times.post(KEYS, name="Bystander")
    assert [times.state(key) for key in keys] == [""] * 3
    revoked = times.post(f"{KEYS}/{keys[2]['id']}/revoke")
    assert times.post(f"{KEYS}/{keys[2]['id']}/revoke") == revoked
    assert [times.state(key) for key in (*keys, bystander)] == ["key_revoked"] * 3 + [""]


def test_a_replaced_key_that_revokes_its_successor_goes_with_it(admin: Partner) -> None:
    new = admin.post(f"{KEYS}/{admin.api_key.id}/roll", {"overlap": "7d"})
    admin.post(f"{KEYS}/{new['id']}/revoke")
    other = admin.administrator()
    assert other.get(f"{KEYS}/{admin.api_key.id}")["status"] == "revoked"


def test_a_replaced_key_can_be_revoked_and_otherwise_not_changed(admin: Partner) -> None:
    old = make(admin)
    admin.post(f"{KEYS}/{old['id']}/roll", {"overlap": "7d"})
    for action, body in (("", {"expiresAt": "2300-01-01"}), ("/roll", {})):
        refused = admin.post(f"{KEYS}/{old['id']}{action}", body, 402)["error"]
        assert (refused["code"], "replaced" in refused["message"]) == ("key_not_usable", True)
    assert admin.post(f"{KEYS}/{old['id']}/revoke")["status"] == "revoked"
    refused = admin.post(f"{KEYS}/{make(admin)['id']}/roll", {"overlap": "2h"}, 400)["error"]
    assert list(problems(refused)) == ["overlap"]


def test_only_so_many_replaced_keys_are_valid_at_once(partner: Partner) -> None:
    times = Times(partner)
    key = first = times.post(KEYS, name="Made")
    for _ in range(MOST_PREDECESSORS):
        key = times.roll(key, overlap="1h")
    assert times.roll(key, 402)["error"]["code"] == "key_rolled_too_often"
    assert times.state(first) == ""
    times.post(f"{KEYS}/{key['id']}/revoke")
    assert times.state(first) == "key_revoked"
    key = times.post(KEYS, name="Made")
    for _ in range(MOST_PREDECESSORS):
        key = times.roll(key, overlap="1h")
    times.api.at = NOW + timedelta(hours=1)
    times.roll(key)


def test_of_many_rolls_of_one_key_exactly_one_wins(admin: Partner) -> None:
    made = make(admin)
    with ThreadPoolExecutor(8) as pool:
        rolls = [pool.submit(admin.send, "POST", f"{KEYS}/{made['id']}/roll") for _ in range(8)]
        answers = [roll.result() for roll in rolls]
    assert sorted(map(code, answers)) == [""] + ["key_not_usable"] * 7
    (won,) = (answer.json() for answer in answers if not answer.is_error)
    assert admin.get(f"{KEYS}/{made['id']}")["replacedBy"] == won["id"]
    assert len(admin.get(KEYS)["data"]) == 4


@pytest.mark.parametrize("action", ["roll", ""])
def test_a_revocation_is_never_lost_to_another_change(admin: Partner, action: str) -> None:
    for _ in range(5):
        made = make(admin)
        path = f"{KEYS}/{made['id']}"
        with ThreadPoolExecutor(3) as pool:
            use = pool.submit(with_made(admin, made).send, "GET", "/v1/tasks")
            change = pool.submit(
                admin.send,
                "POST",
                f"{path}/{action}".rstrip("/"),
                json={} if action else {"name": "x"},
            )
            pool.submit(admin.post, f"{path}/revoke").result()
        assert code(use.result()) in ("", "key_revoked")
        assert code(change.result()) in ("", "key_not_usable")
        assert admin.get(path)["status"] == "revoked"
