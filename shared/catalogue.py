"""The catalogue of codes: every way in which the API refuses, listed once.

A code stands here or it does not exist. The error's type follows from its status, its page is made
from this list (functions/docs), and the tests hold that each can be provoked. `message` and `fix`
may have `{facts}` in them, which the place that refuses fills in; facts are our own words, names
and ids, never a value that a caller sent.
"""

from collections.abc import Mapping
from typing import NamedTuple

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "request_failed",
    403: "permission_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    409: "api_error",
    413: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "api_error",
}
TITLES = {
    400: "The request is wrong",
    401: "No valid key",
    402: "The request is right, and the world refuses",
    403: "Not allowed",
    404: "Not there",
    405: "Not possible there",
    409: "Others were faster",
    413: "Too large",
    429: "Too much at once",
    500: "Our fault",
    502: "Our fault, on the way to the API",
    503: "Our fault, and soon over",
    504: "Our fault: no answer in time",
}
"""What each status means, in a few words."""
RETRYABLE = frozenset({409, 429, 503})
"""The statuses after which the same request is worth sending again."""


class Code(NamedTuple):
    """One line of the catalogue: its name, the status, the public sentence, what one can do."""

    name: str
    status: int
    message: str
    fix: str

    @property
    def type(self) -> str:
        """The kind of error, as Stripe's clients sort them into exceptions."""
        return "idempotency_error" if self.name.startswith("idempotency_") else TYPES[self.status]

    @property
    def page(self) -> str:
        """Where the documentation tells of it: a path and the anchor on that page."""
        return f"/docs/errors#{self.name}"


_CODES = (
    # The request cannot be read.
    Code(
        "https_required",
        400,
        "This API answers over HTTPS only.",
        "Call the same address with https://; if the request carried a key, roll that key.",
    ),
    Code(
        "body_malformed",
        400,
        "The parameters cannot be read: {reason}.",
        "Send a form, or one JSON object with Content-Type: application/json.",
    ),
    Code(
        "body_is_json",
        400,
        "The body looks like JSON but was declared as a form.",
        "Add the header Content-Type: application/json.",
    ),
    Code(
        "body_unexpected",
        400,
        "{method} takes no body here.",
        "Send parameters in the query string, or none.",
    ),
    Code(
        "body_too_large",
        413,
        "The body is larger than {limit} bytes.",
        "Send a smaller body: one object per request, texts within their limits.",
    ),
    Code(
        "content_type_unsupported",
        400,
        "This content type is not supported.",
        "Use application/x-www-form-urlencoded or application/json.",
    ),
    Code(
        "version_unknown",
        400,
        "There is no such version of the API.",
        "Send Ally-Version: {known}, or leave the header out.",
    ),
    # The parameters are wrong.
    Code("parameter_missing", 400, "{name} is required.", "Add it to the request."),
    Code("parameter_invalid", 400, "{name} {reason}.", "Correct it and send the request again."),
    Code(
        "parameter_unknown",
        400,
        "{name} is not a parameter of this request.",
        "{suggestion}",
    ),
    Code(
        "metadata_nested",
        400,
        "metadata holds text values only; {name} is nested.",
        "Flatten the value, or write it as text.",
    ),
    Code(
        "filter_personal",
        400,
        "{field} is personal data, which does not belong in a URL.",
        "Send it in the body of POST /v1/patients/search.",
    ),
    Code(
        "idempotency_key_invalid",
        400,
        "The Idempotency-Key must be 1 to 255 printable characters.",
        "Send a random UUID as the Idempotency-Key.",
    ),
    Code(
        "idempotency_key_reused",
        400,
        "This Idempotency-Key was used for another request{existing}.",
        "Use a new Idempotency-Key for each different request.",
    ),
    # Who is calling.
    Code(
        "key_missing",
        401,
        "No API key was sent.",
        "Send the header Authorization: <key>, with a key from the dashboard.",
    ),
    Code(
        "key_malformed",
        401,
        "What was sent does not have the shape of an API key.",
        "Copy the whole key: test_ or live_, 24 characters, a full stop, 30 characters.",
    ),
    Code(
        "key_invalid",
        401,
        "This API key is not valid.",
        "Check the key in the dashboard, and that it is the one for this mode.",
    ),
    Code(
        "key_publishable",
        401,
        "A publishable key opens nothing here.",
        "Use a secret key, from your own servers; a page sends this one as the parameter key of an"
        " event.",
    ),
    Code(
        "key_expired",
        401,
        "This API key has expired.",
        "Use the key that replaced it, or create one in the dashboard.",
    ),
    Code(
        "key_revoked",
        401,
        "This API key has been revoked.",
        "Use the key that replaced it, or create one in the dashboard.",
    ),
    Code(
        "token_invalid",
        401,
        "This ID token is not valid here.",
        "Sign in again, with the Firebase project and tenant of your organisation's mode.",
    ),
    Code(
        "token_expired",
        401,
        "This ID token has expired.",
        "Get a new one from Firebase Authentication (getIdToken) and send the request again.",
    ),
    Code(
        "token_revoked",
        401,
        "The session of this end user was ended.",
        "Let the end user sign in again.",
    ),
    Code(
        "tenant_unknown",
        403,
        "The tenant of this ID token belongs to no organisation.",
        "Sign in to the tenant that the organisation shows as firebaseTenants.",
    ),
    Code(
        "origin_not_allowed",
        403,
        "Pages of this origin may not call the API for this organisation.",
        "Add the origin of the page to the organisation's frontEndOrigins, or to the origins of the"
        " publishable key.",
    ),
    Code(
        "end_users_not_served",
        403,
        "End users cannot do this.",
        "Call it from your own server, with a secret key.",
    ),
    Code(
        "end_user_permission_missing",
        403,
        "This organisation does not let its end users do this: {permission}.",
        "Add {permission} to the organisation's endUserPermissions, or call from your own server.",
    ),
    Code(
        "tokens_not_issued_here",
        403,
        "The API makes ID tokens only where it runs locally, for a mode that has a tenant.",
        "Sign in with Firebase Authentication.",
    ),
    Code(
        "address_not_allowed",
        403,
        "This key may not be used from this network address.",
        "Call from one of the key's allowedCidrs, or have the address added to them.",
    ),
    Code(
        "organisation_not_activated",
        403,
        "This organisation may not use live mode: its activation is {activation}.",
        "Use a test key, or see the organisation's activation in the dashboard.",
    ),
    Code(
        "permission_missing",
        403,
        "This key lacks the permission {permission}.",
        "Use a key that has {permission}, or ask an administrator to add it.",
    ),
    Code(
        "key_exceeds_yours",
        403,
        "A key cannot give more than it has: {what}.",
        "Ask for less, or let a key do it that has at least as much.",
    ),
    Code(
        "documents_not_enabled",
        403,
        "Documents are not enabled for this organisation.",
        "Leave documentIds out.",
    ),
    Code(
        "patient_led_scheduling_not_enabled",
        403,
        "Patient-led scheduling is not enabled for this organisation.",
        "Send a windowId from GET /v1/availability.",
    ),
    Code(
        "planned_scheduling_not_enabled",
        403,
        "Planned scheduling is not enabled for this task.",
        "Leave planFrom and planTo out and send a windowId.",
    ),
    # There is no such thing.
    Code(
        "route_unknown",
        404,
        "There is nothing at this address.",
        "Check the path: every path starts with /v1/ and ends without a slash.",
    ),
    Code("method_not_allowed", 405, "{method} is not possible here.", "Use one of: {allowed}."),
    Code(
        "resource_missing",
        404,
        "No such {noun}{which}.",
        "Check the id, and that the key belongs to the mode in which it was made.",
    ),
    # The request is right, the world refuses.
    Code(
        "not_in_coverage",
        402,
        "Ally does not serve this postcode yet.",
        "Ask GET /v1/coverage for a postcode before offering a visit there.",
    ),
    Code(
        "window_unavailable",
        402,
        "This window has no place left, or has begun.",
        "Ask GET /v1/availability again and choose another window.",
    ),
    Code(
        "window_unsuitable",
        402,
        "This window does not serve this {what}.",
        "Ask GET /v1/availability with the same taskId and postcode.",
    ),
    Code(
        "task_inactive",
        402,
        "This task can no longer be requested.",
        "Choose an active task from GET /v1/tasks.",
    ),
    Code(
        "appointment_overlaps",
        402,
        "The patient already has an appointment at that time: {id}.",
        "Choose a window that does not overlap, or cancel the other appointment first.",
    ),
    Code(
        "appointment_already_cancelled",
        402,
        "This appointment has already been cancelled.",
        "Read the cancellation with GET /v1/appointments/{id}/cancellation.",
    ),
    Code(
        "appointment_not_cancellable",
        402,
        "An appointment that is {status} cannot be cancelled.",
        "Read the appointment for its status; contact support if the visit must not happen.",
    ),
    Code(
        "appointment_not_reschedulable",
        402,
        "An appointment that is {status}, or has begun, cannot be rescheduled.",
        "Look at canReschedule first; book a new appointment instead.",
    ),
    Code(
        "appointment_not_changeable",
        402,
        "Of an appointment that is {status} only externalRef and metadata can be changed.",
        "Leave {name} out.",
    ),
    Code(
        "patient_has_appointments",
        402,
        "The patient has an appointment to come: {id}.",
        "Cancel the patient's appointments first, then delete the patient.",
    ),
    Code(
        "key_not_usable",
        402,
        "This key is {status}: it cannot be changed any more.",
        "Create a new key.",
    ),
    Code(
        "key_rolled_too_often",
        402,
        "Too many rolled keys are still valid beside this one.",
        "Wait until some have expired, or revoke this key and create a new one.",
    ),
    Code(
        "secret_not_revealable",
        402,
        "The secret of this key can only be seen when it is made.",
        "Roll the key to get a new secret.",
    ),
    # Too much at once.
    Code(
        "rate_limited",
        429,
        "There were more than {limit} requests in {seconds} seconds.",
        "Wait for the seconds of Retry-After, and spread requests over time.",
    ),
    Code(
        "authentication_busy",
        429,
        "Too many keys are being looked up.",
        "Send the same request again after the seconds of Retry-After.",
    ),
    # Try again.
    Code(
        "lock_timeout",
        409,
        "Others were changing the same objects; nothing was changed.",
        "Send the same request again, with the same Idempotency-Key.",
    ),
    # Our fault.
    Code(
        "internal_error",
        500,
        "Something went wrong on our side.",
        "Try again; if it persists write to {support} and name request {request_id}.",
    ),
    Code(
        "temporarily_unavailable",
        503,
        "A service that we depend on does not answer.",
        "Send the same request again shortly, with the same Idempotency-Key; if it persists"
        " write to {support} and name request {request_id}.",
    ),
    # Never answered by the door: the balancer says it of what does not come through to us.
    Code(
        "request_unreadable",
        400,
        "The request cannot be read: it comes too slowly, without its length or with a method that"
        " is not known, or its address or headers are too long.",
        "Send a shorter address and shorter headers, and the length of the body in Content-Length.",
    ),
    Code(
        "gateway_failed",
        502,
        "The way to the API is broken, or the answer was lost on it.",
        "Send the same request again shortly, with the same Idempotency-Key; if it persists"
        " write to {support} and name the time.",
    ),
    Code(
        "gateway_timeout",
        504,
        "No answer came in time; the request may have taken effect.",
        "Send the same request again, with the same Idempotency-Key: it takes effect once."
        " If it persists write to {support} and name the time.",
    ),
)

CATALOGUE: Mapping[str, Code] = {code.name: code for code in _CODES}

ON_THE_WAY: Mapping[int, str] = {
    **dict.fromkeys((408, 411, 414, 431, 501, 505), "request_unreadable"),
    502: "gateway_failed",
    504: "gateway_timeout",
}
"""What the balancer says where it, or the gateway behind it, answers by a status itself. Whoever
answers, the balancer replaces all that has such a status: so the door must never have it."""

PLAIN: Mapping[str, str] = {
    "body_malformed": "What you sent cannot be read. Go back and send it once more.",
    "body_too_large": "What you sent is too long. Go back and make it shorter.",
    "content_type_unsupported": "What you sent cannot be read. Go back and send it once more.",
    "parameter_missing": "Fill this in.",
    "parameter_unknown": "This is not asked for here.",
    "filter_personal": "This is personal data, which does not belong in an address: seek it by the"
    " form of its page.",
    "idempotency_key_reused": "This form was sent before with something else in it, and that is"
    " done. Open its page again to send another.",
    "not_in_coverage": "Ally does not serve this postcode yet.",
    "window_unavailable": "This window has no place left, or has begun. Choose another one.",
    "window_unsuitable": "This window does not serve this {what}. Choose another one.",
    "task_inactive": "This task can no longer be requested. Choose another one.",
    "appointment_overlaps": "The patient has another appointment at that time. Choose another"
    " window, or cancel that one first.",
    "appointment_already_cancelled": "This appointment has already been cancelled.",
    "appointment_not_cancellable": "This appointment cannot be cancelled any more. Ask support if"
    " the visit must not happen.",
    "appointment_not_reschedulable": "This appointment cannot be moved any more. Book another one.",
    "appointment_not_changeable": "This appointment has ended: only its reference and your own"
    " facts can be changed.",
    "key_not_usable": "This key is {status}: it cannot be changed any more. Make another one.",
    "rate_limited": "These were too many pages at once. Wait for a few seconds, then go on.",
    "lock_timeout": "Somebody else was changing the same at that moment, so nothing was changed. Go"
    " back and send it again.",
    "temporarily_unavailable": "Something that we depend on does not answer. Try again soon; if it"
    " persists write to {support} and name request {request_id}.",
}
"""What people read of a code on a page, where its own sentences are for programs."""
