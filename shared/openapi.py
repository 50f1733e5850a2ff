"""From the routes to the OpenAPI document that describes them.

It is made when the code changes and committed (`make openapi`), so nothing here runs while a
request is served. What it says of a route follows from what the route declares: its template and
permission, the types that its handler takes and returns, its docstring, its `refuses`.
"""

from collections.abc import Iterable, Iterator, Mapping
from inspect import getdoc
from string import ascii_uppercase
from typing import get_type_hints

from shared.api import VERSIONS, Api
from shared.catalogue import CATALOGUE, Code
from shared.events import SIGNED, WHEN, Event
from shared.exchange import VERSION
from shared.models import Deleted, Model, Resource
from shared.operations import Operation
from shared.pages import ListQuery
from shared.receiving import EXPAND
from shared.refusing import HEADERS, JSON, MAYBE, error_schemas, example, headed, refusal
from shared.routes import SITE, Nothing, Route
from shared.schemas import Json, Schemas, identity, kind_of, pascal, prose, words
from shared.tables import CSV

FORM = "application/x-www-form-urlencoded"

_ABOUT = """\
Request physical care tasks in the United Kingdom: create a patient, choose a task, check
availability, create an appointment.

A key alone chooses the mode: nothing that is done with a `test_` key ever reaches a patient. Bodies
are JSON or forms, answers are JSON. Times are UTC. Within a version the API only grows: take
members and values that you do not know as they come.

A text of the format `line` is one line of printable characters, one of the format `text` may have
several. White space at both ends is lost. What is optional is unset by null or by an empty text.
"""
_SECURITY: Json = {
    "apiKey": {
        "type": "apiKey",
        "in": "header",
        "name": "Authorization",
        "description": "The bare key, without a scheme: `Authorization: test_….…`.",
    },
    "bearer": {"type": "http", "scheme": "bearer", "description": "The key, after `Bearer`."},
    "basic": {
        "type": "http",
        "scheme": "basic",
        "description": "The key as the user name, without a password.",
    },
}
_END_USER: Json = {
    "endUser": {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "JWT",
        "description": "The ID token of an end user who is signed in to your front end, from"
        " Firebase Authentication. It opens what `x-ally-end-user-permission` names, where the"
        " organisation's `endUserPermissions` have that, and of it what is the end user's own; and"
        " what `x-ally-publishable` opens to every page.",
    }
}
_AS_TABLE: Json = {
    CSV: {
        "schema": {
            "type": "string",
            "description": "The same as a table, with a first row of names (RFC 4180).",
        }
    }
}


def describe(apis: Iterable[Api]) -> Json:
    """Return the document, in OpenAPI 3.1, of all that partners and browsers may call."""
    operations = [
        Operation(route)
        for api in apis
        if api.reachable
        for route in api.routes
        if route.template.startswith("/v1/")
    ]
    return _Document(operations).whole()


def as_3_2(document: Json) -> Json:
    """Return the same document in OpenAPI 3.2, which can say what tags are for."""
    tags = [{**tag, "summary": tag["name"], "kind": "nav"} for tag in document["tags"]]
    return {**document, "openapi": "3.2.0", "tags": tags}


class _Document:
    def __init__(self, operations: list[Operation]) -> None:
        self._operations = operations
        self._schemas = Schemas(_prefixes(operations))
        for each in operations:
            route = each.route
            if route.method == "POST" and not route.listed and not each.placeholders[1:]:
                self._schemas.relate(route.shows, route.body)
        self._responses: dict[str, Json] = {}

    def whole(self) -> Json:
        paths: dict[str, Json] = {}
        for each in sorted(self._operations, key=_order):
            paths.setdefault(each.route.template, {})[each.route.method.lower()] = self._operation(
                each
            )
        webhooks = {name: self._webhook(name, when) for name, when in WHEN.items()}
        tags = dict(each.group for each in self._operations)
        responses = str([paths, self._responses])
        return {
            "openapi": "3.1.1",
            "info": {
                "title": "Ally API",
                "version": VERSION,
                "summary": "Request physical care tasks in the United Kingdom.",
                "description": prose(_ABOUT),
                "contact": {"name": "Support", "email": SITE.support},
                "license": {"name": "All rights reserved", "identifier": "LicenseRef-Ally"},
            },
            "servers": [{"url": SITE.url, "description": "Test and live: the key chooses."}],
            "security": [{name: []} for name in _SECURITY],
            "tags": [{"name": name, "description": tags[name]} for name in sorted(tags)],
            "paths": paths,
            "webhooks": webhooks,
            "components": {
                "schemas": dict(sorted({**self._schemas.components, **error_schemas()}.items())),
                "parameters": _common_parameters(),
                "responses": dict(sorted(self._responses.items())),
                "headers": {
                    name: {"description": told, "required": name not in MAYBE, "schema": schema}
                    for name, (told, schema) in HEADERS.items()
                    if f"headers/{name}'" in responses
                },
                "examples": {
                    name: example(name) for name in CATALOGUE if f"examples/{name}'" in responses
                },
                "securitySchemes": _SECURITY | _END_USER,
            },
        }

    # --- One operation ---------------------------------------------------------------------------

    def _operation(self, each: Operation) -> Json:
        route = each.route
        told = prose(getdoc(route.handler))
        described: Json = {
            "operationId": each.id,
            "tags": [each.group[0]],
            "summary": told.partition("\n\n")[0].removesuffix("."),
            "description": told,
        }
        if route.retiring is not None:
            described["deprecated"] = True
        if each.public:
            described["security"] = []
        else:
            described["x-ally-permission"] = route.permission
        if route.end_user:
            described["security"] = [{name: []} for name in (*_SECURITY, *_END_USER)]
            described["x-ally-end-user-permission"] = route.end_user
        if route.publishable:
            # The empty one is a page: there is no word for a key in the body.
            described["security"] = [*({name: []} for name in (*_SECURITY, *_END_USER)), {}]
            described["x-ally-publishable"] = True
        parameters = [*self._parameters(each)]
        if parameters:
            described["parameters"] = parameters
        if route.body is not Nothing:
            described["requestBody"] = self._body(route)
        described["responses"] = {"200": self._success(each), **self._refusals(each)}
        return described

    def _parameters(self, each: Operation) -> Iterator[Json]:
        route = each.route
        hints = get_type_hints(route.handler, include_extras=True)
        for name in each.placeholders:
            schema = self._schemas.segment(name, hints[name])
            yield {
                "name": name,
                "in": "path",
                "required": True,
                "description": schema.pop("description"),
                "schema": schema,
            }
        fields = self._schemas.sent_fields(route.query)
        self._list_fields(route, route.query, fields)
        for name, schema in self._flat(fields):
            known = route.query.model_fields.get(name)
            yield {
                "name": name,
                "in": "query",
                "required": known is not None and known.is_required(),
                "description": schema.pop("description"),
                "schema": schema,
            }
        if paths := list(each.expansions()):
            yield {
                "name": EXPAND,
                "in": "query",
                "description": "Objects to show in full; `expand[]` is the same. A request with a"
                " body may have it there instead.",
                "style": "form",
                "explode": True,
                "schema": {
                    "type": "array",
                    "maxItems": 20,
                    "items": {"type": "string", "enum": paths},
                },
            }
        if route.writes:
            yield {"$ref": "#/components/parameters/Idempotency-Key"}
        if not each.public:
            yield {"$ref": "#/components/parameters/Ally-Version"}

    def _flat(self, fields: Mapping[str, Json]) -> Iterator[tuple[str, Json]]:
        """Yield the parameters of a query.

        What is left out of one is unset: nobody writes null there. Of an object each member is a
        parameter, `createdAt[gte]`: clients made by generators cannot send an object.
        """
        for name, schema in fields.items():
            plain = _without_null(schema)
            if "$ref" not in plain:
                yield name, plain
                continue
            members = self._schemas.components[plain["$ref"].rpartition("/")[2]]["properties"]
            for member, each in members.items():
                inner = _without_null(each)
                told = f"{plain['description']} {inner['description']}"
                yield f"{name}[{member}]", {**inner, "description": told}

    def _list_fields(self, route: Route, model: type[Model], fields: dict[str, Json]) -> None:
        """Say of a list's parameters what depends on what is listed."""
        prefix = getattr(route.shows, "prefix", None)
        for name in fields.keys() & {"starting_after", "ending_before"}:
            kept = {key: fields[name][key] for key in ("type", "description")}
            fields[name] = {**kept, **identity(str(prefix))}
        if issubclass(model, ListQuery) and "filter" in fields:
            known = [
                f"`{name}` ({known.operators.replace(' ', '` `').join('``')})"
                for name, known in model.filterable.items()
                if model.personal or not known.personal
            ]
            told = f"{fields['filter']['description']} Fields and operators: {', '.join(known)}."
            personal = [name for name, known in model.filterable.items() if known.personal]
            if personal and not model.personal:
                told += f" In test mode also {', '.join(f'`{name}`' for name in personal)}."
            fields["filter"] = {**fields["filter"], "description": told}

    def _body(self, route: Route) -> Json:
        schema = self._schemas.sent(route.body)
        component = self._schemas.components[schema["$ref"].rpartition("/")[2]]
        self._list_fields(route, route.body, component["properties"])
        nested = [n for n, each in component["properties"].items() if _is_object(each)]
        form: Json = {"schema": schema}
        if nested:
            form["encoding"] = {name: {"style": "deepObject", "explode": True} for name in nested}
        return {
            "required": bool(component.get("required")),
            "content": {JSON: {"schema": schema}, FORM: form},
        }

    # --- Its answers -----------------------------------------------------------------------------

    def _success(self, each: Operation) -> Json:
        route = each.route
        if each.public:
            described, schema = "The document.", {"type": "object"}
        elif route.listed:
            described, schema = "A page of the list.", self._list_schema(route)
        elif route.shows is Deleted:
            described, schema = "It was deleted.", self._schemas.shown(route.shows)
        else:
            noun = words(kind_of(route.shows))
            described, schema = f"The {noun}.", self._schemas.shown(route.shows)
        headers = ["Request-Id", "Ally-Version"]
        if not each.public:
            headers += ["RateLimit-Policy", "RateLimit", "Ally-Warning"]
        headers += ["Link"] if route.listed and route.method == "GET" else []
        headers += ["Idempotent-Replayed"] if route.writes else []
        headers += ["Deprecation", "Sunset", "Link"] if route.retiring is not None else []
        headers += ["Vary"] if route.tabular else []
        links = dict(self._links(each))
        return {
            "description": described,
            "headers": headed(headers),
            "content": {JSON: {"schema": schema}, **(_AS_TABLE if route.tabular else {})},
            **({"links": links} if links else {}),
        }

    def _list_schema(self, route: Route) -> Json:
        shown = self._schemas.shown(route.shows)
        name = shown["$ref"].rpartition("/")[2]
        page = {
            "type": "object",
            "description": "A page of a list.",
            "properties": {
                "object": {
                    "type": "string",
                    "const": "list",
                    "description": "The kind of object.",
                },
                "url": {
                    "type": "string",
                    "description": "The path of the list.",
                    "examples": [route.template],
                },
                "has_more": {
                    "type": "boolean",
                    "description": "Whether there are more objects in the page's direction.",
                },
                "data": {"type": "array", "description": "The objects.", "items": shown},
            },
            "required": ["object", "url", "has_more", "data"],
        }
        # The first is the list itself, and not a search in it.
        self._schemas.components.setdefault(f"{name}List", page)
        return {"$ref": f"#/components/schemas/{name}List"}

    def _links(self, source: Operation) -> Iterator[tuple[str, Json]]:
        """Yield where one can go from what was made or listed: to all that takes its id."""
        route = source.route
        if route.shows is Deleted or not (route.listed or route.method == "POST"):
            return
        at = "$response.body#/data/0/" if route.listed else "$response.body#/"
        known = {kind_of(route.shows): f"{at}id"}
        if issubclass(route.shows, Resource) and not route.listed:
            known |= {name: at + each.field for name, each in route.shows.expands.items()}
        for target in self._operations:
            if target.public or target.route.method == "PATCH" or target.id == source.id:
                continue
            link = self._link(target, known)
            if link:
                yield target.id, {"operationId": target.id, **link}

    def _link(self, target: Operation, known: Mapping[str, str]) -> Json:
        if target.placeholders:
            (noun,) = target.placeholders
            return {"parameters": {noun: known[noun]}} if noun in known else {}
        query, body = (
            {f"{noun}Id": at for noun, at in known.items() if f"{noun}Id" in model.model_fields}
            for model in (target.route.query, target.route.body)
        )
        link: Json = {"parameters": query} if query else {}
        if body:
            # In words: a link gives a body as a whole, and some generators read only a text there.
            told = (f"`{name}` is `{at}`" for name, at in body.items())
            link["description"] = f"In the body, {' and '.join(told)}."
        return link

    def _refusals(self, each: Operation) -> Json:
        groups: dict[int, list[Code]] = {}
        for code in sorted((CATALOGUE[name] for name in set(each.codes())), key=_by_status):
            groups.setdefault(code.status, []).append(code)
        return {
            str(status): self._shared(refusal(status, codes, replayed=each.route.writes), status)
            for status, codes in groups.items()
        }

    def _shared(self, response: Json, status: int) -> Json:
        """Return a reference to a response, for most are those of other operations too."""
        names = (f"Refused{status}{variant}" for variant in ascii_uppercase)
        name = next(each for each in names if self._responses.get(each, response) == response)
        self._responses[name] = response
        return {"$ref": f"#/components/responses/{name}"}

    # --- Webhooks --------------------------------------------------------------------------------

    def _webhook(self, name: str, when: str) -> Json:
        told = f"{when} Not sent yet: this is how it will be."
        return {
            "post": {
                "operationId": "on" + pascal(name.replace(".", "_")),
                "summary": when.partition(".")[0],
                "description": told,
                "x-ally-status": "planned",
                # Generators of clients make a method to call of whatever is not marked so.
                "x-internal": True,
                "security": [],
                "parameters": [{"$ref": f"#/components/parameters/{name}"} for name in SIGNED],
                "requestBody": {
                    "required": True,
                    "content": {JSON: {"schema": self._schemas.shown(Event)}},
                },
                "responses": {
                    "2XX": {"description": "You have the event. Anything else is tried again."},
                    "410": {"description": "You want no more events: the endpoint is disabled."},
                },
            }
        }


def _order(each: Operation) -> tuple[str, str, str]:
    return each.group[0], each.route.template, each.route.method


def _by_status(code: Code) -> tuple[int, int]:
    return code.status, list(CATALOGUE).index(code.name)


def _prefixes(operations: list[Operation]) -> dict[str, str]:
    """Return what ids begin with, by the kind of object."""
    return {
        kind_of(each.route.shows): each.route.shows.prefix
        for each in operations
        if issubclass(each.route.shows, Resource)
    }


def _without_null(schema: Json) -> Json:
    plain = dict(schema)
    if isinstance(plain.get("type"), list):
        plain["type"] = plain["type"][0]
        if "enum" in plain:
            plain["enum"] = [value for value in plain["enum"] if value is not None]
    for choice in plain.pop("anyOf", [])[:1]:
        plain |= choice
    return plain


def _is_object(schema: Json) -> bool:
    choices = [schema, *schema.get("anyOf", ())]
    return any("$ref" in each or "object" in each.get("type", ()) for each in choices)


def _common_parameters() -> Json:
    signed = {
        name: {
            "name": name,
            "in": "header",
            "required": True,
            "description": told,
            "schema": {"type": "string"},
        }
        for name, told in SIGNED.items()
    }
    return signed | {
        "Idempotency-Key": {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "Makes a retry safe: the same key and the same request take effect once"
            " within 24 hours. A random UUID is a good one.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": 255,
                "pattern": "^[\\x20-\\x7e]+$",
                "examples": ["0b7b1d0e-6c1f-4c56-9f0a-2f6a5c3d1e9b"],
            },
        },
        "Ally-Version": {
            "name": "Ally-Version",
            "in": "header",
            "description": "The version of the API that is wanted; the newest if left out.",
            "schema": {"type": "string", "enum": list(VERSIONS)},
        },
    }
