"""What Operations supply to everybody: which postcodes are served, and the windows of live mode."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from pydantic import Field, StringConstraints

from shared import ids
from shared.backends import OURS, Condition, Query, Storage
from shared.clock import LONDON
from shared.errors import invalid
from shared.fields import Day, Line, Whole
from shared.forms import wrong
from shared.models import Model
from shared.registers import SnomedCode
from shared.scheduling import MOST_PLACES, Coverage, Window
from shared.settings import Mode
from shared.store import Ref, Store

MOST_CODES = 4_000
"""Outward codes: there are some 3,000 in the United Kingdom."""
MOST_WINDOWS = 300
LONGEST_CODES = 2_000

Area = Annotated[Line, StringConstraints(pattern=r"^[a-z][a-z-]{1,39}$")]
"""The name of an area, in small letters and hyphens, such as `central-london`."""
Hour = Annotated[Line, StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
"""A time of the clock in London, such as 09:00."""
Capacity = Annotated[Whole, Field(ge=0, le=MOST_PLACES)]


class WindowIn(Model):
    """A window as Operations open it: a day and hours of the clock in London."""

    area: Area
    day: Day
    begins: Hour
    ends: Hour
    capacity: Capacity
    procedures: Annotated[list[SnomedCode], Field(max_length=20)] = []


class CapacityIn(Model):
    """How many places a window has."""

    capacity: Capacity


class CoverageIn(Model):
    """Outward codes that are served, with spaces or commas between them, and their area."""

    area: Area
    codes: Annotated[str, StringConstraints(min_length=2, max_length=LONGEST_CODES)]


async def open_window(store: Store, request: WindowIn) -> Window:
    """Stage a new window of live mode, or refuse one that does not lie ahead in a known area."""
    start, end = (_moment(request.day, hour) for hour in (request.begins, request.ends))
    if end <= start:
        raise invalid([wrong("ends", "must be after the beginning")])
    if start <= store.now:
        raise invalid([wrong("day", "must not be in the past")])
    return store.insert(
        Window(
            id=ids.mint(Window.prefix, start),
            area=request.area,
            startAt=start,
            endAt=end,
            capacity=request.capacity,
            procedures=request.procedures or None,
        )
    )


async def resize(store: Store, window_id: str, capacity: int) -> Window:
    """Stage how many places a window has. Who has one keeps it, be they more than that."""
    window = await store.get(Window, window_id)
    return store.put(window.model_copy(update={"capacity": capacity}))


async def windows(store: Store, area: str, day: date) -> list[Window]:
    """Return the windows of an area that begin on a day in London, the soonest first."""
    first = ids.place(Window.prefix, _moment(day, "00:00"))
    last = ids.place(Window.prefix, _moment(day + timedelta(days=1), "00:00"))
    where: list[Condition] = [("area", "==", area), ("id", ">=", first), ("id", "<", last)]
    return await store.select(Window, where, limit=MOST_WINDOWS, descending=False)


async def coverage(storage: Storage, mode: Mode) -> dict[str, list[str]]:
    """Return the outward codes that are served in a mode, by area."""
    found = await storage.query(
        Query(mode, OURS, Coverage.collection, MOST_CODES, descending=False, then="area")
    )
    areas: dict[str, list[str]] = {}
    for document in found:
        areas.setdefault(document.data["area"], []).append(document.key.id)
    return dict(sorted(areas.items()))


async def cover(store: Store, request: CoverageIn) -> list[str]:
    """Stage that outward codes are served, in an area; return them, or refuse what is none."""
    codes = list(dict.fromkeys(re.split(r"[\s,;]+", request.codes.strip().upper())))
    if not all(map(Coverage.accepts, codes)):
        raise invalid([wrong("codes", "must be first halves of postcodes, such as SW1A")])
    await store.find_all([Ref(Coverage, code) for code in codes])
    for code in codes:
        store.put(Coverage(id=code, area=request.area))
    return codes


async def uncover(store: Store, codes: Sequence[str]) -> None:
    """Stage that outward codes are not served any more. Appointments that there are stay."""
    for code in codes:
        store.delete(await store.get(Coverage, code))


def _moment(day: date, hour: str) -> datetime:
    return datetime.combine(day, time.fromisoformat(hour), LONDON).astimezone(UTC)
