"""The reference: what the OpenAPI document says, arranged for people, a page for each resource."""

import json
import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

INDEX = "/docs/reference"
DOCUMENT = Path(__file__).parent / "openapi.json"
PERMISSION = "x-ally-permission"
TELLING = ("name", "displayName", "externalRef", "note", "overlap")
"""What the example of a body without required members has: the first of these that it takes."""
USUAL = ("windowId",)
"""What an example has although it is not required."""
UNKNOWN = "…"
"""The example of a text of which the document has none."""
FIRST = ("Patients", "Tasks", "Availability", "Appointments")
"""The resources that one meets first, in their order."""
VERBS = ("create", "list", "get", "update", "delete")
"""How the names of the operations begin that come first, in their order."""

Json = dict[str, Any]
Refusals = tuple[str, Sequence[str]]
"""A status and the codes that have it."""


class Field(NamedTuple):
    """A parameter, or a member of an object, with the members that it has itself.

    `description` and `limits` are Markdown.
    """

    name: str
    type: str
    required: bool
    description: str
    limits: str
    example: Any
    fields: Sequence["Field"]

    def leaves(self, name: str = "") -> Iterator["Field"]:
        """Yield what can be written into one line each, named as in a query: `createdAt[gte]`."""
        name = name or self.name
        if not self.fields:
            yield self._replace(name=f"{name}[]" if self.type.startswith("list") else name)
        for field in self.fields:
            yield from field.leaves(f"{name}[{field.name}]")


class Thing(NamedTuple):
    """A kind of object that is answered with: its anchor, its members, one of its kind."""

    id: str
    title: str
    description: str
    fields: Sequence[Field]
    example: str


class Operation(NamedTuple):
    """One operation as the reference shows it.

    `methods` are the verbs that mean it; the first is shown and tried. `end_user` is the permission
    that opens it to end users, empty where none does; `publishable` that every page may send it;
    `repeatable` that it takes an Idempotency-Key. `body` is the example of its body as JSON, empty
    where it takes none. `errors` are its codes by status, without those that every operation has.
    """

    id: str
    title: str
    description: str
    methods: Sequence[str]
    path: str
    permission: str
    end_user: str
    publishable: bool
    repeatable: bool
    in_path: Sequence[Field]
    in_query: Sequence[Field]
    in_body: Sequence[Field]
    body: str
    options: Sequence[str]
    answer: str
    thing: Thing
    listed: bool
    errors: Sequence[Refusals]

    @property
    def method(self) -> str:
        """The verb that is shown."""
        return self.methods[0]

    @property
    def inputs(self) -> list[Field]:
        """The parameters of the query that have a value of their own."""
        return [leaf for field in self.in_query for leaf in field.leaves()]

    def command(self, url: str) -> str:
        """Return the operation as a command; ids are variables of the shell."""
        path = re.sub(r"\{(\w+)\}", lambda found: f"${found[1].upper()}_ID", self.path)
        plain = {"GET": "-G " if self.options else "", "POST": "" if self.body else "-X POST "}
        verb = plain.get(self.method, f"-X {self.method} ")
        lines = [f"curl {verb}{url}{path}", '-H "Authorization: $ALLY_KEY"', *self.options]
        return " \\\n  ".join(lines)


class Group(NamedTuple):
    """The operations of one resource, and the kinds of objects that they answer with."""

    path: str
    title: str
    description: str
    operations: Sequence[Operation]
    things: Sequence[Thing]


@cache
def groups() -> Sequence[Group]:
    """Return all that takes a key, by resource."""
    order = {title: place for place, title in enumerate(FIRST)}
    return sorted(_reader().groups(), key=lambda group: order.get(group.title, len(order)))


def usual_errors() -> Sequence[Refusals]:
    """Return what every operation that takes a key may be refused with."""
    return [*_by_status(_reader().usual)]


@cache
def _reader() -> "_Reader":
    return _Reader(json.loads(DOCUMENT.read_text()))


def find(path: str) -> Group | None:
    """Return the group whose page has a path."""
    return next((group for group in groups() if group.path == path), None)


class _Reader:
    """Reads one document."""

    def __init__(self, document: Json) -> None:
        self._document = document
        described = [each for methods in document["paths"].values() for each in methods.values()]
        keyed = [each for each in described if PERMISSION in each]
        refused = [self._errors(each["responses"]) for each in keyed]
        self.usual = {
            code: status
            for code, status in refused[0].items()
            if all(code in each for each in refused)
        }

    def groups(self) -> Iterator[Group]:
        keyed = [
            (tag, self._operation(path, method, described, methods))
            for path, methods in self._document["paths"].items()
            for method, described in methods.items()
            if PERMISSION in described and not (method == "patch" and "post" in methods)
            for tag in described["tags"]
        ]
        for tag in self._document["tags"]:
            operations = [operation for name, operation in keyed if name == tag["name"]]
            if operations:
                operations.sort(key=_reading_order)
                things = {each.thing.id: each.thing for each in operations}
                path = f"{INDEX}/{tag['name'].lower().replace(' ', '-')}"
                yield Group(path, tag["name"], tag["description"], operations, [*things.values()])

    def _operation(self, path: str, method: str, described: Json, others: Json) -> Operation:
        sent = [self._resolve(each) for each in described.get("parameters", ())]
        places = {
            place: [self._parameter(each) for each in sent if each["in"] == place]
            for place in ("path", "query")
        }
        body = self._resolve(_schema_of(described.get("requestBody", {"content": {}})))
        taken = self._fields(body, told=False)
        example = {field.name: field.example for field in _telling(taken)}
        shown = _schema_of(described["responses"]["200"])
        page = self._resolve(shown)
        listed = page.get("properties", {}).get("object", {}).get("const") == "list"
        thing = self._thing(page["properties"]["data"]["items"] if listed else shown)
        answer = thing.example
        if listed:
            one = {"object": "list", "url": path, "has_more": False, "data": [json.loads(answer)]}
            answer = _dump(one)
        refused = self._errors(described["responses"])
        refused = {code: refused[code] for code in refused if code not in self.usual}
        title, told = described["summary"].partition(",")[0], described["description"]
        query = {field.name: field.example for field in places["query"] if field.required}
        return Operation(
            id=described["operationId"],
            title=title,
            description=told.removeprefix(f"{title}.").strip(),
            methods=["POST", "PATCH"]
            if method == "post" and "patch" in others
            else [method.upper()],
            path=path,
            permission=described[PERMISSION],
            end_user=described.get("x-ally-end-user-permission", ""),
            publishable=described.get("x-ally-publishable", False),
            repeatable=any(each["name"] == "Idempotency-Key" for each in sent),
            in_path=places["path"],
            in_query=places["query"],
            in_body=taken,
            body=_dump(example) if body else "",
            options=[*_options(query or example)],
            answer=answer,
            thing=thing,
            listed=listed,
            errors=[*_by_status(refused)],
        )

    def _errors(self, responses: Json) -> dict[str, str]:
        """Return the codes that an operation is refused with, each with its status."""
        return {
            code: status
            for status, response in responses.items()
            for code in self._resolve(response)["content"]["application/json"].get("examples", ())
        }

    def _parameter(self, described: Json) -> Field:
        field = self._field(described["name"], described["schema"], told=False)
        return field._replace(
            required=described.get("required", False),
            description=described.get("description", field.description),
        )

    def _thing(self, reference: Json) -> Thing:
        name = reference["$ref"].rpartition("/")[2]
        schema = self._resolve(reference)
        title = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize().replace("Api", "API")
        description = schema.get("description", "")
        fields = self._fields(schema, told=True)
        return Thing(f"object-{name}", title, description, fields, _dump(self._sample(schema)))

    # --- Schemas ---------------------------------------------------------------------------------

    def _resolve(self, schema: Json) -> Json:
        """Follow a reference, and take the choice that is not null."""
        while True:
            if "$ref" in schema:
                target: Any = self._document
                for step in schema["$ref"].removeprefix("#/").split("/"):
                    target = target[step]
                schema = {**target, **{key: schema[key] for key in schema if key != "$ref"}}
            elif "anyOf" in schema:
                (choice,) = (each for each in schema["anyOf"] if each.get("type") != "null")
                schema = {**choice, **{key: schema[key] for key in schema if key != "anyOf"}}
            else:
                return schema

    def _fields(self, schema: Json, *, told: bool) -> list[Field]:
        """Return the members of an object, those that are required first if it is sent."""
        required = schema.get("required", ())
        fields = [
            self._field(name, each, told=told)._replace(required=not told and name in required)
            for name, each in schema.get("properties", {}).items()
        ]
        return sorted(fields, key=lambda field: not field.required)

    def _field(self, name: str, schema: Json, *, told: bool) -> Field:
        """Return a member. What is `told` by us can be null; what is sent as null is unset."""
        plain = self._resolve(schema)
        kind = _type(plain)
        if kind == "list":
            kind = f"list of {_type(self._resolve(plain.get('items', {})))}s"
        if told and _nullable(schema):
            kind += " or null"
        inner = self._resolve(plain["items"]) if "items" in plain else plain
        expanded = told and "object" in inner.get("properties", ())
        return Field(
            name=name,
            type=kind,
            required=False,
            description=plain.get("description", ""),
            limits=" ".join(_limits(plain if "items" not in plain else {**inner, **plain})),
            example=self._sample(plain),
            fields=[] if expanded else self._fields(inner, told=told),
        )

    def _sample(self, schema: Json) -> Any:
        """Return a value that a schema could have."""
        nullable = _nullable(schema)
        schema = self._resolve(schema)
        for name in ("examples", "x-extensible-enum", "enum"):
            if schema.get(name):
                return schema[name][0]
        for name in ("const", "default"):
            if name in schema:
                return schema[name]
        if "properties" in schema and not nullable:
            return {
                name: self._sample(each)
                for name, each in schema["properties"].items()
                if name in schema.get("required", ())
            }
        if nullable:
            return None
        kind = _type(schema)
        if kind == "list":
            return [each for each in [self._sample(schema["items"])] if each != UNKNOWN]
        return {"integer": 1, "number": 1, "boolean": True, "object": {}}.get(kind, UNKNOWN)


def _reading_order(operation: Operation) -> tuple[bool, int, str]:
    """Put what is done with any object first, in the order in which one does it."""
    verb = re.match("[a-z]+", operation.id)
    plain = re.fullmatch(r"/v1/\w+(/\{\w+\})?", operation.path) is not None
    known = verb is not None and verb[0] in VERBS
    return not (plain and known), VERBS.index(verb[0]) if verb and known else 0, operation.path


def _schema_of(part: Json) -> Json:
    """Return the schema of the JSON that is sent or answered with."""
    schema: Json = part["content"].get("application/json", {}).get("schema", {})
    return schema


def _by_status(refused: Mapping[str, str]) -> Iterator[Refusals]:
    """Yield each status and the codes that have it."""
    for status in sorted(set(refused.values())):
        yield status, [code for code, its in refused.items() if its == status]


def _telling(fields: Sequence[Field]) -> list[Field]:
    """Return the members that an example has."""
    required = [field for field in fields if field.required or field.name in USUAL]
    named = {field.name: field for field in fields}
    return required or [named[name] for name in TELLING if name in named][:1]


def _options(example: Json) -> Iterator[str]:
    """Yield the options of curl that send an example."""
    for name, value in _flat(example):
        if re.fullmatch(r"\w+Id", name):
            yield f"-d {name}=${re.sub(r'(?<=[a-z])(?=[A-Z])', '_', name).upper()}"
        else:
            flag = "-d" if re.fullmatch(r"[\w.@/:-]*", value) else "--data-urlencode"
            yield f"{flag} {shlex.quote(f'{name}={value}')}"


def _flat(value: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Yield the fields of a form that mean a value."""
    if isinstance(value, dict):
        for key, each in value.items():
            yield from _flat(each, f"{name}[{key}]" if name else key)
    elif isinstance(value, list):
        for each in value:
            yield from _flat(each, f"{name}[]")
    else:
        yield name, _text(value)


def _nullable(schema: Json) -> bool:
    return "null" in schema.get("type", ()) or any(
        each.get("type") == "null" for each in schema.get("anyOf", ())
    )


def _type(schema: Json) -> str:
    """Return what a value is, in a word or two."""
    kind = schema.get("type", "object")
    if isinstance(kind, list):
        (kind,) = (each for each in kind if each != "null")
    formats = {"date": "date", "date-time": "moment", "email": "e-mail address"}
    if kind == "array":
        return "list"
    return formats.get(schema.get("format", ""), str(kind))


def _limits(schema: Json) -> Iterator[str]:
    """Yield sentences on what a value can be."""
    for least, most, unit in (
        ("minLength", "maxLength", " characters"),
        ("minItems", "maxItems", " entries"),
        ("minProperties", "maxProperties", " members"),
        ("minimum", "maximum", ""),
    ):
        low, high = schema.get(least), schema.get(most)
        if low == high and low is not None:
            yield f"{low}{unit}."
        elif low is not None and high is not None:
            yield f"{low} to {high}{unit}."
        elif high is not None:
            yield f"At most {high}{unit}."
        elif low is not None:
            yield f"At least {low}{unit}."
    values = [f"`{value}`" for value in schema.get("enum", ()) if value is not None]
    if values:
        yield f"One of {', '.join(values)}."
    if schema.get("default") is not None:
        yield f"Default `{_text(schema['default'])}`."
    if "pattern" in schema and "examples" not in schema:
        yield f"Pattern `{schema['pattern']}`."
    if schema.get("examples") and _type(schema) != "boolean":
        yield f"Example `{_text(schema['examples'][0])}`."


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _dump(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)
