"""How jobs are done: queued after the commit that made them, run, tried again, swept, given up.

A run is a store of its own: what a handler stages and the deletion of the job are one commit, so a
job that is run twice, or by two at once, takes effect once.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from itertools import chain
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import Field

from shared import ids
from shared.audit import trouble
from shared.backends import (
    OURS,
    Condition,
    ConflictError,
    Delete,
    Document,
    Key,
    Put,
    Query,
    Ticket,
    Write,
    new_marker,
)
from shared.clock import isoformat
from shared.fields import Line, Whole
from shared.jobs import FAILURE, KINDS, SHARDS, FailedJob, Job
from shared.models import Model
from shared.ours import list_ours
from shared.pages import Page, PageQuery
from shared.service import Service
from shared.settings import SPACES, Space
from shared.store import Store, insist

SECONDS_TO_ENQUEUE = 1.0
"""What an answer waits for its jobs to be queued."""
LONGEST_RUN = 30.0
"""Seconds after which a run has failed: less than GRACE, and than the worker's own limit."""
MOST_SWEPT = 50
"""Jobs of one shard that one sweep takes up: so it ends within a minute where the queue is down."""
MOST_RESUMED = 10_000
"""Jobs of one shard that a process that begins takes up at once."""
SWEPT_AT_ONCE = 32

LOST = "Lost"
"""What is noted of a job that nobody did in time, nor said why."""


class Outcome(Model):
    """What became of a job: there is none any more, or it is done, noted as failed, or queued."""

    outcome: Literal["gone", "done", "failed", "queued"]


class Swept(Model):
    """What a sweep found: jobs that were late, how late the latest, and how many it gave up."""

    overdue: int
    oldestSeconds: int
    failed: int


class FailedQuery(PageQuery):
    """Jobs that failed for good: all of them, or those of a kind or of an organisation."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 25
    kind: Line | None = None
    organisation: Line | None = None


class Failed(NamedTuple):
    """A job that failed for good, and where it lies."""

    space: Space
    job: FailedJob

    @property
    def id(self) -> str:
        """Its place in the list, from which a page goes on."""
        return self.job.failure


class UnknownKindError(Exception):
    """A job is of a kind that this build does not know; the next one may, or the last one did."""


async def enqueue(held: Service, tickets: Sequence[Ticket]) -> None:
    """Queue jobs, for a second at most. They are committed: if that fails, the sweep finds them."""
    try:
        async with asyncio.timeout(SECONDS_TO_ENQUEUE):
            await asyncio.gather(*map(held.queue.enqueue, tickets))
    except Exception as error:  # whatever it is, what is committed must not be refused
        told = {"severity": "WARNING", "result": "not_queued", **trouble(error)}
        held.log.write(held.now(), "job", {**told, "jobs": [ticket.job for ticket in tickets]})


async def run(held: Service, space: Space, job_id: str) -> Outcome:
    """Do a job, or note that it failed. What is raised could not be noted: ask again."""
    key = Key(space, OURS, Job.collection, job_id)
    patience = held.settings.lock_timeout
    try:
        async with asyncio.timeout(LONGEST_RUN):
            tickets = await insist(partial(_attempt, held, key), patience)
    except Exception as error:
        return await insist(partial(_note_failure, held, key, error), patience)
    if tickets is None:
        return Outcome(outcome="gone")
    await enqueue(held, tickets)
    return Outcome(outcome="done")


async def sweep(held: Service) -> Swept:
    """Queue again what should have been done by now."""
    now = held.now()
    found = await _find(held, MOST_SWEPT, ("due", "<=", isoformat(now)))
    places = asyncio.Semaphore(SWEPT_AT_ONCE)

    async def take_up(document: Document) -> bool:
        async with places:
            return await _take_up(held, document)

    given_up = await asyncio.gather(*map(take_up, found))
    oldest = min((_load(document).due for document in found), default=now)
    seconds = int((now - oldest).total_seconds())
    return Swept(overdue=len(found), oldestSeconds=seconds, failed=sum(given_up))


async def failed(held: Service, query: FailedQuery) -> Page[Failed]:
    """Return a page of jobs of all spaces that wait for a person, the latest failure first."""
    asked = query.model_dump(exclude=set(PageQuery.model_fields), exclude_none=True)
    page = await list_ours(
        held.storage,
        FailedJob.collection,
        SPACES,
        query,
        [(name, "==", value) for name, value in asked.items()],
        cursor=query.cursor(FAILURE),
        by="failure",
    )
    found = [Failed(each.key.space, FailedJob.load(each.data)) for each in page.data]
    return Page(found, page.has_more)


async def resume(held: Service) -> None:
    """Queue all jobs that there are, for a process whose queue was in its memory."""
    found = await _find(held, MOST_RESUMED)
    await enqueue(held, [_load(document).ticket(document.key.space) for document in found])


def tell_sweep(held: Service, swept: Swept) -> None:
    """Write the line of a sweep, by which a backlog is seen."""
    held.log.write(held.now(), "sweep", swept.model_dump())


async def revive(held: Service, space: Space, job_id: str, beside: Sequence[Write] = ()) -> Outcome:
    """Put a job that has failed for good back, as if it had never been tried.

    What is to be written `beside` is in the same commit.
    """
    if not FailedJob.accepts(job_id):
        return Outcome(outcome="gone")
    failed = Key(space, OURS, FailedJob.collection, job_id)
    (document,) = await held.storage.get([failed])
    if document is None:
        return Outcome(outcome="gone")
    now = held.now()
    job = _load(document).renewed(now)
    key = failed._replace(collection=Job.collection)
    writes = [Put(key, job.dump()), Delete(failed, document.version), *beside]
    await held.storage.commit(writes, key)
    await enqueue(held, [job.ticket(space)])
    return Outcome(outcome="queued")


async def _find(held: Service, limit: int, *late: Condition) -> list[Document]:
    """Return jobs of all spaces, of each shard those that are due first."""
    queries = [
        Query(
            space,
            OURS,
            Job.collection,
            limit,
            (("shard", "==", shard), *late),
            descending=False,
            by="due",
        )
        for space in SPACES
        for shard in range(SHARDS)
    ]
    return list(chain(*await asyncio.gather(*map(held.storage.query, queries))))


async def _attempt(held: Service, key: Key) -> list[Ticket] | None:
    """Run a job's handler and commit what it staged; None where the job has been done before."""
    (document,) = await held.storage.get([key])
    if document is None:
        return None
    job = _load(document)
    store = Store(
        held.storage,
        mode=job.mode,
        organisation=job.organisation,
        now=held.now(),
        request_id=job.requestId,
        account=key.space == "account",
        job=document,
    )
    kind = KINDS.get(job.kind)
    if kind is None:
        raise UnknownKindError
    given = (held, store) if kind.outward else (store,)
    await kind.handler(*given, kind.payload.model_validate(job.payload))
    await store.commit()
    _tell(held, job, "INFO", result="done", objects=list(store.touched))
    return store.tickets


async def _note_failure(held: Service, key: Key, error: Exception) -> Outcome:
    (document,) = await held.storage.get([key])
    if document is None:  # what failed was to learn of one's own success, or somebody else's
        return Outcome(outcome="gone")
    await _try_again(held, document, trouble(error), waiting=True)
    return Outcome(outcome="failed")


async def _take_up(held: Service, document: Document) -> bool:
    """Queue a job whose ticket may be lost; return whether it has failed for good instead."""
    try:
        return not await _try_again(held, document, {"type": LOST}, waiting=False)
    except ConflictError:  # somebody does it, or swept it, at this moment
        return False


async def _try_again(
    held: Service, document: Document, why: dict[str, Any], *, waiting: bool
) -> bool:
    """Have a job done again, after a pause where it is `waiting`; return False if it may not be.

    Even where it is queued at once, the sweep asks after it no earlier than after the pause: while
    the queue or the worker stands still, attempts are not used up.
    """
    key = document.key
    now = held.now()
    job = _load(document)
    pause = job.pause()
    if pause is None:
        failed = FailedJob.of(job.again(why["type"], at=now, due=now), now)
        place = key._replace(collection=FailedJob.collection)
        await held.storage.commit([Put(place, failed.dump()), Delete(key, document.version)], place)
        _tell(held, failed, "ERROR", result="failed", **why)
        return False
    again = job.again(why["type"], at=now + pause if waiting else now, due=now + pause)
    marker = new_marker(key.space, OURS, ids.scatter("run"), now)
    await held.storage.commit([Put(key, again.dump(), document.version), marker], marker.key)
    _tell(held, again, "WARNING", result="tried_again", **why)
    await enqueue(held, [again.ticket(key.space)])
    return True


def _load(document: Document) -> Job:
    return Job.load(document.data)


def _tell(held: Service, job: Job, severity: str, **facts: Any) -> None:
    """Write the line of what became of a job: for the audit, and for Operations."""
    held.log.write(
        held.now(),
        "job",
        {
            "severity": severity,
            "requestId": job.requestId,
            "organisation": job.organisation,
            "mode": job.mode,
            "job": job.id,
            "name": job.kind,
            "attempts": job.attempts,
            **facts,
        },
    )
