"""What everybody is supplied with: windows of live mode, and the postcodes that are served."""

from datetime import timedelta
from typing import Annotated, Any

from pydantic import Field

from functions.operations.portal import portal
from shared import staff, supply
from shared.clock import london_day
from shared.errors import ApiError
from shared.fields import Day, Line, Whole
from shared.models import Model
from shared.pages import Page, PageQuery
from shared.portals import Form, View, Visit
from shared.routes import SIGNED_IN
from shared.scheduling import Window
from shared.supply import CapacityIn, CoverageIn, ServedQuery, WindowIn
from shared.visits import page_for


class WindowsQuery(PageQuery):
    """Which windows: of an area, that begin on a day in London; today if left out."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 50
    area: Line | None = None
    day: Day | None = None


class CodeIn(Model):
    """An outward code."""

    code: Line


@portal.get("/{mode}/windows", permission=SIGNED_IN)
async def windows(visit: Visit, query: Form[WindowsQuery]) -> View:
    """Show the windows of an area and a day, with their places."""
    return await _windows(visit, query)


@portal.post("/{mode}/windows", permission=SIGNED_IN)
async def open_window(visit: Visit, body: Form[WindowIn]) -> View:
    """Open a window."""
    _check_live(visit)
    asked = body.value
    if asked is not None:
        with body.blaming():
            window = await supply.open_window(visit.store, asked)
            staff.note(visit.store, visit.caller, "window.create", subject=window.id)
            return _shown(visit, window)
    # What was typed is looked for as it is: it need not be the name of an area.
    query = WindowsQuery.model_construct(area=body.text("area"))
    return await _windows(visit, Form({}, query), form=body)


@portal.post("/{mode}/windows/{window}", permission=SIGNED_IN)
async def resize(visit: Visit, window: str, body: Form[CapacityIn]) -> View:
    """Change how many places a window has."""
    _check_live(visit)
    if body.value is None:
        found = await visit.store.get(Window, window)
        query = WindowsQuery(area=found.area, day=london_day(found.startAt))
        return await _windows(visit, Form({}, query), resized=(window, body))
    changed = await supply.resize(visit.store, window, body.value.capacity)
    staff.note(visit.store, visit.caller, "window.update", subject=window)
    return _shown(visit, changed)


@portal.get("/{mode}/coverage", permission=SIGNED_IN)
async def coverage(visit: Visit, query: Form[ServedQuery]) -> View:
    """Show which postcodes are served in a mode."""
    return await _coverage(visit, query)


@portal.post("/{mode}/coverage", permission=SIGNED_IN)
async def cover(visit: Visit, body: Form[CoverageIn]) -> View:
    """Serve outward codes."""
    asked = body.value
    if asked is not None:
        with body.blaming():
            codes = await supply.cover(visit.store, asked)
            subject = f"{asked.area} {' '.join(codes)}"
            staff.note(visit.store, visit.caller, "coverage.add", subject=subject)
            return visit.redirect(f"/{visit.mode}/coverage?area={asked.area}", said="done")
    return await _coverage(visit, Form({}, ServedQuery()), body)


@portal.post("/{mode}/coverage/remove", permission=SIGNED_IN)
async def uncover(visit: Visit, body: CodeIn) -> View:
    """Serve an outward code no more."""
    await supply.uncover(visit.store, [body.code])
    staff.note(visit.store, visit.caller, "coverage.remove", subject=body.code)
    return visit.redirect(f"/{visit.mode}/coverage", said="done")


def _check_live(visit: Visit) -> None:
    """Refuse windows of test mode: each organisation's are worked out, and none is stored."""
    if not visit.store.livemode:
        raise ApiError("route_unknown")


def _shown(visit: Visit, window: Window) -> View:
    """Lead to the day of a window that was changed."""
    day = london_day(window.startAt)
    return visit.redirect(f"/live/windows?area={window.area}&day={day}", said="done")


async def _windows(
    visit: Visit,
    query: Form[WindowsQuery],
    *,
    form: Form[WindowIn] | None = None,
    resized: tuple[str, Form[CapacityIn]] | None = None,
) -> View:
    """Show a day's windows, with what is wrong with one that was to be opened or resized."""
    storage = visit.service.storage
    areas = [*await supply.coverage(storage, "live")]
    asked = query.value or WindowsQuery()
    area = asked.area or next(iter(areas), "")
    day = asked.day or london_day(visit.now)

    async def find(asked: WindowsQuery) -> Page[Window]:
        if not visit.store.livemode:
            return Page([], has_more=False)
        return await supply.windows(storage, area, day, asked)

    page = await page_for(query, find)
    return visit.page(
        "windows.html",
        status=400 if query.errors or form or resized else 200,
        title="Windows",
        query=query,
        areas=[(each, each) for each in areas],
        area=area,
        day=day,
        days={"Earlier": day - timedelta(days=1), "Later": day + timedelta(days=1)},
        page=page,
        form=form,
        resized=resized,
    )


async def _coverage(visit: Visit, query: Form[ServedQuery], form: Form[Any] | None = None) -> View:
    storage = visit.service.storage
    page = await page_for(query, lambda asked: supply.served(storage, visit.mode, asked))
    return visit.page(
        "coverage.html",
        status=400 if query.errors or form else 200,
        title="Coverage",
        query=query,
        page=page,
        form=form,
    )
