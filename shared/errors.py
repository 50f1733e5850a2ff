"""Every refusal of the API: one exception, one catalogue of codes.

A code stands here or it does not exist. `message` may have `{facts}` in it, which the place that
refuses fills in; facts are our own words, names and ids, never a value that a caller sent.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Json = dict[str, Any]

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
    503: "api_error",
}


@dataclass(frozen=True, slots=True)
class Code:
    """One line of the catalogue: the status, the public sentence, and what the caller can do."""

    status: int
    message: str
    fix: str


CATALOGUE: Mapping[str, Code] = {
    # The request cannot be read.
    "https_required": Code(
        400,
        "This API answers over HTTPS only.",
        "Call the same address with https://; if the request carried a key, roll that key.",
    ),
    "body_malformed": Code(
        400,
        "The parameters cannot be read: {reason}.",
        "Send a form, or one JSON object with Content-Type: application/json.",
    ),
    "body_is_json": Code(
        400,
        "The body looks like JSON but was declared as a form.",
        "Add the header Content-Type: application/json.",
    ),
    "body_unexpected": Code(
        400,
        "{method} takes no body here.",
        "Send parameters in the query string, or none.",
    ),
    "body_too_large": Code(
        413,
        "The body is larger than {limit} bytes.",
        "Send a smaller body: one object per request, texts within their limits.",
    ),
    "content_type_unsupported": Code(
        400,
        "This content type is not supported.",
        "Use application/x-www-form-urlencoded or application/json.",
    ),
    # The parameters are wrong.
    "parameter_missing": Code(400, "{name} is required.", "Add it to the request."),
    "parameter_invalid": Code(400, "{name} {reason}.", "Correct it and send the request again."),
    "parameter_unknown": Code(
        400,
        "{name} is not a parameter of this request.",
        "{suggestion}",
    ),
    "metadata_nested": Code(
        400,
        "metadata holds text values only; {name} is nested.",
        "Flatten the value, or write it as text.",
    ),
    "idempotency_key_invalid": Code(
        400,
        "The Idempotency-Key must be 1 to 255 printable characters.",
        "Send a random UUID as the Idempotency-Key.",
    ),
    "idempotency_key_reused": Code(
        400,
        "This Idempotency-Key was used for another request{existing}.",
        "Use a new Idempotency-Key for each different request.",
    ),
    # Who is calling.
    "key_missing": Code(
        401,
        "No API key was sent.",
        "Send the header Authorization: <key>, with a key from the dashboard.",
    ),
    "key_malformed": Code(
        401,
        "What was sent does not have the shape of an API key.",
        "Copy the whole key: test_ or live_, 24 characters, a full stop, 30 characters.",
    ),
    "key_invalid": Code(
        401,
        "This API key is not valid.",
        "Check the key in the dashboard, and that it is the one for this mode.",
    ),
    "permission_missing": Code(
        403,
        "This key lacks the permission {permission}.",
        "Use a key that has {permission}, or ask an administrator to add it.",
    ),
    "documents_not_enabled": Code(
        403,
        "Documents are not enabled for this organisation.",
        "Leave documentIds out.",
    ),
    "patient_led_scheduling_not_enabled": Code(
        403,
        "Patient-led scheduling is not enabled for this organisation.",
        "Send a windowId from GET /v1/availability.",
    ),
    "planned_scheduling_not_enabled": Code(
        403,
        "Planned scheduling is not enabled for this task.",
        "Leave planFrom and planTo out and send a windowId.",
    ),
    # There is no such thing.
    "route_unknown": Code(
        404,
        "There is nothing at this address.",
        "Check the path: every path starts with /v1/ and ends without a slash.",
    ),
    "method_not_allowed": Code(405, "{method} is not possible here.", "Use one of: {allowed}."),
    "resource_missing": Code(
        404,
        "No such {noun}{which}.",
        "Check the id, and that the key belongs to the mode in which it was made.",
    ),
    # The request is right, the world refuses.
    "not_in_coverage": Code(
        402,
        "Ally does not serve this postcode yet.",
        "Ask GET /v1/coverage for a postcode before offering a visit there.",
    ),
    "window_unavailable": Code(
        402,
        "This window has no place left, or has begun.",
        "Ask GET /v1/availability again and choose another window.",
    ),
    "window_unsuitable": Code(
        402,
        "This window does not serve this {what}.",
        "Ask GET /v1/availability with the same taskId and postcode.",
    ),
    "task_inactive": Code(
        402, "This task can no longer be requested.", "Choose an active task from GET /v1/tasks."
    ),
    "appointment_overlaps": Code(
        402,
        "The patient already has an appointment at that time: {id}.",
        "Choose a window that does not overlap, or cancel the other appointment first.",
    ),
    "appointment_already_cancelled": Code(
        402,
        "This appointment has already been cancelled.",
        "Read the cancellation with GET /v1/appointments/{id}/cancellation.",
    ),
    "appointment_not_cancellable": Code(
        402,
        "An appointment that is {status} cannot be cancelled.",
        "Read the appointment for its status; contact support if the visit must not happen.",
    ),
    "patient_has_appointments": Code(
        402,
        "The patient has an appointment to come: {id}.",
        "Cancel the patient's appointments first, then delete the patient.",
    ),
    # Try again.
    "lock_timeout": Code(
        409,
        "Others were changing the same objects; nothing was changed.",
        "Send the same request again, with the same Idempotency-Key.",
    ),
    # Our fault.
    "internal_error": Code(
        500,
        "Something went wrong on our side.",
        "Try again; if it persists write to {support} and name request {request_id}.",
    ),
    "temporarily_unavailable": Code(
        503,
        "A service that we depend on does not answer.",
        "Send the same request again shortly, with the same Idempotency-Key; if it persists"
        " write to {support} and name request {request_id}.",
    ),
}


class ApiError(Exception):
    """The one way to refuse a request: a code of the catalogue and the facts of this case.

    `param` names the parameter in bracket form, `facts` fill the code's sentences, `headers` join
    those of the answer.
    """

    def __init__(
        self,
        code: str,
        *,
        param: str | None = None,
        headers: Mapping[str, str] | None = None,
        **facts: object,
    ) -> None:
        super().__init__(code)
        entry = CATALOGUE[code]
        self.code = code
        self.param = param
        self.errors: list[Json] | None = None
        self.headers = headers or {}
        self.status = entry.status
        self.message = entry.message
        self.fix = entry.fix
        self.facts = facts

    def describe(self, **facts: object) -> Json:
        """Return code, message, param and fix: what one member of `errors` holds."""
        facts = {**self.facts, **facts}
        described = {
            "code": self.code,
            "message": self.message.format(**facts),
            "param": self.param,
            "fix": self.fix.format(**facts),
        }
        return {name: value for name, value in described.items() if value is not None}


def invalid(problems: list[ApiError]) -> ApiError:
    """Make one refusal of all the wrong parameters: the first leads, `errors` has them all."""
    first = problems[0]
    whole = ApiError(first.code, param=first.param)
    whole.facts = first.facts
    whole.errors = [problem.describe() for problem in problems]
    return whole


def envelope(error: ApiError, request_id: str, support: str) -> Json:
    """Write a refusal as every answer that is not 2xx carries it."""
    kind = "idempotency_error" if error.code.startswith("idempotency_") else TYPES[error.status]
    body = {"type": kind, **error.describe(support=support, request_id=request_id)}
    if error.errors is not None:
        body["errors"] = error.errors
    return {"error": {**body, "request_id": request_id}}
