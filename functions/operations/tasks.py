"""Tasks of an organisation: what is done in its appointments, designed with it."""

from typing import Annotated, Any

from pydantic import Field

from functions.operations.portal import portal
from shared import staff
from shared.fields import Whole
from shared.forms import wrong
from shared.models import Model
from shared.organisations import Organisation
from shared.pages import NamedQuery
from shared.portals import Form, View, Visit
from shared.routes import SIGNED_IN
from shared.tasks import MOST_STEPS, Step, StepIn, Task, TaskIn
from shared.visits import page_for

TASKS = "/organisations/{organisation}/{mode}/tasks"
EMPTY_ROWS = 3
"""Rows for further steps that a form has."""


class TasksQuery(NamedQuery):
    """Which tasks of an organisation are shown."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 25


@portal.get(TASKS, permission=SIGNED_IN)
async def index(visit: Visit, organisation: str, query: Form[TasksQuery]) -> View:
    """Show the tasks of an organisation in a mode."""
    known = await _known(visit, organisation)
    store = visit.enter(organisation, visit.mode)
    return visit.page(
        "tasks.html",
        page=await page_for(query, lambda asked: store.page(Task, asked)),
        title="Tasks",
        status=400 if query.errors else 200,
        organisation=known,
        form=query,
    )


@portal.get(f"{TASKS}/new", permission=SIGNED_IN)
async def begin(visit: Visit, organisation: str) -> View:
    """Show the form of a new task."""
    await _known(visit, organisation)
    return _form(visit, organisation, None, None)


@portal.get(f"{TASKS}/{{task}}", permission=SIGNED_IN)
async def show(visit: Visit, organisation: str, task: str) -> View:
    """Show the form of a task."""
    return _form(visit, organisation, await visit.enter(organisation, visit.mode).get(Task, task))


@portal.post(f"{TASKS}/new", permission=SIGNED_IN)
async def create(visit: Visit, organisation: str, body: Form[TaskIn]) -> View:
    """Make a task."""
    await _known(visit, organisation)
    fields = _fields(body)
    if fields is None:
        return _form(visit, organisation, None, body)
    store = visit.enter(organisation, visit.mode)
    made = store.insert(Task.new(at=store.now, livemode=store.livemode, **fields))
    staff.note(store, visit.caller, "task.create", subject=made.id)
    return _back(visit, organisation)


@portal.post(f"{TASKS}/{{task}}", permission=SIGNED_IN)
async def update(visit: Visit, organisation: str, task: str, body: Form[TaskIn]) -> View:
    """Change a task: appointments that were made of it go on as they are."""
    store = visit.enter(organisation, visit.mode)
    found = await store.get(Task, task)
    fields = _fields(body)
    if fields is None:
        return _form(visit, organisation, found, body)
    store.put(found.changed(store.now, **fields))
    staff.note(store, visit.caller, "task.update", subject=task)
    return _back(visit, organisation)


async def _known(visit: Visit, organisation: str) -> Organisation:
    """Return the organisation whose tasks they are, or refuse with 404."""
    return await visit.enter(organisation).get(Organisation, organisation)


def _fields(body: Form[TaskIn]) -> dict[str, Any] | None:
    """Return the fields of a task as it was typed; None where something is wrong."""
    asked = body.value
    if asked is None:
        return None
    steps: list[Step] = []
    for number, each in enumerate(asked.steps):
        try:
            step = each.step()
        except ValueError as error:
            body.blame(wrong(f"steps[{number}][code]", str(error)))
            continue
        if step is not None:
            steps.append(step)
    if body.value is not None and not steps:
        body.blame(wrong("steps[0][name]", "must be given: a task has at least one step"))
    return None if body.value is None else {**dict(asked), "steps": steps}


def _form(
    visit: Visit, organisation: str, task: Task | None, form: Form[TaskIn] | None = None
) -> View:
    written = [] if task is None else [_typed(step) for step in task.steps]
    typed = form.sent.get("steps") if form is not None else None
    sent = len(typed) if isinstance(typed, dict | list) else 0
    rows = min(max(len(written) + EMPTY_ROWS, sent), MOST_STEPS)
    return visit.page(
        "task.html",
        status=200 if form is None else 400,
        title="New task" if task is None else task.name,
        organisation=organisation,
        task=task,
        form=form,
        steps=[*written, *[StepIn(kind="clinical")] * (rows - len(written))],
    )


def _typed(step: Step) -> Model:
    coding = step.coding
    return StepIn(
        kind=step.kind,
        name=step.name,
        code=coding and coding.code,
        display=coding and coding.display,
    )


def _back(visit: Visit, organisation: str) -> View:
    return visit.redirect(f"/organisations/{organisation}/{visit.mode}/tasks", said="done")
