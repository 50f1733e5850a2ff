"""What end users do in front ends, as far as we count it: views, steps of a booking, errors, times.

The words are all that there is: no text, no address and no id of anybody can be said with them. An
event is counted under its word and then forgotten.
"""

from typing import Literal, get_args

from shared.backends.metrics import FRONT_END_EVENTS, FRONT_END_TIMINGS
from shared.metering import Meter
from shared.settings import Mode

Event = Literal[
    "view.home",
    "view.availability",
    "view.details",
    "view.confirmation",
    "view.appointment",
    "view.account",
    "view.other",
    "step.availability_viewed",
    "step.window_chosen",
    "step.details_entered",
    "step.booking_submitted",
    "step.booked",
    "step.abandoned",
    "error.network",
    "error.validation",
    "error.refused",
    "error.script",
    "error.other",
    "timing.page_load",
    "timing.availability",
    "timing.booking",
]
"""A page that is seen, a step towards a booking, something that went wrong, or how long it took."""
EVENTS: tuple[Event, ...] = get_args(Event)
LONGEST = 600_000
"""Milliseconds of the longest time that is counted."""


def is_timing(event: Event) -> bool:
    """Tell whether an event says how long something took."""
    return event.startswith("timing.")


def record(
    meter: Meter, organisation: str, mode: Mode, event: Event, milliseconds: int | None = None
) -> None:
    """Count an event of an organisation's end users; one of a timing with its milliseconds."""
    labels = (organisation, mode, *event.split("."))
    if milliseconds is None:
        meter.add(FRONT_END_EVENTS, labels)
    else:
        meter.observe(FRONT_END_TIMINGS, labels, milliseconds)
