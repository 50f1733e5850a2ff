"""The document that API Gateway works by: every path leads somewhere, and to one function alone."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from openapi_spec_validator import validate

from functions import discover
from infra import gateway
from shared.api import Api
from shared.routes import Content, Site
from tests.support.processes import ROOT

PUBLIC = [api for api in discover() if api.reachable]


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return gateway.document(discover(), number="123456789012", region="europe-west2")


def resolve(document: dict[str, Any], method: str, path: str) -> str:
    """Return the function that a request is led to, as Google says that templates match.

    The whole path without parameters is first, then the longest template.
    """
    templates = sorted(document["paths"], key=lambda each: ("{" in each, -len(each)))
    for template in templates:
        pattern = re.sub(r"\\{\w+\\}", ".*", re.escape(template))
        if re.fullmatch(pattern, path):
            function: str = document["paths"][template][method.lower()]["x-google-backend"]
            return function
    raise LookupError(path)


def private(audience: Any) -> Api:
    """Return a function that is not for the gateway."""
    api = Api("secretive", audience=audience)

    @api.get("/v1/secretive", permission="internal" if audience == "internal" else "public")
    async def tell(_: Site) -> Content:
        return Content("text/plain", "nothing")

    return api


def operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for verbs in document["paths"].values():
        yield from verbs.values()


@pytest.mark.parametrize("api", PUBLIC, ids=lambda api: api.name)
def test_every_verb_of_every_path_of_a_function_leads_to_it(
    api: Api, document: dict[str, Any]
) -> None:
    for route in api.routes:
        path = re.sub(r"\{\w+\}", "an-id", route.template)
        for verb in gateway.VERBS:
            assert resolve(document, verb, path) == api.name
            assert resolve(document, verb, f"{path}/no/such/route") == api.name


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v2/patients", "/v1/patientsx", "/v1/nothing/at/all", "/mcp"]
)
def test_what_no_function_claims_leads_to_one_that_says_so(
    path: str, document: dict[str, Any]
) -> None:
    for verb in gateway.VERBS:
        assert resolve(document, verb, path) == "docs"


@pytest.mark.parametrize("audience", ["internal", "staff"])
def test_a_function_for_nobody_outside_is_in_no_part_of_the_document(
    audience: str, document: dict[str, Any]
) -> None:
    apis = [*discover(), private(audience)]
    assert gateway.document(apis, number="123456789012", region="europe-west2") == document
    known = [*discover(), private("partner")]
    grown = gateway.document(known, number="123456789012", region="europe-west2")
    assert resolve(grown, "GET", "/v1/secretive") == "secretive"


def test_each_function_is_asked_with_a_token_for_its_own_address(document: dict[str, Any]) -> None:
    backends = document["x-google-api-management"]["backends"]
    assert set(backends) == {api.name for api in PUBLIC}
    for name, backend in backends.items():
        host = f"ally-{name.replace('_', '-')}-123456789012.europe-west2.run.app"
        assert backend["address"] == backend["jwtAudience"] == f"https://{host}"
        assert backend["pathTranslation"] == "APPEND_PATH_TO_ADDRESS"
        assert "disableAuth" not in backend


def test_the_document_is_valid_and_holds_what_google_asks_for(document: dict[str, Any]) -> None:
    validate(document)
    backends = document["x-google-api-management"]["backends"]
    ids = [each["operationId"] for each in operations(document)]
    assert len(set(ids)) == len(ids)
    assert all(re.fullmatch(r"[a-z0-9_]{1,64}", each) for each in ids)
    assert {each["x-google-backend"] for each in operations(document)} == set(backends)
    for path, verbs in document["paths"].items():
        assert set(verbs) == set(gateway.VERBS)
        # A template's parameter is a whole segment, and the one that takes slashes is the last.
        assert re.fullmatch(r"(/[\w.-]+)*(/\{rest\})?", path)


def test_the_document_is_the_same_whenever_it_is_made() -> None:
    """A config of the gateway is named after a hash of it."""
    made = {
        subprocess.run(
            [sys.executable, "-m", "infra.gateway", "123456789012", "europe-west2"],
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(made) == 1
