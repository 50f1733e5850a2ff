"""Kinds of jobs for tests: what counts, fails, rests or never ends."""

import asyncio
from typing import Any, ClassVar

from shared.jobs import kind
from shared.models import Model, Record
from shared.store import Ref, Store
from tests.support.yard import Yard


class Tally(Record):
    collection: ClassVar[str] = "tallies"
    prefix: ClassVar[str] = "tly"

    number: int = 0


TALLY = "tly_" + "0" * 22


class Told(Model):
    note: str = ""
    more: int = 0


@kind("tests.tally")
async def tally(store: Store, body: Told) -> None:
    """Count one up, after giving way, and cause as many more such jobs as it is told."""
    (found,) = await store.find(Ref(Tally, TALLY))
    await asyncio.sleep(0)
    store.put(Tally(id=TALLY, number=(found.number if found else 0) + 1))
    if body.more:
        store.later(tally, Told(more=body.more - 1))


@kind("tests.fail")
async def fail(store: Store, body: Told) -> None:
    """Stage something, then fail with a message that nobody may read."""
    store.insert(Tally(id=TALLY))
    raise ZeroDivisionError(body.note)


@kind("tests.rest")
async def rest(store: Store, body: Told) -> None:
    """Do nothing."""


@kind("tests.hang")
async def hang(store: Store, body: Told) -> None:
    await asyncio.Event().wait()


def counted(yard: Yard, organisation: str = "org_a", space: Any = "test") -> int:
    """Return how much was counted of an organisation."""
    documents = yard.documents(Tally.collection, space, organisation)
    return sum(document.data["number"] for document in documents)
