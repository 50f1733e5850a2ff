"""What Operations supply to everybody: which postcodes are served, and the windows of live mode."""

import re
from collections.abc import Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from shared import ids
from shared.backends import OURS, Condition, Query, Storage
from shared.clock import LONDON
from shared.errors import invalid
from shared.fields import Day, Intake, Line, Whole, checked
from shared.forms import wrong
from shared.models import Model
from shared.ours import list_ours
from shared.pages import Page, PageQuery
from shared.registers import SnomedCode
from shared.scheduling import MOST_PLACES, Coverage, Window
from shared.settings import Mode
from shared.store import Ref, Store

MOST_CODES = 4_000
"""Outward codes: there are some 3,000 in the United Kingdom."""
LONGEST_CODES = 2_000
MOST_PROCEDURES = 20


def _shaped(pattern: str, sentence: str) -> AfterValidator:
    def check(value: str, _: Intake) -> str:
        if not re.fullmatch(pattern, value):
            raise ValueError(sentence)
        return value

    return checked(check)


Area = Annotated[
    Line,
    _shaped("[a-z][a-z-]{1,39}", "must be small letters and hyphens, such as central-london"),
]
"""The name of an area, in small letters and hyphens, such as `central-london`."""
Hour = Annotated[
    Line, _shaped("([01][0-9]|2[0-3]):[0-5][0-9]", "must be a time of the day, such as 09:00")
]
"""A time of the clock in London, such as 09:00."""
Capacity = Annotated[Whole, Field(ge=0, le=MOST_PLACES)]


def _separated(value: object) -> list[str]:
    """Take apart what was typed with spaces, commas or ends of lines between."""
    texts = value if isinstance(value, list) else [value]
    return [each for text in texts for each in _apart(str(text or ""))]


def _apart(text: str) -> list[str]:
    return [each for each in re.split(r"[\s,;]+", text) if each]


_SEPARATED = BeforeValidator(_separated)


class WindowIn(Model):
    """A window as Operations open it: a day and hours of the clock in London."""

    area: Area
    day: Day
    begins: Hour
    ends: Hour
    capacity: Capacity
    procedures: Annotated[list[SnomedCode], _SEPARATED, Field(max_length=MOST_PROCEDURES)] = []
    """The codes of all that a practitioner can do in it; with none, whatever there is."""


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


async def windows(storage: Storage, area: str, day: date, query: PageQuery) -> Page[Window]:
    """Return a page of the windows of an area that begin on a day in London, the soonest first."""
    first = ids.place(Window.prefix, _moment(day, "00:00"))
    last = ids.place(Window.prefix, _moment(day + timedelta(days=1), "00:00"))
    where: list[Condition] = [("area", "==", area), ("id", ">=", first), ("id", "<", last)]
    cursor = query.cursor(Window.prefix)
    page = await list_ours(
        storage, Window.collection, ["live"], query, where, cursor=cursor, ascending=True
    )
    return Page([Window.load(each.data) for each in page.data], page.has_more)


_BEGUN = "must be the beginning of a postcode, of at most four letters and digits"


class ServedQuery(PageQuery):
    """Outward codes that are served: all of them, or of an area, or that begin so."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 100
    area: Line | None = None
    code: Annotated[Line, _shaped("[A-Za-z0-9]{1,4}", _BEGUN)] | None = None

    def cursor(self, prefix: str) -> str | None:
        """Return the code from which the page goes on: it is its own id."""
        found = self.starting_after or self.ending_before
        if found is not None and not Coverage.accepts(found):
            reason, plain = "must be a code of this list", "This is no place of this list."
            raise invalid([wrong("starting_after", reason, plain)])
        return found


async def served(storage: Storage, mode: Mode, query: ServedQuery) -> Page[Coverage]:
    """Return a page of the outward codes that are served in a mode, in their order."""
    where: list[Condition] = []
    if query.area is not None:
        where.append(("area", "==", query.area))
    if query.code is not None:
        begun = query.code.upper()
        where += [("id", ">=", begun), ("id", "<", f"{begun}~")]
    page = await list_ours(
        storage,
        Coverage.collection,
        [mode],
        query,
        where,
        cursor=query.cursor(""),
        then="" if query.area else "area",
        ascending=True,
    )
    return Page([Coverage.load(each.data) for each in page.data], page.has_more)


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
    codes = list(dict.fromkeys(_apart(request.codes.upper())))
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
