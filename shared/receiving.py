"""From what a caller sent to a model: arranged, validated, and every problem found at once.

A tree of parameters is first arranged (objects, arrays and unset values as the model means them)
and then validated. No problem repeats a value, and a name only where it looks like one.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from functools import cache
from types import NoneType
from typing import Annotated, Any, Generic, Literal, Self, TypeVar, get_args, get_origin

from pydantic import ValidationError

from shared.errors import ApiError
from shared.fields import Intake
from shared.forms import Tree, speakable, wrong
from shared.models import Model

M = TypeVar("M", bound=Model)

F = TypeVar("F")

MOST_SUGGESTIONS = 10
"""How many unknown names of one request are told which known one is near."""

EXPAND = "expand"
"""The parameter that every route has, beside those of its models."""


class Form(Generic[F]):
    """What somebody typed into a form: its value, or what is wrong with which field.

    `sent` is the tree as it was typed, to be shown again; `errors` has a sentence for each field,
    by its name in bracket form, and under the empty name what is wrong with all of it.
    """

    def __init__(self, sent: Tree, value: F | None, problems: Iterable[ApiError] = ()) -> None:
        self.sent = sent
        self.value = value
        self.errors: dict[str, str] = {}
        for problem in problems:
            self.blame(problem)

    def blame(self, refusal: ApiError) -> None:
        """Note a refusal where its field is."""
        for problem in refusal.problems or [refusal]:
            name, sentence = problem.param or "", problem.plain()
            field, _, line = name.partition("[")
            if line and isinstance(self.sent.get(field), str):  # several, typed line by line
                name, sentence = field, f"In one line: {sentence[:1].lower()}{sentence[1:]}"
            self.errors.setdefault(name, sentence)
        self.value = None

    @contextmanager
    def blaming(self) -> Iterator[None]:
        """Note a refusal of what is done within, and go on after it."""
        try:
            yield
        except ApiError as refusal:
            self.blame(refusal)

    def saying(self, sentence: str, name: str = "") -> Self:
        """Return the form with what is wrong with a field, or with all of it."""
        self.errors.setdefault(name, sentence)
        self.value = None
        return self

    def text(self, name: str) -> str:
        """Return what was typed into a field, by its name in bracket form."""
        node: Any = self.sent
        for step in name.replace("]", "").split("["):
            node = node.get(step) if isinstance(node, dict) else None
        return node if isinstance(node, str) else ""

    def chosen(self, name: str) -> list[str]:
        """Return what was chosen of several, by the name of the field."""
        found = self.sent.get(name, [])
        return found if isinstance(found, list) else [found]


def receive(model: type[M], tree: Tree, intake: Intake, problems: list[ApiError]) -> M | None:
    """Validate what a caller sent; None where something is wrong, which joins the problems."""
    found: list[ApiError] = []
    arranged = arrange(model, tree, "", found)
    named = {problem.param for problem in found}
    received = None
    try:
        received = model.model_validate(arranged, context=intake)
    except ValidationError as error:
        details = (_problem(detail) for detail in error.errors(include_url=False))
        found += [problem for problem in details if problem.param not in named]
    problems += found
    return None if found else received


def arrange(annotation: Any, value: Any, path: str, problems: list[ApiError]) -> Any:
    """Return the value in the shape that a type means, adding what cannot be to the problems.

    An empty text means unset. An object whose members are all numbers is the array that the model
    expects, for a form cannot tell the two apart. A member that the model does not know is a
    problem, with the nearest name that it does know.
    """
    if (value == "" or value is None) and path:
        return None
    form, kind = _meaning(annotation)
    if form == "object":
        return _arrange_object(kind, value, path, problems)
    if form == "map":
        return _arrange_map(value, path, problems)
    if form == "array":
        return _arrange_array(kind, value, path, problems)
    if isinstance(value, dict | list):
        _refuse(problems, path, "must be one value, given once")
        return None
    return value


def _arrange_object(
    model: type[Model], value: Any, path: str, problems: list[ApiError]
) -> Tree | None:
    if not isinstance(value, dict):
        member = next(iter(model.model_fields))
        _refuse(problems, path, f"must be one object, such as {path}[{member}]")
        return None
    arranged = {}
    for name, member in value.items():
        inner = f"{path}[{name}]" if path else name
        info = model.model_fields.get(name)
        if info is None:
            suggesting = len(problems) < MOST_SUGGESTIONS
            problems.append(_unknown(inner, path, name, model, suggesting=suggesting))
            continue
        arranged[name] = arrange(info.annotation, member, inner, problems)
        if arranged[name] is None and info.default is not None and not info.is_required():
            del arranged[name]  # what is unset has its default again
    return arranged


def _arrange_map(value: Any, path: str, problems: list[ApiError]) -> Tree | None:
    if not isinstance(value, dict):
        _refuse(problems, path, "must be an object")
        return None
    for name, member in value.items():
        if isinstance(member, dict | list):
            inner = f"{path}[{name}]"
            known = speakable(inner)
            if path == "metadata":
                problems.append(ApiError("metadata_nested", param=known, name=known or "a value"))
            else:
                _refuse(problems, inner, "must be one value")
    return {name: None if _is_blank(member) else member for name, member in value.items()}


def _is_blank(value: Any) -> bool:
    return isinstance(value, str) and not value.strip()


def _arrange_array(item: Any, value: Any, path: str, problems: list[ApiError]) -> list[Any]:
    if (
        isinstance(value, dict)
        and value
        and all(re.fullmatch("[0-9]{1,4}", name) for name in value)
    ):
        value = [value[name] for name in sorted(value, key=int)]
    elif not isinstance(value, list):
        value = [value]
    return [
        arrange(item, member, f"{path}[{index}]", problems) for index, member in enumerate(value)
    ]


@cache
def _meaning(annotation: Any) -> tuple[Literal["object", "map", "array", "value"], Any]:
    """Return what a type, however annotated or optional, means: its form, and that of what."""
    if get_origin(annotation) is Annotated:
        return _meaning(get_args(annotation)[0])
    inner = [part for part in get_args(annotation) if part is not NoneType]
    if len(inner) == 1 and len(inner) < len(get_args(annotation)):
        return _meaning(inner[0])
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return "object", annotation
    if get_origin(annotation) is dict:
        return "map", annotation
    if get_origin(annotation) is list:
        return "array", inner[0]
    return "value", annotation


def _refuse(problems: list[ApiError], path: str, reason: str) -> None:
    problems.append(wrong(path, reason))


def _unknown(inner: str, path: str, name: str, model: type[Model], *, suggesting: bool) -> ApiError:
    known = speakable(inner)
    # Looking for near names takes the longer, the more and the longer names there are.
    names = {each.lower(): each for each in (*model.model_fields, *(() if path else (EXPAND,)))}
    near = get_close_matches(name.lower(), names, n=1) if known and suggesting else []
    meant = (f"{path}[{names[near[0]]}]" if path else names[near[0]]) if near else None
    return ApiError(
        "parameter_unknown",
        param=known,
        name=known or "One name",
        suggestion=f"Did you mean {meant}?" if meant else "Leave it out.",
    )


_SENTENCES: Mapping[str, str] = {
    "string_too_short": "must have at least {min_length} characters",
    "string_too_long": "must have at most {max_length} characters",
    "string_pattern_mismatch": "is not of the form that is expected",
    "string_type": "must be text",
    "string_unicode": "must be text",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "literal_error": "must be {expected}",
    "model_type": "must be one object",
    "list_type": "must be an array",
    "dict_type": "must be an object",
    "too_long": "must have at most {max_length} members",
}
_PLAIN: Mapping[str, str] = {
    "string_too_short": "Write at least {min_length} characters.",
    "string_too_long": "Write at most {max_length} characters.",
    "string_type": "Write a text.",
    "string_unicode": "Write a text.",
    "int_type": "Write a whole number.",
    "int_parsing": "Write a whole number.",
    "int_from_float": "Write a whole number.",
    "bool_type": "Choose one of those that are offered.",
    "bool_parsing": "Choose one of those that are offered.",
    "literal_error": "Choose one of those that are offered.",
    "too_long": "Write at most {max_length} of them.",
}
"""The same for people, where they are told it in other words."""


def _problem(detail: Any) -> ApiError:
    """Turn what pydantic found into a refusal that repeats no value."""
    location = [str(step) for step in detail["loc"] if step != "[key]"]
    path = "".join([*location[:1], *(f"[{step}]" for step in location[1:])])
    whose = ""
    if speakable(path) is None:  # what holds it has a name that we know
        path = location[0]
        whose = "" if detail["loc"][-1] == "[key]" else "has a value that "
    name = speakable(path)
    if detail["type"] == "missing" or detail["input"] is None:
        return ApiError("parameter_missing", param=name, name=name or "A parameter")
    facts = detail.get("ctx", {})
    plain = _PLAIN.get(detail["type"], "").format(**facts)
    if facts.get("min_length") == 1:
        plain = "Fill this in."
    if detail["type"] == "value_error":
        reason = str(facts["error"])
        plain = getattr(facts["error"], "plain", "")
    elif detail["type"].startswith("date"):
        reason = "must be a date such as 2026-11-22"
    else:
        reason = _SENTENCES[detail["type"]].format(**facts)
    return wrong(path, whose + reason, plain)
