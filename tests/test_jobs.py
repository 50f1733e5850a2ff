"""Jobs: made with their cause, done in effect once, tried again, given up."""

import asyncio
import itertools
import re
import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest

from shared import running
from shared.backends import (
    OURS,
    ConflictError,
    Delete,
    Key,
    Put,
    RejectedError,
    UnavailableError,
)
from shared.jobs import GRACE, JITTER, KINDS, PAUSES, SHARDS, FailedJob, Job, kind
from shared.provision import open_store
from shared.service import Service
from shared.store import Store
from tests.support.processes import ROOT
from tests.support.tallies import TALLY, Tally, Told, counted, fail, hang, rest, tally
from tests.support.yard import Yard
from tests.test_costs import WORKER

MINUTE = timedelta(minutes=1)
RACERS = 6


# --- Made with its cause --------------------------------------------------------------------------


def test_a_job_is_there_when_its_cause_is_and_never_else(yard: Yard) -> None:
    async def act(held: Service) -> None:
        store = open_store(held, "test", "org_a", at=yard.now)
        store.insert(Tally(id=TALLY))
        store.later(tally, Told())
        await store.commit()
        assert len(yard.watched.commits) == 1  # whatever dies, it leaves both or neither
        written = {write.key.collection for write in yard.watched.writes}
        assert written == {Tally.collection, Job.collection}
        for change in (Store.commit, Store.discard):  # one that others were faster at, one refused
            store = open_store(held, "test", "org_a", at=yard.now)
            store.insert(Tally(id=TALLY))
            store.later(tally, Told())
            if change is Store.discard:
                store.discard()
                assert store.tickets == []
                await store.commit()
            else:
                with pytest.raises(ConflictError):
                    await store.commit()

    yard.do(act)
    (job,) = yard.documents(Job.collection)
    assert job.data["organisation"] == "org_a"


def test_a_job_lies_where_its_cause_does_as_a_document_of_ours(yard: Yard) -> None:
    places = [
        yard.stage(tally, Told(), mode="test").space,
        yard.stage(tally, Told(), mode="live").space,
        yard.stage(tally, Told(), mode="live", account=True).space,
    ]
    assert places == ["test", "live", "account"]
    assert [len(yard.documents(Job.collection, space)) for space in places] == [1, 1, 1]
    assert yard.documents(Job.collection, "test", "org_a") == []


def test_what_was_changed_does_not_name_the_job(yard: Yard) -> None:
    async def act(held: Service) -> list[str]:
        store = open_store(held, "test", "org_a", at=yard.now)
        store.insert(Tally(id=TALLY))
        store.later(tally, Told())
        await store.commit()
        return list(store.touched)

    assert yard.do(act) == [TALLY]


def test_ids_tell_no_order_and_shards_are_all_used(yard: Yard) -> None:
    tickets = [yard.stage(tally, Told()) for _ in range(40)]
    ids = [ticket.job for ticket in tickets]
    begin = {each.removeprefix(f"{Job.prefix}_")[0] for each in ids}
    assert len(begin) > 10  # those of one moment, or of a year, would begin with one letter
    assert all(Job.accepts(each) for each in ids)
    jobs = [Job.load(document.data) for document in yard.documents(Job.collection)]
    assert {job.shard for job in jobs} == set(range(SHARDS))


@pytest.mark.parametrize(
    ("second", "after", "minutes"), [(0, 0, 2), (1, 0, 3), (59, 0, 3), (59, 1, 3), (59, 2, 4)]
)
def test_a_job_is_due_at_a_minute_no_sooner_than_two_after_its_time(
    yard: Yard, second: int, after: int, minutes: int
) -> None:
    yard.now = yard.now.replace(second=second)
    ticket = yard.stage(tally, Told(), after=timedelta(seconds=after))
    job = yard.job(ticket)
    assert job is not None
    assert ticket.at == job.runAt == yard.now + timedelta(seconds=after)
    assert job.due == yard.now.replace(second=0) + minutes * MINUTE
    assert GRACE <= job.due - job.runAt < GRACE + MINUTE


# --- Done in effect once --------------------------------------------------------------------------


def test_a_job_that_is_done_is_gone_and_its_effect_there(yard: Yard) -> None:
    ticket = yard.stage(tally, Told())
    assert yard.run(ticket) == "done"
    assert counted(yard) == 1
    assert yard.documents(Job.collection) == []
    assert yard.run(ticket) == "gone"
    assert counted(yard) == 1


def test_of_many_runners_of_one_job_one_takes_effect(yard: Yard) -> None:
    ticket = yard.stage(tally, Told())

    async def race(held: Service) -> list[str]:
        runs = [running.run(held, ticket.space, ticket.job) for _ in range(RACERS)]
        return [outcome.outcome for outcome in await asyncio.gather(*runs)]

    assert sorted(yard.do(race)) == ["done"] + ["gone"] * (RACERS - 1)
    assert counted(yard) == 1


def test_jobs_that_change_one_document_at_once_all_take_effect(yard: Yard) -> None:
    tickets = [yard.stage(tally, Told()) for _ in range(RACERS)]

    async def race(held: Service) -> list[str]:
        runs = [running.run(held, ticket.space, ticket.job) for ticket in tickets]
        return [outcome.outcome for outcome in await asyncio.gather(*runs)]

    assert yard.do(race) == ["done"] * RACERS
    assert counted(yard) == RACERS


def test_a_sweep_in_the_middle_of_a_run_does_not_double_its_effect(yard: Yard) -> None:
    ticket = yard.stage(tally, Told())
    document = yard.stored(ticket)
    assert document is not None
    moved = Job.load(document.data).again("Lost", at=yard.now, due=yard.now)
    yard.watched.rival = [
        Put(Key("test", OURS, "commits", "rival"), {"id": "rival"}),
        Put(document.key, moved.dump(), document.version),
    ]
    assert yard.run(ticket) == "done"
    assert counted(yard) == 1
    assert yard.documents(Job.collection) == []


def test_a_job_may_cause_another_in_the_commit_of_its_effect(yard: Yard) -> None:
    yard.run(yard.stage(tally, Told(more=2)))
    runs = 0
    while yard.queue.tickets:
        runs += 1
        assert yard.run(yard.queue.tickets.pop()) == "done"
    assert (runs, counted(yard)) == (2, 3)


def test_a_job_sees_the_organisation_and_mode_of_its_cause_alone(yard: Yard) -> None:
    homes = list(itertools.product(("org_a", "org_b"), ("test", "live")))
    for organisation, mode in homes:
        yard.run(yard.stage(tally, Told(), organisation=organisation, mode=mode))  # type: ignore[arg-type]  # a mode
    assert [counted(yard, *home) for home in homes] == [1, 1, 1, 1]


def test_a_line_says_what_a_job_touched_and_holds_no_payload(yard: Yard) -> None:
    ticket = yard.stage(tally, Told(note="sesame"))
    yard.run(ticket)
    (line,) = yard.lines()
    assert line["objects"] == [TALLY]
    assert (line["job"], line["name"], line["result"]) == (ticket.job, "tests.tally", "done")
    assert (line["organisation"], line["mode"], line["severity"]) == ("org_a", "test", "INFO")
    assert line["requestId"].startswith("req_")
    assert "sesame" not in yard.log.read_text()


def test_a_job_costs_what_is_pinned(yard: Yard) -> None:
    ticket = yard.stage(rest, Told())
    yard.watched.forget()
    yard.run(ticket)
    watched = yard.watched
    expiring = sum(isinstance(each, Put) and each.expires is not None for each in watched.writes)
    assert watched.queries == []
    asked = {"gets": watched.gets, "commits": watched.commits, "expiring": expiring}
    assert asked == WORKER["job"]


def test_the_worker_knows_all_kinds_that_are_declared() -> None:
    declared = set()
    for file in (ROOT / "shared").rglob("*.py"):
        declared |= set(re.findall(r'^@kind\("(\w+)"\)', file.read_text(), re.MULTILINE))
    script = "import functions.worker.main; from shared.jobs import KINDS; print(*KINDS)"
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert declared >= {"forget", "mail"}
    assert set(ran.stdout.split()) == declared


# --- Tried again, and given up --------------------------------------------------------------------


def test_a_job_that_fails_is_tried_again_later_and_later_and_then_given_up(yard: Yard) -> None:
    ticket = yard.stage(fail, Told(note="sesame"))
    for number, pause in enumerate(PAUSES, start=1):
        assert yard.run(ticket) == "failed"
        job = yard.job(ticket)
        assert job is not None
        assert (job.attempts, job.error) == (number, "ZeroDivisionError")
        waits = job.runAt - yard.now
        assert pause * (1 - JITTER) <= waits <= pause * (1 + JITTER)
        assert GRACE <= job.due - job.runAt < GRACE + MINUTE
        queued = yard.queue.tickets.pop()
        assert queued._replace(at=job.runAt) == job.ticket("test")
        assert timedelta() <= queued.at - job.runAt < timedelta(milliseconds=1)
        yard.now = job.runAt
    assert yard.run(ticket) == "failed"
    assert yard.job(ticket) is None
    assert yard.queue.tickets == []
    failed = yard.job(ticket, FailedJob)
    assert failed is not None
    assert (failed.attempts, failed.error) == (len(PAUSES) + 1, "ZeroDivisionError")
    assert counted(yard) == 0
    told = [(line["severity"], line["result"], line["attempts"]) for line in yard.lines()]
    retried = [("WARNING", "tried_again", number + 1) for number in range(len(PAUSES))]
    assert told == [*retried, ("ERROR", "failed", len(PAUSES) + 1)]
    assert yard.lines()[-1]["where"][-1].endswith(" fail")
    assert "sesame" not in yard.log.read_text()
    assert yard.run(ticket) == "gone"


def test_a_kind_that_this_build_does_not_know_may_be_known_to_another(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    ticket = yard.stage(tally, Told())
    with monkeypatch.context() as older:
        older.delitem(KINDS, "tests.tally")
        assert yard.run(ticket) == "failed"
    job = yard.job(ticket)
    assert job is not None
    assert job.error == "UnknownKindError"
    assert yard.run(ticket) == "done"
    assert counted(yard) == 1


def test_a_payload_that_is_not_understood_is_a_failure(yard: Yard) -> None:
    ticket = yard.stage(tally, Forged())
    assert yard.run(ticket) == "failed"
    job = yard.job(ticket)
    assert job is not None
    assert job.error == "ValidationError"
    assert "sesame" not in yard.log.read_text()


class Forged(Told):
    more: Any = "sesame"


def test_a_job_that_does_not_end_has_failed(yard: Yard, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LONGEST_RUN", 0.05)
    ticket = yard.stage(hang, Told())
    assert yard.run(ticket) == "failed"
    job = yard.job(ticket)
    assert job is not None
    assert job.error == "TimeoutError"


def test_a_failure_that_cannot_be_noted_is_raised_for_the_queue_to_ask_again(yard: Yard) -> None:
    ticket = yard.stage(tally, Told())
    yard.watched.failing = {"commit": UnavailableError("told to")}
    with pytest.raises(UnavailableError):
        yard.run(ticket)
    yard.watched.failing = {}
    assert yard.run(ticket) == "done"
    assert counted(yard) == 1


def test_a_run_that_lost_to_another_which_finished_is_no_failure(yard: Yard) -> None:
    """The document of the job goes while its handler fails: somebody else has done it."""
    ticket = yard.stage(hang, Told())
    document = yard.stored(ticket)
    assert document is not None
    done = Delete(document.key, document.version)

    async def act(held: Service) -> str:
        run = asyncio.create_task(running.run(held, ticket.space, ticket.job))
        made = Key("test", OURS, "commits", "elsewhere")
        await held.storage.commit([done, Put(made, {"id": "x"})], made)
        return (await run).outcome

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running, "LONGEST_RUN", 0.2)
        assert yard.do(act) == "gone"


# --- Queued ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "trouble",
    [{"failing": RejectedError("told to")}, {"failing": RuntimeError("sesame")}, {"hanging": True}],
    ids=["refused", "broken", "hanging"],
)
def test_a_queue_that_fails_is_told_of_once_and_hinders_nothing(
    yard: Yard, trouble: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "SECONDS_TO_ENQUEUE", 0.05)
    ticket = yard.stage(tally, Told(more=1))
    for name, how in trouble.items():
        setattr(yard.queue, name, how)
    assert yard.run(ticket) == "done"
    assert counted(yard) == 1
    done, lost = yard.lines()
    assert done["result"] == "done"
    (left,) = yard.documents(Job.collection)
    assert (lost["severity"], lost["result"], lost["jobs"]) == (
        "WARNING",
        "not_queued",
        [left.key.id],
    )
    assert "sesame" not in yard.log.read_text()


# --- Declared -------------------------------------------------------------------------------------


def test_a_kind_is_declared_once() -> None:
    with pytest.raises(ValueError, match=r"tests\.tally"):
        kind("tests.tally")(tally.handler)
