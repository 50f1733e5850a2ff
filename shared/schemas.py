"""From models to the JSON Schemas of the documentation: of what is sent, and of what is shown.

What is sent is closed: another member, or another word of an enumeration, is refused. What is shown
is open, for it may grow: its enumerations are texts whose known values are listed. No member of it
is ever missing; what is absent is null.

A field is described by its docstring, an object by that of its class, a type by its Shape
(shared/fields.py). Nothing here runs while a request is served.
"""

import ast
import inspect
import sys
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Annotated, Any, get_args

from pydantic import TypeAdapter

from shared import ids
from shared.models import Model, Resource

Json = dict[str, Any]

REFERENCE = "#/components/schemas/{model}"
_EXAMPLE_AT = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
_EXAMPLE_TAIL = "aB3dE5gH7jK9m"
_EXAMPLES: Mapping[str, object] = {
    "livemode": False,
    "firstName": "Ada",
    "lastName": "Lovelace",
    "dateOfBirth": "1985-12-10",
    "line1": "10 Example Street",
    "city": "London",
    "timezone": "Europe/London",
    "displayName": "Demo Health",
    "name": "Reporting",
    "maskedKey": "test_8DnxlVlj6aB3dE5gH7jK9m2Q.…x7Qz",
    "externalRef": "A-17",
    "note": "Ring twice: the patient walks slowly.",
    "endUserId": "kD3xN7qUo2aVbR5tYpWz8sLmE1f2",
    "AppointmentWindow.id": f"win_8DnxlVlj6{_EXAMPLE_TAIL}",
    "Appointment.status": "scheduled",
    "EventAppointment.status": "scheduled",
    "Appointment.window": {
        "id": f"win_8DnxlVlj6{_EXAMPLE_TAIL}",
        "startAt": "2026-11-24T10:00:00.000Z",
        "endAt": "2026-11-24T12:00:00.000Z",
        "timezone": "Europe/London",
    },
    "PatientSearch.name": "love",
    "Deleted.id": f"p_8DnxlVlj6{_EXAMPLE_TAIL}",
    "Deleted.object": "patient",
}
"""Values of fields whose type has no example of its own, by the name of the field."""


class Schemas:
    """The schemas of a document's components, each made when it is first asked for.

    `prefixes` are what ids begin with, by the kind of object: `p` by `patient`.
    """

    def __init__(self, prefixes: Mapping[str, str]) -> None:
        self.components: dict[str, Json] = {}
        self._prefixes = prefixes
        self._made_of: dict[type[Model], type[Model]] = {}
        self._closed: dict[str, bool] = {}

    def relate(self, shown: type[Model], sent: type[Model]) -> None:
        """Remember what objects of a kind are made of: the fields of both mean the same."""
        self._made_of.setdefault(shown, sent)
        for name in shown.model_fields.keys() & sent.model_fields.keys():
            pair = [_models(each.model_fields[name].annotation) for each in (shown, sent)]
            for inner_shown, inner_sent in zip(*pair, strict=False):
                self.relate(inner_shown, inner_sent)

    def _begin(self, name: str, *, closed: bool) -> bool:
        """Begin a component, unless it is there. None is both of what is sent and what is shown."""
        if self._closed.setdefault(name, closed) != closed:
            raise TypeError(f"{name} is both sent and shown: give each a model of its own")
        if name in self.components:
            return False
        self.components[name] = {}
        return True

    # --- What is sent ----------------------------------------------------------------------------

    def sent(self, model: type[Model]) -> Json:
        """Return a reference to the schema of what is sent."""
        name = _sent_name(model)
        if self._begin(name, closed=True):
            properties = self.sent_fields(model)
            required = [key for key, info in model.model_fields.items() if info.is_required()]
            self.components[name] = {
                "type": "object",
                "description": prose(inspect.getdoc(model)),
                "properties": properties,
                **({"required": required} if required else {}),
                "additionalProperties": False,
            }
        return _reference(name)

    def sent_fields(self, model: type[Model]) -> dict[str, Json]:
        """Return the schema of each field of what is sent, what is not required may be null."""
        fields = {}
        for name, info in model.model_fields.items():
            schema = self._field(model, name, "validation")
            for inner in _models(info.annotation):
                schema = _redirected(schema, inner.__name__, self.sent(inner)["$ref"])
            kind = name.removesuffix("Id")
            if kind in self._prefixes and kind != name:
                schema |= {"examples": self.identity(kind)["examples"]}
            if info.default is not None and not info.is_required():
                schema["default"] = info.default
            fields[name] = schema
        return fields

    def segment(self, name: str, kind: Any) -> Json:
        """Return the schema of a part of a path: the id of an object, or what its type says."""
        if name in self._prefixes:
            told = f"The id of the {words(name)}."
            return {"type": "string", **self.identity(name), "description": told}
        return TypeAdapter(kind).json_schema()

    def identity(self, kind: str) -> Json:
        """Return the pattern of the ids of a kind of object, and an example."""
        return identity(self._prefixes[kind])

    # --- What is shown ---------------------------------------------------------------------------

    def shown(self, model: type[Model]) -> Json:
        """Return a reference to the schema of what is shown."""
        name = _shown_name(model)
        if self._begin(name, closed=False):
            private = getattr(model, "private", ())
            properties = {
                field: self._shown_field(model, field)
                for field in model.model_fields
                if field not in private
            }
            required = list(properties)
            for field, expansion in getattr(model, "expands", {}).items():
                properties[field] = _nullable(self.shown(expansion.model)) | {
                    "description": f"The {field} in full, where `expand` asks for it."
                }
            self.components[name] = {
                "type": "object",
                "description": prose(inspect.getdoc(model)),
                "properties": properties,
                "required": required,
            }
        return _reference(name)

    def _shown_field(self, model: type[Model], name: str) -> Json:
        schema = self._field(model, name, "serialization")
        if name == "object" and kind_of(model):
            return {"type": "string", "const": kind_of(model), "description": schema["description"]}
        for inner in _models(model.model_fields[name].annotation):
            schema = _redirected(schema, inner.__name__, self.shown(inner)["$ref"])
        source = self._made_of.get(model)
        if source is not None and name in source.model_fields:
            meant = self._field(source, name, "validation")
            schema.setdefault("description", meant.get("description", ""))
            if schema.get("type") == meant.get("type") and "format" not in schema:
                schema |= {key: meant[key] for key in ("format", "examples") if key in meant}
        kind = kind_of(model) if name == "id" else name.removesuffix("Id")
        if kind in self._prefixes and (name == "id" or kind != name):
            schema["examples"] = self.identity(kind)["examples"]
        return _opened(schema)

    def _field(self, model: type[Model], name: str, mode: Any) -> Json:
        """Return the schema that a field's type has, with what its docstring says."""
        info = model.model_fields[name]
        kind: Any = Annotated[(info.annotation, *info.metadata, "documented")]
        # A list of them, for the schema itself must be a reference where the type is a model.
        listed = TypeAdapter(list[kind]).json_schema(mode=mode, ref_template=REFERENCE)
        schema: Json = _plain(listed["items"])
        # Every object has some members in common, whether it is stored or not.
        documented = {**field_docs(Resource), **field_docs(model)}
        told = [documented.get(name), schema.pop("description", None)]
        if any(told):
            schema["description"] = " ".join(filter(None, told))
        example = _EXAMPLES.get(f"{model.__name__}.{name}", _EXAMPLES.get(name))
        if example is not None:
            schema.setdefault("examples", [example])
        return schema


def kind_of(model: type[Model]) -> str:
    """Return the kind of object that a model is, such as `api_key`; empty where it is none."""
    info = model.model_fields.get("object")
    if info is None:
        return ""
    constant = get_args(info.annotation) or (info.default,)
    return constant[0] if isinstance(constant[0], str) else ""


def pascal(words: str) -> str:
    """Write `api_key` as `ApiKey`."""
    return "".join(word[:1].upper() + word[1:] for word in words.split("_"))


def words(kind: str) -> str:
    """Write `api_key` as `API key`."""
    return kind.replace("_", " ").replace("api ", "API ")


def example_id(prefix: str) -> str:
    """Return an id that no object has."""
    return ids.place(prefix, _EXAMPLE_AT, _EXAMPLE_TAIL)


def identity(prefix: str) -> Json:
    """Return the pattern of ids with a prefix, and an example."""
    return {"pattern": ids.pattern(prefix), "examples": [example_id(prefix)]}


def prose(text: str | None) -> str:
    """Return a docstring as Markdown, each paragraph in a line."""
    paragraphs = inspect.cleandoc(text or "").split("\n\n")
    return "\n\n".join(" ".join(each.split()) for each in paragraphs)


@cache
def field_docs(model: type[Model]) -> Mapping[str, str]:
    """Return the docstrings of a model's fields, those that it inherits included."""
    found: dict[str, str] = {}
    for each in reversed(model.__mro__):
        found |= _docs_of_classes(each.__module__).get(each.__name__, {})
    return found


@cache
def _docs_of_classes(module: str) -> Mapping[str, Mapping[str, str]]:
    """Return the docstrings of the fields of each class of a module of ours."""
    if not module.startswith(("shared.", "functions.")):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    classes = (node for node in tree.body if isinstance(node, ast.ClassDef))
    return {node.name: dict(_documented(node.body)) for node in classes}


def _documented(body: list[ast.stmt]) -> Iterator[tuple[str, str]]:
    """Yield each field that a text follows, and that text."""
    for field, after in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name):
            text = after.value if isinstance(after, ast.Expr) else None
            if isinstance(text, ast.Constant) and isinstance(text.value, str):
                yield field.target.id, prose(text.value)


def _models(annotation: Any) -> list[type[Model]]:
    """Return the models that a type is made of."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _sent_name(model: type[Model]) -> str:
    name = model.__name__
    return f"{name.removesuffix('In')}Input" if name.endswith("In") else name


def _shown_name(model: type[Model]) -> str:
    """Return the name of the kind of object that a resource is, or that of the model."""
    info = model.model_fields.get("object")
    return model.__name__ if info is None or info.is_required() else pascal(info.default)


def _reference(name: str) -> Json:
    return {"$ref": REFERENCE.format(model=name)}


def _nullable(schema: Json) -> Json:
    return {"anyOf": [schema, {"type": "null"}]}


def _redirected(schema: Any, name: str, target: str) -> Any:
    """Return a schema whose references to a model lead to its component."""
    if isinstance(schema, list):
        return [_redirected(each, name, target) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("$ref") == REFERENCE.format(model=name):
        schema = {**schema, "$ref": target}
    return {key: _redirected(each, name, target) for key, each in schema.items()}


def _plain(schema: Any) -> Any:
    """Return a schema of pydantic's as one writes it by hand."""
    if isinstance(schema, list):
        return [_plain(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # Where a validator stands before a number, pydantic leaves its own names of the bounds.
    renamed = {"ge": "minimum", "le": "maximum"}
    plain = {renamed.get(key, key): _plain(each) for key, each in schema.items() if key != "title"}
    for pattern, held in plain.pop("patternProperties", {}).items():
        plain |= {"propertyNames": {"pattern": pattern}, "additionalProperties": held}
    choices = plain.get("anyOf")
    if choices is not None and choices[-1] == {"type": "null"} and "$ref" not in choices[0]:
        (one, _) = choices
        del plain["anyOf"]
        one = {**one, "type": [one["type"], "null"], **plain}
        return {**one, "enum": [*one["enum"], None]} if "enum" in one else one
    return plain


def _opened(schema: Json) -> Json:
    """Return the schema of what is shown: enumerations may grow."""
    opened = {
        key: _opened(each) if isinstance(each, dict) and key != "properties" else each
        for key, each in schema.items()
        if key != "default"
    }
    if "enum" in opened:
        values = [value for value in opened.pop("enum") if value is not None]
        known = f"One of {', '.join(f'`{value}`' for value in values)}; there may be more some day."
        opened["description"] = f"{opened.get('description', '')} {known}".strip()
        opened["x-extensible-enum"] = values
        opened.setdefault("examples", values[:1])
    return opened
