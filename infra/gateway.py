"""The document that API Gateway works by: which paths lead to which function.

It follows from the segments that functions claim, as `shared.api.application` follows them under
`make run`: what begins with a segment is its function's, whatever comes after it and whatever the
verb. Everything else goes to one of our own functions too, for what the gateway answers itself is
not in our envelope. So a new route needs no new document, and a new function no line here.

The gateway enforces no parameter and no schema, so there is none in it (docs/decisions/0017).
Its form is Google's for OpenAPI 3: docs.cloud.google.com/api-gateway/docs/oasv3-extensions.
"""

import argparse
import json
import re
from collections.abc import Iterable
from typing import Any

from functions import discover
from infra.services import address
from shared.exchange import VERSION
from shared.routes import Routes

VERBS = ("get", "post", "patch", "put", "delete", "options", "head")
"""All that the functions framework passes on. Each path declares them all, for the gateway itself
refuses a verb that is not declared."""
NOWHERE = "docs"
"""The function that answers what no function claims: with 404, as every door does."""
DEADLINE = 15.0
"""Seconds until the gateway gives up on a function, and answers 504 itself."""
REST = "rest"
"""The parameter that stands for all that is left of a path, slashes included."""

Json = dict[str, Any]


def document(apis: Iterable[Routes], *, number: str, region: str) -> Json:
    """Return the document for the functions of a project, which has this number, in this region."""
    public = [api for api in apis if api.reachable]
    owners = {segment: api.name for api in public for segment in api.segments}
    paths: dict[str, Json] = {}
    for segment in sorted(owners):
        for path in (segment, f"{segment}/{{{REST}}}"):
            paths[path] = _operations(path, owners[segment])
    everything = f"/{{{REST}}}"
    paths[everything] = _operations(everything, NOWHERE)
    return {
        "openapi": "3.1.1",
        "info": {"title": "Ally API", "version": VERSION},
        "x-google-api-management": {
            "backends": {api.name: _backend(api.name, number, region) for api in public}
        },
        "paths": paths,
    }


def _backend(function: str, number: str, region: str) -> Json:
    """Return where a function is. The gateway shows it a token that was made for that address."""
    where = address(function, number, region)
    return {
        "address": where,
        "jwtAudience": where,
        "pathTranslation": "APPEND_PATH_TO_ADDRESS",
        "deadline": DEADLINE,
    }


def _operations(path: str, function: str) -> Json:
    """Return what a path does: whatever the verb, its function is asked."""
    name = re.sub(r"\W+", "_", path).strip("_")
    rest = {
        "name": REST,
        "in": "path",
        "required": True,
        "schema": {"type": "string"},
        "x-google-parameter": {"pattern": "**"},
    }
    return {
        verb: {
            "operationId": f"{verb}_{name}",
            "x-google-backend": function,
            "parameters": [rest] if path.endswith("}") else [],
            "responses": {"default": {"description": "The function's answer."}},
        }
        for verb in VERBS
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Print the document that API Gateway works by.")
    parser.add_argument("number", help="the project's number")
    parser.add_argument("region", help="where the functions are, such as europe-west2")
    print(json.dumps(document(discover(), **vars(parser.parse_args())), indent=1))
