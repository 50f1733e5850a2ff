"""A small OpenAPI document of the routes that run, for a generator of requests to read."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from shared.models import Model
from shared.routes import PUBLIC, Route

Json = dict[str, Any]
Known = Mapping[str, Sequence[str]]
"""Texts that would be accepted, by the name of the parameter that takes them."""

REFERENCE = "#/components/schemas/{model}"
MEDIA = ("application/json", "application/x-www-form-urlencoded")


def describe(routes: Iterable[Route], known: Known) -> Json:
    """Return the document. A parameter that is known by name takes the texts given for it."""
    described = _Described(known)
    for route in routes:
        if route.permission != PUBLIC:
            described.add(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "The routes that run", "version": "1"},
        "paths": described.paths,
        "components": {"schemas": described.schemas},
    }


class _Described:
    def __init__(self, known: Known) -> None:
        self._known = known
        self.paths: dict[str, Json] = {}
        self.schemas: Json = {}

    def add(self, route: Route) -> None:
        path = [
            self._parameter("path", name, {"type": "string"}, required=True)
            for name in re.findall(r"\{(\w+)\}", route.template)
        ]
        query = self._schema(route.query)
        sent = [
            self._parameter("query", name, each, required=name in query.get("required", ()))
            for name, each in query.get("properties", {}).items()
        ]
        header = self._parameter("header", "Idempotency-Key", {"type": "string"}, required=False)
        operation: Json = {
            "parameters": [*path, *sent, *([header] if route.writes else [])],
            "responses": {"200": {"description": "It was done."}},
        }
        if route.method in ("POST", "PATCH"):
            content = {"schema": self._schema(route.body)}
            operation["requestBody"] = {"content": dict.fromkeys(MEDIA, content)}
        self.paths.setdefault(route.template, {})[route.method.lower()] = operation

    def _parameter(self, place: str, name: str, schema: Json, *, required: bool) -> Json:
        schema = self._narrowed(name, schema)
        return {"name": name, "in": place, "required": required, "schema": schema}

    def _schema(self, model: type[Model]) -> Json:
        schema = model.model_json_schema(ref_template=REFERENCE)
        self.schemas |= {name: self._closed(each) for name, each in schema.pop("$defs", {}).items()}
        return self._closed(schema)

    def _closed(self, schema: Json) -> Json:
        """Return an object's schema as the door reads it: what is not named there is refused."""
        if "properties" not in schema:
            return schema
        named = {name: self._narrowed(name, each) for name, each in schema["properties"].items()}
        return {**schema, "properties": named, "additionalProperties": False}

    def _narrowed(self, name: str, schema: Json) -> Json:
        texts = self._known.get(name)
        return schema if texts is None else {"type": "string", "enum": list(texts)}
