"""The bytes that a document and its index entries take in Firestore, by its published rules.

https://cloud.google.com/firestore/docs/storage-size, read on 22 November 2026.
"""

import json
from collections.abc import Iterator
from typing import Any

from shared.backends import TERMS, Put
from tests.support.processes import ROOT

MANIFEST = json.loads((ROOT / "infra" / "firestore.indexes.json").read_text())
EXEMPT = {
    (override["collectionGroup"], override["fieldPath"])
    for override in MANIFEST["fieldOverrides"]
    if not override["indexes"]
}


def stored_bytes(put: Put) -> tuple[int, int]:
    """Return the bytes of a document, and of its entries in all indexes."""
    key = put.key
    data = put.data | ({TERMS: list(put.terms)} if put.terms else {})
    parent = _name(key.space, key.owner)
    name = _name(key.space, key.owner, key.collection, key.id)
    single = [
        (2 if kind == "scalar" else 1, _string(path) + _value(value))
        for path, kind, value in _leaves(data)
        if (key.collection, path.partition(".")[0]) not in EXEMPT
    ]
    composite = [
        _entry(data, index["fields"])
        for index in MANIFEST["indexes"]
        if index["collectionGroup"] == key.collection
    ]
    entries = [size for number, size in single for _ in range(number)]
    entries += [size for sizes in composite for size in sizes]
    return name + _value(data) + 32, sum(name + parent + size + 32 for size in entries)


def _leaves(data: dict[str, Any], above: str = "") -> Iterator[tuple[str, str, Any]]:
    """Give the fields that have single-field indexes: two each, for an element of a list one."""
    for field, value in data.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{field}.")
        elif isinstance(value, list):
            yield from ((above + field, "element", each) for each in value)
        else:
            yield above + field, "scalar", value


def _entry(data: dict[str, Any], fields: list[dict[str, str]]) -> list[int]:
    """Return the sizes of a document's entries in a composite index: one for each element."""
    if any(field["fieldPath"] not in data for field in fields):
        return []
    sizes = [0]
    for field in fields:
        value = data[field["fieldPath"]]
        each = value if "arrayConfig" in field else [value]
        sizes = [size + _value(element) for size in sizes for element in each]
    return sizes


def _name(*parts: str) -> int:
    return sum(map(_string, parts)) + 16


def _string(text: str) -> int:
    return len(text.encode()) + 1


def _value(value: Any) -> int:
    match value:
        case str():
            return _string(value)
        case bool() | None:
            return 1
        case int() | float():
            return 8
        case list():
            return sum(map(_value, value))
        case dict():
            return sum(_string(name) + _value(each) for name, each in value.items())
    raise TypeError(f"{type(value).__name__} is not a JSON value")
