"""Availability: where Ally goes, and the windows that have a place."""

import functions_framework.aio

from shared import Api, Call, Page, Ref, Request, Response
from shared.scheduling import (
    AvailabilityQuery,
    Coverage,
    CoverageAnswer,
    CoverageQuery,
    OpenWindow,
    find_windows,
    outward,
)
from shared.tasks import Task

api = Api("availability", audience="partner")


@api.get(
    "/v1/availability",
    permission="availability:read",
    end_user="availability:read",
    refuses=(
        "resource_missing",
        "task_inactive",
        "not_in_coverage",
    ),
)
async def index(call: Call, query: AvailabilityQuery) -> Page[OpenWindow]:
    """List the windows that have a place for a task at a postcode, the soonest first.

    Windows are offered about three weeks ahead.
    """
    return await find_windows(call.store, query)


@api.get(
    "/v1/coverage",
    permission="availability:read",
    end_user="availability:read",
    refuses=("resource_missing",),
)
async def get(call: Call, query: CoverageQuery) -> CoverageAnswer:
    """Tell whether a postcode is served and, with a taskId, whether that task is still offered."""
    place = Ref(Coverage, outward(query.postcode))
    active = True
    if query.taskId is None:
        (found,) = await call.store.find(place)
    else:
        wanted = Ref(Task, query.taskId, "taskId")
        found, task = await call.store.find(place, wanted)
        active = call.store.required(task, wanted).active
    return CoverageAnswer(
        id=f"cov_{place.id}",
        livemode=call.livemode,
        postcode=query.postcode,
        covered=found is not None and active,
        area=found.area if found else None,
    )


@functions_framework.aio.http
async def availability(request: Request) -> Response:
    """Serve /v1/availability and /v1/coverage."""
    return await api(request)
