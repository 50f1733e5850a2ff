"""Jobs that were tried as often as they may be, and wait for a person."""

from functions.operations.portal import portal
from shared import running, staff
from shared.fields import Line
from shared.models import Model
from shared.portals import View, Visit
from shared.routes import SIGNED_IN
from shared.settings import Space

MOST_SHOWN = 100


class JobIn(Model):
    """A job that failed, and where it lies."""

    space: Space
    job: Line


@portal.get("/jobs", permission=SIGNED_IN)
async def index(visit: Visit) -> View:
    """Show the jobs that failed, the latest first."""
    found = await running.failed(visit.service, MOST_SHOWN)
    return visit.page("jobs.html", title="Failed jobs", jobs=found)


@portal.post("/jobs", permission=SIGNED_IN)
async def revive(visit: Visit, body: JobIn) -> View:
    """Have a job done again, as if it had never been tried."""
    beside = staff.written(visit.store, visit.caller, "job.revive", body.space, subject=body.job)
    outcome = await running.revive(visit.service, body.space, body.job, [beside])
    return visit.redirect("/jobs", said="revived" if outcome.outcome == "queued" else "changed")
