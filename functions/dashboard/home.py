"""The first page: how things are, and what to do next."""

import asyncio
from collections.abc import Iterator
from typing import NamedTuple

from functions.dashboard.figures import Tile
from functions.dashboard.health import health
from functions.dashboard.links import reachable
from functions.dashboard.portal import portal
from functions.dashboard.requests import LogQuery
from shared.appointments import Appointment
from shared.backends import TERMS, UnavailableError
from shared.clock import london_day
from shared.keys import ApiKey
from shared.patients import Patient
from shared.portals import View, Visit
from shared.requests import LoggedRequest, list_requests
from shared.routes import SIGNED_IN

MOST_ERRORS, MOST_APPOINTMENTS = 5, 10
MOST_OF_A_DAY = 200
"""Appointments of a day among which those to come are looked for."""
NEWEST_KEYS = 20
"""Keys among which one is looked for that nobody has seen."""


class Step(NamedTuple):
    """One thing to do before live mode is in use."""

    title: str
    hint: str
    path: str
    done: bool


class Day(NamedTuple):
    """The appointments of today that are still to come, the soonest first, and whose they are."""

    appointments: list[Appointment]
    more: int
    patients: dict[str, Patient]


@portal.get("/", permission=SIGNED_IN)
async def start(visit: Visit) -> View:
    """Lead to the home of the mode that was looked at last."""
    return visit.redirect(f"/{visit.shown_mode}")


@portal.get("/{mode}", permission=SIGNED_IN)
async def home(visit: Visit) -> View:
    """Show how things are in a mode, as far as the visitor's role goes."""
    errors, day, steps, unseen, tiles = await asyncio.gather(
        _errors(visit), _day(visit), _steps(visit), _unseen_key(visit), _tiles(visit)
    )
    return visit.page(
        "home.html",
        title="Home",
        errors=errors,
        day=day,
        steps=steps,
        unseen=unseen,
        tiles=tiles,
    )


async def _tiles(visit: Visit) -> list[Tile] | None:
    """Return how requests went; none for who may not see usage, None where nobody can tell."""
    if not visit.caller.may("usage:read"):
        return []
    try:
        return await health(visit)
    except UnavailableError:  # all else that the page shows is there
        return None


async def _errors(visit: Visit) -> list[LoggedRequest] | None:
    """Return the latest requests that were refused or failed; None for who may not see any."""
    if not visit.caller.may("requests:read"):
        return None
    asked = (LogQuery(statusClass=each, limit=MOST_ERRORS) for each in ("4xx", "5xx"))
    pages = await asyncio.gather(*(list_requests(visit.store, each) for each in asked))
    found = [each for page in pages for each in page.data]
    return sorted(found, key=lambda each: each.id, reverse=True)[:MOST_ERRORS]


async def _day(visit: Visit) -> Day | None:
    """Return what is to come today; None for who may not see appointments."""
    if not visit.caller.may("appointments:read"):
        return None
    today = Appointment.on(london_day(visit.now))
    found = await visit.store.select(
        Appointment, [(TERMS, "contains", today)], limit=MOST_OF_A_DAY, descending=False
    )
    coming = sorted(
        (each for each in found if each.window.endAt > visit.now),
        key=lambda each: (each.window.startAt, each.id),
    )
    shown = coming[:MOST_APPOINTMENTS]
    patients = await visit.store.related(Patient, dict.fromkeys(each.patientId for each in shown))
    return Day(shown, len(coming) - len(shown), patients)


async def _unseen_key(visit: Visit) -> ApiKey | None:
    """Return a live key that nobody has seen yet, in either mode, for who may see it."""
    if not (_active(visit) and visit.caller.may("api_keys:read")):
        return None
    live = visit.enter(visit.caller.organisation, "live")
    keys = await live.select(ApiKey, [], limit=NEWEST_KEYS)
    return next((key for key in keys if key.standing(visit.now) == "unrevealed"), None)


# --- What to do next -----------------------------------------------------------------------------


async def _steps(visit: Visit) -> list[Step]:
    """Return the way to live mode, as far as the role goes; none where that is open."""
    if _active(visit):
        return []
    store, may = visit.store, visit.caller.may

    async def called() -> bool:
        return may("requests:read") and bool((await list_requests(store, LogQuery(limit=1))).data)

    async def has(kind: type[Patient] | type[Appointment], permission: str) -> bool:
        return may(permission) and bool(await store.select(kind, [], limit=1))

    done = await asyncio.gather(
        called(), has(Patient, "patients:read"), has(Appointment, "appointments:read")
    )
    steps = [step for step in _way(visit, *done) if step.path]
    return [] if all(step.done for step in steps) else steps


def _way(visit: Visit, called: bool, patient: bool, booked: bool) -> Iterator[Step]:
    may = visit.caller.may
    if may("requests:read"):
        path = "/welcome" if may("api_keys:read") else f"{visit.settings.url}/docs"
        hint = "Copy one command, with your test key in it, into a terminal."
        yield Step("Make your first call", hint, path, called)
    if may("patients:write"):
        path = reachable(visit, "/test/patients/new")
        hint = "Here or by the API. In test mode nobody is real."
        yield Step("Create a patient", hint, path, patient)
    if may("appointments:write"):
        path = reachable(visit, "/test/booking")
        yield Step("Book an appointment", "No practitioner sets out in test mode.", path, booked)
    if not may("activation:write"):
        return
    title, hint = {
        "not_started": (
            "Activate live mode",
            "Tell us who you are. We check it, and open live mode.",
        ),
        "begun": ("Finish your activation", "You have begun: fill in the rest and send it."),
        "under_review": ("Wait for our review", "We are checking what you sent, and write to you."),
        "rejected": (
            "Correct your activation",
            "We could not approve it yet. See why, and send it again.",
        ),
        "suspended": ("Ask support about live mode", "It is suspended: the reason is there."),
    }[visit.user.account.activation]
    yield Step(title, hint, reachable(visit, "/activation"), done=False)


def _active(visit: Visit) -> bool:
    return visit.user.account.activation == "active"
