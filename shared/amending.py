"""Amending an organisation: what it may change of itself, and all that follows from that."""

from shared import directory, origins
from shared.models import Changes
from shared.organisations import Organisation, OrganisationIn
from shared.store import Store


async def amend(store: Store, organisation: str, changes: Changes[OrganisationIn]) -> Organisation:
    """Stage what an organisation asked to be changed of itself, and return it as it will be.

    With it change where its front ends are looked up, and what Operations find it by.
    """
    before = await store.get(Organisation, organisation)
    after = before.amended(changes, store.now)
    await origins.register(store, before, after)
    await directory.enter(store, after, before)
    return store.put(after)
