"""A function of the tests' own, each POST of which causes jobs that count.

`python -m tests.support.notes` serves it beside the product's functions, and takes what
`python -m functions` takes.
"""

import asyncio
import random
from typing import ClassVar

from functions import discover
from functions.__main__ import main
from shared import Api, Call, Line, Ref
from shared.api import application
from shared.jobs import kind
from shared.models import Model, Record, Resource
from shared.store import Store

LONGEST_COUNT = 0.05
"""Seconds that counting may take, so that it may be killed meanwhile."""

api = Api("notes", audience="partner")


class NoteIn(Model):
    text: Line


class Note(Resource):
    collection: ClassVar[str] = "notes"
    prefix: ClassVar[str] = "note"

    object: str = "note"
    text: str


class Count(Record):
    """How often the two jobs of a note have taken effect. Its id is that of the note."""

    collection: ClassVar[str] = "counts"
    prefix: ClassVar[str] = "note"

    first: int = 0
    second: int = 0


class Counted(Model):
    note: str


@api.post("/notes", permission="notes:write")
async def create(call: Call, body: NoteIn) -> Note:
    note = call.store.insert(Note.new(at=call.now, livemode=call.livemode, text=body.text))
    call.store.later(count, Counted(note=note.id))
    return note


@kind("tests.count")
async def count(store: Store, body: Counted) -> None:
    """Count, and have it counted again: jobs may cause jobs."""
    (found,) = await store.find(Ref(Count, body.note))
    await asyncio.sleep(random.uniform(0, LONGEST_COUNT))
    before = found or Count(id=body.note)
    store.put(before.model_copy(update={"first": before.first + 1}))
    store.later(count_again, body)


@kind("tests.count_again")
async def count_again(store: Store, body: Counted) -> None:
    found = await store.get(Count, body.note)
    store.put(found.model_copy(update={"second": found.second + 1}))


worker = application([each for each in discover() if each.audience == "internal"])
"""What does the jobs of notes too, since it knows of them."""

if __name__ == "__main__":
    main([api])
