"""Every query that the API can make has its indexes in infra/, and every index has its query."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any, TypeVar

from functions import discover
from functions.dashboard.requests import LogQuery
from shared import directory, running, staff, supply
from shared.backends import Put
from shared.clock import london_day, now
from shared.directory import DirectoryQuery
from shared.models import Record
from shared.pages import ListQuery, PageQuery
from shared.requests import RequestQuery
from shared.routes import Route
from shared.running import FailedQuery
from shared.service import Service
from shared.staff import ActionsQuery
from shared.supply import ServedQuery
from tests.support.inprocess import InProcess, Watched
from tests.support.people import signed_in
from tests.support.serving import PATIENT, POSTCODE, Json, Partner
from tests.support.stored import MANIFEST, Index, Shape, check_unindexed, declared, needed, shape

Q = TypeVar("Q", bound=PageQuery)

SOMETHING: Json = {
    "patientId": "p_" + "0" * 22,
    "taskId": "tsk_" + "0" * 22,
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
    "statusClass": "4xx",
    "code": "key_expired",
    "method": "GET",
    "route": "/v1/patients",
    "principal": "key_" + "0" * 22,
    "idempotencyKey": "k",
}
"""A value for each field that a list can be asked for."""


def lists() -> list[Route]:
    return [
        route
        for api in discover()
        for route in api.routes
        if issubclass(route.query, ListQuery) or issubclass(route.body, ListQuery)
    ]


def questions(asked: type[ListQuery]) -> list[Json]:
    """Return requests that name every field, and every two of them, in every way there is."""
    named = {**SOMETHING, **({"status": 402} if asked is RequestQuery else {})}
    fields = [{name: named[name]} for name in asked.model_fields if name in named]
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
    both = [each for each in both if sum(name in each for name in RequestQuery.sought) < 2]
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
    assert len(shapes) >= 2
    return set[Index]().union(*map(needed, shapes))


def asked_by_pages(partner: Partner) -> set[Index]:
    """Open the pages that ask what no list of the API is asked, and return what that takes."""
    api = InProcess(partner.backing, partner.key)
    person = signed_in(partner)
    person.enter(api)
    log = [f"{name}={value}" for name, value in SOMETHING.items() if name in LogQuery.model_fields]
    log = [each for each in log if not each.startswith("status=")]
    log += ["status=402", "object=p_" + "0" * 22, "by=all", "fromDate=2026-11-22"]
    asked = [f"requests?{'&'.join(pair)}" for pair in combinations([*log, "limit=7"], 2)]
    cursor = "&ending_before={}_" + "0" * 22
    names = [
        f"{kind}?name=ward{page}"
        for kind, prefix in (("api_keys", "key"), ("tasks", "tsk"))
        for page in ("", cursor.format(prefix), "&filter=updatedAt<%222026-01-01%22")
    ]
    for path in ("", "/audit_events?toDate=2026-11-22", *(f"/{each}" for each in (*asked, *names))):
        status = person.ask("GET", f"/test{path}").status_code
        terms = sum(f"{name}=" in path for name in LogQuery.sought)
        assert status == (400 if terms > 1 else 200), path
    return set[Index]().union(*(needed(shape(query)) for query, _ in api.watched.queries))


def test_what_lists_are_asked_is_what_the_manifest_declares_no_more_and_no_less(
    partner: Partner,
) -> None:
    """What nothing asks for would cost each write of the collection."""
    partner.create_patient(**{name: SOMETHING[name] for name in ("externalRef", "nhsNumber")})
    taken = set[Index]().union(*(asked_of(partner, route) for route in lists()))
    taken |= asked_by_pages(partner)
    no_lists = (
        *("windows", "replays", "jobs", "users", "invitations", "sessions"),
        *("coverage", "staff_actions", "directory", "failed_jobs"),
    )
    others = {index for index in declared() if index[0] in no_lists}
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


def test_what_operations_look_for_has_its_indexes_in_the_manifest_and_they_no_others(
    partner: Partner,
) -> None:
    async def look(service: Service) -> set[Shape]:
        watched = Watched(service.storage)
        held = replace(service, storage=watched)
        await supply.coverage(watched, "live")
        for page in ({}, {"ending_before": "{}_" + "z" * 22}):

            def asked(model: type[Q], prefix: str, of: Json, page: Json = page) -> Q:
                cursor = {name: text.format(prefix) for name, text in page.items()}
                return model.model_validate({**cursor, **of})

            for of in ({}, {"waiting": "activation"}, {"name": "ward"}, {"id": "org_a"}):
                found = asked(DirectoryQuery, "org", of)
                await directory.look(watched, found)
                await directory.look(watched, found, waiting=True)
            for of in ({}, {"action": "task.create"}, {"organisation": "a", "subject": "b"}):
                await staff.actions(watched, asked(ActionsQuery, "act", of))
            for of in ({}, {"kind": "send_mail", "organisation": "a"}):
                await running.failed(held, asked(FailedQuery, "fail", of))
            for of in ({}, {"area": "a"}, {"code": "SW"}):
                served = asked(ServedQuery, "", of)
                if served.ending_before:
                    served.ending_before = "ZE1"
                await supply.served(watched, "live", served)
            await supply.windows(watched, "a", london_day(now()), asked(PageQuery, "win", {}))
        return {shape(query) for query, _ in watched.queries}

    found = set[Index]().union(*map(needed, partner.backing.run(look)))
    collections = {collection for collection, _ in found}
    assert found == {index for index in declared() if index[0] in collections}


def test_no_field_of_any_collection_is_indexed_by_itself(partner: Partner) -> None:
    """No query needs that, since each has an index of its own."""
    collections = {record.collection for record in records(Record)} | written(partner)
    for collection in collections:
        check_unindexed(collection)
    overrides = MANIFEST["fieldOverrides"]
    assert {each["collectionGroup"] for each in overrides} == collections
    assert all(each["indexes"] == [] for each in overrides)
    assert {each["fieldPath"] for each in overrides if "ttl" not in each} == {"*"}


def test_what_is_not_set_is_in_no_index(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    patient = api.call("POST", "/v1/patients", json=PATIENT)
    assert patient["nhsNumber"] is None
    api.call("POST", f"/v1/patients/{patient['id']}", json={"externalRef": "A-17"})
    api.call("POST", f"/v1/patients/{patient['id']}", json={"externalRef": ""})
    puts = [write for write in api.watched.writes if isinstance(write, Put)]
    made, named, bare = (put.data for put in puts if put.key.id == patient["id"])
    assert "externalRef" in named
    assert made.keys() == bare.keys() == {name for name, each in made.items() if each is not None}


def records(kind: type[Record]) -> Iterator[type[Record]]:
    """Give every kind of record that the code stores."""
    for each in kind.__subclasses__():
        if "collection" in vars(each) and not each.__module__.startswith("tests."):
            yield each
        yield from records(each)


def written(partner: Partner) -> set[str]:
    """Return the collections of what requests write: of what is made, changed, retried, counted."""
    rate = 40
    admin = partner.administrator()
    api = InProcess(partner.backing, admin.key, rate_test=rate, rate_window=3600)
    for number in range(rate // 10):
        api.call("POST", "/v1/patients", json=PATIENT, headers={"Idempotency-Key": str(number)})
    api.call(
        "PATCH", f"/v1/organisations/{admin.organisation.id}", json={"displayName": "New Name"}
    )
    return {write.key.collection for write in api.watched.writes}


def test_every_list_of_objects_is_a_list_query() -> None:
    others = {
        route.template
        for api in discover()
        for route in api.routes
        if issubclass(route.query, PageQuery) and not issubclass(route.query, ListQuery)
    }
    assert others == {"/v1/availability", "/v1/cancellation_reasons"}
