"""What ids that a page shows are called, and where they lead."""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

from shared.errors import ApiError
from shared.keys import ApiKey
from shared.portals import Visit
from shared.routes import PUBLIC, SIGNED_IN
from shared.store import Ref
from shared.users import User

PLACES = {
    "p": "/{mode}/patients/{id}",
    "apt": "/{mode}/appointments/{id}",
    "tsk": "/{mode}/tasks/{id}",
    "key": "/{mode}/api_keys/{id}",
    "req": "/{mode}/requests/{id}",
    "org": "/organisation",
    "usr": "/team/{id}",
}
"""The page of each kind of object, by what its ids begin with."""


def place_of(visit: Visit, object_id: str) -> str:
    """Return the page of an object; nothing where there is none, or not for the visitor's role."""
    template = PLACES.get(object_id.partition("_")[0], "")
    return reachable(visit, template.format(mode=visit.mode, id=object_id)) if template else ""


def reachable(visit: Visit, path: str) -> str:
    """Return a path, if it is that of a page which the visitor's role includes; else nothing."""
    try:
        route, _ = visit.portal.find("GET", path.partition("?")[0])
    except ApiError:
        return ""
    free = route.permission in (PUBLIC, SIGNED_IN)
    return path if free or visit.caller.may(route.permission) else ""


async def names_of(visit: Visit, principals: Iterable[str | None]) -> dict[str, str]:
    """Return what keys and users are called, in one read; of others there is no name.

    Keys are known by their names to who may see keys: others know them by their ids.
    """
    wanted = dict.fromkeys(filter(None, principals))
    kinds: list[type[Any]] = [User]
    if visit.caller.may("api_keys:read"):
        kinds.append(ApiKey)
    refs = [Ref(kind, each) for each in wanted for kind in kinds if kind.accepts(each)]
    found = await visit.store.find_all(refs) if refs else []
    return {each.id: each.name for each in found if each is not None}


def places_of(
    visit: Visit, callers: Iterable[str | None], names: Mapping[str, str]
) -> dict[str, str]:
    """Return where callers lead: to their own page, or else to all that they asked for."""
    asked = f"/{visit.mode}/requests?by=all&principal="
    return {
        each: (place_of(visit, each) if each in names else "") or f"{asked}{quote(each)}"
        for each in callers
        if each
    }
