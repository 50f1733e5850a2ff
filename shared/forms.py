"""Decoding what a caller sends: form encoding with brackets, and JSON, into the same tree.

`a[b]=c` makes an object, `a[0]=x` and `a[]=x` make arrays, in any mixture. A tree holds objects,
arrays and scalars; whether `a[0]=x` is an array or an object with the member `0` is not known here,
so it stays an object until a model says (receiving.arrange).

The brackets are those of PHP, Rack and Stripe; percent and plus are the URL Standard's
application/x-www-form-urlencoded.
"""

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson

from shared.errors import ApiError

Tree = dict[str, Any]

MOST_FIELDS = 1000
MOST_DEPTH = 5

_NAME = re.compile(r"([^\[\]]+)((?:\[[^\[\]]*\])*)")
_PLAIN_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,39}(\[[A-Za-z0-9_.-]{0,40}\]){0,5}")


def malformed(reason: str) -> ApiError:
    """Refuse parameters that cannot be read."""
    return ApiError("body_malformed", reason=reason)


def decode_form(encoded: bytes) -> Tree:
    """Decode a form-encoded body or a query string."""
    tree: Tree = {}
    pairs = [pair for pair in encoded.split(b"&") if pair]
    if len(pairs) > MOST_FIELDS:
        raise malformed(f"it has more than {MOST_FIELDS} fields")
    for pair in pairs:
        name, _, value = pair.partition(b"=")
        _insert(tree, _path(_unquote(name)), _unquote(value))
    return tree


def fields_of(tree: Tree, within: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a form that are decoded to a tree, in which all scalars are texts."""
    for name, member in tree.items():
        path = f"{within}[{name}]" if within else name
        if isinstance(member, dict):
            yield from fields_of(member, path)
        else:
            for text in member if isinstance(member, list) else [member]:
                if isinstance(text, str):
                    yield path, text


def decode_json(encoded: bytes) -> Tree:
    """Decode a JSON body, which must be one object within the bounds of a form."""
    try:
        tree = orjson.loads(encoded)
    except orjson.JSONDecodeError:
        raise malformed("it is not valid JSON") from None
    if not isinstance(tree, dict):
        raise malformed("it must be one JSON object")
    _measure(tree)
    return tree


def speakable(name: str) -> str | None:
    """Return a parameter's name if it looks like one and may be repeated in an error, else None."""
    return name if _PLAIN_NAME.fullmatch(name) else None


class UnfitError(ValueError):
    """Says what a value must be, and to people where they are told it in other words."""

    def __init__(self, reason: str, plain: str) -> None:
        super().__init__(reason)
        self.plain = plain


def wrong(name: str, reason: str, plain: str = "") -> ApiError:
    """Say what is wrong with a parameter; its name is repeated only where it looks like one.

    `plain` says it to people, where the reason has words that are for programs.
    """
    known = speakable(name)
    called = known or "A parameter"
    return ApiError("parameter_invalid", param=known, name=called, reason=reason, plain=plain)


def _unquote(text: bytes) -> str:
    if b"%" in text or b"+" in text:
        text = unquote_to_bytes(text.replace(b"+", b" "))
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise malformed("it is not UTF-8") from None


def _path(name: str) -> list[str]:
    matched = _NAME.fullmatch(name)
    if matched is None:
        raise malformed("the brackets of a parameter's name do not match")
    head, brackets = matched.groups()
    path = [head, *brackets[1:-1].split("][")] if brackets else [head]
    if len(path) > MOST_DEPTH:
        raise malformed(f"it is nested deeper than {MOST_DEPTH} levels")
    return path


def _insert(tree: Tree, path: list[str], value: str) -> None:
    """Put a value at its path; a scalar that is given again becomes an array of all of them."""
    node: Tree | list[Any] = tree
    for index, step in enumerate(path[:-1], start=1):
        node = _descend(node, step, path[index:])
    last = path[-1]
    if isinstance(node, list):
        if last != "":
            raise _mixed()
        node.append(value)
    elif last not in node:
        node[last] = value
    elif isinstance(node[last], str):
        node[last] = [node[last], value]
    elif isinstance(node[last], list):
        node[last].append(value)
    else:
        raise _mixed()


def _mixed() -> ApiError:
    return malformed("a parameter is given both as a value and as an object or array")


def _descend(node: Tree | list[Any], step: str, rest: list[str]) -> Tree | list[Any]:
    """Return the child at `step`, made where it is missing: an array if the next bracket is empty.

    In an array of objects a member that the last object has already, at the whole of its path,
    begins the next one (Rack).
    """
    child: Any
    if isinstance(node, dict):
        child = node.setdefault(step, [] if rest[0] == "" else {})
    elif step == "":
        if not node or not isinstance(node[-1], dict) or _has(node[-1], rest):
            node.append({})
        child = node[-1]
    else:
        raise _mixed()
    if isinstance(child, list) != (rest[0] == "") or not isinstance(child, list | dict):
        raise _mixed()
    return child


def _has(node: Any, path: list[str]) -> bool:
    """Tell whether there is something at a path already; an array always takes one more."""
    for step in path:
        if not isinstance(node, dict) or step not in node:
            return False
        node = node[step]
    return True


def _measure(tree: Tree) -> None:
    """Refuse a JSON object that is larger or deeper than a form may be."""
    fields = 0
    level: list[Any] = [tree]
    for _ in range(MOST_DEPTH):
        level = [
            child for node in level for child in (node.values() if isinstance(node, dict) else node)
        ]
        fields += len(level)
        level = [node for node in level if isinstance(node, dict | list)]
        fields -= sum(map(bool, level))  # a form names what is in them, not them
    if level:
        raise malformed(f"it is nested deeper than {MOST_DEPTH} levels")
    if fields > MOST_FIELDS:
        raise malformed(f"it has more than {MOST_FIELDS} fields")
