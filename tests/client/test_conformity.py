"""The client offers exactly what the OpenAPI document describes: operations, parameters, fields."""

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from datetime import date, datetime
from types import NoneType
from typing import Any, NamedTuple, get_args, get_type_hints, is_typeddict

import pytest

from ally import Ally, AllyError, errors, objects
from ally.operations import ResourceOf, _Described, listing
from ally.requests import OPTIONS, Request
from ally.version import API_VERSION
from tests.support.document import DOCUMENT, Json, resolve

SCHEMAS: Json = DOCUMENT["components"]["schemas"]


class Method(NamedTuple):
    """A method of the client, as it describes itself."""

    request: Request[Any]
    listed: bool
    takes: Any


def methods() -> Iterator[tuple[str, Method]]:
    """Yield each method of the client by the operation that it is."""
    with Ally("test_none") as client:
        resources = [each for each in vars(client).values() if isinstance(each, ResourceOf)]
    for resource in resources:
        for each in vars(type(resource)).values():
            if isinstance(each, _Described):
                parameters = inspect.signature(each.describe).parameters.values()
                named = [one for one in parameters if one.kind is one.POSITIONAL_ONLY]
                ids = ["x"] * (len(named) - 1)
                request = each.describe(resource, *ids)
                (takes,) = get_args(get_type_hints(each.describe)["given"])
                described = Method(request, isinstance(each, listing), takes)
                yield f"{request.method} {request.template}", described


def operations() -> Iterator[tuple[str, Json]]:
    """Yield each operation that answers with objects of the API. POST stands for its PATCH too."""
    for path, item in DOCUMENT["paths"].items():
        template = re.sub(r"\{\w+\}", "{}", path)
        for verb in ("get", "post", "delete"):
            answer = item.get(verb, {}).get("responses", {}).get("200", {}).get("content", {})
            if "$ref" in answer.get("application/json", {}).get("schema", {}):
                yield f"{verb.upper()} {template}", item[verb]


METHODS = dict(methods())
OPERATIONS = dict(operations())


def schema_of(content: Json) -> Json:
    schema: Json = content["content"]["application/json"]["schema"]
    return schema


def variants(schema: Json) -> list[Json]:
    """Return what a schema allows, null aside."""
    allowed: list[Json] = schema.get("anyOf", [schema])
    return [each for each in allowed if each.get("type") != "null"]


def nullable(schema: Json) -> bool:
    kinds = [each.get("type") for each in schema.get("anyOf", [schema])]
    return any(kind == "null" or "null" in (kind or ()) for kind in kinds)


def query_of(parameters: list[Json]) -> dict[str, tuple[Json, bool]]:
    """Return the schema of each parameter of a query, and whether it must be given.

    The document has the members of an object, `createdAt[gte]`, as parameters of their own.
    """
    queried: dict[str, tuple[Json, bool]] = {}
    for each in parameters:
        name, bracket, member = each["name"].removesuffix("]").partition("[")
        if each["in"] == "query" and bracket:
            whole: Json = {"type": "object", "properties": {}, "additionalProperties": False}
            schema, _ = queried.setdefault(name, (whole, False))
            schema["properties"][member] = each["schema"]
        elif each["in"] == "query":
            queried[name] = (each["schema"], each.get("required", False))
    return queried


def test_every_operation_has_one_method_and_no_method_has_none() -> None:
    assert set(METHODS) == set(OPERATIONS)
    assert len(METHODS) == len(list(methods()))
    assert len(METHODS) > 25


def test_the_version_is_that_of_the_document() -> None:
    assert DOCUMENT["info"]["version"] == API_VERSION


# --- What is sent --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_method_takes_exactly_the_parameters_of_its_operation(name: str) -> None:
    operation, takes = OPERATIONS[name], METHODS[name].takes
    parameters = [resolve(DOCUMENT, each) for each in operation["parameters"]]
    queried = query_of(parameters)
    body = (
        resolve(DOCUMENT, schema_of(operation["requestBody"])) if "requestBody" in operation else {}
    )
    sent = {
        each: (schema, each in body.get("required", ()))
        for each, schema in body.get("properties", {}).items()
    }
    if "x-ally-publishable" in operation:
        del sent["key"]  # which is a page's, and the client has its own
    described = queried | sent
    writes = any(each["name"] == "Idempotency-Key" for each in parameters)
    hints = {each: hint for each, hint in get_type_hints(takes).items() if each not in OPTIONS}
    assert hints.keys() == described.keys()
    assert takes.__required_keys__ == {each for each, (_, must) in described.items() if must}
    for each, hint in hints.items():
        schema = described[each][0]
        compare_input(hint, schema)
        if writes:  # what is sought is left out rather than None
            assert (NoneType in get_args(hint)) == nullable(schema), each
    assert ("idempotency_key" in get_type_hints(takes)) == writes


def compare_input(hint: Any, schema: Json) -> None:
    """Compare what an object within a request takes with its schema, and so on within it."""
    nested = [each for each in (hint, *get_args(hint)) if is_typeddict(each)]
    (described, *_) = [resolve(DOCUMENT, each) for each in variants(schema)]
    assert bool(nested) == ("properties" in described)
    for each in nested:
        properties = described["properties"]
        hints = get_type_hints(each)
        assert hints.keys() == properties.keys()
        closed = described.get("additionalProperties") is False  # else it is what is answered too
        assert not closed or each.__required_keys__ == set(described.get("required", ()))
        for name, inner in hints.items():
            compare_input(inner, properties[name])


# --- What is answered ----------------------------------------------------------------------------


@pytest.mark.parametrize("name", OPERATIONS)
def test_a_method_answers_with_the_object_of_its_operation(name: str) -> None:
    method = METHODS[name]
    reference = schema_of(OPERATIONS[name]["responses"]["200"])["$ref"].rpartition("/")[2]
    listed = "has_more" in SCHEMAS[reference]["properties"]
    assert method.listed == listed
    if listed:
        item = SCHEMAS[reference]["properties"]["data"]["items"]
        reference = item["$ref"].rpartition("/")[2]
    assert method.request.shows.__name__ == reference
    compare_output(method.request.shows, SCHEMAS[reference])


def test_an_event_is_read_as_it_is_described() -> None:
    compare_output(objects.Event, SCHEMAS["Event"])


def compare_output(kind: Any, schema: Json) -> None:
    """Compare the fields of a class with a schema, and so on within it."""
    hints = get_type_hints(kind)
    read = {each.name for each in fields(kind)} - {"extra"}
    assert read == schema["properties"].keys(), kind
    for name, described in schema["properties"].items():
        where = f"{kind.__name__}.{name}"
        expansion = name not in schema["required"]
        assert NoneType in get_args(hints[name]) or not (expansion or nullable(described)), where
        compare_field(hints[name], described, where)


PLAIN = {"string": str, "boolean": bool, "integer": int, "number": float}
FORMATS = {"date-time": datetime, "date": date}


def compare_field(hint: Any, schema: Json, where: str) -> None:
    some = [each for each in get_args(hint) if each is not NoneType]
    kind = some[0] if NoneType in get_args(hint) else hint
    (described, *_) = [resolve(DOCUMENT, each) for each in variants(schema)]
    types = described.get("type", "object")
    (told, *_) = [each for each in ([types] if isinstance(types, str) else types) if each != "null"]
    if is_dataclass(kind):
        compare_output(kind, described)
    elif told == "array":
        (inner,) = get_args(kind)
        compare_field(inner, described["items"], f"{where}[]")
    elif told == "object":
        assert kind in (dict[str, Any], dict[str, str]), where
    else:
        assert kind is FORMATS.get(described.get("format", ""), PLAIN[told]), where


def test_an_exception_has_every_member_of_the_errors_envelope() -> None:
    envelope = resolve(DOCUMENT, SCHEMAS["ErrorEnvelope"]["properties"]["error"])["properties"]
    assert envelope.keys() <= vars(AllyError("x")).keys()
    wrong = resolve(DOCUMENT, envelope["errors"]["items"])["properties"]
    assert wrong.keys() == {each.name for each in fields(errors.WrongParameter)}
