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
    text = moment.isoformat(timespec="milliseconds")
    if not text.endswith("+00:00"):
        text = moment.astimezone(UTC).isoformat(timespec="milliseconds")
    return text[:-6] + "Z"
