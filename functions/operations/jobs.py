"""Jobs that were tried as often as they may be, and wait for a person."""

from functions.operations.portal import portal
from shared import directory, running, staff
from shared.fields import Line
from shared.models import Model
from shared.portals import Form, View, Visit
from shared.routes import SIGNED_IN
from shared.running import FailedQuery
from shared.settings import Space
from shared.visits import page_for


class JobIn(Model):
    """A job that failed, and where it lies."""

    space: Space
    job: Line


@portal.get("/jobs", permission=SIGNED_IN)
async def index(visit: Visit, query: Form[FailedQuery]) -> View:
    """Show the jobs that failed, the latest failure first."""
    page = await page_for(query, lambda asked: running.failed(visit.service, asked))
    return visit.page(
        "jobs.html",
        title="Failed jobs",
        status=400 if query.errors else 200,
        form=query,
        page=page,
        names=await directory.names_of(visit.store, [each.job.organisation for each in page.data]),
    )


@portal.post("/jobs", permission=SIGNED_IN)
async def revive(visit: Visit, body: JobIn) -> View:
    """Have a job done again, as if it had never been tried."""
    beside = staff.written(visit.store, visit.caller, "job.revive", body.space, subject=body.job)
    outcome = await running.revive(visit.service, body.space, body.job, [beside])
    return visit.redirect("/jobs", said="revived" if outcome.outcome == "queued" else "changed")
