"""Tasks: what can be done in an appointment."""

import functions_framework.aio

from shared import Api, Call, ListQuery, Page, Request, Response
from shared.tasks import Task

api = Api("tasks", audience="partner")


@api.get("/v1/tasks", permission="tasks:read", end_user="tasks:read")
async def index(call: Call, query: ListQuery) -> Page[Task]:
    """List the tasks of the organisation, newest first."""
    return await call.store.page(Task, query)


@api.get("/v1/tasks/{task}", permission="tasks:read", end_user="tasks:read")
async def get(call: Call, task: str) -> Task:
    """Return a task."""
    return await call.store.get(Task, task)


@functions_framework.aio.http
async def tasks(request: Request) -> Response:
    """Serve /v1/tasks."""
    return await api(request)
