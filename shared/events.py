"""Events: what happened to an appointment, and how a webhook will tell of it.

None is sent yet. The list stands here once, for the documentation and for what will send them. A
payload is an allow-list of ids, status, times and codes: clinical and contact data, notes and the
partner's own references are fetched with a key.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from shared.appointments import AppointmentWindow, Status
from shared.fields import Moment, Shape, Timestamp, known
from shared.models import Model

EventType = Literal[
    "appointment.created",
    "appointment.scheduled",
    "appointment.updated",
    "appointment.completed",
    "appointment.cancelled",
    "appointment.failed",
    "appointment.scheduling_expired",
]
WHEN: Mapping[EventType, str] = {
    "appointment.created": "An appointment was created. Sent once.",
    "appointment.scheduled": "An appointment got a window; that may follow its creation at once.",
    "appointment.updated": "An appointment changed; the change need not be a visible one.",
    "appointment.completed": "The practitioner completed the appointment. Sent once.",
    "appointment.cancelled": "An appointment was cancelled, or its cancellation was amended.",
    "appointment.failed": "The visit could not be done.",
    "appointment.scheduling_expired": "Nobody chose a window before the deadline.",
}
SIGNED: Mapping[str, str] = {
    "webhook-id": "The id of the message, the same in each attempt to deliver it.",
    "webhook-timestamp": "When this attempt was signed, in seconds since 1970.",
    "webhook-signature": "`v1,` and the signature in base64, by the scheme of Standard Webhooks:"
    " HMAC-SHA256 over the id, the time and the raw body, joined by full stops. There are two, with"
    " a space between them, while the endpoint's secret is rotated.",
    "Ally-Signature": "The same in Stripe's scheme: `t=` and the time, `v1=` and the signature of"
    " the time and the raw body, in hexadecimal. Either is enough.",
}
"""The headers of a delivery, by which its receiver verifies it."""


class EventAppointment(Model):
    """What an event says of its appointment. Fetch the appointment for the rest."""

    id: str
    object: Literal["appointment"]
    livemode: bool
    createdAt: Timestamp
    updatedAt: Timestamp
    status: Annotated[str, known(Status)]
    """How far the appointment is."""
    patientId: str
    """The patient."""
    taskId: str
    """What is done."""
    windowId: str | None
    """The window, once there is one."""
    window: AppointmentWindow | None
    """The window, as it was committed to."""
    estimatedTimeOfArrival: Moment | None
    """When the practitioner is expected, once they are on their way."""


class EventData(Model):
    """What happened to which object."""

    object: EventAppointment
    """The appointment, as it was right after the event."""
    previous_attributes: Annotated[
        dict[str, Any] | None, Shape(examples=[{"status": "scheduling"}])
    ]
    """What the members that changed were before; null where nothing was."""


class EventRequest(Model):
    """The request that led to the event."""

    id: str | None
    """Its Request-Id; null where it was no request of yours."""
    idempotency_key: str | None
    """Its Idempotency-Key."""


class Event(Model):
    """Something that happened to an object of yours.

    Events may come more than once and in any order: keep the `id` of those that you have seen.
    """

    id: Annotated[str, Shape(examples=["evt_1gCqyaC2m0Qb3dE5gH7jK9"])]
    """The id of the event, the same in each attempt to deliver it."""
    object: Literal["event"]
    type: Annotated[str, known(EventType)]
    """What happened."""
    createdAt: Timestamp
    """When it happened."""
    livemode: bool
    """Whether it happened in live mode."""
    data: EventData
    """What it happened to."""
    request: EventRequest
    """What led to it."""
    pending_webhooks: Annotated[int, Shape(examples=[1])]
    """How many deliveries of the event have not been accepted yet."""
