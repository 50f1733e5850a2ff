"""Folding: from lines of the log to copies that are found, whatever happens on the way."""

import base64
import json
import os
import random
import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from shared import clock, ids
from shared.backends import Key, Query, RejectedError, UnavailableError, Write
from shared.exchange import VERSION
from shared.folding import Folder, keep
from shared.requests import RequestLine
from shared.service import Service
from tests.conftest import environment_of, google_environment
from tests.support.inprocess import InProcess
from tests.support.log_sink import LogSink, push_of
from tests.support.scale import SEED
from tests.support.serving import Backing, Json, Partner, Server
from tests.support.waiting import until
from tests.support.worker import Worker

HARMLESS: Json = {"method": "GET", "route": "/v1/tasks", "status": 200, "code": "", "objects": []}
PATIENT_ID = "p_" + "0" * 22


def line_of(partner: Partner, **facts: Any) -> Json:
    """Return the line of a request of a partner's."""
    at = facts.pop("at", None) or clock.now()
    return {
        "time": clock.isoformat(at),
        "kind": "request",
        "requestId": ids.mint("req", at),
        "organisation": partner.organisation.id,
        "mode": partner.mode,
        "principal": partner.api_key.id,
        **HARMLESS,
        "version": VERSION,
        "milliseconds": 1.5,
        "bytesIn": 0,
        "bytesOut": 10,
        **facts,
    }


def push(api: InProcess, line: object, status: int = 200) -> Json:
    return api.call("POST", "/worker/lines", status, json=push_of(line))


def kept(partner: Partner) -> list[str]:
    """Return the ids of the copies that an organisation has in its mode."""

    async def read(service: Service) -> list[str]:
        query = Query(partner.mode, partner.organisation.id, "requests", limit=10_000)
        return [document.key.id for document in await service.storage.query(query)]

    return sorted(partner.backing.run(read))


# --- Pushes --------------------------------------------------------------------------------------


def test_a_line_that_is_pushed_twice_is_kept_once_as_it_was(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    line = line_of(partner, code="rate_limited", status=429)
    assert push(api, line) == push(api, line) == {"outcome": "kept"}
    found = partner.get(f"/v1/requests/{line['requestId']}")
    assert (found["status"], found["code"], found["key"]) == (
        429,
        "rate_limited",
        line["principal"],
    )
    push(api, {**line, "status": 200, "code": ""})
    assert partner.get(f"/v1/requests/{line['requestId']}") == found


def test_pushes_that_come_together_share_commits_and_each_is_kept(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    lines = [line_of(partner) for _ in range(60)]
    assert set(api.push([push_of(line) for line in (*lines, *lines[:20])])) == {200}
    assert set(kept(partner)) >= {line["requestId"] for line in lines}
    assert len(api.watched.commits) < len(lines) / 4


def test_a_line_that_is_there_already_keeps_no_other_from_being_kept(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    lines = [line_of(partner) for _ in range(30)]
    for line in lines[::3]:
        push(api, line)
    assert set(api.push([push_of(line) for line in lines])) == {200}
    assert set(kept(partner)) >= {line["requestId"] for line in lines}


def test_a_push_is_acknowledged_only_once_its_line_is_kept(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    api.fail("commit", UnavailableError("told to fail"))
    line = line_of(partner)
    push(api, line, 503)
    api.watched.failing = {}
    assert line["requestId"] not in kept(partner)
    push(api, line)
    assert line["requestId"] in kept(partner)


def test_a_line_that_storage_refuses_hinders_no_other(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    api = InProcess(partner.backing, partner.key)
    lines = [line_of(partner) for _ in range(20)]
    refused = lines[7]["requestId"]
    commit = api.watched.commit

    async def refuse(writes: Sequence[Write], marker: Key) -> None:
        if any(write.key.id == refused for write in writes):
            raise RejectedError("told to refuse")
        await commit(writes, marker)

    monkeypatch.setattr(api.watched, "commit", refuse)
    assert sorted(api.push([push_of(line) for line in lines])) == [200] * 19 + [500]
    assert set(kept(partner)) == {line["requestId"] for line in lines} - {refused}


def test_where_another_worker_was_faster_the_rest_is_kept_all_the_same(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    lines = [line_of(partner) for _ in range(5)]
    folder = Folder(api.watched, rate=len(lines), patience=1)
    copies = [folder.copy(RequestLine.model_validate(line)) for line in lines]
    writes = [copy for copy in copies if copy is not None]
    api.watched.rival = writes[2:3]
    partner.backing.run(lambda _: keep(api.watched, writes, "test"))
    assert kept(partner) == sorted(line["requestId"] for line in lines)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"message": None},
        {"message": {}},
        {"message": {"data": "not base64!"}},
        {"message": {"data": base64.b64encode(b"no json").decode()}},
        {"message": {"data": base64.b64encode(b"[]").decode()}},
        push_of("a text"),
        push_of({"kind": "crash", "time": "2026-11-22T09:00:00.000Z"}),
        push_of({**HARMLESS, "kind": "request", "organisation": "-", "mode": "-"}),
    ],
    ids=lambda body: json.dumps(body)[:40],
)
def test_what_is_no_line_of_a_known_caller_is_told_of_and_never_comes_again(
    partner: Partner, body: Json
) -> None:
    api = InProcess(partner.backing, partner.key)
    before = len(partner.lines("line"))
    assert api.call("POST", "/worker/lines", json=body) == {"outcome": "unread"}
    told = partner.lines("line")[before:]
    assert [(line["severity"], line["result"]) for line in told] == [("ERROR", "unread")]
    assert api.watched.commits == []


@pytest.mark.parametrize(
    "foreign",
    [
        {"organisation": "org_../../other"},
        {"requestId": "req_1"},
        {"mode": "account"},
        {"principal": "somebody"},
        {"method": "-", "route": "-"},
    ],
)
def test_a_line_that_could_lie_where_it_does_not_belong_is_not_kept(
    partner: Partner, foreign: Json
) -> None:
    api = InProcess(partner.backing, partner.key)
    assert push(api, line_of(partner, **foreign)) == {"outcome": "unread"}
    assert api.watched.commits == []


# --- Sampling ------------------------------------------------------------------------------------


def test_above_the_rate_successes_without_patients_are_left_out_and_nothing_else(
    partner: Partner, other: Partner
) -> None:
    api = InProcess(partner.backing, partner.key, log_rate=10)
    at = clock.now().replace(microsecond=0)
    harmless = [line_of(partner, at=at) for _ in range(30)]
    failures = [line_of(partner, at=at, status=404, code="resource_missing") for _ in range(30)]
    touching = [line_of(partner, at=at, objects=[PATIENT_ID]) for _ in range(30)]
    others = [line_of(other, at=at) for _ in range(10)]
    next_second = [line_of(partner, at=at + timedelta(seconds=1)) for _ in range(10)]
    for line in (*harmless, *failures, *touching, *others, *next_second):
        push(api, line)
    wanted = [*harmless[:10], *failures, *touching, *next_second]
    assert kept(partner) == sorted(line["requestId"] for line in wanted)
    assert kept(other) == sorted(line["requestId"] for line in others)


def test_above_the_rate_what_changed_something_is_kept_and_a_line_that_comes_again(
    partner: Partner,
) -> None:
    """Nobody hides the making of a key among reads, and a failure of storage costs no line."""
    api = InProcess(partner.backing, partner.key, log_rate=10)
    at = clock.now().replace(microsecond=0)
    harmless = [line_of(partner, at=at) for _ in range(10)]
    api.fail("commit", UnavailableError("told to fail"))
    for line in harmless:
        push(api, line, 503)
    api.watched.failing = {}
    key = "key_" + "0" * 22
    made = line_of(partner, at=at, method="POST", route="/v1/api_keys", objects=[key])
    counted = line_of(partner, at=at, method="POST", route="/v1/frontend_events")
    for line in (made, counted, *harmless):
        push(api, line)
    there = kept(partner)
    assert all(line["requestId"] in there for line in (*harmless, made))
    assert counted["requestId"] not in there


def test_above_the_rate_nothing_of_pages_is_kept_and_it_takes_no_place_of_servers(
    partner: Partner,
) -> None:
    api = InProcess(partner.backing, partner.key, log_rate=10)
    at = clock.now().replace(microsecond=0)
    refused = {"page": True, "status": 429, "code": "rate_limited"}
    pages = [line_of(partner, at=at, **refused) for _ in range(30)]
    servers = [line_of(partner, at=at) for _ in range(10)]
    for line in (*pages, *servers):
        push(api, line)
    wanted = [*pages[:10], *servers]
    assert kept(partner) == sorted(line["requestId"] for line in wanted)


def test_above_the_rate_every_refusal_of_a_key_is_kept(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key, log_rate=10)
    at = clock.now().replace(microsecond=0)
    servers = [line_of(partner, at=at) for _ in range(12)]
    over = [line_of(partner, at=at, status=429, code="rate_limited") for _ in range(15)]
    for line in (*servers, *over):
        push(api, line)
    wanted = [*servers[:10], *over]
    assert kept(partner) == sorted(line["requestId"] for line in wanted)


# --- Following a file ----------------------------------------------------------------------------


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Backing]:
    """A local backing of the test's own."""
    request: Any = type("Named", (), {"param": "local"})
    made = Backing(environment_of(request, tmp_path))
    yield made
    made.close()


def append(backing: Backing, *lines: Json, end: str = "\n") -> None:
    with Path(backing.environment["ALLY_LOG"]).open("a") as file:
        file.write("\n".join(json.dumps(line, separators=(",", ":")) for line in lines) + end)


def wait_for(partner: Partner, wanted: set[str]) -> None:
    until(lambda: set(kept(partner)) >= wanted, "lines are not folded")


@pytest.fixture
def alone(local: Backing) -> Iterator[Partner]:
    """A partner of a local server that nobody else uses."""
    server = Server(local, Path(local.environment["ALLY_STATE"]))
    yield local.partner(server)
    server.stop()


def test_after_kill_9_the_next_start_folds_what_is_left(alone: Partner) -> None:
    wanted = set()
    for _ in range(3):
        wanted |= {alone.send("GET", "/v1/tasks").headers["Request-Id"] for _ in range(30)}
        alone.server.process.kill()
        alone.server.close()
        alone.server.start()
    wait_for(alone, wanted)


def test_a_line_whose_end_is_not_written_yet_waits_for_it(alone: Partner) -> None:
    torn = line_of(alone)
    append(alone.backing, torn, end="")
    text = Path(alone.backing.environment["ALLY_LOG"])
    after = line_of(alone)
    with text.open("a") as file:
        file.write("\n")
    append(alone.backing, after)
    wait_for(alone, {torn["requestId"], after["requestId"]})


def test_a_line_after_one_that_was_never_ended_is_folded(alone: Partner) -> None:
    log = Path(alone.backing.environment["ALLY_LOG"])
    with log.open("a") as file:
        file.write(json.dumps(line_of(alone), separators=(",", ":"))[:100])
    sent = alone.send("GET", "/v1/tasks").headers["Request-Id"]
    wait_for(alone, {sent})


@pytest.mark.parametrize("how", ["truncated", "replaced", "removed"])
def test_another_file_in_the_place_of_the_first_is_folded_from_its_beginning(
    alone: Partner, how: str
) -> None:
    log = Path(alone.backing.environment["ALLY_LOG"])
    old = {alone.send("GET", "/v1/tasks").headers["Request-Id"] for _ in range(3)}
    wait_for(alone, old)
    lines = [line_of(alone) for _ in range(50)]  # more bytes than were folded before
    if how == "truncated":
        os.truncate(log, 0)
    elif how == "replaced":
        log.rename(log.with_suffix(".old"))
    else:
        log.unlink()
    append(alone.backing, *lines)
    wait_for(alone, old | {line["requestId"] for line in lines})


def test_two_processes_that_follow_one_file_fold_all_of_it_once(
    alone: Partner, tmp_path: Path
) -> None:
    second = Server(alone.backing, tmp_path)
    partners = [alone, alone.backing.partner(second)]
    wanted: dict[int, set[str]] = {0: set(), 1: set()}

    def call(which: int) -> None:
        for _ in range(60):
            answer = partners[which].send("GET", "/v1/tasks")
            wanted[which].add(answer.headers["Request-Id"])

    threads = [threading.Thread(target=call, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for which, partner in enumerate(partners):
        wait_for(partner, wanted[which])
    second.stop()
    crashes = alone.lines("crash")
    assert crashes == []


# --- Pub/Sub on a bad day ------------------------------------------------------------------------


@pytest.fixture
def far(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Backing]:
    """A google backing of the test's own."""
    emulator, manager = (request.getfixturevalue(name) for name in ("emulator", "secret_manager"))
    log = {"ALLY_LOG": str(tmp_path / "requests.jsonl"), "ALLY_LOG_RATE": "1000000"}
    made = Backing(google_environment(emulator, manager) | log)
    yield made
    made.close()


def test_every_line_is_kept_however_badly_it_is_carried_and_whoever_dies(
    far: Backing, tmp_path: Path
) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    worker = Worker(far.environment, tmp_path)
    log = Path(far.environment["ALLY_LOG"])
    sink = LogSink(log, worker.url, chance)
    partners = [far.partner(None) for _ in range(3)]  # type: ignore[arg-type]  # nothing is called
    lines = [line_of(chance.choice(partners)) for _ in range(300)]
    for number, line in enumerate(lines):
        append(far, line)
        if number % 100 == 50:
            worker.process.kill()
            worker.start()
    until(sink.idle, "lines are never all folded")
    sink.stop()
    worker.process.stop()
    for partner in partners:
        theirs = {line["requestId"] for line in lines if line["principal"] == partner.api_key.id}
        assert set(kept(partner)) == theirs
    assert {200} < set(sink.answers), "some pushes died with the worker"
