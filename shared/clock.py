"""The one place where the time is read, so that a test, or a sandbox's clock, can set it."""

from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def now() -> datetime:
    """Return the present moment in UTC."""
    return datetime.now(UTC)


def isoformat(moment: datetime) -> str:
    """Write a moment as the API does: ISO 8601, UTC, milliseconds, `Z`.

    The width never changes, so the order of the texts is the order of the moments.
    """
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{moment.microsecond // 1000:03d}Z"
