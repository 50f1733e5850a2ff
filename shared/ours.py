"""Lists of our own documents, for Operations: of one space or of several, in one order."""

import asyncio
from collections.abc import Iterable, Sequence
from itertools import chain

from shared.backends import OURS, Condition, Document, Query, Storage
from shared.pages import Page, PageQuery
from shared.settings import Space


async def list_ours(
    storage: Storage,
    collection: str,
    spaces: Sequence[Space],
    query: PageQuery,
    where: Iterable[Condition] = (),
    *,
    cursor: str | None,
    by: str = "id",
    then: str = "",
    ascending: bool = False,
) -> Page[Document]:
    """Return a page of our documents of a collection, the latest first unless `ascending`.

    `by` is the field of the order, in which no two are the same, and `cursor` its value in the
    document from which the page goes on. `then` is that of `Query`.
    """
    upwards = ascending != query.backwards
    conditions = [*where]
    if cursor is not None:
        conditions.append((by, ">" if upwards else "<", cursor))

    async def read(space: Space) -> list[Document]:
        return await storage.query(
            Query(
                space,
                OURS,
                collection,
                query.limit + 1,
                tuple(conditions),
                descending=not upwards,
                then=then,
                by=by,
            )
        )

    found = chain(*await asyncio.gather(*map(read, spaces)))
    ordered = sorted(found, key=lambda each: str(each.data[by]), reverse=not upwards)
    return Page.cut(ordered, query.limit, backwards=query.backwards)
