"""Somebody who looks at usage: pages as a browser reads them, and what the API tells of it."""

import csv
import io
from datetime import datetime
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlencode

import httpx

from shared.backends.metrics import FRONT_END_EVENTS
from tests.support.counted import NOW, point_of, put
from tests.support.inprocess import InProcess
from tests.support.people import Person, signed_in
from tests.support.serving import Json, Partner


class Tables(HTMLParser):
    """The cells of each table of a page, by the heading before it; links and ids of all of it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tables: dict[str, list[list[str]]] = {}
        self.links: list[str] = []
        self.text: list[str] = []
        self._heading = ""
        self._into: list[str] | None = None
        self._unseen = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told_of = dict(attrs)
        if tag == "a":
            self.links.append(told_of.get("href") or "")
        if tag == "h2":
            self._heading, self._into = "", [""]
        elif tag == "table":
            self.tables[self._heading] = []
        elif tag == "tr":
            self.tables[self._heading].append([])
        elif tag in ("td", "th"):
            self._into = self.tables[self._heading][-1]
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        if tag == "h2" and self._into is not None:
            self._heading = self._into[0].strip()
        if tag in ("h2", "td", "th"):
            self._into = None

    def handle_data(self, data: str) -> None:
        self.text.append(data)
        if self._into is not None:
            self._into[-1] += data


class Viewer:
    """A user of a partner's organisation who looks at pages, at a moment."""

    def __init__(self, partner: Partner, **options: Any) -> None:
        self.partner = partner
        self.api = InProcess(partner.backing, partner.key)
        self.api.at = NOW
        self.person: Person = signed_in(partner, **options)
        self.person.enter(self.api)

    def open(self, path: str, expected: int = 200, /, **parameters: object) -> httpx.Response:
        asked = f"{path}?{urlencode(parameters)}" if parameters else path
        answer = self.person.ask("GET", asked)
        assert answer.status_code == expected, answer.text
        return answer

    def page(self, part: str = "", /, **parameters: object) -> Tables:
        return Tables(self.open(f"/{self.partner.mode}/usage{part}", **parameters).text)

    def table(self, figure: str, /, **parameters: object) -> list[list[str]]:
        """Return the CSV of a figure."""
        answer = self.open(f"/{self.partner.mode}/usage/tables/{figure}", **parameters)
        assert answer.headers["content-type"] == "text/csv; charset=utf-8"
        return list(csv.reader(io.StringIO(answer.text, newline="")))

    def usage(self, metric: str, /, **parameters: object) -> Json:
        """Return what the API tells of the same time."""
        asked = {name: str(value) for name, value in parameters.items()}
        return self.api.call("GET", "/v1/usage", params={"metric": metric, **asked})


def columns(shown: Json) -> dict[str | None, list[str]]:
    """Return what was counted in each step, by group."""
    return {each["group"]: [str(p["value"]) for p in each["points"]] for each in shown["series"]}


def steps(shown: Json, name: str, group: str | None = None) -> list[str]:
    """Return a percentile of each step, as it stands in a table."""
    (points,) = [each["points"] for each in shown["series"] if each["group"] == group]
    return ["" if p["percentiles"] is None else str(p["percentiles"][name]) for p in points]


def transposed(rows: list[list[str]]) -> dict[str, list[str]]:
    head, *rest = rows
    return {name: [row[at] for row in rest] for at, name in enumerate(head)}


def put_front_end(partner: Partner, at: datetime, **numbers: int) -> None:
    """Count events of a front end, such as `view_home`, at a moment."""
    whose = (partner.organisation.id, "test")
    labels = [(name.split("_", 1), number) for name, number in numbers.items()]
    put(
        partner.backing,
        [point_of(FRONT_END_EVENTS, (*whose, *each), at, number) for each, number in labels],
    )
