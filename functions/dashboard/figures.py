"""The figures of usage: numbers of what was counted, how they compare, and how they are shown.

A figure is plain numbers. Its picture, its table and its CSV are made of the same.
"""

from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, ClassVar, NamedTuple, cast

from functions.dashboard.questions import Questions
from shared import charts
from shared.charts import MOST_SERIES, Chart, Series, Unit, told
from shared.clock import isoformat
from shared.design import words
from shared.keys import ApiKey
from shared.spans import Resolution, Span
from shared.tables import Cell
from shared.usage import END_USERS, OTHER, MetricName, Percentiles, Usage, UsageSeries

PERCENTILES = ("p50", "p95", "p99")
KEPT_APART = MOST_SERIES - 1
"""Groups that have a line of their own; what is beyond them is one."""
UNKNOWN = "\N{EN DASH}"
"""What stands for a number that there is not."""
Groups = Callable[[str | None], bool]
"""What tells some groups from others."""


# --- Numbers -------------------------------------------------------------------------------------


def every(_: str | None) -> bool:
    """Take all groups."""
    return True


def moments(usage: Usage) -> list[datetime]:
    """Return the beginnings of the steps, also where no group has any."""
    step = cast("Resolution", usage.resolution)
    return Span(usage.startAt, usage.endAt, step).moments()


def counts(usage: Usage, of: Groups = every) -> list[int]:
    """Return how much there was in each step, of all groups or of some."""
    sums = [0] * len(moments(usage))
    for series in usage.series:
        if of(series.group):
            for at, point in enumerate(series.points):
                sums[at] += point.value
    return sums


def percentile(usage: Usage, name: str, group: str | None = None) -> list[float | None]:
    """Return a percentile in each step, of all or of one group."""
    found = [series for series in usage.series if series.group == group]
    points = found[0].points if found else []
    return [getattr(point.percentiles, name, None) for point in points]


def overall(usage: Usage, name: str) -> float | None:
    """Return a percentile of the whole time, of what is not grouped."""
    return getattr(usage.series[0].percentiles, name, None) if usage.series else None


def compared(now: float | None, before: float | None, then: str, *, timed: bool = False) -> str:
    """Return in words how a number differs from the one before; nothing where there is none."""
    if now is None or before is None:
        return ""
    if now == before:
        return f"as {'fast' if timed else 'many'} as in {then}" if now else f"none in {then} either"
    if not before:
        return f"none in {then}"
    more, less = ("slower", "faster") if timed else ("more", "fewer")
    change = (now - before) / before
    if change >= 9.95:
        return f"{now / before:,.0f} times {'as slow' if timed else 'as many'} as in {then}"
    share = round(abs(change) * 100)
    if not share:
        return f"nearly as {'fast' if timed else 'many'} as in {then}"
    return f"{share}\N{NO-BREAK SPACE}% {more if change > 0 else less} than in {then}"


def share(part: float, whole: float) -> str:
    """Return a share in words: `12 %`, and what is little but not nothing as `< 0.1 %`."""
    if not whole:
        return UNKNOWN
    percent = 100 * part / whole
    if 0 < percent < 0.1:
        return "<\N{NO-BREAK SPACE}0.1\N{NO-BREAK SPACE}%"
    return f"{percent:.3g}\N{NO-BREAK SPACE}%"


# --- Figures -------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One number, with how it was before and how it went."""

    name: str
    title: str
    value: str
    words: str
    values: Sequence[float | None]
    unit: Unit = "count"

    def spark(self) -> Any:
        """Draw how it went."""
        return charts.spark(f"{self.name}-spark", self.title, self.values, unit=self.unit)


@dataclass(frozen=True, kw_only=True)
class Curves:
    """Numbers over time, one series or several."""

    kind: ClassVar[str] = "curves"
    name: str
    title: str
    moments: Sequence[datetime]
    series: Sequence[Series]
    unit: Unit = "count"
    words: str = ""

    def chart(self) -> Chart:
        """Draw it."""
        return charts.line(self.name, self.title, self.moments, self.series, unit=self.unit)

    def rows(self) -> Iterator[Sequence[Cell]]:
        """Return the table: a row for each step, a column for each series."""
        unit = " (ms)" if self.unit == "ms" else ""
        yield ["at", *(f"{series.name}{unit}" for series in self.series)]
        for at, moment in enumerate(self.moments):
            yield [isoformat(moment), *(series.values[at] for series in self.series)]

    def table(self) -> Iterator[tuple[str, str, list[str]]]:
        """Yield what people read: of each step its moment, its name, and its values."""
        step = charts.step_of(self.moments)
        for at, moment in enumerate(self.moments):
            values = [series.values[at] for series in self.series]
            told = [UNKNOWN if value is None else charts.told(value, self.unit) for value in values]
            yield isoformat(moment), charts.moment_of(moment, step), told


class Entry(NamedTuple):
    """A row of a ranking."""

    group: str
    """What it is to programs."""
    name: str
    value: int
    more: tuple[float | None, ...] = ()
    """What else is known of it: a value for each further column."""

    @property
    def id(self) -> str:
        """What it is to programs, where people call it something else."""
        return "" if self.group == self.name else self.group


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """How much there was of each kind, the most first."""

    kind: ClassVar[str] = "ranking"
    name: str
    title: str
    head: str
    """The head of the first column: what the rows are."""
    counted: str
    """What was counted: the head of the second."""
    entries: Sequence[Entry]
    more: tuple[str, ...] = ()
    """The heads of further columns, of times in milliseconds."""
    words: str = ""

    def table(self) -> Iterator[tuple[Entry, str, str, Any, list[tuple[str, str]]]]:
        """Yield what people read: entry, number, share, bar, and what further columns say."""
        drawn = charts.bars([entry.value for entry in self.entries])
        whole = sum(entry.value for entry in self.entries)
        for entry, bar in zip(self.entries, drawn, strict=True):
            times = [UNKNOWN if each is None else charts.told(each, "ms") for each in entry.more]
            more = list(zip(self.more, times, strict=True))
            yield entry, charts.told(entry.value, "count"), share(entry.value, whole), bar, more

    def rows(self) -> Iterator[Sequence[Cell]]:
        """Return the table."""
        yield [self.head, self.counted, *(f"{head} (ms)" for head in self.more)]
        for entry in self.entries:
            yield [entry.group, entry.value, *entry.more]


@dataclass(frozen=True, kw_only=True)
class Funnel:
    """How many came to each stage of a booking."""

    kind: ClassVar[str] = "funnel"
    name: str
    title: str
    stages: Sequence[tuple[str, int]]
    words: str = ""

    def table(self) -> Iterator[tuple[str, str, Any, str, str]]:
        """Yield what people read: stage, number, bar, shares of the first and the one before."""
        for name, value, *shares, bar in charts.funnel(self.stages):
            of_first, of_last = (UNKNOWN if each is None else share(each, 1) for each in shares)
            yield name, charts.told(value, "count"), bar, of_first, of_last

    def rows(self) -> Iterator[Sequence[Cell]]:
        """Return the table."""
        yield ["stage", "events"]
        yield from self.stages


Figure = Curves | Ranking | Funnel


class Section(NamedTuple):
    """A page of usage: its numbers at a glance, and its figures by name."""

    title: str
    metric: MetricName
    """What is asked for where one asks the API."""
    tiles: Callable[[Questions], Awaitable[Sequence[Tile]]]
    figures: Mapping[str, Callable[[Questions], Awaitable[Figure | None]]]


# --- Parts of figures ----------------------------------------------------------------------------


def number(
    name: str,
    title: str,
    now: Sequence[int],
    before: Sequence[int] | None,
    then: str,
    *,
    of: Sequence[int] | None = None,
) -> Tile:
    """Return the tile of a sum: compared with the one before, and as a share of another."""
    total = sum(now)
    whole = 0 if of is None else sum(of)
    part = f"{share(total, whole)} of requests" if whole else ""
    difference = compared(total, None if before is None else sum(before), then)
    said = ", ".join(each for each in (part, difference) if each)
    return Tile(name=name, title=title, value=told(total, "count"), words=said, values=now)


def series_before(
    questions: Questions,
    before: Usage | None,
    values: Callable[[Usage], Sequence[float | None]],
    what: str = "",
) -> list[Series]:
    """Return the series of the time before, where that is kept."""
    then = questions.asked.named_before()
    name = f"{what}{then}" if what else words(then)
    return [] if before is None else [Series(name, values(before), before=True)]


def largest(usage: Usage, name_of: Callable[[str], str]) -> list[Series]:
    """Return the largest groups, and all others as one; zero, where there is none."""
    named = [series for series in usage.series if series.group != OTHER][:KEPT_APART]
    apart = {series.group for series in named}
    found = [
        Series(name_of(group_of(each)), [point.value for point in each.points]) for each in named
    ]
    rest = counts(usage, lambda group: group not in apart)
    return [*found, Series("Other", rest)] if any(rest) or not found else found


def slowness(usage: Usage, name_of: Callable[[str], str]) -> list[Series]:
    """Return within how long 95 in 100 were done, of the largest groups."""
    groups = [group_of(series) for series in usage.series][:MOST_SERIES]
    found = [Series(name_of(group), percentile(usage, "p95", group)) for group in groups]
    return found or [Series("p95", [None] * len(moments(usage)))]


async def namer(questions: Questions, usage: Usage) -> Callable[[str], str]:
    """Return what names a group: a key as its organisation calls it, for who may know."""
    if usage.by != "key":
        return str
    ids = [series.group for series in usage.series if series.group and ApiKey.accepts(series.group)]
    names = {END_USERS: "End users", **await questions.names(ids)}
    return lambda group: names.get(group, group)


def group_of(series: UsageSeries) -> str:
    """Return the name of a series' group; the line of a request without a label has none."""
    return series.group or "none"


def percentiles_of(found: Percentiles | None) -> tuple[float | None, ...]:
    """Return the percentiles of a whole time, for the columns of a ranking."""
    return tuple(getattr(found, name, None) for name in PERCENTILES)
