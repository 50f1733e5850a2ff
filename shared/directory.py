"""The directory of organisations, for Operations: found by name, or by what waits for them.

What an organisation has lies under its own id, where no query over all of them looks. So each has
one entry among our documents, kept in the commits that change what it says.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Literal, Self, get_args

from pydantic import Field

from shared.backends import Condition, Storage
from shared.fields import Findable, Line, Moment, Whole
from shared.models import Record
from shared.organisations import Organisation
from shared.ours import list_ours
from shared.pages import Page, PageQuery, named
from shared.settings import Mode
from shared.store import Ref, Store
from shared.words import beginnings

Waiting = Literal["activation", "display_name"]
"""What waits for Operations."""


class DirectoryQuery(PageQuery):
    """Organisations: all, or those of a name, or the one of an id."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 25
    name: Findable | None = None
    """The beginning of a name, from any of its words on."""
    id: Line | None = None
    waiting: Waiting | None = None
    """Those for which this waits."""


class Entry(Record):
    """What Operations find an organisation by; the id is the organisation's."""

    collection: ClassVar[str] = "directory"
    prefix: ClassVar[str] = Organisation.prefix
    account: ClassVar[bool] = True
    shared: ClassVar[frozenset[Mode]] = frozenset({"test", "live"})
    traced: ClassVar[bool] = False

    displayName: str
    legalName: str | None = None
    activation: str
    waiting: Waiting | None = None
    since: Moment
    """Since when that waits, or nothing does."""

    @classmethod
    def of(
        cls,
        organisation: Organisation,
        at: datetime,
        *,
        before: Self | None = None,
        legal_name: str | None = None,
    ) -> Self:
        """Make the entry of an organisation, in place of the one before."""
        waiting: Waiting | None = None
        if organisation.activation == "under_review":
            waiting = "activation"
        elif organisation.displayNameUnderReview is not None:
            waiting = "display_name"
        kept = before is not None and before.waiting == waiting
        return cls(
            id=organisation.id,
            displayName=organisation.displayName,
            legalName=legal_name or (before.legalName if before else None),
            activation=organisation.activation,
            waiting=waiting,
            since=before.since if before is not None and kept else at,
        )

    def terms(self) -> Sequence[str]:
        """Return everything that the names are found by."""
        return list(
            dict.fromkeys([*beginnings(self.displayName), *beginnings(self.legalName or "")])
        )


async def enter(
    store: Store,
    organisation: Organisation,
    before: Organisation | None = None,
    *,
    legal_name: str | None = None,
) -> None:
    """Stage the entry of an organisation, where it would not say the same as `before`."""
    if before is not None and legal_name is None and _told(before) == _told(organisation):
        return
    (entry,) = await store.find(Ref(Entry, organisation.id))
    store.put(Entry.of(organisation, store.now, before=entry, legal_name=legal_name))


def _told(organisation: Organisation) -> tuple[str, ...]:
    waiting = organisation.displayNameUnderReview or ""
    return organisation.displayName, waiting, organisation.activation


async def names_of(store: Store, organisations: Iterable[str | None]) -> dict[str, str]:
    """Return what organisations are called, in one read; of what is none there is no name."""
    found = await store.related(Entry, dict.fromkeys(filter(None, organisations)))
    return {each.id: each.displayName for each in found.values()}


async def look(storage: Storage, query: DirectoryQuery, *, waiting: bool = False) -> Page[Entry]:
    """Return a page of organisations, the newest first.

    Where `waiting`, of those alone for which anything waits, and the oldest first.
    """
    where: list[Condition] = []
    if query.waiting is not None:
        where.append(("waiting", "==", query.waiting))
    elif waiting:
        where.append(("waiting", "in", list(get_args(Waiting))))
    if query.id is not None:
        where += [("id", ">=", query.id), ("id", "<=", query.id)]  # by the index of all
    if query.name is not None:
        where.append(named(query.name))
    page = await list_ours(
        storage,
        Entry.collection,
        ["account"],
        query,
        where,
        cursor=query.cursor(Entry.prefix),
        then="since",
        ascending=waiting,
    )
    return Page([Entry.load(each.data) for each in page.data], page.has_more)
