"""Whether answers are as the committed OpenAPI document says: every one that a test client gets."""

import json
import re
from functools import cache
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import httpx
import jsonschema_rs
import requests

from shared.catalogue import CATALOGUE
from shared.errors import PROBLEM
from shared.refusing import JSON, refusal
from shared.tables import CSV
from tests.support import leaks
from tests.support.document import DOCUMENT, Json, resolve

METHODS = ("GET", "POST", "PATCH", "DELETE")
NOWHERE: Json = {
    "responses": {
        str(code.status): refusal(code.status, [code], replayed=False)
        for code in (CATALOGUE["route_unknown"], CATALOGUE["method_not_allowed"])
    }
}
"""What is answered where there is no operation."""
ALWAYS = ("request-id", "ally-version")
TELLING = ("/v1/usage", "/v1/requests", "/v1/audit_events", "/v1/frontend_events")
"""The beginnings of paths whose answers tell of requests, and so of no patient's values."""


class Answer(NamedTuple):
    """What conformity is a matter of."""

    status: int
    headers: dict[str, str]
    """By their names in small letters."""
    body: bytes


def conforming(answer: httpx.Response) -> httpx.Response:
    """Return an answer that is as the document says, or raise an AssertionError."""
    request = answer.request
    if answer.status_code >= 400 or request.url.path.startswith(TELLING):
        leaks.witness(answer.text)
    for link in answer.links.values():
        leaks.witness(link["url"].partition("?")[0])
    check(
        request.method,
        # As it was sent: a slash that is escaped divides nothing.
        request.url.raw_path.decode().partition("?")[0],
        Answer(answer.status_code, dict(answer.headers), answer.content),
    )
    return answer


def session() -> requests.Session:
    """Return a session of requests whose every answer is held against the document."""

    def hold(answer: requests.Response, *_: Any, **__: Any) -> None:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        path = urlsplit(answer.request.url or "").path
        check(
            str(answer.request.method),
            str(path),
            Answer(answer.status_code, headers, answer.content),
        )

    made = requests.Session()
    made.trust_env = False  # a proxy of the developer's is none of this
    made.hooks["response"].append(hold)
    return made


def check(method: str, path: str, answer: Answer) -> None:
    """Hold an answer against the document. An AssertionError says what is not as promised."""
    body = answer.body[:2000].decode(errors="replace")
    told = f"{method} {path} answered {answer.status}: {body}"
    missing = [name for name in ALWAYS if name not in answer.headers]
    assert not missing, f"without the headers {missing}: {told}"
    if method not in METHODS or not path.startswith("/v1"):
        return
    responses = _find(method, path)["responses"]
    assert str(answer.status) in responses, f"a status that is not described: {told}"
    response = resolve(DOCUMENT, responses[str(answer.status)])
    kind = answer.headers.get("content-type", "").partition(";")[0]
    assert kind in response["content"], f"a content type that is not described: {kind}: {told}"
    missing = [
        name
        for name, header in response["headers"].items()
        if resolve(DOCUMENT, header)["required"] and name.lower() not in answer.headers
    ]
    assert not missing, f"without the headers {missing}: {told}"
    sent: Any = answer.body.decode() if kind == CSV else json.loads(answer.body)
    try:
        validator(response["content"][kind]["schema"]).validate(sent)
    except jsonschema_rs.ValidationError as error:
        raise AssertionError(f"{error.message} at {error.instance_path}: {told}") from None
    if answer.status != 200:
        code = sent["code"] if kind == PROBLEM else sent["error"]["code"]
        assert code in response["content"][JSON]["examples"], f"{code} is not declared: {told}"


def validator(schema: Json) -> jsonschema_rs.Draft202012Validator:
    """Return the validator of a schema of the document."""
    return _made(json.dumps(schema))


@cache
def _made(schema: str) -> jsonschema_rs.Draft202012Validator:
    whole = {**json.loads(schema), "components": DOCUMENT["components"]}
    return jsonschema_rs.Draft202012Validator(whole, validate_formats=True)


def _find(method: str, path: str) -> Json:
    """Return the operation of a request, or what is described of those that there are not."""
    for pattern, operations in _patterns():
        if pattern.fullmatch(path):
            found: Json = operations.get(method.lower(), NOWHERE)
            return found
    return NOWHERE


@cache
def _patterns() -> list[tuple[re.Pattern[str], Json]]:
    """Return the operations by the pattern of their path, the fixed paths first."""
    templates = sorted(DOCUMENT["paths"], key=lambda template: template.count("{"))
    return [
        (re.compile(re.sub(r"\{\w+\}", "[^/]+", template)), DOCUMENT["paths"][template])
        for template in templates
    ]
