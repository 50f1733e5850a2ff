"""What of an OpenAPI document a client of an earlier one would trip over, in sentences.

What is sent must still be accepted, so a new schema of it may only allow more. What is shown must
still be understood, so a new schema of it may only promise more.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from tests.support.document import Json, resolve

Direction = Literal["sent", "shown"]
SUCCESS = "200"
LOWER = ("minLength", "minimum", "minItems", "minProperties")
UPPER = ("maxLength", "maximum", "maxItems", "maxProperties")
EXACT = ("pattern", "format", "const")


def breaks(old: Json, new: Json) -> list[str]:
    """Return a sentence for each change that breaks a client, each once."""
    return list(dict.fromkeys(_Comparison(old, new).sentences()))


class _Comparison:
    def __init__(self, old: Json, new: Json) -> None:
        self._old = old
        self._new = new
        self._compared: set[tuple[Direction, str, str]] = set()

    def sentences(self) -> Iterator[str]:
        for name in self._old["components"]["securitySchemes"]:
            if name not in self._new["components"]["securitySchemes"]:
                yield f"The security scheme `{name}` is gone."
        for path, methods in self._old["paths"].items():
            for method, operation in methods.items():
                where = f"{method.upper()} {path}"
                now = self._new["paths"].get(path, {}).get(method)
                if now is None:
                    yield f"{where} is gone."
                else:
                    yield from self._operation(where, operation, now)
        for name, webhook in self._old["webhooks"].items():
            now = self._new["webhooks"].get(name)
            if now is None:
                yield f"The webhook `{name}` is gone."
            else:
                before, after = (each["post"]["requestBody"]["content"] for each in (webhook, now))
                yield from self._contents(f"The webhook `{name}`", before, after, "shown")

    def _operation(self, where: str, old: Json, new: Json) -> Iterator[str]:
        for member in ("operationId", "x-ally-permission", "x-ally-end-user-permission"):
            if member in old and new.get(member) != old[member]:
                yield f"{where}: the {member} `{old[member]}` is now `{new.get(member)}`."
        if "x-ally-permission" in new and "x-ally-permission" not in old:
            yield f"{where} now takes a key."
        schemes = [{name for each in op.get("security", ()) for name in each} for op in (old, new)]
        for name in sorted(schemes[0] - schemes[1] if new.get("security") else ()):
            yield f"{where} no longer takes `{name}`."
        yield from self._parameters(where, old, new)
        yield from self._body(where, old, new)
        answers = [
            resolve(document, operation["responses"].get(SUCCESS, {}))
            for document, operation in ((self._old, old), (self._new, new))
        ]
        if not answers[1]:
            yield f"{where} no longer answers {SUCCESS}."
            return
        for name in answers[0].get("headers", ()):
            if name not in answers[1].get("headers", ()):
                yield f"{where}: the header `{name}` is gone."
        before, after = (each.get("content", {}) for each in answers)
        yield from self._contents(where, before, after, "shown")

    def _parameters(self, where: str, old: Json, new: Json) -> Iterator[str]:
        before, after = (
            {
                (each["in"], each["name"]): each
                for each in (resolve(document, raw) for raw in operation.get("parameters", ()))
            }
            for document, operation in ((self._old, old), (self._new, new))
        )
        for key, parameter in before.items():
            told = f"{where}: `{key[1]}`"
            now = after.get(key)
            if now is None:
                yield f"{told} is gone."
                continue
            if now.get("required") and not parameter.get("required"):
                yield f"{told} is now required."
            if _style(now) != _style(parameter):
                yield f"{told} is now written otherwise."
            yield from self._schema(told, parameter["schema"], now["schema"], "sent")
        for key, parameter in after.items():
            if key not in before and parameter.get("required"):
                yield f"{where}: `{key[1]}` is now required."

    def _body(self, where: str, old: Json, new: Json) -> Iterator[str]:
        before, after = (each.get("requestBody") for each in (old, new))
        if before is None:
            if after is not None and after.get("required"):
                yield f"{where} now requires a body."
        elif after is None:
            yield f"{where} no longer takes a body."
        else:
            if after.get("required") and not before.get("required"):
                yield f"{where} now requires a body."
            yield from self._contents(where, before["content"], after["content"], "sent")

    def _contents(self, where: str, old: Json, new: Json, direction: Direction) -> Iterator[str]:
        for kind, content in old.items():
            if kind not in new:
                yield f"{where}: {kind} is gone."
            else:
                yield from self._schema(where, content["schema"], new[kind]["schema"], direction)

    # --- Schemas ---------------------------------------------------------------------------------

    def _schema(self, where: str, old: Json, new: Json, direction: Direction) -> Iterator[str]:
        name = _component(old)
        if name:
            where = f"`{name}`"
            pair = direction, name, _component(new)
            if pair in self._compared:
                return
            self._compared.add(pair)
        before, after = _plain(self._old, old), _plain(self._new, new)
        narrow, wide = (before, after) if direction == "sent" else (after, before)
        lost = sorted(_types(narrow) - _types(wide))
        if lost:
            verb = "may no longer" if direction == "sent" else "may now"
            yield f"{where} {verb} be {' or '.join(lost)}."
        yield from _values(where, narrow, wide, direction)
        yield from self._members(where, before, after, direction)
        for member in ("items", "additionalProperties", "propertyNames"):
            held, holds = before.get(member), after.get(member)
            if isinstance(held, dict) and isinstance(holds, dict):
                yield from self._schema(f"What {where} holds", held, holds, direction)
            elif direction == "sent" and held != holds and holds not in (None, True):
                yield f"{where} may no longer hold what it held."

    def _members(self, where: str, old: Json, new: Json, direction: Direction) -> Iterator[str]:
        before, after = (each.get("properties", {}) for each in (old, new))
        required = [set(each.get("required", ())) for each in (old, new)]
        for name, each in before.items():
            told = f"{where}: `{name}`"
            if name not in after:
                yield f"{told} is gone."
            else:
                yield from self._schema(told, each, after[name], direction)
        if direction == "sent":
            for name in sorted(required[1] - required[0]):
                yield f"{where}: `{name}` is now required."
        else:
            for name in sorted((required[0] - required[1]) & set(after)):
                yield f"{where}: `{name}` may now be missing."


def _values(where: str, narrow: Json, wide: Json, direction: Direction) -> Iterator[str]:
    """Yield what the narrow schema allows and the wide one, which should allow more, does not."""
    if "enum" in wide:
        lost = [each for each in narrow.get("enum", ["anything"]) if each not in wide["enum"]]
        if lost:
            verb = "may no longer" if direction == "sent" else "may now"
            yield f"{where} {verb} be {' or '.join(f'`{each}`' for each in lost)}."
    if direction == "sent":
        yield from _bounds(where, narrow, wide)
    elif "const" in wide and narrow.get("const") != wide["const"]:
        yield f"{where} is now `{narrow.get('const')}`."
    elif "format" in wide and narrow.get("format") != wide["format"]:
        yield f"{where} now has the format `{narrow.get('format')}`."


def _bounds(where: str, old: Json, new: Json) -> Iterator[str]:
    """Yield the bounds of what is sent that are closer than they were."""
    closer = [member for member in LOWER if new.get(member, 0) > old.get(member, 0)]
    closer += [member for member in UPPER if new.get(member, math.inf) < old.get(member, math.inf)]
    for member in closer:
        yield f"{where} now has a {member} of {new[member]}."
    for member in EXACT:
        if member in new and new[member] != old.get(member):
            yield f"{where} now has the {member} `{new[member]}`."


def _plain(document: Json, schema: Json) -> Json:
    """Return a schema without its reference, and with null among its types."""
    plain = {key: each for key, each in schema.items() if key != "anyOf"}
    plain = {**resolve(document, plain), **plain}
    for choice in schema.get("anyOf", ()):
        inner = _plain(document, choice)
        plain = {**inner, **plain, "type": sorted({*_types(plain, {}), *_types(inner, {})})}
    return plain


def _types(schema: Json, unsaid: Mapping[str, Any] = {"anything": None}) -> set[str]:
    kinds = schema.get("type", list(unsaid))
    found = {kinds} if isinstance(kinds, str) else set(kinds)
    return found | ({"integer"} if "number" in found else set())


def _component(schema: Json) -> str:
    for each in (schema, *schema.get("anyOf", ())):
        if "$ref" in each:
            return str(each["$ref"].rpartition("/")[2])
    return ""


def _style(parameter: Json) -> tuple[Any, Any]:
    return parameter.get("style"), parameter.get("explode")
