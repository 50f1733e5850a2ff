"""The committed OpenAPI document, as tests read it."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from functions.openapi import FOLDER

Json = dict[str, Any]

Known = Mapping[str, Sequence[str]]
"""Texts that would be accepted, by the name of the parameter that takes them."""

DOCUMENT: Json = json.loads((FOLDER / "openapi.json").read_text("utf-8"))


def resolve(document: Json, found: Json) -> Json:
    """Follow a reference within a document, if it is one."""
    if "$ref" not in found:
        return found
    target: Any = document
    for step in found["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return dict(target)


def narrowed(node: Any, known: Known) -> Any:
    """Return a part of the document where a parameter that is known takes what is given for it."""
    if isinstance(node, list):
        return [narrowed(each, known) for each in node]
    if not isinstance(node, dict):
        return node
    inner = {name: narrowed(each, known) for name, each in node.items()}
    if "in" in inner and inner.get("name") in known:
        inner["schema"] = _one_of(known[inner["name"]])
    properties = inner.get("properties")
    if isinstance(properties, dict):
        inner["properties"] = {
            name: _one_of(known[name]) if name in known else each
            for name, each in properties.items()
        }
    return inner


def _one_of(texts: Sequence[str]) -> Json:
    return {"type": "string", "enum": list(texts)}
