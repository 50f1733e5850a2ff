"""The worker: what our own services ask for, out of the queue and by the clock."""

from datetime import date
from typing import Annotated, Any, Literal

import functions_framework.aio
from pydantic import Field

from shared import (
    Api,
    Request,
    Response,
    running,
    team,  # noqa: F401 - it brings kinds of job, those of joining and mail among them
)
from shared.folding import read_message
from shared.models import Model
from shared.rollups import RollUp
from shared.running import Outcome, Swept
from shared.service import Service
from shared.settings import Space

api = Api("worker", audience="internal")


class JobIn(Model):
    """A job, by its place."""

    space: Space
    id: Annotated[str, Field(pattern="^job_[0-9A-Za-z]{22}$")]


class Push(Model):
    """What Pub/Sub pushes: one message, whatever is in it."""

    message: Any = None


class Folded(Model):
    """What became of a line: its copy is there, or there was none in the message."""

    outcome: Literal["kept", "unread"]


class DayIn(Model):
    """A day in UTC that is over, or none: then the last two, and those that were not rolled up."""

    day: date | None = None


class RolledUp(Model):
    """The days that are rolled up now."""

    days: list[date]


@api.post("/worker/jobs", permission="internal")
async def run(held: Service, body: JobIn) -> Outcome:
    """Do a job: Cloud Tasks asks, at least once."""
    return await running.run(held, body.space, body.id)


@api.post("/worker/failed_jobs", permission="internal")
async def revive(held: Service, body: JobIn) -> Outcome:
    """Put back a job that has failed for good: a person asks, who has mended the cause."""
    return await running.revive(held, body.space, body.id)


@api.post("/worker/sweep", permission="internal")
async def sweep(held: Service) -> Swept:
    """Queue again what should have been done by now: Cloud Scheduler asks, each minute."""
    swept = await running.sweep(held)
    running.tell_sweep(held, swept)
    return swept


@api.post("/worker/lines", permission="internal")
async def fold(held: Service, body: Push) -> Folded:
    """Keep a copy of a line of the log: Pub/Sub asks, at least once.

    What is no such line is told of and acknowledged, or it would come again for ever.
    """
    try:
        line = read_message(body.message)
    except ValueError:
        held.log.write(held.now(), "line", {"severity": "ERROR", "result": "unread"})
        return Folded(outcome="unread")
    await held.folder.fold(line)
    return Folded(outcome="kept")


@api.post("/worker/roll_up", permission="internal")
async def roll_up(held: Service, body: DayIn) -> RolledUp:
    """Roll up the usage of a day, or of all that are due: Cloud Scheduler asks, each night."""
    rolling = RollUp(held.metrics, held.storage, held.now())
    days = await rolling.due() if body.day is None else [body.day]
    for day in days:
        await rolling.run(day)
    return RolledUp(days=days)


@functions_framework.aio.http
async def worker(request: Request) -> Response:
    """Serve /worker."""
    return await api(request)
