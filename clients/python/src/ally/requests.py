"""A request as data: what is asked, of what kind the answer is, and how it is written down."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date
from typing import Any, Generic, Literal, NamedTuple, Self, TypeVar
from urllib.parse import quote, urlencode

from ally.objects import read
from ally.params import WriteOptions

T = TypeVar("T")

Method = Literal["GET", "POST", "DELETE"]

OPTIONS = WriteOptions.__annotations__.keys()
"""What is said to the client, and not to the API."""


class Batch(NamedTuple, Generic[T]):
    """The objects of one page, and whether there are more in its direction."""

    data: list[T]
    has_more: bool


@dataclass(frozen=True, slots=True, repr=False)
class Request(Generic[T]):
    """One request, and the kind of object that it is answered with, or with a page of them."""

    method: Method
    template: str
    path: str
    shows: type[T]
    params: Mapping[str, Any]
    options: Mapping[str, Any]

    def __repr__(self) -> str:
        return f"Request({self.method} {self.template})"  # never a parameter

    def asking(self, **params: Any) -> Self:
        """Return the same request with other values of some parameters; None leaves one out."""
        merged = {**self.params, **params}
        kept = {name: value for name, value in merged.items() if value is not None}
        return replace(self, params=kept)

    @property
    def target(self) -> str:
        """The path and the query string, with brackets where a parameter has parts."""
        if self.method == "POST":
            return self.path
        pairs = [pair for name, value in self.params.items() for pair in _pairs(name, value)]
        return f"{self.path}?{urlencode(pairs)}" if pairs else self.path

    @property
    def body(self) -> Any:
        """The JSON value that is sent, if any."""
        return _plain(self.params) if self.method == "POST" else None

    def one(self, answer: Any) -> T:
        """Read the object that an answer is."""
        return read(self.shows, answer)

    def many(self, answer: Any) -> Batch[T]:
        """Read the page that an answer is."""
        listed = read(dict[str, Any], answer)
        data = [self.one(each) for each in read(list[Any], listed.get("data"))]
        return Batch(data, has_more=read(bool, listed.get("has_more")))


def ask(
    method: Method, template: str, shows: type[T], given: Mapping[str, object], *ids: str
) -> Request[T]:
    """Make a request of what a caller gave: options by their names, the rest is parameters.

    `ids` fill the template's braces. ValueError says which of them can be no id.
    """
    for each in ids:
        if each in ("", ".", "..") or "/" in each:  # servers take %2F for a slash too
            raise ValueError(f"{each!r} is not an id")
    return Request(
        method,
        template,
        template.format(*(quote(each, safe="") for each in ids)),
        shows,
        {name: value for name, value in given.items() if name not in OPTIONS},
        {name: value for name, value in given.items() if name in OPTIONS},
    )


def _pairs(name: str, value: Any) -> Iterator[tuple[str, str]]:
    value = _plain(value)
    if isinstance(value, dict):
        for part, each in value.items():
            yield from _pairs(f"{name}[{part}]", each)
    elif isinstance(value, list):
        for each in value:
            yield from _pairs(f"{name}[]", each)
    elif isinstance(value, bool):
        yield name, str(value).lower()
    elif value is not None:
        yield name, str(value)


def _plain(value: Any) -> Any:
    """Return a value as JSON has it. An object of an answer is what is known of it."""
    if is_dataclass(value) and not isinstance(value, type):
        known = {each.name: getattr(value, each.name) for each in fields(value)}
        return {
            name: _plain(each)
            for name, each in known.items()
            if name != "extra" and each is not None
        }
    if isinstance(value, Mapping):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value
