"""Ranges of time that can be asked for, and the steps, by the clock in UTC, that they have."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Literal, NamedTuple, get_args

from shared.errors import ApiError, invalid
from shared.fields import When
from shared.forms import wrong
from shared.models import Model

DAY = timedelta(days=1)
Resolution = Literal["1m", "5m", "15m", "1h", "1d"]
RESOLUTIONS: tuple[Resolution, ...] = get_args(Resolution)
STEPS: Mapping[Resolution, timedelta] = {
    "1m": timedelta(minutes=1),
    "5m": timedelta(minutes=5),
    "15m": timedelta(minutes=15),
    "1h": timedelta(hours=1),
    "1d": DAY,
}
"""How long a step of each resolution is."""
Period = Literal["1h", "6h", "24h", "7d", "30d", "90d"]
PERIODS: Mapping[Period, timedelta] = {
    "1h": timedelta(hours=1),
    "6h": timedelta(hours=6),
    "24h": timedelta(hours=24),
    "7d": timedelta(days=7),
    "30d": timedelta(days=30),
    "90d": timedelta(days=90),
}
FEW_STEPS, MOST_STEPS = 200, 750
"""Steps of a range whose resolution is left to us, and of any, at most."""
REACH, FINE_REACH = timedelta(days=90), timedelta(days=40)
"""How far back one can ask, and for steps of less than a day: Cloud Monitoring keeps each point for
six weeks, and after that one for ten minutes."""


class Span(NamedTuple):
    """A range of time in whole steps."""

    start: datetime
    end: datetime
    resolution: Resolution

    @property
    def step(self) -> timedelta:
        """How long a step is."""
        return STEPS[self.resolution]

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return (self.end - self.start) // self.step

    def moments(self) -> list[datetime]:
        """Return the beginning of each step."""
        return [self.start + number * self.step for number in range(self.steps)]


_EITHER = "Choose a period, or say from when."


class SpanQuery(Model):
    """A range of time, and how finely it is wanted."""

    period: Period | None = None
    """The time until now. Not together with `startAt`; 24 hours if both are left out."""
    startAt: When | None = None
    """The beginning of the time, within the last 90 days; the step that it is in counts in full."""
    endAt: When | None = None
    """The end of the time, now if left out; the step that it is in counts in full."""
    resolution: Resolution | None = None
    """How long a step is; what fits the time if left out. There are at most 750 steps, and those of
    less than a day reach back 40 days."""

    def span(self, resolutions: Sequence[Resolution], now: datetime) -> Span:
        """Return the steps that are asked for, of some resolutions, or refuse what does not fit.

        A range ends now at the latest. Left to us, its steps are the finest that are few.
        """
        found = [self._steps(each, now) for each in resolutions]
        fitting = [span for span in found if self._fits(span, now)]
        if self.resolution is not None:
            chosen = [span for span in fitting if span.resolution == self.resolution]
        else:
            chosen = [span for span in fitting if span.steps <= FEW_STEPS]
        if chosen:
            return chosen[0]
        if not fitting:
            reason = f"is shorter than a step of {resolutions[0]}: ask for 24h, or more"
            plain = "This has no longer steps than days: choose a day or more."
            raise invalid([wrong("period", reason, plain)])
        reason = f"does not fit the time, or the metric: ask for {fitting[0].resolution}"
        raise invalid([wrong("resolution", reason, "These steps do not fit the time.")])

    def problems(self, now: datetime) -> Iterator[ApiError]:
        """Yield what is wrong with the range, without which it has steps."""
        if self.startAt is None:
            if self.endAt is not None:
                yield wrong("endAt", "needs startAt as well", "Say from when, too.")
            return
        if self.period is not None:
            yield wrong("period", "cannot be sent together with startAt", _EITHER)
        if self.startAt < now - REACH:
            yield wrong("startAt", f"must be within the last {REACH.days} days")
        if self.startAt >= now:
            yield wrong("startAt", "must be in the past")
        if self.endAt is not None and self.endAt <= self.startAt:
            yield wrong("endAt", "must be after startAt", "Choose a later end.")

    def _steps(self, resolution: Resolution, now: datetime) -> Span:
        """Return the steps of a range, or those of a period, which ends with the step of now."""
        step = STEPS[resolution]
        until = min(self.endAt or now, now)
        end = _floor(until, step)
        end += step if end < until else timedelta()
        if self.startAt is None:
            return Span(end - PERIODS[self.period or "24h"], end, resolution)
        return Span(_floor(self.startAt, step), end, resolution)

    def _fits(self, span: Span, now: datetime) -> bool:
        """Tell whether steps are no more than one can ask for, and no finer so long ago."""
        fine = span.step < DAY and (self.startAt or span.start) < now - FINE_REACH
        return not fine and 1 <= span.steps <= MOST_STEPS


def _floor(moment: datetime, step: timedelta) -> datetime:
    """Return the beginning of the step that a moment is in."""
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return midnight + (moment - midnight) // step * step
