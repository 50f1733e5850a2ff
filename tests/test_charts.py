"""Charts: what is drawn is what was counted, whoever reads it, and nothing in it is forbidden."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import inf
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.etree.ElementTree import fromstring as parse

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from shared import charts
from shared.charts import HEIGHT, MARKS, MOST_SERIES, MOST_TICKS, Chart, Series, Unit
from shared.spans import STEPS

START = datetime(2026, 11, 21, 10, 15, tzinfo=UTC)
STYLES = Path("shared/design/assets/charts.css").read_text()
SIZES = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12, "ms": 1, "s": 1e3, "": 1}

SERIES = {
    "nothing_measured": [Series("p50", [None] * 8)],
    "one_step": [Series("People", [3])],
    "one_step_without_a_value": [Series("p50", [None])],
    "all_zero": [Series("Requests", [0] * 60)],
    "gaps": [Series("p50", [None, 4.5, None, 7, 8, None, None, 1.25])],
    "enormous": [Series("Bytes", [n * 10**15 for n in range(30)])],
    "tiny": [Series("p50", [0.1, 0.25, 0.125])],
    "percentiles": [Series(f"p{n}", [n / 3 + at for at in range(96)]) for n in (50, 95, 99)],
    "with_the_time_before": [
        Series("Requests", [4, 5, 6]),
        Series("The 24 hours before", [60, 0, 7], before=True),
    ],
    "as_many_as_there_can_be": [
        *(Series(f"GET /v1/things{n}", [(at * n) % 17 for at in range(90)]) for n in range(8)),
        Series("The 90 days before", [1] * 90, before=True),
    ],
    "all_end_together": [Series(f"s{n}", [0, 100 - n / 10]) for n in range(8)],
    "script": [Series('</text><script>alert("&")</script>', [1, 2])],
}


def drawn(
    series: Sequence[Series], unit: Unit = "count", step: timedelta = timedelta(minutes=15)
) -> Chart:
    moments = [START + at * step for at in range(len(series[0].values))]
    return charts.line("tried", "Tried", moments, series, unit=unit)


def svg_of(text: str) -> Element:
    return parse(text)  # noqa: S314 - it is ours


def number(text: str) -> float:
    """Read what stands at an axis."""
    found = re.fullmatch(r"([\d.,]+) ?([a-zA-Z]*)", text)
    assert found, text
    return float(found[1].replace(",", "")) * SIZES[found[2]]


def scale(svg: Element) -> tuple[float, float]:
    """Return the pixels of nothing and of one, as the axis of a picture says them."""
    lines = [float(each.attrib["y1"]) for each in svg.findall("./g[@class='grid']/line")]
    words = [number(each.text or "") for each in svg.findall("./g[@class='grid']/text")]
    assert len(lines) == len(words) >= 3
    each = (lines[-1] - lines[0]) / (words[-1] - words[0])
    for y, value in zip(lines, words, strict=True):
        assert y == pytest.approx(lines[0] + value * each, abs=0.02)
    return lines[0], each


def points(group: Element) -> dict[float, float]:
    """Return where the line of a series goes: heights by how far they are across."""
    numbers = [float(each) for path in group for each in re.findall(r"[\d.]+", path.attrib["d"])]
    return dict(zip(numbers[::2], numbers[1::2], strict=True))


@pytest.mark.parametrize("name", SERIES)
@pytest.mark.parametrize("unit", ["count", "ms"])
def test_what_is_drawn_are_the_values(name: str, unit: Unit) -> None:
    series = SERIES[name]
    svg = svg_of(drawn(series, unit).svg)
    zero, one = scale(svg)
    lines = {each.attrib["class"]: each for each in svg.findall(".//svg[@class='plot']/g")}
    shown = 0
    for each in series:
        style = "before" if each.before else f"s{(shown := shown + 1)}"
        steps = len(each.values)
        expected = {
            (at + 0.5) * 1000 / steps: value
            for at, value in enumerate(each.values)
            if value is not None
        }
        if not expected:
            assert f"line {style}" not in lines
            continue
        found = points(lines[f"line {style}"])
        assert list(found) == pytest.approx(list(expected), abs=0.006)
        heights = [zero + value * one for value in expected.values()]
        assert list(found.values()) == pytest.approx(heights, abs=0.02)
        assert all(0 <= y <= HEIGHT for y in found.values())


@pytest.mark.parametrize("name", SERIES)
def test_a_strict_policy_holds_and_every_class_has_a_style(name: str) -> None:
    chart = drawn(SERIES[name], "ms")
    values = [value or 0 for value in SERIES[name][0].values]
    others = [charts.spark("small", "Small", values), *charts.bars(values)]
    for text in (chart.svg, *others, *(key.swatch for key in chart.keys)):
        for element in svg_of(text).iter():
            assert element.tag in {"svg", "g", "path", "line", "text", "rect", "title", "desc"}
            assert not {"style", "href", "xmlns"} & set(element.attrib)
            assert not any(name.startswith("on") for name in element.attrib)
            assert not any("url(" in value for value in element.attrib.values())
            for style in element.get("class", "").split():
                assert f".{style}" in STYLES, style


def test_every_series_is_known_without_colour() -> None:
    """By its dashes, its marks and the word at its end, each its own."""
    dashes = {
        style: re.search(rf"\.{style} path {{[^}}]*stroke-dasharray: ([^;}}]+)", STYLES)
        for style in (*(f"s{n}" for n in range(2, MOST_SERIES + 1)), "before")
    }
    assert len({found and found[1].strip() for found in dashes.values()}) == MOST_SERIES
    assert len(set(MARKS)) == MOST_SERIES
    chart = drawn(SERIES["as_many_as_there_can_be"])
    svg = svg_of(chart.svg)
    ends = svg.findall("./g[@class='ends']/text")
    assert {end.text for end in ends} == {key.label for key in chart.keys}
    assert len(ends) == MOST_SERIES + 1
    heights = sorted(float(end.attrib["y"]) for end in ends)
    assert all(after - before >= 15 for before, after in pairwise(heights))


def test_words_at_the_ends_of_lines_neither_touch_nor_leave_the_plot() -> None:
    for name in ("all_end_together", "as_many_as_there_can_be", "all_zero"):
        ends = svg_of(drawn(SERIES[name]).svg).findall("./g[@class='ends']/text")
        heights = [float(end.attrib["y"]) for end in ends]
        assert 0 <= min(heights) <= max(heights) <= HEIGHT
        gaps = [after - before for before, after in pairwise(heights)]
        assert min(gaps, default=inf) >= 15


def test_a_value_with_nothing_beside_it_is_marked() -> None:
    svg = svg_of(drawn(SERIES["gaps"]).svg)
    marks = svg.findall(".//g[@class='marks s1']/svg")
    across = {mark.attrib["x"] for mark in marks}
    assert {"18.75%", "93.75%"} <= across  # the second of eight steps, and the last
    (alone,) = svg_of(drawn(SERIES["one_step"]).svg).findall(".//g[@class='marks s1']/svg")
    assert alone.attrib["x"] == "50%"


def test_a_screen_reader_is_told_what_is_shown() -> None:
    svg = svg_of(drawn(SERIES["with_the_time_before"]).svg)
    names = [each.attrib["id"] for each in svg.findall("./*[@id]")]
    assert svg.attrib["role"] == "img"
    assert svg.attrib["aria-labelledby"].split() == names == ["tried-title", "tried-description"]
    assert svg.findtext("title") == "Tried"
    assert svg.findtext("desc") == (
        "From 21 Nov, 10:15 to 21 Nov, 10:45, UTC. Requests: 4 to 6, last 6."
        " The 24 hours before: 0 to 60, last 7."
    )
    for name, words in (
        ("nothing_measured", "p50: nothing to measure."),
        ("all_zero", "Requests: always 0."),
    ):
        assert words in (svg_of(drawn(SERIES[name]).svg).findtext("desc") or "")


def test_each_step_is_told_where_a_pointer_rests() -> None:
    svg = svg_of(drawn(SERIES["gaps"], "ms").svg)
    rects = svg.findall("./g[@class='touch']/rect")
    told = [rect.findtext("title") for rect in rects]
    assert told[:2] == ["21 Nov, 10:15 UTC", "21 Nov, 10:30 UTC\np50: 4.5 ms"]
    assert [rect.attrib["x"] for rect in rects[:3]] == ["0%", "12.5%", "25%"]


def test_where_nothing_was_measured_the_picture_says_so() -> None:
    svg = svg_of(drawn(SERIES["nothing_measured"]).svg)
    assert svg.findtext("./text[@class='nothing']") == "Nothing to measure"
    assert svg.find("./g[@class='ends']") is None
    assert svg_of(drawn(SERIES["all_zero"]).svg).find("./text[@class='nothing']") is None


def test_more_series_than_can_be_told_apart_are_refused() -> None:
    for series in ([], [Series(str(n), [1]) for n in range(MOST_SERIES + 2)]):
        with pytest.raises(ValueError, match="cannot be drawn"):
            charts.line("tried", "Tried", [START], series)
    with pytest.raises(ValueError, match="cannot be drawn"):
        charts.line("tried", "Tried", [], [Series("none", [])])


@pytest.mark.parametrize("values", [[0], [0, 0], [5, 10, 2.5], [7]])
def test_bars_are_as_long_as_their_values(values: list[float]) -> None:
    most = max(values) or 1
    for value, svg in zip(values, charts.bars(values), strict=True):
        part = svg_of(svg).find("./rect[@class='part']")
        assert part is not None
        assert float(part.attrib["width"].removesuffix("%")) == pytest.approx(100 * value / most)


def test_a_funnel_tells_the_shares_of_the_first_stage_and_of_the_one_before() -> None:
    told = charts.funnel([("seen", 40), ("chosen", 10), ("sent", 0), ("booked", 0)])
    assert [stage.of_first for stage in told] == [1, 0.25, 0, 0]
    assert [stage.of_last for stage in told] == [None, 0.25, 0, None]
    assert [stage.of_first for stage in charts.funnel([("seen", 0), ("chosen", 1)])] == [None] * 2
    assert charts.funnel([]) == []


# --- Axes ---------------------------------------------------------------------------------------


@given(
    start=st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),  # noqa: DTZ001 - given UTC below
    step=st.sampled_from([*STEPS.values()]),
    steps=st.integers(1, 750),
)
def test_times_are_few_equally_far_apart_and_on_the_clock(
    start: datetime, step: timedelta, steps: int
) -> None:
    midnight = start.replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=UTC)
    first = midnight + (start.replace(tzinfo=UTC) - midnight) // step * step
    moments = [first + at * step for at in range(steps)]
    named = charts.times(moments)
    assert 1 <= len(named) <= MOST_TICKS
    at = [each for each, _ in named]
    assert len({after - before for before, after in pairwise(at)}) <= 1
    for each, words in named:
        moment = moments[each]
        if moment.hour == moment.minute == 0:
            assert words == f"{moment.day} {moment:%b}"
        else:
            assert words == f"{moment:%H:%M}"


def test_whole_weeks_begin_on_mondays() -> None:
    moments = [datetime(2026, 8, 25, tzinfo=UTC) + timedelta(days=at) for at in range(90)]
    assert {moments[at].strftime("%a") for at, _ in charts.times(moments)} == {"Mon"}


@example(values=[7])
@given(
    values=st.lists(st.integers(0, 10**18), min_size=1, max_size=9)
    | st.lists(st.integers(0, 30), min_size=1, max_size=9)
)
def test_heights_begin_at_nothing_are_whole_and_hold_every_value(values: list[int]) -> None:
    svg = svg_of(drawn([Series("Requests", values)]).svg)
    ticks = [number(each.text or "") for each in svg.findall("./g[@class='grid']/text")]
    assert ticks[0] == 0
    assert 3 <= len(ticks) <= 10
    assert ticks == sorted(set(ticks))
    lines = [float(each.attrib["y1"]) for each in svg.findall("./g[@class='grid']/line")]
    assert lines[0] == HEIGHT
    (line,) = svg.findall(".//svg[@class='plot']/g")
    found = [*points(line).values()]
    assert all(-0.01 <= y <= HEIGHT for y in found)
    ranks = [at for _, at in sorted((y, at) for at, y in enumerate(found))]
    largest = max(values)
    assert values[ranks[0]] >= largest - largest / 10**4  # what lies higher is more


@given(st.lists(st.none() | st.floats(0, 70_065), min_size=1, max_size=9))
def test_milliseconds_of_any_size_are_drawn_inside_the_plot(values: list[float | None]) -> None:
    svg = svg_of(drawn([Series("p95", values)], "ms").svg)
    scale(svg)
    for each in svg.findall(".//svg[@class='plot']/g"):
        assert all(0 <= y <= HEIGHT for y in points(each).values())


@pytest.mark.parametrize(
    ("value", "unit", "short", "full"),
    [
        (0, "count", "0", "0"),
        (999, "count", "999", "999"),
        (1_000, "count", "1k", "1,000"),
        (12_500, "count", "12.5k", "12,500"),
        (2_000_000, "count", "2M", "2,000,000"),
        (1.5e9, "count", "1.5B", "1,500,000,000"),
        (3e16, "count", "30,000T", "30,000,000,000,000,000"),
        (0.5, "ms", "0.5 ms", "0.5 ms"),
        (250, "ms", "250 ms", "250 ms"),
        (1_500, "ms", "1.5 s", "1,500 ms"),
        (70_064.9, "ms", "70.1 s", "70,065 ms"),
    ],
)
def test_values_are_read_briefly_at_an_axis_and_in_full_elsewhere(
    value: float, unit: Unit, short: str, full: str
) -> None:
    assert charts.brief(value, unit) == short
    assert charts.told(value, unit) == full
