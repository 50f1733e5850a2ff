"""Lists of what was made and changed in the dashboard, and the tasks that one can choose from."""

from functions.dashboard.days import DaysQuery, OurDay, begin_of, end_of
from shared.backends import Condition
from shared.clock import isoformat
from shared.pages import ListQuery
from shared.store import Store
from shared.tasks import Task

MOST_TASKS = 100
"""The tasks that somebody can choose from."""


class ChangesQuery(DaysQuery):
    """A list of a page, also of what was last changed from one day to another."""

    changedFrom: OurDay | None = None
    changedTo: OurDay | None = None

    def conditions(self, prefix: str, *, livemode: bool) -> list[Condition]:
        """Return what the listed objects must be."""
        found = super().conditions(prefix, livemode=livemode)
        others = [each for each in found if each[0] not in ("changedFrom", "changedTo")]
        if self.changedFrom is not None:
            others.append(("updatedAt", ">=", isoformat(begin_of(self.changedFrom))))
        if self.changedTo is not None:
            others.append(("updatedAt", "<", isoformat(end_of(self.changedTo))))
        return others


async def tasks_of(store: Store) -> list[Task]:
    """Return the organisation's tasks, the newest first."""
    return (await store.page(Task, ListQuery(limit=MOST_TASKS))).data
