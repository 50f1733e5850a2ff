"""Lists: newest first, one page at a time, found by id and never by number.

The id is the order, so a page costs the same at any depth, equal times neither skip nor repeat, and
the id of an object that was deleted still says where to go on. An id begins with the moment of
creation, so a range of `createdAt` is a range of ids.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Generic, TypeVar

from pydantic import Field, StringConstraints

from shared import ids
from shared.backends import TERMS, Condition, Operator
from shared.errors import invalid
from shared.fields import Findable, Line, Shape, When, Whole
from shared.filters import Filterable, created, read_filter, wrong_filter
from shared.forms import wrong
from shared.models import Model, Record
from shared.words import normalise

R = TypeVar("R", bound=Record)
T = TypeVar("T")


Filter = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1000),
    Shape(format="filter", examples=['createdAt>="2026-11-22"']),
]


_ONE = "A page begins after one place, or ends before one."


class PageQuery(Model):
    """The parameters of every page."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 10
    """How many objects the page has at most."""
    starting_after: Line | None = None
    """The id of an object of the list: the page begins after it."""
    ending_before: Line | None = None
    """The id of an object of the list: the page ends before it. Not together with
    `starting_after`."""

    def cursor(self, prefix: str) -> str | None:
        """Return the id that the page begins after, in the direction of `backwards`."""
        problems = []
        for name in ("starting_after", "ending_before"):
            value = getattr(self, name)
            if value is not None and not ids.is_id(prefix, value):
                reason = f"must be an id of this list, such as {prefix}_…"
                problems.append(wrong(name, reason, "This is no place of this list."))
        if self.starting_after is not None and self.ending_before is not None:
            reason = "cannot be sent together with starting_after"
            problems.append(wrong("ending_before", reason, _ONE))
        if problems:
            raise invalid(problems)
        return self.starting_after or self.ending_before

    @property
    def backwards(self) -> bool:
        """Whether the page ends before its cursor instead of starting after it."""
        return self.ending_before is not None


class Between(Model):
    """A range of moments."""

    gt: When | None = None
    """After this moment."""
    gte: When | None = None
    """At this moment or after it."""
    lt: When | None = None
    """Before this moment."""
    lte: When | None = None
    """At this moment or before it."""


_BETWEEN: Mapping[str, Operator] = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


class ListQuery(PageQuery):
    """The parameters of every list of objects. A subclass adds fields that must equal theirs.

    `filterable` says which fields `filter` may name; `personal` whether personal data among them,
    also in live mode.
    """

    createdAt: Between | None = None
    """Only objects that were created in a range of moments."""
    filter: Filter | None = None
    """Terms of a field, an operator (`: > < >= <= ~`) and a value in double quotes."""

    filterable: ClassVar[Mapping[str, Filterable]] = {
        "createdAt": Filterable("createdAt", "moment"),
        "updatedAt": Filterable("updatedAt", "moment"),
    }
    personal: ClassVar[bool] = False

    def conditions(self, prefix: str, *, livemode: bool) -> list[Condition]:
        """Return what the listed objects must be."""
        conditions = self.equalities()
        for name, operator in _BETWEEN.items():
            moment = getattr(self.createdAt, name, None)
            if moment is not None:
                conditions.append(created(prefix, operator, moment))
        if self.filter is not None:
            personal = self.personal or not livemode
            conditions += read_filter(self.filter, self.filterable, prefix, personal=personal)
        if sum(operator == "contains" for _, operator, _ in conditions) > 1:
            raise wrong_filter("can seek by the beginnings of words once")
        return conditions

    def equalities(self) -> list[Condition]:
        """Return what a subclass's fields ask for."""
        asked = self.model_dump(mode="json", exclude=set(ListQuery.model_fields), exclude_none=True)
        return [(name, "==", value) for name, value in asked.items()]


class NamedQuery(ListQuery):
    """A list in which a name is sought, by how its words begin: its records have terms of it."""

    name: Findable | None = None

    def equalities(self) -> list[Condition]:
        """Return what a subclass's fields ask for, and the beginning of the name."""
        others = [each for each in super().equalities() if each[0] != "name"]
        return others if self.name is None else [*others, named(self.name)]


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Some objects of a list in its order, and whether there are more in the page's direction."""

    data: list[T]
    has_more: bool

    @classmethod
    def cut(cls, found: list[T], limit: int, *, backwards: bool) -> "Page[T]":
        """Make a page of what was found, which is one more than the limit where there is more."""
        data = found[:limit]
        return cls(data[::-1] if backwards else data, has_more=len(found) > limit)


def page_of(records: Sequence[R], query: PageQuery, prefix: str) -> Page[R]:
    """Make a page of few records that are all known, the newest first."""
    cursor = query.cursor(prefix)
    ordered = records[::-1] if query.backwards else records
    beyond = [
        record
        for record in ordered
        if cursor is None or (record.id > cursor if query.backwards else record.id < cursor)
    ]
    return Page.cut(beyond, query.limit, backwards=query.backwards)


def named(name: str) -> Condition:
    """Return the condition that a word of a record's name, and what follows it, begins so."""
    return (TERMS, "contains", normalise(name))


def bound(cursor: str | None, *, ascending: bool) -> list[Condition]:
    """Return the condition that a page lies beyond its cursor."""
    if cursor is None:
        return []
    return [("id", ">" if ascending else "<", cursor)]


def narrowed(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """Return conditions with at most one lower and one upper bound of the id, the tightest."""
    low, high = "", ""
    others = []
    for condition in conditions:
        field, operator, value = condition
        if field == "id" and operator == ">":
            low = max(low, value)
        elif field == "id" and operator == "<":
            high = min(high or value, value)
        else:
            others.append(condition)
    if low:
        others.append(("id", ">", low))
    if high:
        others.append(("id", "<", high))
    return tuple(others)
