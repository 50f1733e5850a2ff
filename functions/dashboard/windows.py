"""Windows as people choose one: day by day, a week at a time."""

from dataclasses import dataclass
from datetime import date, timedelta

from shared.clock import london_day
from shared.pages import Page
from shared.scheduling import HORIZON_DAYS, AvailabilityQuery, OpenWindow, find_windows
from shared.store import Store

WEEK = 7
MOST = 100


@dataclass(frozen=True, slots=True)
class Days:
    """Some days, each with the windows that have a place, and the days before and after these."""

    windows: dict[date, list[OpenWindow]]
    earlier: date | None
    later: date | None

    @property
    def number(self) -> int:
        """How many windows there are."""
        return sum(map(len, self.windows.values()))


async def find_days(
    store: Store, task: str, postcode: str, first: date | None, last: date | None = None
) -> Days:
    """Return the windows for a task at a postcode of a week, or from one day to another.

    It refuses as GET /v1/availability does.
    """
    today = london_day(store.now)
    horizon = today + timedelta(days=HORIZON_DAYS - 1)
    begin = min(max(first or today, today), horizon)
    end = min(last or begin + timedelta(days=WEEK - 1), horizon)
    query = AvailabilityQuery(
        taskId=task, postcode=postcode, fromDate=begin, toDate=end, limit=MOST
    )
    found: list[OpenWindow] = []
    page: Page[OpenWindow] = Page([], has_more=True)
    while page.has_more:
        page = await find_windows(store, query)
        found += page.data
        if page.data:
            query = query.model_copy(update={"starting_after": page.data[-1].id})
    span = (end - begin).days + 1
    windows: dict[date, list[OpenWindow]] = {
        begin + timedelta(days=number): [] for number in range(span)
    }
    for window in found:
        windows[london_day(window.startAt)].append(window)
    return Days(
        windows,
        earlier=max(today, begin - timedelta(days=span)) if begin > today else None,
        later=end + timedelta(days=1) if end < horizon else None,
    )
