"""What all portals look like: the frame of a page, the parts of forms and lists, style and script.

A portal's own templates extend `base.html` and import `parts.html`. Nothing is inline and nothing
of another host, so the content security policy allows neither.
"""

import hashlib
import re
from datetime import UTC, date, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from shared.clock import LONDON, isoformat
from shared.errors import ApiError
from shared.routes import Content

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
HTML = "text/html; charset=utf-8"
KINDS = {
    ".svg": "image/svg+xml",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
ASSET_SECONDS = 365 * 24 * 3600
"""An asset's address changes with its content."""
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
    " form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SAFETY = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    # To pages of our own: with no-referrer, browsers would not say where a form comes from either.
    ("Referrer-Policy", "same-origin"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
    ("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=()"),
    # Search engines are told here: /robots.txt the functions framework answers itself, with 404.
    ("X-Robots-Tag", "noindex, nofollow"),
)
"""Headers of every answer of a portal."""


class Design:
    """The pages of one portal: its own templates and assets, and those that all have."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of a portal, in which are `templates` and perhaps `assets`."""
        self._folders = (folder, HERE)
        self._assets = cache(self._read)

    def render(self, template: str, values: dict[str, Any]) -> str:
        """Return a page."""
        return self._environment.get_template(template).render(values)

    def asset(self, name: str) -> Content:
        """Return a file that pages need, or refuse because there is none."""
        return self._assets(name)

    def _read(self, name: str) -> Content:
        for folder in self._folders:
            file = folder / "assets" / name
            if "/" not in name and file.suffix in KINDS and file.is_file():
                return Content(KINDS[file.suffix], file.read_text(), (), ASSET_SECONDS)
        raise ApiError("route_unknown")

    def _address_of(self, name: str) -> str:
        digest = hashlib.sha256(self.asset(name).text.encode()).hexdigest()
        return f"/assets/{name}?{digest[:12]}"

    @cached_property
    def _environment(self) -> "Environment":
        from jinja2 import Environment, FileSystemLoader, StrictUndefined

        environment = Environment(
            loader=FileSystemLoader([folder / "templates" for folder in self._folders]),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
        )
        environment.globals["address_of"] = self._address_of
        environment.filters |= {"when": when, "stamp": stamp, "day": day, "date": calendar_day}
        environment.filters |= {"exactly": exactly, "hour": hour, "utc": utc, "iso": iso}
        environment.filters |= {"words": words, "spoken": spoken}
        return environment


def when(moment: datetime | str) -> str:
    """Write a moment for people in the United Kingdom: `Sun 22 Nov 2026, 14:05`."""
    return f"{_local(moment):%a %-d %b %Y, %H:%M}"


def stamp(moment: datetime | str) -> str:
    """Write a moment of which nobody asks what day of the week it was: `22 Nov 2026, 14:05`."""
    return f"{_local(moment):%-d %b %Y, %H:%M}"


def exactly(moment: datetime | str) -> str:
    """Write a moment of a log, to the second: `22 Nov, 14:05:09`."""
    return f"{_local(moment):%-d %b, %H:%M:%S}"


def day(moment: datetime | date | str) -> str:
    """Write a day for people: `Sun 22 Nov 2026`."""
    if isinstance(moment, date) and not isinstance(moment, datetime):
        return f"{moment:%a %-d %b %Y}"
    if isinstance(moment, str) and "T" not in moment:
        return f"{date.fromisoformat(moment):%a %-d %b %Y}"
    return f"{_local(moment):%a %-d %b %Y}"


def calendar_day(found: date) -> str:
    """Write a day of which nobody asks what day of the week it was: `10 December 1985`."""
    return f"{found:%-d %B %Y}"


def hour(moment: datetime | str) -> str:
    """Write the time of a day for people: `14:05`."""
    return f"{_local(moment):%H:%M}"


def utc(moment: datetime | str) -> str:
    """Write the time of a day in UTC: `14:05`."""
    return f"{_local(moment).astimezone(UTC):%H:%M}"


def iso(moment: datetime | str) -> str:
    """Write a moment for programs, as the API does."""
    return moment if isinstance(moment, str) else isoformat(moment)


def words(name: str) -> str:
    """Write a name such as `in_progress` for people: `In progress`."""
    said = name.replace("_", " ")
    return said[:1].upper() + said[1:]


NAMES = {
    "accessNotes": "Finding the door",
    "asked": "What the page brought",
    "capacity": "Places",
    "chi": "CHI number",
    "codes": "First halves of postcodes",
    "contactMobile": "Mobile number",
    "current": "Password now",
    "durationMinutes": "Minutes",
    "email": "E-mail address",
    "ending_before": "Place in the list",
    "externalRef": "Reference",
    "hsc": "Health and Care number",
    "line1": "House and street",
    "line2": "Flat, building or estate",
    "nhsNumber": "NHS number",
    "organisationType": "Type",
    "otherType": "What kind",
    "patientId": "Patient",
    "starting_after": "Place in the list",
    "taskId": "Task",
    "vatNumber": "VAT number",
    "windowId": "Window",
}
"""What people call parameters whose names do not say it."""


def spoken(name: str) -> str:
    """Write the name of a parameter for people: `address[firstName]` is `First name`."""
    last = name.rstrip("]").rpartition("[")[2]
    return NAMES.get(last) or words(re.sub("(?<=[a-z])(?=[A-Z])", " ", last).lower())


def _local(moment: datetime | str) -> datetime:
    told = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return told.astimezone(LONDON)
