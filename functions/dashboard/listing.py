"""Lists in the dashboard: what is chosen of one in its address, and where its page begins."""

from datetime import UTC, date, datetime, time, timedelta
from typing import Annotated, Any

from shared.clock import LONDON, isoformat
from shared.fields import FIRST_YEAR, LAST_YEAR, Day, Intake, Line, checked
from shared.models import Model
from shared.pages import Between, ListQuery
from shared.store import Store
from shared.tasks import Task

ROWS = 50
"""The rows of a page."""
MOST_TASKS = 100
"""The tasks that a person can choose from."""


def _nameable(value: date, _: Intake) -> date:
    if not FIRST_YEAR < value.year < LAST_YEAR - 1:
        raise ValueError(f"must be after {FIRST_YEAR} and before {LAST_YEAR - 1}")
    return value


ListedDay = Annotated[Day, checked(_nameable)]
"""A day of which there can be objects."""


class Listing(Model):
    """What is chosen of a list: days in London, both included, and where the page begins."""

    createdFrom: ListedDay | None = None
    createdTo: ListedDay | None = None
    updatedFrom: ListedDay | None = None
    updatedTo: ListedDay | None = None
    starting_after: Line | None = None
    ending_before: Line | None = None

    def asked(self) -> dict[str, Any]:
        """Return the parameters of a list of the API."""
        bounds = ((">=", _begin(self.updatedFrom)), ("<", _end(self.updatedTo)))
        terms = [f'updatedAt{operator}"{isoformat(at)}"' for operator, at in bounds if at]
        return {
            "limit": ROWS,
            "starting_after": self.starting_after,
            "ending_before": self.ending_before,
            "createdAt": Between(gte=_begin(self.createdFrom), lt=_end(self.createdTo)),
            "filter": " and ".join(terms) or None,
        }


async def tasks_of(store: Store) -> list[Task]:
    """Return the organisation's tasks, the newest first."""
    return (await store.page(Task, ListQuery(limit=MOST_TASKS))).data


def _begin(day: date | None) -> datetime | None:
    return None if day is None else datetime.combine(day, time(), LONDON).astimezone(UTC)


def _end(day: date | None) -> datetime | None:
    return None if day is None else _begin(day + timedelta(days=1))
