"""Lists: newest first, one page at a time, found by id and never by number.

The id is the order, so a page costs the same at any depth, equal times neither skip nor repeat, and
the id of an object that was deleted still says where to go on.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Generic, TypeVar

from pydantic import Field

from shared import ids
from shared.backends import Operator
from shared.errors import invalid
from shared.forms import wrong
from shared.models import Line, Model, Record, Whole

R = TypeVar("R", bound=Record)


class ListQuery(Model):
    """The parameters of every list. A subclass adds fields that must equal those of the objects."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 10
    starting_after: Line | None = None
    ending_before: Line | None = None

    def filters(self) -> list[tuple[str, Operator, str]]:
        """Return what a subclass's fields ask for."""
        asked = self.model_dump(mode="json", exclude=set(ListQuery.model_fields), exclude_none=True)
        return [(name, "==", value) for name, value in asked.items()]

    def cursor(self, prefix: str) -> str | None:
        """Return the id that the page begins after, in the direction of `backwards`."""
        problems = []
        for name in ("starting_after", "ending_before"):
            value = getattr(self, name)
            if value is not None and not ids.is_id(prefix, value):
                reason = f"must be an id of this list, such as {prefix}_…"
                problems.append(wrong(name, reason))
        if self.starting_after is not None and self.ending_before is not None:
            problems.append(wrong("ending_before", "cannot be sent together with starting_after"))
        if problems:
            raise invalid(problems)
        return self.starting_after or self.ending_before

    @property
    def backwards(self) -> bool:
        """Whether the page ends before its cursor instead of starting after it."""
        return self.ending_before is not None


@dataclass(frozen=True, slots=True)
class Page(Generic[R]):
    """Some objects of a list in its order, and whether there are more in the page's direction."""

    data: list[R]
    has_more: bool

    @classmethod
    def cut(cls, found: list[R], limit: int, *, backwards: bool) -> "Page[R]":
        """Make a page of what was found, which is one more than the limit where there is more."""
        data = found[:limit]
        return cls(data[::-1] if backwards else data, has_more=len(found) > limit)


def bound(cursor: str | None, *, ascending: bool) -> list[tuple[str, Operator, Any]]:
    """Return the condition that a page lies beyond its cursor."""
    if cursor is None:
        return []
    return [("id", ">" if ascending else "<", cursor)]
