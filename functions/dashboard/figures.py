"""What the figures of usage are made of: questions, each asked once, and the numbers of a figure.

A figure is plain numbers. Its picture, its table and its CSV are made of the same.
"""

import asyncio
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, ClassVar, NamedTuple, Self, cast, get_args

from pydantic import BeforeValidator

from shared import charts
from shared.charts import Chart, Series, Unit
from shared.clock import isoformat
from shared.errors import ApiError, invalid
from shared.fields import When
from shared.spans import Period, Resolution, Span
from shared.tables import Cell
from shared.usage import MEASURES, Filter, Grouping, MetricName, Reader, Usage, UsageQuery

AT_ONCE = 4
"""Readings of one page at the same time."""
PERIODS: Mapping[Period, str] = {
    "1h": "hour",
    "6h": "6 hours",
    "24h": "24 hours",
    "7d": "7 days",
    "30d": "30 days",
    "90d": "90 days",
}
"""What people call the periods."""


UNKNOWN = "\N{EN DASH}"
"""What stands for a number that there is not."""
NameKeys = Callable[[Sequence[str]], Coroutine[Any, Any, Mapping[str, str]]]


def _utc(value: object) -> object:
    """Take what a field of date and time sends, which has no offset, for UTC."""
    return f"{value}Z" if isinstance(value, str) and len(value) in (16, 19) else value


class Asked(UsageQuery):
    """What a page of usage is asked for; all of it is in its address."""

    startAt: Annotated[When, BeforeValidator(_utc)] | None = None
    endAt: Annotated[When, BeforeValidator(_utc)] | None = None

    def question(self, metric: MetricName, by: Grouping | None = None) -> UsageQuery:
        """Return the question for one metric, with those of the filters that it has."""
        measure = MEASURES[metric]
        unknown: list[str] = [each for each in get_args(Filter) if each not in measure.filters]
        if self.resolution not in measure.resolutions:
            unknown.append("resolution")
        return self.model_copy(update={"metric": metric, "by": by, **dict.fromkeys(unknown)})

    def check(self, now: datetime) -> None:
        """Refuse what cannot be asked for."""
        problems = [*self.problems(now)]
        if problems:
            raise invalid(problems)
        self.span(MEASURES["requests"].resolutions, now)

    def named(self) -> str:
        """Return what people call the time: `the last 24 hours`."""
        return "this time" if self.startAt else f"the last {PERIODS[self.period or '24h']}"

    def named_before(self) -> str:
        """Return what people call the time before: `the 24 hours before`."""
        return "the time before" if self.startAt else f"the {PERIODS[self.period or '24h']} before"


class Questions:
    """Asks for usage over one time and the one before: each question once, a few at a time.

    Use it as a context: at its end nothing is under way.
    """

    def __init__(
        self, asked: Asked, now: datetime, own: Reader, wider: Reader, name_keys: NameKeys
    ) -> None:
        """Take who reads the page's mode, who reads all modes that the visitor may see, and names.

        `name_keys` returns the names of keys, by their ids, of those that the visitor may know.
        """
        self.asked = asked
        self._name_keys = name_keys
        self._named: dict[frozenset[str], asyncio.Future[Mapping[str, str]]] = {}
        self._now = now
        self._own = own
        self._wider = wider
        self._free = asyncio.Semaphore(AT_ONCE)
        self._begun: dict[tuple[MetricName, Grouping | None, bool], asyncio.Task[Usage]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        waiting: list[asyncio.Future[Any]] = [*self._begun.values(), *self._named.values()]
        await asyncio.gather(*waiting, return_exceptions=True)

    @property
    def by_day(self) -> bool:
        """Whether the time has days: what is counted by the day has no shorter ones."""
        question = self.asked.question("active_end_users")
        try:
            question.span(MEASURES[question.metric].resolutions, self._now)
        except ApiError:
            return False
        return True

    @property
    def compares(self) -> bool:
        """Whether anything of the time before was read."""
        return any(before for *_, before in self._begun)

    @property
    def as_of(self) -> datetime:
        """Up to when all that was read is complete."""
        return min(task.result().asOf for task in self._begun.values())

    def ask(self, metric: MetricName, by: Grouping | None = None) -> "asyncio.Task[Usage]":
        """Begin to read the time. Raises UnavailableError, or refuses what does not fit."""
        return self._begin(metric, by, self.asked.question(metric, by), before=False)

    async def names(self, ids: Sequence[str]) -> Mapping[str, str]:
        """Return the names of keys, of those that the visitor may know; those are read once."""
        key = frozenset(ids)
        if key not in self._named:
            self._named[key] = asyncio.ensure_future(self._name_keys(ids))
        return await self._named[key]

    async def both(
        self, metric: MetricName, by: Grouping | None = None
    ) -> tuple[Usage, Usage | None]:
        """Read the time and the one before, in as many steps, where that is kept."""
        now = self.ask(metric, by)
        earlier = self._earlier(self.asked.question(metric, by))
        before = None if earlier is None else self._begin(metric, by, earlier, before=True)
        return await now, None if before is None else await before

    def _earlier(self, question: UsageQuery) -> UsageQuery | None:
        resolutions = MEASURES[question.metric].resolutions
        try:
            span = question.span(resolutions, self._now)
            begin = span.start - (span.end - span.start)
            time = {"period": None, "startAt": begin, "endAt": span.start}
            earlier = question.model_copy(update={**time, "resolution": span.resolution})
            earlier.span(resolutions, self._now)
        except ApiError:
            return None
        return None if [*earlier.problems(self._now)] else earlier

    def _begin(
        self, metric: MetricName, by: Grouping | None, question: UsageQuery, *, before: bool
    ) -> "asyncio.Task[Usage]":
        key = (metric, by, before)
        if key not in self._begun:
            self._begun[key] = asyncio.ensure_future(self._read(question))
        return self._begun[key]

    async def _read(self, question: UsageQuery) -> Usage:
        reader = self._wider if question.by == "mode" else self._own
        async with self._free:
            return await reader.read(question)


# --- Numbers -------------------------------------------------------------------------------------


def moments(usage: Usage) -> list[datetime]:
    """Return the beginnings of the steps, also where no group has any."""
    step = cast("Resolution", usage.resolution)
    return Span(usage.startAt, usage.endAt, step).moments()


def counts(usage: Usage, of: Callable[[str | None], bool] = lambda _: True) -> list[int]:
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
