"""Where and when: coverage, windows, the places in them, and the supply that test mode simulates.

A window has a capacity and a map of claims. A place is free while the claims that still hold are
fewer than the capacity; a claim that has expired needs no sweep, and giving one back twice does no
harm. All of a window is one document, so its version decides every race for its last place.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, ClassVar

from pydantic import Field

from shared import ids
from shared.backends import Condition
from shared.clock import LONDON, TIMEZONE, isoformat, london_day
from shared.errors import ApiError, invalid
from shared.fields import Day, Line, Moment, Postcode, Shape, Timestamp
from shared.forms import wrong
from shared.models import Model, Record, Resource
from shared.pages import Page, PageQuery
from shared.settings import Mode
from shared.store import Ref, Store
from shared.tasks import Task

HORIZON_DAYS = 21
"""How many days ahead, today included, windows are offered."""
LARGEST_CHUNK = 300
MOST_PLACES = 50
"""The capacity of the largest window; an area that needs more has several windows at one time."""


class Coverage(Record):
    """One outward code (the first half of a postcode) that Ally serves, and the area it is in.

    Operations keeps these; the id is the outward code.
    """

    collection: ClassVar[str] = "coverage"
    shared: ClassVar[frozenset[Mode]] = frozenset({"test", "live"})

    area: str

    @classmethod
    def accepts(cls, record_id: str) -> bool:
        """Tell whether a text could be an outward code."""
        return re.fullmatch(r"[A-Z][A-Z0-9]{1,3}", record_id) is not None


def outward(postcode: str) -> str:
    """Return the first half of a postcode."""
    return postcode.partition(" ")[0]


class Window(Record):
    """A time window in one area, its places, and who has claimed them.

    The place of its id in the order is its start, so that windows are found soonest first.
    `procedures` are the SNOMED CT codes that can be done in it; none means any. `claims` maps the
    id of a claimant to the moment when its claim expires; none means that it holds.
    """

    collection: ClassVar[str] = "windows"
    prefix: ClassVar[str] = "win"
    shared: ClassVar[frozenset[Mode]] = frozenset({"live"})

    area: str
    startAt: Moment
    endAt: Moment
    capacity: Annotated[int, Field(ge=0, le=MOST_PLACES)]
    procedures: list[str] | None = None
    claims: dict[str, Moment | None] = {}

    def remaining(self, now: datetime) -> int:
        """Return how many places are free."""
        return max(0, self.capacity - len(self._holding(now)))

    def claim(self, claimant: str, now: datetime) -> "Window":
        """Return the window with a place claimed, or refuse because there is none.

        Who has a place in it already needs no other.
        """
        others = self.release(claimant, now).claims
        if len(others) >= self.capacity or self.startAt <= now:
            raise ApiError("window_unavailable", param="windowId")
        return self.model_copy(update={"claims": {**others, claimant: None}})

    def release(self, claimant: str, now: datetime) -> "Window":
        """Return the window without the claim of `claimant`."""
        claims = {key: until for key, until in self._holding(now).items() if key != claimant}
        return self.model_copy(update={"claims": claims})

    def serves(self, task: Task) -> bool:
        """Tell whether everything that a task needs can be done in this window."""
        return self.procedures is None or task.procedures <= set(self.procedures)

    def check(self, task: Task, coverage: Coverage) -> None:
        """Refuse unless the window serves this task in this area."""
        if self.area != coverage.area:
            raise ApiError("window_unsuitable", param="windowId", what="postcode")
        if not self.serves(task):
            raise ApiError("window_unsuitable", param="windowId", what="task")

    def _holding(self, now: datetime) -> dict[str, datetime | None]:
        return {
            claimant: until
            for claimant, until in self.claims.items()
            if until is None or until > now
        }


class OpenWindow(Resource):
    """A time window that Ally commits to, with the places that remain in it."""

    prefix: ClassVar[str] = Window.prefix

    object: str = "window"
    startAt: Moment
    """The practitioner comes from then on."""
    endAt: Moment
    """The practitioner comes before then."""
    timezone: str = TIMEZONE
    """The IANA name of the time zone in which the patient lives."""
    remaining: Annotated[int, Shape(examples=[3])]
    """How many places are free."""


class CoverageQuery(Model):
    """A place to ask about and, perhaps, a task to be done there."""

    postcode: Postcode
    """The place to ask about."""
    taskId: Line | None = None
    """A task to be done there."""


class CoverageAnswer(Model):
    """Whether Ally serves a postcode. It is worked out and not kept, so it has no times."""

    id: Annotated[str, Shape(examples=["cov_SW1A"])]
    object: str = "coverage"
    livemode: bool
    createdAt: Timestamp | None = None
    updatedAt: Timestamp | None = None
    postcode: Annotated[str, Shape(examples=["SW1A 1AA"])]
    """The postcode that was asked for."""
    covered: bool
    """Whether Ally comes there; if a task was named, to do that."""
    area: Annotated[str, Shape(examples=["central-london"])] | None
    """The area that the postcode is in."""


class AvailabilityQuery(PageQuery):
    """A task, a place, and London days (both included) between which windows are wanted."""

    taskId: Line
    """What is to be done."""
    postcode: Postcode
    """Where it is to be done."""
    fromDate: Day | None = None
    """The first day in London time; today if left out."""
    toDate: Day | None = None
    """The last day in London time; as far ahead as windows are offered if left out."""


@dataclass(frozen=True, slots=True)
class Search:
    """What windows are wanted: in an area, between two London days (both included)."""

    area: str
    first: date
    last: date


async def find_windows(store: Store, query: AvailabilityQuery) -> Page[OpenWindow]:
    """Return a page of the windows that have a place for a task, the soonest first."""
    now = store.now
    cursor = query.cursor(Window.prefix)
    first, last = _days(query, now)
    wanted = Ref(Task, query.taskId, "taskId")
    found_task, coverage = await store.find(wanted, Ref(Coverage, outward(query.postcode)))
    task = store.required(found_task, wanted)
    if not task.active:
        raise ApiError("task_inactive", param="taskId")
    if coverage is None:
        raise ApiError("not_in_coverage", param="postcode")

    search = Search(coverage.area, first, last)
    not_begun = now + timedelta(microseconds=1)
    after = ids.place(Window.prefix, max(not_begun, _midnight(first)))
    before = ids.place(Window.prefix, _midnight(last + timedelta(days=1)))
    size = wanted_windows = query.limit + 1
    found: list[Window] = []
    while True:
        if cursor is not None:
            after, before = (
                (after, min(cursor, before)) if query.backwards else (max(cursor, after), before)
            )
        chunk = await _chunk(store, search, after, before, size, descending=query.backwards)
        found += [each for each in chunk if each.serves(task) and each.remaining(now)]
        if len(found) >= wanted_windows or len(chunk) < size:
            break
        cursor = chunk[-1].id
        size = min(2 * size, LARGEST_CHUNK)  # where much is taken, look further at a time
    page = Page.cut(found, query.limit, backwards=query.backwards)
    return Page([_offer(each, store) for each in page.data], page.has_more)


async def _chunk(
    store: Store, search: Search, after: str, before: str, size: int, *, descending: bool
) -> list[Window]:
    """Return the next windows between two ids, both excluded, in the order that is asked for.

    In test mode a window is only stored once somebody has claimed a place in it, so the simulated
    ones are laid out first and those that are stored take their places.
    """
    simulated: list[Window] = []
    if not store.livemode:
        days = (search.last - search.first).days + 1
        every = (
            window
            for offset in range(days)
            for window in simulate(
                store.organisation, search.area, search.first + timedelta(days=offset)
            )
            if after < window.id < before
        )
        simulated = sorted(every, key=_by_id, reverse=descending)[:size]
        if not simulated:
            return []
        edges = sorted((simulated[0].id, simulated[-1].id))
        where: list[Condition] = [("id", ">=", edges[0]), ("id", "<=", edges[1])]
    else:
        where = [("id", ">", after), ("id", "<", before)]
    stored = await store.select(
        Window, [("area", "==", search.area), *where], limit=size, descending=descending
    )
    if store.livemode:
        return stored
    claimed = {window.id: window for window in stored}
    return [claimed.get(window.id, window) for window in simulated]


def _by_id(window: Window) -> str:
    return window.id


def _days(query: AvailabilityQuery, now: datetime) -> tuple[date, date]:
    """Return the days that are searched: what was asked for, within the horizon."""
    today = london_day(now)
    horizon = today + timedelta(days=HORIZON_DAYS - 1)
    first, last = query.fromDate or today, query.toDate or horizon
    if query.fromDate and query.toDate and query.toDate < query.fromDate:
        raise invalid([wrong("toDate", "must not be before fromDate", "Choose a later end.")])
    if last < today:
        raise invalid([wrong("toDate", "must not be in the past")])
    beyond = horizon + timedelta(days=1)
    return min(max(first, today), beyond), min(last, horizon)


def _offer(window: Window, store: Store) -> OpenWindow:
    """Show a window. Its times are those of its coming within the horizon, not of its bookings."""
    day = london_day(window.startAt) - timedelta(days=HORIZON_DAYS - 1)
    opened = isoformat(_midnight(day))
    return OpenWindow(
        id=window.id,
        livemode=store.livemode,
        createdAt=opened,
        updatedAt=opened,
        startAt=window.startAt,
        endAt=window.endAt,
        remaining=window.remaining(store.now),
    )


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), LONDON).astimezone(UTC)


# --- The supply of test mode ---------------------------------------------------------------------
#
# Each organisation has its own, computed from its id: the same windows for everyone who asks, and
# nothing written before somebody claims a place. A window's id carries its start, its area and a
# check, so that it can be recognised, and refused, without having been stored.

_SLOT_STARTS = range(8, 20, 2)
_SLOT_HOURS = 2
_DAY_OF_REST = 6  # no windows on Sundays
_LARGEST_SIMULATED = 6
_AREA_LENGTH = 6


def simulate(organisation: str, area: str, day: date) -> Iterator[Window]:
    """Yield an organisation's simulated windows of one London day, as nobody has claimed them."""
    if day.weekday() == _DAY_OF_REST:
        return
    for hour in _SLOT_STARTS:
        local = datetime.combine(day, time(hour), LONDON)
        start, end = (
            (local + timedelta(hours=hours)).astimezone(UTC) for hours in (0, _SLOT_HOURS)
        )
        digest = _digest(organisation, _area_mark(area), start.isoformat())
        capacity = digest % (_LARGEST_SIMULATED + 1)
        if capacity:
            tail = _area_mark(area) + _mark(digest, ids.TAIL_LENGTH - _AREA_LENGTH)
            window_id = ids.place(Window.prefix, start, tail)
            yield Window(id=window_id, area=area, startAt=start, endAt=end, capacity=capacity)


def recognise(organisation: str, window_id: str, area: str, now: datetime) -> Window | None:
    """Return the simulated window that has an id, or None where there is none.

    `area` is where it is hoped to be. If it is a window of another area, that area stays unnamed.
    One that began yesterday is still known, to be refused as begun.
    """
    if not Window.accepts(window_id):
        return None
    start, tail = ids.split(window_id)
    today = london_day(now)
    day = london_day(start)
    if not today - timedelta(days=1) <= day < today + timedelta(days=HORIZON_DAYS):
        return None
    for window in simulate(organisation, area, day):
        if window.id == window_id:
            return window
    digest = _digest(organisation, tail[:_AREA_LENGTH], start.isoformat())
    if _mark(digest, ids.TAIL_LENGTH - _AREA_LENGTH) != tail[_AREA_LENGTH:]:
        return None
    end = start + timedelta(hours=_SLOT_HOURS)
    return Window(id=window_id, area="", startAt=start, endAt=end, capacity=0)


def _area_mark(area: str) -> str:
    return _mark(_digest(area), _AREA_LENGTH)


def _mark(digest: int, length: int) -> str:
    return ids.encode(digest % len(ids.ALPHABET) ** length, length)


def _digest(*parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\0".join(parts).encode()).digest())
