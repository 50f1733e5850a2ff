"""The one place where the time is read, so that a test, or a sandbox's clock, can set it."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

Clock = Callable[[], datetime]

TIMEZONE = "Europe/London"
LONDON = ZoneInfo(TIMEZONE)
"""The zone that days and hours of the product are in."""


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def london_day(moment: datetime) -> date:
    """Return the calendar day in London at a moment."""
    return moment.astimezone(LONDON).date()


def isoformat(moment: datetime) -> str:
    """Write a moment as the API does: ISO 8601, UTC, milliseconds, `Z`.

    The width never changes, so the order of the texts is the order of the moments.
    """
    if moment.tzinfo is not UTC:
        moment = moment.astimezone(UTC)
    # Twice as fast as moment.isoformat(), and every answer and line has some.
    return "%04d-%02d-%02dT%02d:%02d:%02d.%03dZ" % (  # noqa: UP031 - a text with {} is slower
        moment.year,
        moment.month,
        moment.day,
        moment.hour,
        moment.minute,
        moment.second,
        moment.microsecond // 1000,
    )
