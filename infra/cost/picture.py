"""docs/cost.svg: dollars for a million requests against requests a month, part by part.

Both scales are logarithmic. Lines differ by dashes and carry their names, so that nothing depends
on colour; the picture is plain text and the same on every machine.
"""

import math
from collections.abc import Iterator
from itertools import groupby
from textwrap import wrap
from xml.sax.saxutils import escape

from infra.cost.declared import Everything, Limit
from infra.cost.model import Month, reached
from infra.cost.page import MILLION, alternative, volume

WIDTH, LEFT, RIGHT, TOP, BOTTOM = 1000, 76, 846, 92, 532
FIRST, LAST = 3, 10
"""The decades of requests that are shown."""
LEAST, MOST = -2, 5
"""The decades of dollars that are shown."""
STEPS = 10
"""Points of a line in each decade."""
LINE, GAP, WORDS = 17, 15, 120
"""Pixels between lines of text and between names of lines; letters of a line of text."""
TOTAL = "in all"
STYLES = {
    TOTAL: ("#000000", 3.2, ""),
    "Gateway": ("#0072b2", 1.8, ""),
    "Standing": ("#8c4a00", 1.8, "2 3"),
    "Network": ("#56788c", 1.8, "10 3 2 3 2 3"),
    "Cloud Run": ("#009e73", 1.8, "9 4"),
    "Firestore": ("#d55e00", 1.8, "14 4"),
    "Storage": ("#a0408a", 2.4, "6 2"),
    "Logs": ("#6b6b00", 1.8, "9 3 2 3"),
    "Monitoring": ("#b00040", 1.8, "5 3"),
    "Queues": ("#404040", 1.8, "1 4"),
    "Secrets": ("#444444", 1.8, "1 3"),
}
"""The colour, the width and the dashes of each line."""
HEAD = """\
<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img"
  aria-labelledby="title description" font-family="system-ui, sans-serif" font-size="13">
<title id="title">What a million requests cost, by requests a month</title>
<desc id="description">{description}</desc>
<rect width="{width}" height="{height}" fill="#ffffff"/>
<text x="{left}" y="30" font-size="19" font-weight="600">What a million requests cost</text>
<text x="{left}" y="52">List prices for London, US dollars; both scales are logarithmic</text>"""


def draw(declared: Everything) -> str:
    """Return the picture."""
    months = [
        Month(declared, 10 ** (step / STEPS)) for step in range(FIRST * STEPS, LAST * STEPS + 1)
    ]
    met = sorted(((reached(declared, limit), limit) for limit in declared.limits), key=_when)
    shown = [(at, limit) for at, limit in met if at <= 10**LAST]
    legend, height = _legend(shown)
    head = HEAD.format(
        width=WIDTH, height=height, left=LEFT, description=escape(alternative(declared))
    )
    return "\n".join(
        [head, *_axes(), *_reign(months), *_marks(shown), *_lines(months), *legend, "</svg>", ""]
    )


def _x(requests: float) -> float:
    return LEFT + (math.log10(requests) - FIRST) / (LAST - FIRST) * (RIGHT - LEFT)


def _y(dollars: float) -> float:
    return BOTTOM - (math.log10(dollars) - LEAST) / (MOST - LEAST) * (BOTTOM - TOP)


def _axes() -> Iterator[str]:
    for exponent in range(LEAST, MOST + 1):
        y = _y(10**exponent)
        yield f'<path d="M{LEFT} {y:.1f}H{RIGHT}" stroke="#dddddd"/>'
        words = f"${10**exponent:,.2f}" if exponent < 0 else f"${10**exponent:,}"
        yield _text(LEFT - 8, y + 4, words, anchor="end")
    for exponent in range(FIRST, LAST + 1):
        x = _x(10**exponent)
        yield f'<path d="M{x:.1f} {TOP}V{BOTTOM}" stroke="#eeeeee"/>'
        yield _text(x, BOTTOM + 18, volume(10**exponent), anchor="middle")
    yield _text((LEFT + RIGHT) / 2, BOTTOM + 38, "requests a month", anchor="middle")


def _reign(months: list[Month]) -> Iterator[str]:
    """Draw under the axis which part costs most, from where to where."""
    y, tall = BOTTOM + 50, 22
    edge = float(LEFT)
    reigns = [(part, list(those)) for part, those in groupby(months, _largest)]
    for number, (part, those) in enumerate(reigns):
        end = RIGHT if number == len(reigns) - 1 else _x(those[-1].requests * 10 ** (0.5 / STEPS))
        colour = STYLES[part][0]
        yield (
            f'<rect x="{edge:.1f}" y="{y}" width="{end - edge:.1f}" height="{tall}" fill="#ffffff"'
            f' stroke="{colour}" stroke-width="1.5"/>'
        )
        words = f"{part} costs most"
        yield _text((edge + end) / 2, y + 16, words, anchor="middle", fill=colour)
        edge = end


def _marks(shown: list[tuple[float, Limit]]) -> Iterator[str]:
    """Draw a line where each limit is met, with its number; those of neighbours at two heights."""
    for number, (at, limit) in enumerate(shown, 1):
        x, y = _x(at), TOP - 8 - 20 * (number % 2 == 0)
        dashes = "" if limit.whose == "ours" else ' stroke-dasharray="4 3"'
        yield f'<path d="M{x:.1f} {y + 8}V{BOTTOM}" stroke="#777777"{dashes}/>'
        yield f'<circle cx="{x:.1f}" cy="{y}" r="9" fill="#ffffff" stroke="#333333"/>'
        yield _text(x, y + 4, str(number), anchor="middle", size=12)


def _lines(months: list[Month]) -> Iterator[str]:
    """Draw each part and the total, and their names at the right, none over another."""
    ends = []
    for name, (colour, width, dashes) in STYLES.items():
        costs = [
            (
                month.requests,
                (month.total if name == TOTAL else month.totals[name]) / month.requests,
            )
            for month in months
        ]
        points = [
            f"{_x(requests):.1f} {_y(each * MILLION):.1f}"
            for requests, each in costs
            if 10**LEAST <= each * MILLION <= 10**MOST
        ]
        dash = f' stroke-dasharray="{dashes}"' if dashes else ""
        yield (
            f'<path d="M{"L".join(points)}" fill="none" stroke="{colour}" stroke-width="{width}"'
            f' stroke-linejoin="round"{dash}/>'
        )
        x, y = map(float, points[-1].split())
        ends.append((x, y, name))
    above = 0.0
    for x, y, name in sorted(ends, key=lambda end: (-end[0], end[1])):
        colour = STYLES[name][0]
        if x < RIGHT - 1:  # it leaves the picture at the bottom
            yield _text(x + 6, y - 6, name, fill=colour)
            continue
        above = max(above + GAP, y + 4)
        yield f'<path d="M{RIGHT} {y}L{RIGHT + 12} {above - 4:.1f}" stroke="{colour}" fill="none"/>'
        yield _text(RIGHT + 16, above, name, fill=colour, bold=name == TOTAL)


def _legend(shown: list[tuple[float, Limit]]) -> tuple[list[str], int]:
    """Return what the numbers stand for, what to do at the first ones, and where all that ends."""
    y = BOTTOM + 102
    title = "Limits, in the busiest second of the month (solid lines: ours; dashed: Google's)"
    found = [_text(LEFT, y, title, bold=True)]
    said = set()
    for number, (at, limit) in enumerate(shown, 1):
        y += LINE + 2
        first = limit.whose not in said
        said.add(limit.whose)
        found.append(_text(LEFT, y, str(number)))
        found.append(_text(LEFT + 16, y, f"{volume(at)}: {limit.name} ({limit.whose})", bold=first))
        for line in wrap(f"Then: {limit.then}", WORDS) if first else ():
            y += LINE
            found.append(_text(LEFT + 16, y, line))
    return found, y + 20


def _text(
    x: float,
    y: float,
    words: str,
    *,
    anchor: str = "start",
    fill: str = "#222222",
    size: int = 13,
    bold: bool = False,
) -> str:
    extra = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="{size}"'
        f"{extra}>{escape(words)}</text>"
    )


def _largest(month: Month) -> str:
    return max(month.totals, key=lambda part: month.totals[part])


def _when(met: tuple[float, Limit]) -> float:
    return met[0]
