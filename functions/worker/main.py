"""The worker: what our own services ask for, out of the queue and by the clock."""

from typing import Annotated

import functions_framework.aio
from pydantic import Field

from shared import Api, Request, Response, running
from shared.models import Model
from shared.running import Outcome, Swept
from shared.service import Service
from shared.settings import Space

api = Api("worker", audience="internal")


class JobIn(Model):
    """A job, by its place."""

    space: Space
    id: Annotated[str, Field(pattern="^job_[0-9A-Za-z]{22}$")]


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


@functions_framework.aio.http
async def worker(request: Request) -> Response:
    """Serve /worker."""
    return await api(request)
