"""Days as people choose them: those of the calendar in London."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated

from pydantic import Field

from shared.backends import Condition
from shared.clock import LONDON
from shared.fields import Day, Intake, Whole, checked
from shared.filters import created
from shared.pages import ListQuery

FIRST, LAST = date(2020, 1, 1), date(2100, 1, 1)


def _of_our_times(value: date, _: Intake) -> date:
    if not FIRST <= value < LAST:
        raise ValueError(f"must be a day from {FIRST.year} to {LAST.year - 1}")
    return value


OurDay = Annotated[Day, checked(_of_our_times)]
"""A day of our times."""


def begin_of(day: date) -> datetime:
    """Return the moment at which a day begins in London."""
    return datetime.combine(day, time(), LONDON).astimezone(UTC)


def end_of(day: date) -> datetime:
    """Return the moment at which a day ends in London."""
    return begin_of(day + timedelta(days=1))


def last_day(end: datetime) -> date:
    """Return the last day that does not go on after a moment's."""
    return (end - timedelta(microseconds=1)).astimezone(LONDON).date()


class DaysQuery(ListQuery):
    """A list of a page, of all days or from one day to another. A subclass adds other fields."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 25
    fromDate: OurDay | None = None
    toDate: OurDay | None = None

    def conditions(self, prefix: str, *, livemode: bool) -> list[Condition]:
        """Return what the listed objects must be."""
        found = super().conditions(prefix, livemode=livemode)
        others = [each for each in found if each[0] not in ("fromDate", "toDate")]
        if self.fromDate is not None:
            others.append(created(prefix, ">=", begin_of(self.fromDate)))
        if self.toDate is not None:
            others.append(created(prefix, "<", end_of(self.toDate)))
        return others
