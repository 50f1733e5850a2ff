"""Breaking changes: none since the last release that the changelog does not name."""

import copy
import json
import re
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.breaking import breaks
from tests.support.document import DOCUMENT, Json
from tests.support.processes import ROOT

RELEASED: Json = json.loads((ROOT / "docs" / "released" / "openapi.json").read_text("utf-8"))

Change = Callable[[Json], Any]


def announced(changelog: str) -> list[str]:
    """Return what the changelog calls breaking of what is not released yet."""
    unreleased = changelog.partition("## Unreleased")[2].partition("\n## ")[0]
    lines = re.split(r"\n- ", unreleased)
    return [" ".join(line.split()) for line in lines if line.startswith("Breaking:")]


def test_a_breaking_change_since_the_last_release_stands_in_the_changelog() -> None:
    told = announced((ROOT / "CHANGELOG.md").read_text("utf-8"))
    silent = [
        sentence
        for sentence in breaks(RELEASED, DOCUMENT)
        if not any(sentence in line for line in told)
    ]
    assert silent == [], "say it in CHANGELOG.md, under Unreleased: `- Breaking: <sentence>`"


def test_a_line_of_the_changelog_may_be_long_and_must_be_of_this_release() -> None:
    text = """
## Unreleased

- Breaking: GET /v1/tasks
  is gone. Use others.
- New: things.

## 1.0.0

- Breaking: an old one.
"""
    assert announced(text) == ["Breaking: GET /v1/tasks is gone. Use others."]


def reach(document: Json, path: tuple[str, ...]) -> Any:
    """Return what stands at a path; a member of an array is named by itself or by its name."""
    found: Any = document
    for step in path:
        if isinstance(found, list):
            named = (each.get("name") if isinstance(each, dict) else each for each in found)
            found = found[list(named).index(step)]
        else:
            found = found[step]
    return found


def drop(*path: str) -> Change:
    def change(document: Json) -> None:
        holder = reach(document, path[:-1])
        if isinstance(holder, list):
            holder.remove(reach(document, path))
        else:
            del holder[path[-1]]

    return change


def put(*path: str, **members: Any) -> Change:
    return lambda document: reach(document, path).update(members)


def add(*path: str, value: Any) -> Change:
    return lambda document: reach(document, path).append(value)


def model(name: str, *field: str) -> tuple[str, ...]:
    return ("components", "schemas", name, *(("properties", *field) if field else ()))


TASKS = ("paths", "/v1/tasks", "get")
AVAILABILITY = ("paths", "/v1/availability", "get")
ROLL = ("paths", "/v1/api_keys/{api_key}/roll", "post")
DOCUMENTS = ("paths", "/v1/openapi.json", "get")
STATUS = ("paths", "/v1/appointments", "get", "parameters", "status", "schema", "enum")
CREATE = ("paths", "/v1/patients", "post", "requestBody", "content")
FORM = "application/x-www-form-urlencoded"
TEXT = {"type": "string"}
COLOUR: Json = {"name": "colour", "in": "query", "schema": TEXT}
MAY_BE_NULL = ["string", "null"]
PERMISSION = "x-ally-permission"

BREAKING: dict[str, Change] = {
    "GET /v1/tasks is gone.": drop(*TASKS),
    "DELETE /v1/patients/{patient} is gone.": drop("paths", "/v1/patients/{patient}"),
    "The webhook `appointment.created` is gone.": drop("webhooks", "appointment.created"),
    "The security scheme `basic` is gone.": drop("components", "securitySchemes", "basic"),
    "GET /v1/tasks: the x-ally-permission `tasks:read` is now `tasks:write`.": put(
        *TASKS, **{PERMISSION: "tasks:write"}
    ),
    "GET /v1/tasks: the operationId `listTasks` is now `tasks`.": put(*TASKS, operationId="tasks"),
    "GET /v1/openapi.json now takes a key.": put(*DOCUMENTS, **{PERMISSION: "docs:read"}),
    "GET /v1/tasks no longer takes `endUser`.": put(*TASKS, security=[{"apiKey": []}]),
    "GET /v1/tasks: `limit` is gone.": drop(*TASKS, "parameters", "limit"),
    "GET /v1/tasks: `colour` is now required.": add(
        *TASKS, "parameters", value={**COLOUR, "required": True}
    ),
    "GET /v1/availability: `toDate` is now required.": put(
        *AVAILABILITY, "parameters", "toDate", required=True
    ),
    "GET /v1/tasks: `limit` is now written otherwise.": put(
        *TASKS, "parameters", "limit", style="pipeDelimited"
    ),
    "GET /v1/tasks: `limit` now has a maximum of 50.": put(
        *TASKS, "parameters", "limit", "schema", maximum=50
    ),
    "GET /v1/appointments: `status` may no longer be `failed`.": drop(*STATUS, "failed"),
    f"POST /v1/patients: {FORM} is gone.": drop(*CREATE, FORM),
    "POST /v1/api_keys/{api_key}/roll now requires a body.": put(
        *ROLL, "requestBody", required=True
    ),
    "POST /v1/api_keys/{api_key}/roll no longer takes a body.": drop(*ROLL, "requestBody"),
    "`PatientInput`: `title` is gone.": drop(*model("PatientInput", "title")),
    "`PatientInput`: `sex` is now required.": add(*model("PatientInput"), "required", value="sex"),
    "`PatientInput`: `title` may no longer be null.": put(
        *model("PatientInput", "title"), type="string"
    ),
    "`PatientInput`: `title` now has a maxLength of 10.": put(
        *model("PatientInput", "title"), maxLength=10
    ),
    "`PatientInput`: `firstName` now has a minLength of 3.": put(
        *model("PatientInput", "firstName"), minLength=3
    ),
    "`PatientInput`: `title` now has the pattern `^M`.": put(
        *model("PatientInput", "title"), pattern="^M"
    ),
    "`PatientInput`: `sex` may no longer be `other`.": drop(
        *model("PatientInput", "sex"), "enum", "other"
    ),
    "`ApiKeyInput`: `allowedCidrs` now has a maxItems of 5.": put(
        *model("ApiKeyInput", "allowedCidrs"), maxItems=5
    ),
    "GET /v1/tasks no longer answers 200.": drop(*TASKS, "responses", "200"),
    "GET /v1/tasks: the header `Link` is gone.": drop(
        *TASKS, "responses", "200", "headers", "Link"
    ),
    "`Patient`: `note` is gone.": drop(*model("Patient", "note")),
    "`Patient`: `email` may now be null.": put(*model("Patient", "email"), type=MAY_BE_NULL),
    "`Task`: `durationMinutes` may now be string.": put(
        *model("Task", "durationMinutes"), type="string"
    ),
    "`Patient`: `note` may now be missing.": drop(*model("Patient"), "required", "note"),
    "`Patient`: `object` is now `person`.": put(*model("Patient", "object"), const="person"),
    "`Event`: `createdAt` now has the format `date`.": put(
        *model("Event", "createdAt"), format="date"
    ),
    "What `ApiKey`: `origins` holds may now be null.": put(
        *model("ApiKey", "origins"), items={"type": MAY_BE_NULL}
    ),
    "`Step`: `kind` is gone.": put(*model("Task", "steps"), items={"type": "object"}),
}

HARMLESS: dict[str, Change] = {
    "a new operation": put("paths", **{"/v1/new": {"get": {}}}),
    "a new parameter": add(*TASKS, "parameters", value=COLOUR),
    "a new field that may be sent": put(*model("PatientInput"), "properties", colour=TEXT),
    "a new field that is shown": put(*model("Patient"), "properties", colour=TEXT),
    "a new status": add(*model("Appointment", "status"), "x-extensible-enum", value="paused"),
    "a new word that may be sent": add(*model("RollInput", "overlap"), "enum", value="30d"),
    "a longer text": put(*model("PatientInput", "title"), maxLength=1000),
    "a field that need not be sent any more": drop(*model("PatientInput"), "required", "phone"),
    "a field that may now be sent as null": put(*model("PatientInput", "email"), type=MAY_BE_NULL),
    "a field that is never null any more": put(*model("Patient", "title"), type="string"),
    "a format of what is shown": put(*model("Task", "name"), format="line"),
    "a new code of an error": put(
        *TASKS, "responses", **{"402": {"$ref": "#/components/responses/Refused402A"}}
    ),
    "another sentence": put(*model("Patient", "note"), description="Something else."),
    "a new event": put("webhooks", **{"patient.created": {}}),
}


def test_nothing_breaks_where_nothing_changes() -> None:
    assert breaks(DOCUMENT, copy.deepcopy(DOCUMENT)) == []


@pytest.mark.parametrize("sentence", BREAKING)
def test_each_kind_of_breaking_change_is_named(sentence: str) -> None:
    changed = copy.deepcopy(DOCUMENT)
    BREAKING[sentence](changed)
    assert sentence in breaks(DOCUMENT, changed)


@pytest.mark.parametrize("addition", HARMLESS)
def test_what_only_adds_breaks_nothing(addition: str) -> None:
    changed = copy.deepcopy(DOCUMENT)
    HARMLESS[addition](changed)
    assert changed != DOCUMENT
    assert breaks(DOCUMENT, changed) == []
