"""Questions about usage: what a page asks for, and each question once."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Self, get_args

from pydantic import BeforeValidator

from shared.errors import ApiError, invalid
from shared.fields import When
from shared.spans import Period
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
