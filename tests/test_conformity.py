"""The check that every answer of the test clients passes: it finds what is not as described."""

from typing import Any

import pytest

from tests.support.conformity import Answer, check
from tests.support.serving import Partner

JSON = {"content-type": "application/json", "request-id": "req_x", "ally-version": "2026-11-22"}
LIMITS = {"ratelimit": '"key";r=1;t=1', "ratelimit-policy": '"key";q=1;w=1'}


def answer_of(partner: Partner, method: str, path: str, **options: Any) -> Answer:
    found = partner.send(method, path, **options)
    return Answer(found.status_code, dict(found.headers), found.content)


def test_a_sound_answer_passes(partner: Partner) -> None:
    check("GET", "/v1/tasks", answer_of(partner, "GET", "/v1/tasks"))


@pytest.mark.parametrize("name", ["request-id", "ally-version", "ratelimit", "content-type"])
def test_an_answer_without_a_header_that_is_promised_is_found(partner: Partner, name: str) -> None:
    answer = answer_of(partner, "GET", "/v1/tasks")
    del answer.headers[name]
    with pytest.raises(AssertionError):
        check("GET", "/v1/tasks", answer)


def test_an_answer_of_another_shape_is_found(partner: Partner) -> None:
    answer = answer_of(partner, "GET", "/v1/tasks")
    for body in (answer.body.replace(b'"name"', b'"nome"'), b"[]"):
        with pytest.raises(AssertionError):
            check("GET", "/v1/tasks", answer._replace(body=body))


def test_a_status_that_is_not_described_is_found(partner: Partner) -> None:
    answer = answer_of(partner, "GET", "/v1/tasks")
    with pytest.raises(AssertionError, match="status"):
        check("GET", "/v1/tasks", answer._replace(status=201))


def test_a_code_that_the_operation_does_not_declare_is_found(partner: Partner) -> None:
    answer = answer_of(partner, "GET", "/v1/tasks", params={"limit": 0})
    odd = answer.body.replace(b"parameter_invalid", b"metadata_nested")
    with pytest.raises(AssertionError, match="metadata_nested is not declared"):
        check("GET", "/v1/tasks", answer._replace(body=odd))


def test_what_works_and_is_not_described_is_found() -> None:
    with pytest.raises(AssertionError, match="status"):
        check("GET", "/v1/secrets", Answer(200, {**JSON, **LIMITS}, b"{}"))
