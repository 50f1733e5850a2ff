"""The same usage as a table: what `Accept` must say for it, and that a spreadsheet is safe."""

import csv
import io

import pytest

from shared.tables import as_csv, prefers_csv
from tests.support.counted import NOW, count, some
from tests.support.inprocess import InProcess
from tests.support.serving import Json, Partner

PATH = "/v1/usage"


@pytest.fixture
def api(partner: Partner) -> InProcess:
    caller = InProcess(partner.backing, partner.key)
    caller.at = NOW
    return caller


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text, newline=""), strict=True))


@pytest.mark.parametrize("asked", [{}, {"by": "route"}, {"metric": "errors"}, {"by": "version"}])
def test_the_table_has_the_same_numbers(partner: Partner, api: InProcess, asked: Json) -> None:
    count(partner, some(1))
    shown = api.call("GET", PATH, params=asked)
    answer = api.send("GET", PATH, params=asked, headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
    head, *rows = answer.text.split("\r\n")
    assert head == ",".join(["at", *([shown["by"]] if shown["by"] else []), "value"])
    assert rows[-1] == ""
    assert table(answer.text) == [
        {
            "at": point["at"],
            **({shown["by"]: series["group"]} if shown["by"] else {}),
            "value": str(point["value"]),
        }
        for series in shown["series"]
        for point in series["points"]
    ]


def test_the_table_of_latency_has_percentiles_and_empty_cells(
    partner: Partner, api: InProcess
) -> None:
    count(partner, some(2, number=5))
    asked = {"metric": "latency", "by": "route"}
    shown = api.call("GET", PATH, params=asked)
    answer = api.send("GET", PATH, params=asked, headers={"Accept": "text/csv"})
    names = ("p50", "p95", "p99")
    found = [[row["value"], *(row[name] for name in names)] for row in table(answer.text)]
    assert found == [
        [str(point["value"]), *(str((point["percentiles"] or {}).get(name, "")) for name in names)]
        for series in shown["series"]
        for point in series["points"]
    ]
    assert ["0", "", "", ""] in found
    assert any("" not in row for row in found)


@pytest.mark.parametrize(
    ("accept", "preferred"),
    [
        ("", False),
        ("text/csv", True),
        ("TEXT/CSV; q=1", True),
        ("application/json", False),
        ("*/*", False),
        ("text/*", True),
        ("text/csv, */*", True),
        ("text/csv, application/json", False),
        ("application/json, text/csv", False),
        ("text/csv, application/json;q=0.9", True),
        ("text/csv;q=0.5, application/json", False),
        ("text/csv;q=0.5, */*;q=0.4", True),
        ("text/csv;q=0.001, application/json;q=0", True),
        ("text/csv;q=0", False),
        ("text/csv;q=0, application/json;q=0", False),
        ("*/*;q=0.1, text/csv;header=present", True),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", False),
        ("image/png", False),
        ("text/csv;q=x", True),
        (";;,,;q=,text", False),
    ],
)
def test_who_would_rather_have_a_table_gets_one(accept: str, *, preferred: bool) -> None:
    assert prefers_csv(accept) is preferred


def test_the_answer_says_that_it_depends_on_what_is_accepted(api: InProcess) -> None:
    for accept in ("text/csv", "application/json"):
        answer = api.send("GET", PATH, headers={"Accept": accept})
        assert "Accept" in answer.headers.get_list("Vary")
    assert "Accept" not in api.send("GET", "/v1/tasks").headers.get_list("Vary")


def test_an_error_is_no_table(api: InProcess) -> None:
    answer = api.send("GET", PATH, params={"metric": "x"}, headers={"Accept": "text/csv"})
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/json"
    assert answer.json()["error"]["param"] == "metric"
    assert "Accept" in answer.headers.get_list("Vary")


def test_what_is_no_table_is_json_for_everybody(api: InProcess) -> None:
    answer = api.send("GET", "/v1/tasks", headers={"Accept": "text/csv"})
    assert answer.headers["Content-Type"] == "application/json"


def test_the_head_of_a_table_is_that_of_its_get(api: InProcess) -> None:
    headers = {"Accept": "text/csv"}
    full, head = (api.send(verb, PATH, headers=headers) for verb in ("GET", "HEAD"))
    assert head.content == b""
    assert head.headers["Content-Length"] == full.headers["Content-Length"]
    assert head.headers["Content-Type"] == full.headers["Content-Type"]


class Written:
    def __init__(self, *cells: str | float | None) -> None:
        self.cells = cells

    def rows(self) -> list[tuple[str | float | None, ...]]:
        return [self.cells]


@pytest.mark.parametrize("cell", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\uff1d1"])
def test_no_cell_is_a_formula(cell: str) -> None:
    ((read,),) = csv.reader(io.StringIO(as_csv(Written(cell)).decode(), newline=""))
    assert read == f"'{cell}"


def test_cells_are_read_as_they_were_written() -> None:
    cells = ('a "quoted", cell', "two\r\nlines", "é", -1.5, 0, None)
    (read,) = csv.reader(io.StringIO(as_csv(Written(*cells)).decode(), newline=""))
    assert read == ['a "quoted", cell', "two\r\nlines", "é", "-1.5", "0", ""]
