"""From what a handler returned to the JSON that leaves: expansions, pages, links."""

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, unquote_plus

import orjson

from shared.callers import Caller
from shared.errors import ApiError
from shared.forms import wrong
from shared.models import Model, Resource
from shared.pages import Page
from shared.routes import Route
from shared.store import Store

MOST_LEVELS = 4
SAFE = "%&=+!*'(),:@/?[]"
"""What of a query may stand in a Link header as it came, beside letters and digits."""
CURSORS = ("starting_after", "ending_before")

Plan = Mapping[str, "Plan"]
"""What is to be shown in full: the names of expansions, and within each those of its own."""


def plan(paths: Sequence[str], route: Route, caller: Caller, problems: list[ApiError]) -> Plan:
    """Read `expand`: each a path such as `patient`, or `data.patient` for the members of a list.

    What is not known joins the problems; what the caller may not see is refused with 403.
    """
    whole: dict[str, Any] = {}
    for path in paths:
        reason = _follow(path.split("."), route, caller, whole)
        if reason:
            problems.append(wrong("expand", reason))
    return whole


def _follow(names: list[str], route: Route, caller: Caller, branch: dict[str, Any]) -> str:
    """Add one path to a plan, or return what is wrong with it."""
    if len(names) > MOST_LEVELS:
        return f"can go at most {MOST_LEVELS} levels deep"
    if route.listed and names.pop(0) != "data":
        return "begins with data. in a list, such as data.patient"
    model = route.shows
    for name in names:
        known = model.expands if issubclass(model, Resource) else {}
        expansion = known.get(name)
        if expansion is None:
            return f"knows only {', '.join(known)} here" if known else "is not possible here"
        caller.require(expansion.permission)
        branch = branch.setdefault(name, {})
        model = expansion.model
    return ""


async def show(result: Model | Page[Any], wanted: Plan, store: Store, path: str) -> bytes:
    """Write an answer as JSON."""
    if not isinstance(result, Page):
        return (await _shown([result], wanted, store))[0] if wanted else _dump(result, store)
    head = {"object": "list", "url": path, "has_more": result.has_more}
    members = b",".join(await _shown(result.data, wanted, store))
    return b'%s,"data":[%s]}' % (orjson.dumps(head)[:-1], members)


async def _shown(objects: Sequence[Model], wanted: Plan, store: Store) -> list[bytes]:
    """Write objects of one kind, and into each what is expanded in it: one read for each kind."""
    if not objects:
        return []
    shown = [_dump(each, store) for each in objects]
    for name, inner in wanted.items():
        expansion = type(objects[0]).expands[name]  # type: ignore[attr-defined]  # as planned
        named = [getattr(each, expansion.field) for each in objects]
        found = await store.related(expansion.model, dict.fromkeys(filter(None, named)))
        written = dict(zip(found, await _shown(list(found.values()), inner, store), strict=True))
        shown = [
            b'%s,"%s":%s}' % (body[:-1], name.encode(), written.get(each, b"null"))
            for body, each in zip(shown, named, strict=True)
        ]
    return shown


def _dump(each: Model, store: Store) -> bytes:
    kind = type(each)
    if isinstance(each, Resource) and kind.seen is not Resource.seen:  # type: ignore[attr-defined]  # then kind is one
        each = each.seen(store.now, livemode=store.livemode)
    private = getattr(kind, "private", None)
    # What model_dump_json does, without making a text of the bytes.
    return kind.__pydantic_serializer__.to_json(each, exclude=private or None)


def links(page: Page[Any], url: str, query: bytes) -> str:
    """Return the Link header of a page (RFC 8288); empty where there is nothing beyond it.

    There is something beyond a page where it says so, and where it came from.
    """
    if not page.data:
        return ""
    pairs = quote(query, safe=SAFE).split("&")
    given = {pair: unquote_plus(pair.partition("=")[0]) for pair in pairs}
    kept = "".join(f"{pair}&" for pair, name in given.items() if pair and name not in CURSORS)
    cursors = {name for pair, name in given.items() if pair.partition("=")[2]}  # empty is none
    backwards = "ending_before" in cursors
    found = []
    if backwards or page.has_more:
        found.append(f'<{url}?{kept}starting_after={page.data[-1].id}>; rel="next"')
    if page.has_more if backwards else "starting_after" in cursors:
        found.append(f'<{url}?{kept}ending_before={page.data[0].id}>; rel="prev"')
    return ", ".join(found)
