"""Tasks: what can be done in an appointment. Ally's Operations change them."""

from functions.dashboard.listing import ChangesQuery
from functions.dashboard.portal import portal
from shared.pages import NamedQuery
from shared.portals import Form, View, Visit
from shared.tasks import Task
from shared.visits import page_for


class TasksQuery(ChangesQuery, NamedQuery):
    """Tasks as the page is asked for them."""


@portal.get("/{mode}/tasks", permission="tasks:read")
async def index(visit: Visit, query: Form[TasksQuery]) -> View:
    """List the organisation's tasks, newest first."""
    page = await page_for(query, lambda asked: visit.store.page(Task, asked))
    status = 400 if query.errors else 200
    return visit.page("tasks/list.html", title="Tasks", status=status, form=query, page=page)


@portal.get("/{mode}/tasks/{task}", permission="tasks:read")
async def show(visit: Visit, task: str) -> View:
    """Show a task and its steps."""
    found = await visit.store.get(Task, task)
    return visit.page("tasks/show.html", title=found.name, task=found)
