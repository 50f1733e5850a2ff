"""The committed OpenAPI document, as tests read it."""

import json
from typing import Any

from functions.openapi import FOLDER

Json = dict[str, Any]

DOCUMENT: Json = json.loads((FOLDER / "openapi.json").read_text("utf-8"))


def resolve(document: Json, found: Json) -> Json:
    """Follow a reference within a document, if it is one."""
    if "$ref" not in found:
        return found
    target: Any = document
    for step in found["$ref"].removeprefix("#/").split("/"):
        target = target[step]
    return dict(target)
