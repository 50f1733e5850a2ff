"""The balancer's words for what never reaches us: in our form, and never in place of our own."""

import json
import re
from pathlib import Path
from string import Template

import pytest
import yaml

from ally.errors import InvalidRequestError, ServerError, read_refusal
from infra import errors
from shared.catalogue import CATALOGUE, ON_THE_WAY
from shared.errors import ApiError, envelope

URL_MAP = Path(errors.__file__).parent / "templates" / "url-map.yaml"
PAGES = {
    page["name"].removesuffix(".json"): page
    for page in errors.pages({"host": "api.ally.example", "support": "help@ally.example"})
    if page["type"] == "application/json"
}


def test_the_balancer_replaces_no_answer_of_the_api() -> None:
    own = {code.status for name, code in CATALOGUE.items() if name not in ON_THE_WAY.values()}
    assert own & set(ON_THE_WAY) == set()


def test_the_balancer_says_what_the_catalogue_says_of_each_status() -> None:
    written = Template(URL_MAP.read_text()).substitute(
        project="ally-staging", host_rules="[]", path_matchers="[]"
    )
    rules = yaml.safe_load(written)["defaultCustomErrorResponsePolicy"]["errorResponseRules"]
    said = {
        int(status): (rule["path"], rule.get("overrideResponseCode", int(status)))
        for rule in rules
        for status in rule["matchResponseCodes"]
    }
    assert said == {
        status: (f"/{code}.json", CATALOGUE[code].status) for status, code in ON_THE_WAY.items()
    }
    assert set(PAGES) == set(ON_THE_WAY.values())


@pytest.mark.parametrize("code", PAGES)
def test_a_page_is_the_envelope_of_its_code_without_a_request_id(code: str) -> None:
    body = PAGES[code]["body"]
    refused = envelope(ApiError(code), "req_1", "help@ally.example", "https://api.ally.example")
    assert refused["error"].pop("request_id") == "req_1"
    assert json.loads(body) == refused
    assert not re.search(r"\{\w+\}|req_1", body)
    assert ("help@ally.example" in body) == (CATALOGUE[code].status >= 500)


@pytest.mark.parametrize("code", PAGES)
def test_our_client_raises_what_a_page_says(code: str) -> None:
    status = CATALOGUE[code].status
    error = read_refusal(status, PAGES[code]["body"], request_id=None)
    assert (error.code, error.request_id, error.http_status) == (code, None, status)
    assert isinstance(error, ServerError if status >= 500 else InvalidRequestError)
