"""The OpenAPI documents: made from the code, committed, served, and what they say."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from functions import discover
from functions.openapi import FOLDER, documents
from shared.api import Api, Call
from shared.models import Deleted
from shared.openapi import describe
from shared.routes import PUBLIC, SITE
from tests.support.conformity import validator
from tests.support.document import DOCUMENT, Json, resolve
from tests.support.serving import Partner

NAMES = ("openapi.json", "openapi-3.2.json")
OPERATIONS = {
    operation["operationId"]: operation
    for methods in DOCUMENT["paths"].values()
    for operation in methods.values()
}
WORDS = """
abstract alias and any as assert async await base begin bool boolean break byte case catch char
checked class const constructor continue debugger decimal def default defer defined del delegate
delete do double dynamic echo elif else elseif elsif empty end ensure enum event except exec
explicit export extends extern false final finally fixed float fn for foreach from func function
global go goto if implements implicit import in include init inout instanceof int interface internal
is isset lambda let lock long loop map match mod module move mut mutable namespace native new next
nil none nonlocal not null operator or out override package params pass print private protected
protocol public raise range readonly redo ref register require rescue retry return self short signed
sizeof static string struct subscript super switch synchronized then this throw throws trait
transient true try type typealias typeof uint ulong undef union unless unsafe unset until use using
val var virtual void volatile when where while with yield
"""
"""Words that some of C#, Go, Java, JavaScript, Kotlin, PHP, Python, Ruby, Rust and Swift keep."""


def test_what_is_committed_is_what_the_code_says() -> None:
    for file, text in documents():
        assert file.read_text("utf-8") == text, f"{file.name} is stale: run make openapi"


@pytest.mark.parametrize("name", NAMES)
def test_a_document_is_valid(name: str) -> None:
    document = json.loads((FOLDER / name).read_text("utf-8"))
    validate(document)
    assert document["openapi"].startswith({NAMES[0]: "3.1.", NAMES[1]: "3.2."}[name])


@pytest.mark.parametrize("name", NAMES)
def test_the_linter_has_nothing_to_say_of_a_document(redocly: Path, name: str) -> None:
    ran = subprocess.run(
        [str(redocly), "lint", "--extends=recommended", "--format=json", str(FOLDER / name)],
        env={**os.environ, "REDOCLY_TELEMETRY": "off"},
        capture_output=True,
        text=True,
        check=False,
    )
    found = json.loads(ran.stdout)
    assert found["totals"] == {"errors": 0, "warnings": 0, "ignored": 0}, found["problems"]


@pytest.mark.parametrize("name", NAMES)
def test_a_document_is_served_without_a_key_with_the_addresses_of_the_deployment(
    partner: Partner, name: str
) -> None:
    answer = partner.server.send("GET", f"/v1/{name}")
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    served = answer.json()
    assert served["servers"][0]["url"] == partner.backing.environment["ALLY_URL"]
    assert served["paths"].keys() == DOCUMENT["paths"].keys()


def test_an_address_with_quotes_leaves_the_document_whole() -> None:
    from functions.docs.document import document
    from shared.routes import Site

    site = Site('https://"odd".example', 'a"b@c.example')
    shown = json.loads(document(NAMES[0], site).text)
    assert shown["servers"][0]["url"] == site.url
    assert shown["info"]["contact"]["email"] == site.support
    assert SITE.url not in json.dumps(shown)


def test_every_route_of_partners_and_browsers_is_described_and_no_other() -> None:
    expected = {
        (route.method.lower(), route.template)
        for api in discover()
        if api.reachable
        for route in api.routes
        if route.template.startswith("/v1/")
    }
    described = {
        (method, path) for path, methods in DOCUMENT["paths"].items() for method in methods
    }
    assert described == expected


@pytest.mark.parametrize("audience", ["internal", "staff"])
def test_what_is_not_for_partners_is_not_described(audience: Any) -> None:
    api = Api("docs", audience=audience)

    @api.get("/v1/secrets", permission="internal" if audience == "internal" else "secrets:read")
    async def index(call: Call) -> Deleted:
        return Deleted(id=call.caller.organisation, object="secret")

    assert describe([api])["paths"] == {}


def test_each_operation_has_a_name_of_its_own_that_a_client_can_use() -> None:
    routes = sum(map(len, DOCUMENT["paths"].values()))
    assert len(OPERATIONS) == routes
    assert all(re.fullmatch("[a-z]+([A-Z][a-z]+)*[0-9]*", name) for name in OPERATIONS)
    assert {"createPatient", "listPatients", "getPatient", "updatePatient", "patchPatient"} <= set(
        OPERATIONS
    )
    assert {"deletePatient", "searchPatients", "cancelAppointment", "rollApiKey"} <= set(OPERATIONS)


def test_no_parameter_is_a_reserved_word_of_a_common_language() -> None:
    names = {
        resolve(DOCUMENT, parameter)["name"]
        for operation in OPERATIONS.values()
        for parameter in operation.get("parameters", ())
    }
    assert "patient" in names
    assert names & set(WORDS.split()) == set()


def test_bodies_are_offered_as_json_first_and_then_as_forms() -> None:
    bodies = [each["requestBody"] for each in OPERATIONS.values() if "requestBody" in each]
    assert bodies
    for body in bodies:
        assert list(body["content"]) == ["application/json", "application/x-www-form-urlencoded"]


def test_an_operation_names_its_permission_or_takes_no_key() -> None:
    permissions = {
        (route.method.lower(), route.template): route.permission
        for api in discover()
        for route in api.routes
    }
    for path, methods in DOCUMENT["paths"].items():
        for method, operation in methods.items():
            permission = permissions[method, path]
            if permission == PUBLIC:
                assert operation["security"] == []
            else:
                assert operation["x-ally-permission"] == permission


def test_a_path_is_made_of_whole_segments_and_nothing_refers_outside() -> None:
    for path in DOCUMENT["paths"]:
        assert re.fullmatch(r"(/([a-z0-9_.-]+|\{[a-z_]+\}))+", path)
    references = re.findall(r'"\$ref": "([^"]+)"', json.dumps(DOCUMENT))
    assert references
    assert all(each.startswith("#/") for each in references)


def schemas_in(node: Any, path: str = "") -> Any:
    """Yield every property of the components, with where it stands."""
    if isinstance(node, dict):
        for name, each in node.get("properties", {}).items():
            yield f"{path}.{name}", each
        for name, each in node.items():
            yield from schemas_in(each, f"{path}.{name}")


def test_every_field_says_what_it_is() -> None:
    silent = [
        path
        for path, each in schemas_in(DOCUMENT["components"]["schemas"])
        if not each.get("description")
    ]
    assert silent == []


def test_what_is_shown_may_grow_and_what_is_sent_is_closed() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    shown = schemas["Appointment"]["properties"]["status"]
    assert "enum" not in shown
    assert "scheduled" in shown["x-extensible-enum"]
    assert "additionalProperties" not in schemas["Appointment"]
    assert schemas["AppointmentInput"]["additionalProperties"] is False
    assert "bookings" not in schemas["Patient"]["properties"]
    assert "secret" in schemas["ApiKey"]["required"]
    assert "patient" not in schemas["Appointment"]["required"]


def test_every_webhook_says_that_it_is_not_sent_yet() -> None:
    webhooks = DOCUMENT["webhooks"]
    assert {"appointment.created", "appointment.scheduling_expired"} <= set(webhooks)
    for webhook in webhooks.values():
        assert webhook["post"]["x-ally-status"] == "planned"
        assert "Not sent yet" in webhook["post"]["description"]


def test_a_webhook_has_the_headers_by_which_its_receiver_verifies_it() -> None:
    for webhook in DOCUMENT["webhooks"].values():
        sent = [resolve(DOCUMENT, each)["name"] for each in webhook["post"]["parameters"]]
        standard = ["webhook-id", "webhook-timestamp", "webhook-signature"]
        assert sent == [*standard, "Ally-Signature"]


def examples_in(node: Any) -> Iterator[tuple[Json, Any]]:
    """Yield each example of a schema, with that schema."""
    if isinstance(node, dict):
        if node.keys() & {"type", "anyOf", "$ref"} and isinstance(node.get("examples"), list):
            yield from ((node, example) for example in node["examples"])
        for name, each in node.items():
            if name != "examples":
                yield from examples_in(each)
    elif isinstance(node, list):
        for each in node:
            yield from examples_in(each)


def test_every_example_is_one_of_what_it_is_an_example_of() -> None:
    found = [*examples_in(DOCUMENT)]
    assert found
    assert [pair for pair in found if not validator(pair[0]).is_valid(pair[1])] == []
    envelope = validator({"$ref": "#/components/schemas/ErrorEnvelope"})
    refusals = DOCUMENT["components"]["examples"]
    assert refusals
    assert [name for name, each in refusals.items() if not envelope.is_valid(each["value"])] == []


def test_what_will_be_null_one_day_is_described_as_such() -> None:
    shown = DOCUMENT["components"]["schemas"]["Appointment"]["properties"]
    assert validator(shown["windowId"]).is_valid(None)
    assert validator(shown["window"]).is_valid(None)
    assert not validator(shown["patientId"]).is_valid(None)


def test_one_can_walk_from_what_was_made_to_what_can_be_done_with_it() -> None:
    links = OPERATIONS["createAppointment"]["responses"]["200"]["links"]
    assert {"getAppointment", "cancelAppointment", "rescheduleAppointment"} <= set(links)
    assert "createAppointment" in OPERATIONS["listTasks"]["responses"]["200"]["links"]
    assert all(link["operationId"] in OPERATIONS for link in links.values())


def test_a_route_that_refuses_with_what_is_no_code_does_not_load() -> None:
    api = Api("things", audience="partner")
    with pytest.raises(TypeError, match="no_such_code"):
        api.get("/v1/things", permission="things:read", refuses=["no_such_code"])(_handler)


async def _handler(call: Call) -> Deleted:
    return Deleted(id=call.caller.organisation, object="thing")
