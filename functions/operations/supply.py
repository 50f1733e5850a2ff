"""What everybody is supplied with: windows of live mode, and the postcodes that are served."""

from datetime import date
from typing import Any

from functions.operations.portal import portal
from shared import staff, supply
from shared.clock import london_day
from shared.errors import ApiError
from shared.fields import Day, Line
from shared.models import Model
from shared.portals import Form, View, Visit
from shared.routes import SIGNED_IN
from shared.supply import CapacityIn, CoverageIn, WindowIn


class WindowsQuery(Model):
    """Which windows: of an area, that begin on a day in London; today if left out."""

    area: Line | None = None
    day: Day | None = None


class CodeIn(Model):
    """An outward code."""

    code: Line


@portal.get("/{mode}/windows", permission=SIGNED_IN)
async def windows(visit: Visit, query: WindowsQuery) -> View:
    """Show the windows of an area and a day, with their places."""
    return await _windows(visit, query.area, query.day)


@portal.post("/{mode}/windows", permission=SIGNED_IN)
async def open_window(visit: Visit, body: Form[WindowIn]) -> View:
    """Open a window."""
    _check_live(visit)
    asked = body.value
    if asked is None:
        return await _windows(visit, body.text("area") or None, None, body)
    try:
        window = await supply.open_window(visit.store, asked)
    except ApiError as refusal:
        body.blame(refusal)
        return await _windows(visit, asked.area, None, body)
    staff.note(visit.store, visit.caller, "window.create", subject=window.id)
    return visit.redirect(f"/live/windows?area={asked.area}&day={asked.day}", said="done")


@portal.post("/{mode}/windows/{window}", permission=SIGNED_IN)
async def resize(visit: Visit, window: str, body: CapacityIn) -> View:
    """Change how many places a window has."""
    _check_live(visit)
    changed = await supply.resize(visit.store, window, body.capacity)
    staff.note(visit.store, visit.caller, "window.update", subject=window)
    day = london_day(changed.startAt)
    return visit.redirect(f"/live/windows?area={changed.area}&day={day}", said="done")


@portal.get("/{mode}/coverage", permission=SIGNED_IN)
async def coverage(visit: Visit) -> View:
    """Show which postcodes are served in a mode."""
    return await _coverage(visit)


@portal.post("/{mode}/coverage", permission=SIGNED_IN)
async def cover(visit: Visit, body: Form[CoverageIn]) -> View:
    """Serve outward codes."""
    asked = body.value
    if asked is None:
        return await _coverage(visit, body)
    try:
        codes = await supply.cover(visit.store, asked)
    except ApiError as refusal:
        body.blame(refusal)
        return await _coverage(visit, body)
    subject = f"{asked.area} {' '.join(codes)}"
    staff.note(visit.store, visit.caller, "coverage.add", subject=subject)
    return visit.redirect(f"/{visit.mode}/coverage", said="done")


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


async def _windows(
    visit: Visit, area: str | None, day: date | None, form: Form[Any] | None = None
) -> View:
    areas = [*await supply.coverage(visit.service.storage, "live")]
    shown = area or next(iter(areas), "")
    on = day or london_day(visit.now)
    return visit.page(
        "windows.html",
        status=200 if form is None else 400,
        title="Windows",
        areas=areas,
        area=shown,
        day=on,
        windows=await supply.windows(visit.store, shown, on) if visit.store.livemode else [],
        form=form,
    )


async def _coverage(visit: Visit, form: Form[Any] | None = None) -> View:
    areas = await supply.coverage(visit.service.storage, visit.mode)
    status = 200 if form is None else 400
    return visit.page("coverage.html", status=status, title="Coverage", areas=areas, form=form)
