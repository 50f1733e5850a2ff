"""Jobs that were lost are swept up; those that failed for good are put back."""

import asyncio
import itertools
from datetime import timedelta

import pytest

from shared import running
from shared.jobs import GRACE, JITTER, PAUSES, SHARDS, FailedJob, Job
from shared.service import Service
from shared.settings import SPACES
from tests.support.tallies import Told, fail, rest, tally
from tests.support.yard import Yard
from tests.test_costs import WORKER

MINUTE = timedelta(minutes=1)
RACERS = 6


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
