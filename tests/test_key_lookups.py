"""Who is let in: what a stranger learns, from where a key opens, and what looking one up costs."""

import asyncio
import base64
import random
import string
import time
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared import ids, memory
from shared.service import Service
from shared.settings import Settings
from tests.conftest import google_environment
from tests.support.emulator import Emulator
from tests.support.inprocess import InProcess
from tests.support.secret_manager import SecretManager
from tests.support.serving import Backing, Json, Partner, Server, problems

KEYS = "/v1/api_keys"
NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)
ENDED = datetime(2020, 1, 1, tzinfo=UTC)
BELIEVED = Settings.key_cache
FLOOD = 10_000
BURST = 500
"""Look-ups that an instance makes at once with the default settings; after that 100 a second."""


def code(answer: httpx.Response) -> str:
    """Return the code of a refusal, or nothing."""
    return str(answer.json()["error"]["code"]) if answer.is_error else ""


def secret_of(length: int = 30) -> str:
    return "".join(random.choices(string.digits + string.ascii_letters, k=length))


def made_up(count: int) -> list[str]:
    """Return keys that look like ours to anybody."""
    return [f"test_{secret_of(24)}.{secret_of()}" for _ in range(count)]


def plausible(partner: Partner, count: int) -> list[str]:
    """Return keys that do not exist, with the check letters that only we can compute."""

    async def compute(service: Service) -> list[str]:
        minted = [ids.mint("key", NOW) for _ in range(count)]
        return [service.keyring.key_id("test", each) for each in minted]

    return [f"test_{each}.{secret_of()}" for each in partner.backing.run(compute)]


def implausible(partner: Partner, count: int) -> list[str]:
    """Return keys that do not exist, of which each has a wrong last check letter."""
    return [
        f"{shown[:28]}{'1' if shown[28] == '0' else '0'}{shown[29:]}"
        for shown in plausible(partner, count)
    ]


def instance(partner: Partner, **settings: Any) -> InProcess:
    """Return an instance that has heard of no key yet, with the budget that is the default."""
    budget = Settings.key_lookups
    return InProcess(partner.backing, partner.key, key_lookups=budget, **settings)


def lookups(api: InProcess) -> tuple[int, list[int]]:
    """Return how many secrets and which documents were read, and forget that."""
    found = (api.secrets.reads, list(api.watched.gets))
    api.secrets.reads = 0
    api.watched.forget()
    return found


# --- What a stranger learns ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ending", "named"), [("revokedAt", "key_revoked"), ("expiresAt", "key_expired")]
)
def test_that_a_key_has_ended_is_told_to_its_holder_alone(
    partner: Partner, ending: str, named: str
) -> None:
    ended = partner.with_key({"*": "write"}, **{ending: ENDED})
    told = ended.send("GET", "/v1/tasks")
    assert (told.status_code, code(told)) == (401, named)
    assert told.headers["WWW-Authenticate"] == 'Bearer realm="ally"'
    forged = ended.key[:-30] + secret_of()
    answers = []
    for key in (forged, *implausible(partner, 1), *plausible(partner, 1)):
        answer = partner.server.send("GET", "/v1/tasks", key)
        request_id = answer.headers["Request-Id"]
        headers = {name: value for name, value in answer.headers.items() if name != "date"}
        text = answer.content.replace(request_id.encode(), b"")
        answers.append((answer.status_code, {**headers, "request-id": ""}, text))
    assert answers[1:] == answers[:1] * 2
    assert b'"key_invalid"' in answers[0][2]
    assert answers[0][1]["www-authenticate"]


def test_neither_a_right_secret_nor_an_end_changes_what_is_looked_up(partner: Partner) -> None:
    """What differs is whether an id exists, which is no secret: it stands in the masked key."""
    keys = [
        partner.with_key({}).key,
        partner.with_key({}, revokedAt=ENDED).key,
        partner.with_key({}, expiresAt=ENDED).key,
    ]
    for key in keys:
        for shown in (key, key[:-30] + secret_of()):
            api = instance(partner)
            assert api.authenticate([shown]) == ["" if shown == key else "key_invalid"]
            assert lookups(api) == (1, [2])
            api.authenticate([key, shown])
            assert lookups(api) == (0, [])
    api = instance(partner)
    assert api.authenticate(implausible(partner, 2)) == ["key_invalid"] * 2
    assert lookups(api) == (0, [])
    assert api.authenticate(plausible(partner, 1)) == ["key_invalid"]
    assert lookups(api) == (1, [])


@pytest.mark.parametrize(
    "activation", ["not_started", "begun", "under_review", "rejected", "suspended"]
)
def test_live_keys_open_nothing_unless_the_organisation_is_active(
    partner: Partner, activation: str
) -> None:
    live = partner.live()
    api = instance(live)
    api.call("GET", "/v1/tasks")
    partner.change_organisation(activation=activation)
    api.elapsed = BELIEVED + 0.1
    refused = api.send("GET", "/v1/tasks")
    assert (refused.status_code, code(refused)) == (403, "organisation_not_activated")
    assert activation in refused.json()["error"]["message"]
    assert code(live.with_key({"*": "read"}).send("GET", "/v1/tasks")) == code(refused)
    partner.get("/v1/tasks")


# --- From where ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("proxies", "forwarded", "allowed"),
    [
        (0, [], False),
        (0, ["203.0.113.7"], False),
        (1, ["203.0.113.7"], True),
        (1, ["198.51.100.1"], False),
        (1, ["203.0.113.7, 198.51.100.1"], False),
        (1, ["203.0.113.7", "198.51.100.1"], False),
        (1, ["198.51.100.1", "203.0.113.7"], True),
        (1, [], False),
        (1, [""], False),
        (1, ["203.0.113.7,"], False),
        (1, ["unknown"], False),
        (1, ["2001:db8::1"], True),
        (1, ["2001:db9::1"], False),
        (1, ["::ffff:203.0.113.7"], True),
        (1, ["::ffff:198.51.100.1"], False),
        (2, ["203.0.113.7, 10.0.0.1"], True),
        (2, ["203.0.113.7", "10.0.0.1"], True),
        (2, ["198.51.100.1,203.0.113.7 ", " 10.0.0.1"], True),
        (2, ["203.0.113.7, 198.51.100.1, 10.0.0.1"], False),
        (2, ["203.0.113.7"], False),
    ],
)
def test_the_callers_address_is_counted_from_the_right(
    partner: Partner, proxies: int, forwarded: list[str], allowed: bool
) -> None:
    bound = partner.with_key({"*": "read"}, allowedCidrs=["203.0.113.0/24", "2001:db8::/32"])
    api = instance(bound, proxies=proxies)
    headers = [("X-Forwarded-For", line) for line in forwarded]
    answer = api.send("GET", "/v1/tasks", headers=headers)
    assert code(answer) == ("" if allowed else "address_not_allowed")
    assert answer.status_code == (200 if allowed else 403)


def test_a_server_without_proxies_believes_no_header_about_the_address(partner: Partner) -> None:
    elsewhere = partner.with_key({"*": "read"}, allowedCidrs=["203.0.113.0/24"])
    here = partner.with_key({"*": "read"}, allowedCidrs=["127.0.0.0/8"])
    headers = {"X-Forwarded-For": "203.0.113.7"}
    assert code(elsewhere.send("GET", "/v1/tasks", headers=headers)) == "address_not_allowed"
    here.call("GET", "/v1/tasks", headers=headers)


# --- Publishable keys ----------------------------------------------------------------------------


def test_a_publishable_key_is_managed_like_any_and_opens_nothing(partner: Partner) -> None:
    admin = partner.administrator()
    asked: Json = {"name": "Shop", "type": "publishable", "origins": ["https://www.example.org"]}
    made = admin.post(KEYS, asked)
    shown, key_id = made["maskedKey"], made["maskedKey"].removeprefix("test_pub_")
    assert (len(key_id), made["scopes"], made["secret"]) == (24, {}, None)
    assert admin.get(KEYS)["data"][0] == made
    basic = base64.b64encode(f"{shown}:".encode()).decode()
    for sent in (shown, f"Bearer {shown}", f"Basic {basic}"):
        for path in ("/v1/tasks", KEYS, "/v1/patients"):
            refused = admin.server.send("GET", path, sent)
            assert (refused.status_code, code(refused)) == (401, "key_publishable")
            assert refused.headers["WWW-Authenticate"]
    assert code(admin.server.send("GET", "/v1/tasks", f"test_{key_id}.{'0' * 30}")) == "key_invalid"
    path = f"{KEYS}/{made['id']}"
    rolled = admin.post(f"{path}/roll")
    assert rolled["maskedKey"] != shown
    assert rolled["origins"] == asked["origins"]
    assert admin.post(f"{KEYS}/{rolled['id']}/revoke")["status"] == "revoked"
    assert admin.get(path)["status"] == "revoked"


def test_origins_and_scopes_are_each_for_their_own_kind_of_key(partner: Partner) -> None:
    admin = partner.administrator()
    public: Json = {"type": "publishable", "origins": ["https://www.example.org"]}
    made = admin.post(KEYS, {"name": "x", **public})
    secret = admin.post(KEYS, {"name": "x"})
    refused: list[tuple[str, Json, str]] = [
        (KEYS, {"type": "publishable"}, "origins"),
        (KEYS, {**public, "origins": []}, "origins"),
        (KEYS, {**public, "scopes": {"tasks": "read"}}, "scopes"),
        (KEYS, {**public, "origins": ["https://www.example.org/"]}, "origins[0]"),
        (KEYS, {**public, "origins": ["http://www.example.org"]}, "origins[0]"),
        (KEYS, {**public, "origins": ["*"]}, "origins[0]"),
        (KEYS, {"origins": public["origins"]}, "origins"),
        (f"{KEYS}/{made['id']}", {"origins": ""}, "origins"),
        (f"{KEYS}/{made['id']}", {"scopes": {"tasks": "read"}}, "scopes"),
        (f"{KEYS}/{secret['id']}", {"origins": public["origins"]}, "origins"),
        (f"{KEYS}/{secret['id']}", {"type": "publishable"}, "type"),
    ]
    for path, body, wrong in refused:
        named = {"name": "x", **body}
        assert wrong in problems(admin.post(path, named, 400)["error"]), body


# --- When it was last used -----------------------------------------------------------------------


def test_the_last_use_is_noted_once_an_hour_by_all_instances_together(partner: Partner) -> None:
    reader = partner.with_key({"tasks": "read"})
    path = f"{KEYS}/{reader.api_key.id}"
    admin = partner.administrator()
    assert admin.get(path)["lastUsedAt"] is None
    instances = [instance(reader), instance(reader)]

    def use(minutes: int) -> tuple[str, int]:
        """Use the key on each instance, twice; return what is kept, and in how many commits."""
        for api in instances:
            api.at = NOW + timedelta(minutes=minutes)
            api.elapsed += BELIEVED + 1
            api.call("GET", "/v1/tasks")
            api.call("GET", "/v1/tasks")
        commits = sum(len(api.watched.commits) for api in instances)
        return admin.get(path)["lastUsedAt"], commits

    assert use(0) == ("2027-03-01T09:00:00.000Z", 1)
    assert use(59) == ("2027-03-01T09:00:00.000Z", 1)
    assert use(61) == ("2027-03-01T10:01:00.000Z", 2)


def test_a_refused_use_is_none(partner: Partner) -> None:
    admin = partner.administrator()
    elsewhere = partner.with_key({"*": "read"}, allowedCidrs=["203.0.113.0/24"])
    for caller in (elsewhere, partner.with_key({"*": "read"}, revokedAt=ENDED)):
        assert code(caller.send("GET", "/v1/tasks"))
        assert admin.get(f"{KEYS}/{caller.api_key.id}")["lastUsedAt"] is None


def test_the_note_of_a_use_never_brings_back_a_revoked_key(partner: Partner) -> None:
    reader, admin = partner.with_key({"tasks": "read"}), partner.administrator()
    api = instance(reader)
    api.at = NOW
    assert api.authenticate([reader.key]) == [""]  # looked up, and not yet noted
    revoked = admin.post(f"{KEYS}/{reader.api_key.id}/revoke")
    api.call("GET", "/v1/tasks")  # still believed; its note comes too late
    assert len(api.watched.commits) == 1
    assert admin.get(f"{KEYS}/{reader.api_key.id}") == revoked
    api.elapsed = BELIEVED + 0.1
    assert code(api.send("GET", "/v1/tasks")) == "key_revoked"


# --- What is remembered --------------------------------------------------------------------------


def test_a_revoked_key_is_refused_once_its_record_is_read_again(partner: Partner) -> None:
    assert BELIEVED <= 10  # of the 15 seconds that are promised
    api = instance(partner)
    api.call("GET", "/v1/tasks")
    lookups(api)
    partner.administrator().post(f"{KEYS}/{partner.api_key.id}/revoke")
    api.elapsed = BELIEVED
    api.call("GET", "/v1/tasks")
    assert lookups(api) == (0, [])
    api.elapsed = BELIEVED + 0.1
    assert code(api.send("GET", "/v1/tasks")) == "key_revoked"
    assert lookups(api) == (0, [2])


def test_two_processes_agree_within_fifteen_seconds_that_a_key_is_revoked(
    emulator: Emulator, secret_manager: SecretManager, tmp_path: Path
) -> None:
    """As they are deployed: the google backend, every setting at its default."""
    backing = Backing(google_environment(emulator, secret_manager))
    folders = [tmp_path / name for name in ("first", "second")]
    servers = []
    try:
        for folder in folders:
            folder.mkdir()
            servers.append(Server(backing, folder, ALLY_LOG=str(folder / "requests.jsonl")))
        partner = backing.partner(servers[0])
        admin = partner.administrator()
        second = replace(partner, server=servers[1])
        second.get("/v1/tasks")
        admin.post(f"{KEYS}/{partner.api_key.id}/revoke")
        began = time.monotonic()
        second.get("/v1/tasks")  # it is remembered, so this is about the memory's end
        while not (refused := code(second.send("GET", "/v1/tasks"))):
            assert time.monotonic() - began < 15
            time.sleep(0.2)
        assert refused == "key_revoked"
    finally:
        for server in servers:
            server.stop()
        backing.close()


# --- Floods --------------------------------------------------------------------------------------


def test_keys_that_somebody_makes_up_cost_nearly_no_look_ups(partner: Partner) -> None:
    """One in 3,844 has the right letters by chance: of ten thousand 2.6, and never thirty."""
    api = instance(partner)
    assert set(api.authenticate(made_up(FLOOD))) == {"key_invalid"}
    reads, gets = lookups(api)
    assert reads < 30
    assert gets == []


def test_a_flood_of_unknown_keys_is_held_to_a_budget_and_known_keys_go_on(
    partner: Partner,
) -> None:
    api = instance(partner)
    api.call("GET", "/v1/tasks")
    lookups(api)
    unknown = plausible(partner, FLOOD)
    shown: list[str] = []
    for first in range(0, FLOOD, 100):
        shown += [*unknown[first : first + 100], partner.key]
    told = api.authenticate(shown)
    left = BURST - 1  # one went to the known key
    assert Counter(told) == {"authentication_busy": FLOOD - left, "key_invalid": left, "": 100}
    assert set(told[100::101]) == {""}
    assert lookups(api) == (left, [])

    # What was looked up is remembered, so it costs nothing and is told as before.
    assert api.authenticate(unknown[:left]) == ["key_invalid"] * left
    newcomer = partner.with_key({"*": "read"})
    refused = api.send("GET", "/v1/tasks", headers={"Authorization": newcomer.key})
    assert (refused.status_code, code(refused)) == (429, "authentication_busy")
    assert refused.headers["Retry-After"] == "1"
    assert refused.headers["Stripe-Should-Retry"] == "true"
    assert refused.headers["Ally-Rate-Limited-Reason"] == "key-lookups"
    api.call("GET", "/v1/tasks")
    assert lookups(api) == (0, [])
    api.elapsed = 1.0
    api.call("GET", "/v1/tasks", headers={"Authorization": newcomer.key})
    counted = Counter(api.authenticate(unknown[left:]))
    assert counted["key_invalid"] == Settings.key_lookups - 1


def test_an_unknown_key_is_remembered_for_a_while_and_no_more_than_so_many(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MOST", 100)
    api = instance(partner)
    first, *rest, last = plausible(partner, 150)
    for elapsed, reads in ((0, 1), (BELIEVED - 0.1, 0), (BELIEVED + 0.1, 1)):
        api.elapsed = elapsed
        assert api.authenticate([first] * 3) == ["key_invalid"] * 3
        assert lookups(api) == (reads, [])
    api.authenticate(rest)
    assert lookups(api) == (len(rest), [])
    assert len(api.keyring._unknown) == 100
    for shown, reads in ((last, 1), (last, 0), (first, 1)):  # the oldest is forgotten first
        assert api.authenticate([shown]) == ["key_invalid"]
        assert lookups(api) == (reads, [])


def test_many_who_show_one_key_at_the_same_time_share_one_look_up(partner: Partner) -> None:
    api = instance(partner)
    forged = partner.key[:-30] + secret_of()
    told = api.authenticate([partner.key, forged] * 50)
    assert told == ["", "key_invalid"] * 50
    assert lookups(api) == (1, [2])
    api.elapsed = BELIEVED + 0.1
    assert api.authenticate([partner.key] * 50) == [""] * 50
    assert lookups(api) == (0, [2])


def test_who_leaves_while_a_key_is_looked_up_takes_nobody_along(partner: Partner) -> None:
    api = instance(partner)

    async def act(_: Service) -> str:
        first, second = (
            asyncio.ensure_future(api.keyring.authenticate(partner.key)) for _ in range(2)
        )
        await asyncio.sleep(0)
        first.cancel()
        return (await second).key.id

    assert partner.backing.run(act) == partner.api_key.id
    assert lookups(api) == (1, [2])
