"""The availability explorer: where Ally goes, and when there is a place."""

from functions.dashboard.days import OurDay
from functions.dashboard.listing import tasks_of
from functions.dashboard.portal import portal
from functions.dashboard.windows import find_days
from shared.errors import ApiError
from shared.fields import Line, Postcode
from shared.models import Model
from shared.portals import Form, View, Visit


class Place(Model):
    """What windows are wanted. Nobody need have said anything yet."""

    taskId: Line | None = None
    postcode: Postcode | None = None
    fromDate: OurDay | None = None
    toDate: OurDay | None = None


@portal.get("/{mode}/availability", permission="availability:read")
async def index(visit: Visit, query: Form[Place]) -> View:
    """Show the windows for a task at a postcode, day by day."""
    tasks = [task for task in await tasks_of(visit.store) if task.active]
    place, days, uncovered = query.value, None, False
    if place is not None and place.taskId and place.postcode:
        try:
            days = await find_days(
                visit.store, place.taskId, place.postcode, place.fromDate, place.toDate
            )
        except ApiError as refusal:
            uncovered = refusal.code == "not_in_coverage"
            if not uncovered:
                query.blame(refusal)
    return visit.page(
        "availability/index.html",
        title="Availability",
        status=400 if query.errors else 200,
        filters=query,
        place=place,
        tasks=[(task.id, task.name) for task in tasks],
        days=days,
        uncovered=uncovered,
    )
