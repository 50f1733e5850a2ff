"""Jobs: made with their cause, done in effect once, tried again, swept, given up, put back."""

import asyncio
import itertools
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, ClassVar

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
from shared.models import Model, Record
from shared.provision import open_store
from shared.service import Service
from shared.settings import SPACES
from shared.store import Ref, Store
from tests.conftest import BACKENDS, environment_of
from tests.support.processes import ROOT
from tests.support.yard import Yard
from tests.test_costs import WORKER

MINUTE = timedelta(minutes=1)
RACERS = 6


class Tally(Record):
    collection: ClassVar[str] = "tallies"
    prefix: ClassVar[str] = "tly"

    number: int = 0


TALLY = "tly_" + "0" * 22


class Told(Model):
    note: str = ""
    more: int = 0


@kind("tests.tally")
async def tally(store: Store, body: Told) -> None:
    """Count one up, after giving way, and cause as many more such jobs as it is told."""
    (found,) = await store.find(Ref(Tally, TALLY))
    await asyncio.sleep(0)
    store.put(Tally(id=TALLY, number=(found.number if found else 0) + 1))
    if body.more:
        store.later(tally, Told(more=body.more - 1))


@kind("tests.fail")
async def fail(store: Store, body: Told) -> None:
    """Stage something, then fail with a message that nobody may read."""
    store.insert(Tally(id=TALLY))
    raise ZeroDivisionError(body.note)


@kind("tests.rest")
async def rest(store: Store, body: Told) -> None:
    """Do nothing."""


@kind("tests.hang")
async def hang(store: Store, body: Told) -> None:
    await asyncio.Event().wait()


@pytest.fixture(params=BACKENDS)
def yard(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Yard]:
    running_yard = Yard(environment_of(request, tmp_path))
    yield running_yard
    running_yard.close()


def counted(yard: Yard, organisation: str = "org_a", space: Any = "test") -> int:
    documents = yard.documents(Tally.collection, space, organisation)
    return sum(document.data["number"] for document in documents)


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


# --- Swept ----------------------------------------------------------------------------------------


def test_an_empty_sweep_costs_one_read_a_shard(yard: Yard) -> None:
    yard.watched.forget()
    swept = yard.sweep()
    assert (swept.overdue, swept.oldestSeconds, swept.failed) == (0, 0, 0)
    asked = {
        (query.space, shard)
        for query, _ in yard.watched.queries
        for field, _, shard in query.where
        if field == "shard"
    }
    assert asked == set(itertools.product(SPACES, range(SHARDS)))
    assert [found for _, found in yard.watched.queries] == [0] * len(SPACES) * SHARDS
    assert WORKER["sweep"] == {"queries": [found for _, found in yard.watched.queries]}
    assert yard.watched.gets == yard.watched.commits == []


def test_a_job_that_was_lost_is_queued_again_once_it_is_late(yard: Yard) -> None:
    tickets = [
        yard.stage(tally, Told(), mode="test"),
        yard.stage(tally, Told(), mode="live"),
        yard.stage(rest, Told(), mode="live", account=True),
    ]
    yard.now += GRACE - timedelta(seconds=1)
    assert yard.sweep().overdue == 0
    yard.now += MINUTE
    assert yard.sweep().overdue == 3
    queued = yard.queue.tickets
    assert {(each.space, each.job) for each in queued} == {
        (each.space, each.job) for each in tickets
    }
    assert {(each.attempts, each.at) for each in queued} == {(1, yard.now)}
    assert yard.sweep().overdue == 0
    assert len(queued) == 3
    assert [yard.run(each) for each in queued] == ["done"] * 3


def test_a_sweep_takes_the_latest_of_each_shard_first_and_says_how_late_that_is(
    yard: Yard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "MOST_SWEPT", 1)
    yard.now = yard.now.replace(second=0)
    for _ in range(20):
        yard.stage(tally, Told())
        yard.pass_time(seconds=30)
    jobs = {job.id: job for job in map(Job.load, (each.data for each in yard.documents("jobs")))}
    latest = {job.shard: job.due for job in sorted(jobs.values(), key=lambda job: job.due)[::-1]}
    swept = yard.sweep()
    assert swept.overdue == len(latest)
    assert swept.oldestSeconds == 8 * 60
    found = {jobs[ticket.job].shard: jobs[ticket.job].due for ticket in yard.queue.tickets}
    assert found == latest


def test_what_is_lost_again_and_again_is_given_up_after_as_many_attempts(yard: Yard) -> None:
    """As is a job that kills each process that does it: nobody is left to note its failure."""
    ticket = yard.stage(tally, Told())
    spent = timedelta()
    for _ in PAUSES:
        job = yard.job(ticket)
        assert job is not None
        spent += job.due - yard.now
        yard.now = job.due
        assert yard.sweep().failed == 0
    job = yard.job(ticket)
    assert job is not None
    yard.now = job.due
    assert yard.sweep().failed == 1
    assert spent > sum(PAUSES[:-1], timedelta()) * (1 - JITTER)
    failed = yard.job(ticket, FailedJob)
    assert failed is not None
    assert (failed.error, failed.attempts) == ("Lost", len(PAUSES) + 1)
    assert yard.lines()[-1]["severity"] == "ERROR"
    assert yard.sweep().overdue == 0


def test_two_sweeps_at_once_take_a_job_up_once(yard: Yard) -> None:
    ticket = yard.stage(tally, Told())
    yard.pass_time(minutes=5)

    async def race(held: Service) -> None:
        await asyncio.gather(*(running.sweep(held) for _ in range(RACERS)))

    yard.do(race)
    assert len(yard.queue.tickets) == 1
    job = yard.job(ticket)
    assert job is not None
    assert job.attempts == 1


def test_a_process_that_begins_queues_all_that_is_left_each_at_its_time(yard: Yard) -> None:
    """It counts no attempt: what it was busy with when it was ended is not to blame."""
    after = [timedelta(), timedelta(days=1)]
    tickets = {yard.stage(tally, Told(), after=each) for each in after}
    yard.pass_time(seconds=1)
    yard.do(running.resume)
    assert set(yard.queue.tickets) == tickets


# --- Put back -------------------------------------------------------------------------------------


def test_what_failed_for_good_can_be_put_back(yard: Yard) -> None:
    ticket = yard.stage(fail, Told())
    while yard.run(ticket) == "failed":
        yard.queue.tickets.clear()
    assert yard.revive(ticket) == "queued"
    assert yard.documents(FailedJob.collection) == []
    job = yard.job(ticket)
    assert job is not None
    assert (job.attempts, job.error) == (0, None)
    assert yard.queue.tickets == [job.ticket("test")]
    assert yard.revive(ticket) == "gone"


# --- Declared -------------------------------------------------------------------------------------


def test_a_kind_is_declared_once() -> None:
    with pytest.raises(ValueError, match=r"tests\.tally"):
        kind("tests.tally")(tally.handler)
