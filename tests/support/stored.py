"""The indexes that are declared, and the bytes that a document and its entries in them take.

By Firestore's published rules, https://cloud.google.com/firestore/docs/storage-size, read on 22
November 2026.
"""

import json
from functools import cache
from typing import Any

from shared.backends import TERMS, Put, Query
from tests.support.processes import ROOT

MANIFEST = json.loads((ROOT / "infra" / "firestore.indexes.json").read_text())


Shape = tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
"""A collection, the fields that are compared for equality, and the order."""

Index = tuple[str, tuple[tuple[str, str], ...]]
"""A collection, and the fields of an index with their kinds."""


def shape(query: Query) -> Shape:
    """Return the composite index that a query needs."""
    kinds = {"==": "ASCENDING", "in": "ASCENDING", "contains": "CONTAINS"}
    equal = {(field, kinds[operator]) for field, operator, _ in query.where if operator in kinds}
    ranges = {field for field, operator, _ in query.where if operator not in kinds}
    direction = "DESCENDING" if query.descending else "ASCENDING"
    # Firestore orders by a range's field too, after those that are asked for, the same way round.
    first = dict.fromkeys((query.by, "id"))
    after = (ranges | {query.then}) - {*first, ""}
    order = [(field, direction) for field in (*first, *sorted(after))]
    return query.collection, tuple(sorted(equal)), tuple(order)


@cache
def declared() -> frozenset[Index]:
    """Return the indexes of the manifest."""
    return frozenset(
        (
            index["collectionGroup"],
            tuple(
                (each["fieldPath"], each.get("order") or each["arrayConfig"])
                for each in index["fields"]
            ),
        )
        for index in MANIFEST["indexes"]
    )


def needed(wanted: Shape) -> set[Index]:
    """Return the indexes that together serve a shape: one for each equality, which Firestore merges
    since they share their order; for none, that of the order."""
    collection, equal, order = wanted
    return {(collection, (each, *order)) for each in equal} or {(collection, order)}


def check_indexed(query: Query) -> None:
    """Fail where Firestore would refuse a query for want of an index."""
    missing = needed(shape(query)) - declared()
    assert not missing, f"infra/firestore.indexes.json declares no index of {missing}"


def check_unindexed(collection: str) -> None:
    """Fail where Firestore would index each field of a collection by itself."""
    override = {"collectionGroup": collection, "fieldPath": "*", "indexes": []}
    assert override in MANIFEST["fieldOverrides"], (
        f"Each field of {collection} would be indexed by itself, which no query of ours needs:"
        f" add {json.dumps(override)} to fieldOverrides in infra/firestore.indexes.json"
    )


def stored_bytes(put: Put) -> tuple[int, int]:
    """Return the bytes of a document, and of its entries in indexes, all of which are composite."""
    key = put.key
    check_unindexed(key.collection)
    data = put.data | ({TERMS: list(put.terms)} if put.terms else {})
    parent = _name(key.space, key.owner)
    name = _name(key.space, key.owner, key.collection, key.id)
    entries = [
        size
        for index in MANIFEST["indexes"]
        if index["collectionGroup"] == key.collection
        for size in _entries(data, index["fields"])
    ]
    return name + _value(data) + 32, sum(name + parent + size + 32 for size in entries)


def _entries(data: dict[str, Any], fields: list[dict[str, str]]) -> list[int]:
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
