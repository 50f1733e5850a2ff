"""Whether answers are as the committed OpenAPI document says: every one that a test client gets."""

import json
import re
from functools import cache
from typing import NamedTuple

import httpx
import jsonschema_rs

from tests.support.document import DOCUMENT, Json, resolve

PROBLEM = "application/problem+json"
JSON = "application/json"
NOWHERE = {"route_unknown", "method_not_allowed"}
"""The codes of what is no operation."""
ALWAYS = ("request-id", "ally-version")


class Answer(NamedTuple):
    """What conformity is a matter of."""

    status: int
    headers: dict[str, str]
    """By their names in small letters."""
    body: bytes


def conforming(answer: httpx.Response) -> httpx.Response:
    """Return an answer that is as the document says, or raise an AssertionError."""
    request = answer.request
    check(
        request.method,
        request.url.path,
        Answer(answer.status_code, dict(answer.headers), answer.content),
    )
    return answer


class _Operation(NamedTuple):
    pattern: re.Pattern[str]
    described: Json


def check(method: str, path: str, answer: Answer) -> None:
    """Hold an answer against the document. An AssertionError says what is not as promised."""
    path = path.partition("?")[0]
    told = (
        f"{method} {path} answered {answer.status}: {answer.body[:2000].decode(errors='replace')}"
    )
    found = _find(method, path)
    missing = [name for name in ALWAYS if name not in answer.headers]
    assert not missing, f"without the headers {missing}: {told}"
    if found is None:
        if path.startswith("/v1") and method in ("GET", "POST", "PATCH", "DELETE"):
            error = _validated("ErrorEnvelope", answer, told) if answer.status != 200 else None
            assert error is not None, f"what is not described worked: {told}"
            assert error["error"]["code"] in NOWHERE, f"is not described: {told}"
        return
    response = found["responses"].get(str(answer.status))
    assert response is not None, f"a status that is not described: {told}"
    response = resolve(DOCUMENT, response)
    kind = answer.headers.get("content-type", "")
    assert kind in response["content"], f"a content type that is not described: {kind}: {told}"
    unknown = {
        name.lower()
        for name, header in response["headers"].items()
        if resolve(DOCUMENT, header).get("required") and name.lower() not in answer.headers
    }
    assert not unknown, f"without the headers {unknown}: {told}"
    body = json.loads(answer.body)
    content = response["content"][kind]
    try:
        validator(content["schema"]).validate(body)
    except jsonschema_rs.ValidationError as error:
        raise AssertionError(f"{error.message} at {error.instance_path}: {told}") from None
    if answer.status != 200:
        code = body["code"] if kind == PROBLEM else body["error"]["code"]
        assert code in response["content"][JSON]["examples"], f"{code} is not declared: {told}"


def _validated(name: str, answer: Answer, told: str) -> Json:
    body: Json = json.loads(answer.body)
    schema = {"$ref": f"#/components/schemas/{name}"}
    assert validator(schema).is_valid(body), told
    return body


def validator(schema: Json) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of a schema of the document."""
    return _made(json.dumps(schema))


@cache
def _made(schema: str) -> jsonschema_rs.Draft202012Validator:
    whole = {**json.loads(schema), "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


@cache
def _operations() -> list[tuple[str, _Operation]]:
    """Return the operations, those without placeholders first."""
    templates = sorted(DOCUMENT["paths"], key=lambda template: template.count("{"))
    return [
        (method.upper(), _Operation(re.compile(re.sub(r"\{\w+\}", "[^/]+", template)), operation))
        for template in templates
        for method, operation in DOCUMENT["paths"][template].items()
    ]


def _find(method: str, path: str) -> Json | None:
    for known, operation in _operations():
        if known == method and operation.pattern.fullmatch(path):
            return operation.described
    return None
