"""The language of `filter`: terms such as `createdAt>="2026-11-22"`, joined by `and`."""

import re
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Literal, NamedTuple

from shared import ids, words
from shared.backends import Condition, Operator
from shared.clock import isoformat
from shared.errors import ApiError, invalid
from shared.fields import iso_moment
from shared.forms import wrong

MILLISECOND = timedelta(milliseconds=1)
LONGEST_VALUE = 255
"""The characters of the longest value: no field that can be filtered by is longer."""

_TERM = re.compile(r'([A-Za-z.]{1,40})\s*(>=|<=|[:<>~])\s*"((?:[^"\\]|\\["\\])*)"')
_AND = re.compile(r"\s+and\s+")
_EXAMPLE = 'createdAt>="2026-11-22" and externalRef:"A-17"'
_RANGES: Mapping[str, Operator] = {">": ">", ">=": ">=", "<": "<", "<=": "<="}


class Filterable(NamedTuple):
    """A field that a list can be filtered by: where it is kept, and how.

    A `moment` takes comparisons; an `exact` field equality; `words` equality, or the beginnings of
    words. What is `personal` does not belong in a URL.
    """

    field: str
    kind: Literal["moment", "exact", "words"]
    personal: bool = False

    @property
    def operators(self) -> str:
        """The operators that the field takes."""
        return {"moment": "> >= < <= :", "exact": ":", "words": ": ~"}[self.kind]


class Term(NamedTuple):
    """One term of a filter: a field, how it is compared, and with what."""

    name: str
    operator: str
    value: str

    def conditions(self, known: Filterable, prefix: str) -> list[Condition]:
        """Return what the term asks of a store; `prefix` is that of the ids of the list."""
        if self.operator not in known.operators.split():
            raise wrong_filter(f"compares {self.name} by one of {known.operators}")
        if len(self.value) > LONGEST_VALUE:
            raise wrong_filter(f"compares {self.name} with more than {LONGEST_VALUE} characters")
        if known.kind == "exact":
            return [(known.field, "==", self.value)]
        if known.kind == "words":
            return [(known.field, "contains", self._sought())]
        try:
            moment = iso_moment(self.value)
        except ValueError as error:
            raise wrong_filter(f"has a value of {self.name} that {error}") from None
        operators = [">=", "<="] if self.operator == ":" else [self.operator]
        compare = created if known.field == "createdAt" else _changed
        return [compare(prefix, _RANGES[operator], moment) for operator in operators]

    def _sought(self) -> str:
        plain = words.normalise(self.value)
        if not plain or (self.operator == "~" and len(plain) > words.LONGEST):
            raise wrong_filter(f"seeks {self.name} by 1 to {words.LONGEST} letters or digits")
        return words.whole(self.value) if self.operator == ":" else plain


def read_filter(
    text: str, filterable: Mapping[str, Filterable], prefix: str, *, personal: bool
) -> Iterator[Condition]:
    """Yield what a filter asks of a store, or refuse it with 400.

    `prefix` is that of the ids of the list, `personal` says whether personal data may be named.
    """
    for term in _parse(text):
        known = filterable.get(term.name)
        if known is None:
            raise wrong_filter(f"names a field that is not one of {', '.join(filterable)}")
        if known.personal and not personal:
            raise ApiError("filter_personal", param="filter", field=term.name)
        yield from term.conditions(known, prefix)


def _parse(text: str) -> Iterator[Term]:
    position = 0
    text = text.strip()
    while True:
        matched = _TERM.match(text, position)
        if matched is None:
            raise wrong_filter(f"must be terms such as {_EXAMPLE}")
        name, operator, quoted = matched.groups()
        yield Term(name, operator, re.sub(r"\\(.)", r"\1", quoted))
        if matched.end() == len(text):
            return
        joint = _AND.match(text, matched.end())
        if joint is None:
            raise wrong_filter("must have its terms joined by and")
        position = joint.end()


def wrong_filter(reason: str) -> ApiError:
    """Say what is wrong with a filter."""
    return invalid([wrong("filter", reason)])


def created(prefix: str, operator: Operator, moment: datetime) -> Condition:
    """Return the condition on the ids of objects whose createdAt is in a range.

    What is shown of a creation is its millisecond, what the id holds its microsecond.
    """
    floor = _millisecond(moment)
    ceiling = floor if floor == moment else floor + MILLISECOND
    edge = {">": floor + MILLISECOND, ">=": ceiling, "<": ceiling, "<=": floor + MILLISECOND}
    return ("id", ">" if operator in (">", ">=") else "<", ids.place(prefix, edge[operator]))


def _changed(_: str, operator: Operator, moment: datetime) -> Condition:
    """Return the condition on updatedAt, which is kept as it is shown: to the millisecond."""
    floor = _millisecond(moment)
    # No millisecond is equal to a moment between two of them.
    sharp: Mapping[str, Operator] = {">=": ">", "<": "<="} if floor != moment else {}
    return ("updatedAt", sharp.get(operator, operator), isoformat(floor))


def _millisecond(moment: datetime) -> datetime:
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)
