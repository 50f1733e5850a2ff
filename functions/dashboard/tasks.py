"""Tasks: what can be done in an appointment. Ally's Operations change them."""

from functions.dashboard.listing import ChangesQuery
from functions.dashboard.portal import portal
from shared.errors import ApiError
from shared.pages import Page
from shared.portals import Form, View, Visit
from shared.tasks import Task


@portal.get("/{mode}/tasks", permission="tasks:read")
async def index(visit: Visit, query: Form[ChangesQuery]) -> View:
    """List the organisation's tasks, newest first."""
    page: Page[Task] = Page([], has_more=False)
    if query.value is not None:
        try:
            page = await visit.store.page(Task, query.value)
        except ApiError as refusal:
            query.blame(refusal)
    status = 400 if query.errors else 200
    return visit.page("tasks/list.html", title="Tasks", status=status, form=query, page=page)


@portal.get("/{mode}/tasks/{task}", permission="tasks:read")
async def show(visit: Visit, task: str) -> View:
    """Show a task and its steps."""
    found = await visit.store.get(Task, task)
    return visit.page("tasks/show.html", title=found.name, task=found)
