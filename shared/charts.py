"""Charts: numbers over time as SVG, drawn on the server (docs/decisions/0030).

Every picture is as wide as its place, and its text keeps its size: across, all is in per cent. The
style sheet gives colours, by classes; without any, series are told apart by dashes, marks and the
words at their ends. There is no style, script or address in a picture, so a strict content security
policy holds. What is drawn is escaped here.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from math import ceil
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from xml.etree.ElementTree import Element, SubElement, tostring

if TYPE_CHECKING:
    from markupsafe import Markup

MOST_SERIES = 8
"""Lines of one chart: so many can be told apart."""
HEIGHT, BELOW = 220, 26
"""Pixels of the plot, and of the line of times below it."""
_ACROSS = 1000
"""Units from one side of the plot to the other."""
_LINE = 15
"""Pixels from one label at the end of a line to the next, at least."""
_SHORT = 13
"""Letters of a name that has room at the end of its line."""
_MARKED = 6
"""Marks along a line, about."""
MOST_TICKS = 8
MARKS = (
    "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
    "M-3.2-3.2h6.4v6.4h-6.4z",
    "M0-4.2L4.2 3.2h-8.4z",
    "M0-4.6L4.6 0L0 4.6L-4.6 0z",
    "M0 4.2L4.2-3.2h-8.4z",
    "M-1.3-4.2h2.6v2.9h2.9v2.6h-2.9v2.9h-2.6v-2.9h-2.9v-2.6h2.9z",
    "M-4.4-2h8.8v4h-8.8z",
    "M-2-4.4h4v8.8h-4z",
)
"""The mark of each series, around the point that it marks."""
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_BETWEEN = (
    *(timedelta(minutes=minutes) for minutes in (1, 2, 5, 10, 15, 30)),
    *(hours * _HOUR for hours in (1, 2, 3, 6, 12)),
    *(days * _DAY for days in (1, 2, 7, 14, 28)),
)
"""From one time of the axis to the next: what divides an hour, a day, or is in weeks."""
_MONDAY = datetime(1970, 1, 5, tzinfo=UTC)

Unit = Literal["count", "ms"]


class Series(NamedTuple):
    """One line: a value for each step, or None where there was nothing to measure."""

    name: str
    values: Sequence[float | None]
    before: bool = False
    """Whether it is that of the time before, which is drawn behind the others."""


class Key(NamedTuple):
    """What a series looks like, for the list beside the chart."""

    name: str
    label: str
    """What stands at the end of its line."""
    numbered: bool
    """Whether that is a number, for want of room."""
    swatch: "Markup"


class Chart(NamedTuple):
    """A picture, and the keys to it."""

    svg: "Markup"
    keys: Sequence[Key]


def line(
    name: str,
    title: str,
    moments: Sequence[datetime],
    series: Sequence[Series],
    *,
    unit: Unit = "count",
) -> Chart:
    """Draw lines over the steps of a time, which begin at `moments` and are equally long.

    `name` makes the ids of the picture's parts: no other picture of the page has it.
    """
    if not moments or not 1 <= len(series) <= MOST_SERIES + 1:
        raise ValueError(f"{name}: {len(series)} series of {len(moments)} steps cannot be drawn")
    styles = list(_styles(series))
    labels = list(_labels(series, styles))
    scale, ticks = _upward([each.values for each in series], unit)
    svg = _picture(name, title, _description(moments, series, unit), HEIGHT + BELOW)
    svg.append(_grid(scale, ticks, unit))
    svg.append(_times(moments))
    plot = SubElement(svg, "svg", _plot(HEIGHT))
    marks = SubElement(svg, "g")
    together = zip(series, styles, strict=True)
    for each, style in sorted(together, key=lambda pair: not pair[0].before):
        _draw(plot, each.values, scale, HEIGHT, style)
        if not each.before:
            _mark(marks, each.values, scale, style)
    if any(value is not None for each in series for value in each.values):
        svg.append(_ends(series, labels, styles, scale))
        svg.append(_steps(moments, series, unit))
    else:
        nothing = SubElement(svg, "text", {"class": "nothing", "x": "50%", "y": str(HEIGHT / 2)})
        nothing.text = "Nothing to measure"
    keys = [
        Key(each.name, label, label == style[1:], _swatch(style))
        for each, label, style in zip(series, labels, styles, strict=True)
    ]
    return Chart(_written(svg), keys)


def spark(
    name: str, title: str, values: Sequence[float | None], *, unit: Unit = "count"
) -> "Markup":
    """Draw a small line without axes, of one value or more."""
    if not values:
        raise ValueError(f"{name}: there is nothing to draw")
    height = 36
    known = [value for value in values if value is not None]
    words = f"{_extent(known, unit)}." if known else "Nothing to measure."
    svg = _picture(name, title, words, height)
    svg.set("class", "spark")
    scale, _ = _upward([values], unit)
    _draw(SubElement(svg, "svg", _plot(height)), values, scale, height, "s1")
    return _written(svg)


def bars(values: Sequence[float]) -> "list[Markup]":
    """Draw a bar for each value, all to one scale: for the rows of a table, which has the words."""
    most = max(values, default=0) or 1
    drawn = []
    for value in values:
        svg = Element(
            "svg", {"class": "meter", "width": "100%", "height": "10", "aria-hidden": "true"}
        )
        SubElement(svg, "rect", {"class": "whole", "width": "100%", "height": "10", "rx": "2"})
        part = {"class": "part", "width": _per_cent(value / most), "height": "10", "rx": "2"}
        SubElement(svg, "rect", part)
        drawn.append(_written(svg))
    return drawn


class Stage(NamedTuple):
    """A stage of a funnel."""

    name: str
    value: int
    of_first: float | None
    """The share of the first stage that came here, or None where nobody began."""
    of_last: float | None
    """The share of the stage before; of the first there is none."""
    bar: "Markup"


def funnel(stages: Sequence[tuple[str, int]]) -> list[Stage]:
    """Draw how many came to each stage of what most begin and few end."""
    drawn = bars([value for _, value in stages])
    told = []
    for number, ((name, value), bar) in enumerate(zip(stages, drawn, strict=True)):
        first, last = stages[0][1], stages[number - 1][1] if number else 0
        of_first = value / first if first else None
        told.append(Stage(name, value, of_first, value / last if last else None, bar))
    return told


# --- Words ---------------------------------------------------------------------------------------


def told(value: float, unit: Unit) -> str:
    """Return a value in full, with its unit: `1,234`, `12.5 ms`."""
    if unit == "count":
        return f"{value:,.0f}"
    return f"{value:,.1f} ms" if value < 100 else f"{value:,.0f} ms"


def brief(value: float, unit: Unit) -> str:
    """Return a value as it stands at an axis: `1.5k`, `250 ms`, `1.5 s`."""
    if unit == "ms" and value >= 1000:
        seconds = value / 1000
        return f"{seconds:,.0f} s" if seconds >= 100 else f"{seconds:.3g} s"
    if unit == "ms":
        return f"{value:.4g} ms"
    for size, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            short = value / size
            return f"{short:,.0f}{letter}" if short >= 1000 else f"{short:.4g}{letter}"
    return f"{value:.4g}"


def day(moment: datetime) -> str:
    """Return a day as it is read: `22 Nov`."""
    return f"{moment.day} {moment:%b}"


def step_of(moments: Sequence[datetime]) -> timedelta:
    """Return how long steps are; one alone is taken for a day."""
    return moments[1] - moments[0] if len(moments) > 1 else _DAY


def moment_of(moment: datetime, step: timedelta) -> str:
    """Return when a step begins, as finely as steps are long: `22 Nov` or `22 Nov, 09:15`."""
    return day(moment) if step >= _DAY else f"{day(moment)}, {moment:%H:%M}"


def times(moments: Sequence[datetime]) -> list[tuple[int, str]]:
    """Return the steps that are named at the axis, and how, at most MOST_TICKS of them.

    They are equally far apart and lie on the clock in UTC, on whole hours, days or Mondays; where
    no step does, it is the first.
    """
    step = step_of(moments)
    for between in _BETWEEN:
        if between % step:
            continue
        named = [at for at, each in enumerate(moments) if not (each - _MONDAY) % between]
        if named and len(named) <= MOST_TICKS:
            break
    else:
        named = [0]
    return [
        (at, day(each) if each.hour == each.minute == 0 else f"{each:%H:%M}")
        for at in named
        for each in [moments[at]]
    ]


def _description(moments: Sequence[datetime], series: Sequence[Series], unit: Unit) -> str:
    """Return in words what a picture shows; the numbers are in the table behind it."""
    step = step_of(moments)
    first, last = (moment_of(each, step) for each in (moments[0], moments[-1]))
    sentences = [f"From {first} to {last}, UTC."]
    for each in series:
        known = [value for value in each.values if value is not None]
        words = _extent(known, unit) if known else "nothing to measure"
        sentences.append(f"{each.name}: {words}.")
    return " ".join(sentences)


def _extent(known: Sequence[float], unit: Unit) -> str:
    low, high, last = (told(value, unit) for value in (min(known), max(known), known[-1]))
    return f"always {low}" if low == high else f"{low} to {high}, last {last}"


# --- Parts of a picture --------------------------------------------------------------------------


class _Across:
    """Where steps are: each in the middle of its part of the width. It is a scale for leather."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def project(self, value: float, low: float, high: float) -> float:
        return low + (high - low) * (value + 0.5) / self._steps


def _upward(values: Sequence[Sequence[float | None]], unit: Unit) -> tuple[Any, list[float]]:
    """Return the scale from nothing to what is beyond the largest value, and its ticks."""
    most = max((value for each in values for value in each if value is not None), default=0)
    top = max(ceil(most), 4 if unit == "count" else 1)
    if unit == "count" and top == 7:  # the one number for which leather chooses halves
        top = 8
    scale = _scale(_rounded(top))
    ticks = [float(tick) for tick in scale.ticks()]
    return scale, [tick for tick in ticks if unit == "ms" or tick.is_integer()]


def _rounded(number: int) -> int:
    """Return a number of two digits and noughts that is no less: few, so scales can be kept."""
    noughts = int(10 ** max(len(str(number)) - 2, 0))
    return -(-number // noughts) * noughts


@lru_cache(maxsize=512)
def _scale(top: int) -> Any:
    """Return the scale up to a number; to choose its ticks takes milliseconds."""
    import leather

    return leather.Linear(0, top)


def _picture(name: str, title: str, description: str, height: int) -> Element:
    named = {"role": "img", "aria-labelledby": f"{name}-title {name}-description"}
    svg = Element("svg", {"class": "chart", "width": "100%", "height": str(height), **named})
    SubElement(svg, "title", {"id": f"{name}-title"}).text = title
    SubElement(svg, "desc", {"id": f"{name}-description"}).text = description
    return svg


def _plot(height: int) -> dict[str, str]:
    """Return what stretches: lines, whose strokes do not."""
    box = {"viewBox": f"0 0 {_ACROSS} {height}", "preserveAspectRatio": "none"}
    return {"class": "plot", "width": "100%", "height": str(height), **box}


def _grid(scale: Any, ticks: Sequence[float], unit: Unit) -> Element:
    grid = Element("g", {"class": "grid"})
    for tick in ticks:
        y = _short(float(scale.project(tick, HEIGHT, 0)))
        SubElement(grid, "line", {"x1": "0", "x2": "100%", "y1": y, "y2": y})
        SubElement(grid, "text", {"x": "-8", "y": y, "dy": "0.32em"}).text = brief(tick, unit)
    return grid


def _times(moments: Sequence[datetime]) -> Element:
    """Name some steps; every other one only where there is room."""
    axis = Element("g", {"class": "times"})
    for number, (at, words) in enumerate(times(moments)):
        x = _middle(at, len(moments))
        group = SubElement(axis, "g", {"class": "seldom"} if number % 2 else {})
        SubElement(group, "line", {"x1": x, "x2": x, "y1": str(HEIGHT), "y2": str(HEIGHT + 5)})
        SubElement(group, "text", {"x": x, "y": str(HEIGHT + 20)}).text = words
    return axis


def _draw(
    plot: Element, values: Sequence[float | None], scale: Any, height: int, style: str
) -> None:
    """Draw a line through what was measured, broken where nothing was."""
    import leather

    if all(value is None for value in values):
        return
    drawn = leather.Line(stroke_color="currentColor").to_svg(
        _ACROSS, height, _Across(len(values)), scale, leather.Series([*enumerate(values)]), None
    )
    group = SubElement(plot, "g", {"class": f"line {style}"})
    for path in drawn:
        lengths = re.sub(
            r"[\d.]+(E[+-]?\d+)?", lambda found: _short(float(found[0])), path.get("d")
        )
        SubElement(group, "path", {"d": lengths})


def _mark(marks: Element, values: Sequence[float | None], scale: Any, style: str) -> None:
    """Mark some points of a line, and those that have none beside them and so would not be seen."""
    number = int(style[1:]) - 1
    every = max(1, ceil(len(values) / _MARKED))
    offset = number * every // MOST_SERIES
    group = SubElement(marks, "g", {"class": f"marks {style}"})
    known = [None, *values, None]
    for at, value in enumerate(values):
        alone = known[at] is None and known[at + 2] is None
        if value is not None and (alone or at % every == offset):
            y = _short(float(scale.project(value, HEIGHT, 0)))
            place = {"x": _middle(at, len(values)), "y": y, "overflow": "visible"}
            SubElement(SubElement(group, "svg", place), "path", {"d": MARKS[number]})


def _ends(
    series: Sequence[Series], labels: Sequence[str], styles: Sequence[str], scale: Any
) -> Element:
    """Write beside the end of each line which it is, one below the other."""
    ends = sorted(
        (float(scale.project(known[-1], HEIGHT, 0)), label, style)
        for each, label, style in zip(series, labels, styles, strict=True)
        if (known := [value for value in each.values if value is not None])
    )
    low = HEIGHT - _LINE * (len(ends) - 1)
    group = Element("g", {"class": "ends"})
    y = 0.0
    for number, (at, label, style) in enumerate(ends):
        y = max(y, min(at, low + _LINE * number))
        place = {"class": style, "x": "100%", "y": _short(y), "dx": "8", "dy": "0.32em"}
        SubElement(group, "text", place).text = label
        y += _LINE
    return group


def _steps(moments: Sequence[datetime], series: Sequence[Series], unit: Unit) -> Element:
    """Lay over each step what is told of it where a pointer rests."""
    group = Element("g", {"class": "touch"})
    step = step_of(moments)
    width = _per_cent(1 / len(moments))
    for at, moment in enumerate(moments):
        x = _per_cent(at / len(moments))
        rect = SubElement(group, "rect", {"x": x, "width": width, "height": str(HEIGHT)})
        lines = [f"{moment_of(moment, step)} UTC"]
        for each in series:
            value = each.values[at]
            if value is not None:
                lines.append(f"{each.name}: {told(value, unit)}")
        SubElement(rect, "title").text = "\n".join(lines)
    return group


def _styles(series: Sequence[Series]) -> Iterator[str]:
    """Yield the class of each series: a number, but for that of the time before."""
    number = 0
    for each in series:
        number += not each.before
        yield "before" if each.before else f"s{number}"


def _labels(series: Sequence[Series], styles: Sequence[str]) -> Iterator[str]:
    """Yield what stands at the end of each line: its name or, where one has no room, its number."""
    named = all(len(each.name) <= _SHORT for each in series if not each.before)
    for each, style in zip(series, styles, strict=True):
        if each.before:
            yield "before"
        else:
            yield each.name if named else style[1:]


def _swatch(style: str) -> "Markup":
    """Draw a piece of a line, with its mark."""
    svg = Element("svg", {"class": "swatch", "width": "32", "height": "12", "aria-hidden": "true"})
    group = SubElement(svg, "g", {"class": f"line {style}"})
    SubElement(group, "path", {"d": "M0 6L32 6"})
    if style != "before":
        place = {"x": "16", "y": "6", "overflow": "visible"}
        marks = SubElement(svg, "g", {"class": f"marks {style}"})
        SubElement(SubElement(marks, "svg", place), "path", {"d": MARKS[int(style[1:]) - 1]})
    return _written(svg)


def _middle(at: int, steps: int) -> str:
    """Return where the middle of a step is."""
    return _per_cent(_Across(steps).project(at, 0, 1))


def _per_cent(share: float) -> str:
    return f"{_short(share * 100)}%"


def _short(number: float) -> str:
    """Write a number to a hundredth."""
    return f"{number:.2f}".rstrip("0").rstrip(".")


def _written(svg: Element) -> "Markup":
    from markupsafe import Markup

    return Markup(tostring(svg, encoding="unicode"))  # noqa: S704 - the tree's writer escapes it all
