"""The directory of organisations, for Operations: found by name, or by what waits for them.

What an organisation has lies under its own id, where no query over all of them looks. So each has
one entry among our documents, kept in the commits that change what it says.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import ClassVar, Literal, Self

from shared.backends import OURS, TERMS, Condition, Query, Storage
from shared.fields import Moment
from shared.models import Record
from shared.organisations import Organisation
from shared.pages import Page, bound
from shared.settings import Mode
from shared.store import Ref, Store
from shared.words import beginnings, normalise

Waiting = Literal["activation", "display_name"]
"""What waits for Operations."""


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


async def look(
    storage: Storage,
    *,
    waiting: Waiting | None = None,
    name: str = "",
    after: str | None = None,
    limit: int = 50,
) -> Page[Entry]:
    """Return organisations, the newest first: all, or those that wait, or those of a name.

    A `name` is the beginning of a name's words, or an id.
    """
    where: list[Condition] = bound(after, ascending=False)
    if waiting is not None:
        where.append(("waiting", "==", waiting))
    if Entry.accepts(name.strip()):
        where.append(("id", "==", name.strip()))
    elif name:
        where.append((TERMS, "contains", normalise(name)))
    found = await storage.query(
        Query("account", OURS, Entry.collection, limit + 1, tuple(where), then="since")
    )
    entries = [Entry.load(document.data) for document in found]
    return Page.cut(entries, limit, backwards=False)
