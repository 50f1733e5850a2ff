"""Every query that the API can make is served by an index that infra/ declares."""

import json
from itertools import combinations
from typing import Any

from functions import discover
from shared.backends import Query
from shared.pages import ListQuery, PageQuery
from shared.routes import Route
from tests.support.inprocess import InProcess
from tests.support.processes import ROOT
from tests.support.serving import POSTCODE, Json, Partner

Shape = tuple[str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]
"""A collection, the fields that are compared for equality, and the order."""

Index = tuple[str, tuple[tuple[str, str], ...]]
"""A collection, and the fields of an index with their kinds."""

SOMETHING: Json = {
    "patientId": "p_" + "0" * 22,
    "status": "scheduled",
    "externalRef": "x",
    "endUserId": "ada",
    "name": "ada",
    "phone": "+447400123456",
    "email": "ada@example.com",
    "dateOfBirth": "1985-12-10",
    "nhsNumber": "9990000018",
    "chi": "0101010028",
    "hsc": "3200000007",
}
"""A value for each field that a list can be asked for."""


def shape(query: Query) -> Shape:
    """Return the composite index that a query needs."""
    kinds = {"==": "ASCENDING", "in": "ASCENDING", "contains": "CONTAINS"}
    equal = {(field, kinds[operator]) for field, operator, _ in query.where if operator in kinds}
    ranges = {field for field, operator, _ in query.where if operator not in kinds} - {"id"}
    direction = "DESCENDING" if query.descending else "ASCENDING"
    # Firestore orders by a range's field too, after those that are asked for, the same way round.
    order = [("id", direction), *((field, direction) for field in sorted(ranges))]
    return query.collection, tuple(sorted(equal)), tuple(order)


def declared() -> set[Index]:
    """Return the indexes of the manifest."""
    manifest = json.loads((ROOT / "infra" / "firestore.indexes.json").read_text())
    return {
        (
            index["collectionGroup"],
            tuple(
                (each["fieldPath"], each.get("order") or each["arrayConfig"])
                for each in index["fields"]
            ),
        )
        for index in manifest["indexes"]
    }


def needed(wanted: Shape) -> set[Index]:
    """Return the indexes that together serve a shape: one for each equality, which Firestore merges
    since they share their order; for none, that of the order, which is there if it is the id."""
    collection, equal, order = wanted
    if not equal:
        return {(collection, order)} if len(order) > 1 else set()
    return {(collection, (each, *order)) for each in equal}


def lists() -> list[Route]:
    return [
        route
        for api in discover()
        for route in api.routes
        if issubclass(route.query, ListQuery) or issubclass(route.body, ListQuery)
    ]


def questions(asked: type[ListQuery]) -> list[Json]:
    """Return requests that name every field, and every two of them, in every way there is."""
    fields = [{name: SOMETHING[name]} for name in asked.model_fields if name in SOMETHING]
    terms = {
        "moment": '{}>"2026-01-01"',
        "exact": '{}:"x"',
        "words": '{}~"ada"',
    }
    filters = [
        {"filter": terms[known.kind].format(name)} for name, known in asked.filterable.items()
    ]
    changed = {"filter": 'updatedAt<"2026-01-01"'}
    both = [{**one, **two} for one, two in combinations([*fields, changed], 2)]
    return [{}, *fields, *filters, *both]


def asked_of(partner: Partner, route: Route) -> set[Index]:
    """Ask a list everything, in both directions, and return the indexes that it takes."""
    api = InProcess(partner.backing, partner.administrator().key)
    posted = issubclass(route.body, ListQuery)
    asked = route.body if posted else route.query
    assert issubclass(asked, ListQuery)
    prefix = route.shows.prefix  # type: ignore[attr-defined]  # what is listed is a record
    for question in questions(asked):
        for page in ({}, {"ending_before": f"{prefix}_{'0' * 22}"}):
            sent: Any = {"json" if posted else "params": {**question, **page}}
            api.call(route.method, route.template, **sent)
    shapes = {shape(query) for query, _ in api.watched.queries}
    assert len(shapes) >= 4
    return set[Index]().union(*map(needed, shapes))


def test_what_lists_are_asked_is_what_the_manifest_declares_no_more_and_no_less(
    partner: Partner,
) -> None:
    """What nothing asks for would cost each write of the collection."""
    partner.create_patient(**{name: SOMETHING[name] for name in ("externalRef", "nhsNumber")})
    taken = set[Index]().union(*(asked_of(partner, route) for route in lists()))
    others = {index for index in declared() if index[0] in ("windows", "replays")}
    assert taken == declared() - others


def test_the_search_for_what_names_a_patient_has_its_index_in_the_manifest(
    partner: Partner,
) -> None:
    patient = partner.create_patient()
    api = InProcess(partner.backing, partner.key)
    api.call("DELETE", f"/v1/patients/{patient['id']}")
    ((query, _),) = api.watched.queries
    assert needed(shape(query)) <= declared()


def test_the_search_for_windows_has_its_index_in_the_manifest(partner: Partner) -> None:
    for mode in (partner, partner.live()):
        api = InProcess(mode.backing, mode.key)
        params = {"taskId": mode.task()["id"], "postcode": POSTCODE}
        api.call("GET", "/v1/availability", params=params)
        cursor = {"ending_before": "win_" + "z" * 9 + "0" * 13}
        api.call("GET", "/v1/availability", params={**params, **cursor})
        seen = {shape(query) for query, _ in api.watched.queries}
        assert len(seen) == 2
        assert set[Index]().union(*map(needed, seen)) <= declared()


def test_every_list_of_objects_is_a_list_query() -> None:
    others = {
        route.template
        for api in discover()
        for route in api.routes
        if issubclass(route.query, PageQuery) and not issubclass(route.query, ListQuery)
    }
    assert others == {"/v1/availability", "/v1/cancellation_reasons"}
