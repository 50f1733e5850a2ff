"""Answers that are tables too: the same numbers as CSV (RFC 4180), for who accepts `text/csv`."""

import re
from collections.abc import Iterable, Sequence
from typing import Protocol, runtime_checkable

CSV = "text/csv"
_FORMULA = re.compile(r"[=+\-@\t\r\uff1d\uff0b\uff0d\uff20]")
"""What a spreadsheet takes for the beginning of a formula: the four signs in full width too."""
_QUALITY = re.compile(r"\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*", re.IGNORECASE)

Cell = str | int | float | None


@runtime_checkable
class Table(Protocol):
    """What a spreadsheet can hold."""

    def rows(self) -> Iterable[Sequence[Cell]]:
        """Return the names of the columns, and then each row."""


def as_csv(table: Table) -> bytes:
    """Write a table; a cell without a value is empty, and none can be taken for a formula."""
    import csv
    import io

    written = io.StringIO()
    csv.writer(written, lineterminator="\r\n").writerows(map(_inert, table.rows()))
    return written.getvalue().encode()


def _inert(row: Sequence[Cell]) -> list[Cell]:
    return [f"'{cell}" if isinstance(cell, str) and _FORMULA.match(cell) else cell for cell in row]


def prefers_csv(accept: str) -> bool:
    """Tell whether who sent the header Accept would rather have CSV than JSON (RFC 9110, 12.5.1).

    Where both are as welcome, it is the one that is named more closely, and else JSON.
    """
    quality, closeness = _welcome(accept, CSV)
    return quality > 0 and (quality, closeness) > _welcome(accept, "application/json")


def _welcome(accept: str, kind: str) -> tuple[float, int]:
    """Return the quality that a header gives a media type, and how closely it names it."""
    names = ("*/*", f"{kind.partition('/')[0]}/*", kind)
    found = (0.0, -1)
    for each in accept.lower().split(","):
        name, *parameters = each.split(";")
        closeness = names.index(name.strip()) if name.strip() in names else -1
        if closeness > found[1]:
            said = (_QUALITY.fullmatch(text) for text in parameters)
            found = (next((float(quality[1]) for quality in said if quality), 1.0), closeness)
    return found
