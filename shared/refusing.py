"""How refusals stand in the OpenAPI document: their headers, schemas, an example of each code."""

from collections.abc import Iterable, Mapping
from typing import Any

from shared.catalogue import RETRYABLE, TITLES, TYPES, Code
from shared.errors import PROBLEM, ApiError, envelope, invalid
from shared.exchange import VERSION
from shared.routes import SITE
from shared.schemas import Json, example_id

JSON = "application/json"

HEADERS: Mapping[str, tuple[str, Json]] = {
    "Request-Id": (
        "Names the request in our logs: tell us when you ask about it.",
        {"type": "string", "examples": [example_id("req")]},
    ),
    "Ally-Version": (
        "The version of the API that answered.",
        {"type": "string", "format": "date", "examples": [VERSION]},
    ),
    "RateLimit-Policy": (
        "How many requests (q) the key, end user or visitor may make in how many seconds (w).",
        {"type": "string", "examples": ['"key";q=250;w=10']},
    ),
    "RateLimit": (
        "How many requests (r) it has left, and in how many seconds (t) there are more.",
        {"type": "string", "examples": ['"key";r=249;t=7']},
    ),
    "Ally-Warning": (
        "What is odd about the request, though not wrong.",
        {"type": "string"},
    ),
    "Link": ("Where the next and the previous page are (RFC 8288).", {"type": "string"}),
    "Idempotent-Replayed": (
        "Says that this is the answer to an earlier request with the same Idempotency-Key.",
        {"type": "string", "const": "true"},
    ),
    "Retry-After": (
        "The seconds after which the same request is worth sending again.",
        {"type": "integer", "examples": [1]},
    ),
    "WWW-Authenticate": ("How to authenticate.", {"type": "string"}),
    "Ally-Rate-Limited-Reason": (
        "Which limit was met: that of a key, an end user or a visitor, or of looking keys up.",
        {
            "type": "string",
            "examples": ["key-rate", "end-user-rate", "visitor-rate", "key-lookups"],
        },
    ),
    "Vary": ("Says that the answer depends on what is accepted.", {"type": "string"}),
    "Deprecation": ("Since when the operation is deprecated (RFC 9745).", {"type": "string"}),
    "Sunset": ("When the operation ends (RFC 8594).", {"type": "string"}),
}
MAYBE = frozenset({"Ally-Warning", "Link", "Idempotent-Replayed"})
"""Headers that an answer only has where there is something to say."""
_FACTS: Mapping[str, Mapping[str, Any]] = {
    "body_malformed": {"reason": "it is not valid JSON"},
    "body_unexpected": {"method": "GET"},
    "body_too_large": {"limit": 262_144},
    "version_unknown": {"known": VERSION},
    "parameter_missing": {"param": "phone", "name": "phone"},
    "parameter_invalid": {
        "param": "dateOfBirth",
        "name": "dateOfBirth",
        "reason": "must not be in the future",
    },
    "parameter_unknown": {
        "param": "fistName",
        "name": "fistName",
        "suggestion": "Did you mean firstName?",
    },
    "metadata_nested": {"param": "metadata[ward]", "name": "metadata[ward]"},
    "filter_personal": {"param": "filter", "field": "name"},
    "idempotency_key_reused": {"existing": f", which concerns {example_id('p')}"},
    "end_user_permission_missing": {"permission": "patients:update"},
    "organisation_not_activated": {"activation": "under_review"},
    "permission_missing": {"permission": "patients:write"},
    "key_exceeds_yours": {"param": "scopes", "what": "scopes"},
    "resource_missing": {"noun": "patient", "which": f": {example_id('p')}"},
    "window_unsuitable": {"param": "windowId", "what": "task"},
    "appointment_overlaps": {"param": "windowId", "id": example_id("apt")},
    "appointment_already_cancelled": {"id": example_id("apt")},
    "appointment_not_cancellable": {"status": "completed"},
    "appointment_not_reschedulable": {"status": "completed"},
    "appointment_not_changeable": {"param": "phone", "name": "phone", "status": "completed"},
    "patient_has_appointments": {"id": example_id("apt")},
    "key_not_usable": {"status": "expired"},
    "rate_limited": {"limit": 250, "seconds": 10},
}
"""What fills the sentences of a code in its example, and the parameter that it names."""
_LISTED = frozenset({"parameter_missing", "parameter_invalid", "parameter_unknown"})
"""The codes of one wrong parameter, of which an answer lists all."""

_NOBODYS = frozenset(
    {
        *("https_required", "route_unknown", "method_not_allowed", "authentication_busy"),
        *("key_missing", "key_malformed", "key_invalid", "key_publishable"),
        *("token_invalid", "token_expired", "tenant_unknown"),
        *("request_unreadable", "gateway_failed", "gateway_timeout"),
    }
)
"""The codes that are said before it is known who calls: such a request is in nobody's log."""


def headed(names: Iterable[str]) -> Json:
    """Return the headers of an answer, by their names."""
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def refusal(status: int, codes: Iterable[Code], *, replayed: bool) -> Json:
    """Return the response of a status that some codes have; a 402 may be that of an earlier try."""
    headers = ["Request-Id", "Ally-Version"]
    headers += ["WWW-Authenticate"] if status == 401 else []
    headers += ["Retry-After"] if status in RETRYABLE else []
    headers += ["Ally-Rate-Limited-Reason"] if status == 429 else []
    headers += ["Idempotent-Replayed"] if status == 402 and replayed else []
    named = {code.name: {"$ref": f"#/components/examples/{code.name}"} for code in codes}
    listed = ", ".join(f"[`{code.name}`]({SITE.url}{code.page})" for code in codes)
    again = " Send the same request again, later." if status in RETRYABLE else ""
    return {
        "description": f"{TITLES[status]}.{again} Codes: {listed}.",
        "headers": headed(headers),
        "content": {
            JSON: {"schema": {"$ref": "#/components/schemas/ErrorEnvelope"}, "examples": named},
            PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}},
        },
    }


def example(name: str) -> Json:
    """Return an example of the refusal that a code is."""
    refused = ApiError(name, **_FACTS.get(name, {}))
    if name in _LISTED:
        refused = invalid([refused])
    logged = name not in _NOBODYS
    value = envelope(refused, example_id("req"), SITE.support, SITE.url, logged=logged)
    return {"summary": value["error"]["message"], "value": value}


def error_schemas() -> Json:
    """Return the schemas of errors: what every refusal has is required, the rest may be missing.

    Each has a name, which is that of a class in a client made by a generator; `Error` is not one,
    for some languages have it already.
    """
    text: Json = {"type": "string"}
    wrong = {
        "code": {**text, "description": "What is wrong, for programs: a code of the list."},
        "message": {**text, "description": "What is wrong, for people."},
        "param": {
            **text,
            "description": "The parameter that is wrong, in bracket form.",
            "examples": ["address[postcode]"],
        },
        "fix": {**text, "description": "What to do."},
    }
    kinds = list(dict.fromkeys([*TYPES.values(), "idempotency_error"]))
    kind = {**text, "description": "The kind of error.", "x-extensible-enum": kinds}
    page = {**text, "description": "The page that explains the code."}
    common = {
        "errors": {
            "type": "array",
            "description": "All wrong parameters of the request, the first of them first.",
            "items": {"$ref": "#/components/schemas/WrongParameter"},
        },
        "request_log_url": {
            **text,
            "description": "The request in your log, within 10 seconds: GET it with a key that may"
            " read requests. Missing where the request had no valid key.",
            "examples": [f"{SITE.url}/v1/requests/{example_id('req')}"],
        },
        "request_id": {**text, "description": "Names the request in our logs."},
    }
    required = ["code", "fix", "request_id"]
    others = {name: each for name, each in wrong.items() if name != "message"}
    return {
        "ErrorEnvelope": {
            "type": "object",
            "description": "Why a request was refused.",
            "properties": {
                "error": {
                    "$ref": "#/components/schemas/ErrorDetails",
                    "description": "What went wrong.",
                }
            },
            "required": ["error"],
        },
        "ErrorDetails": {
            "type": "object",
            "description": "What went wrong, and what to do. Members that say nothing are left"
            " out.",
            "properties": {"type": kind, **wrong, "doc_url": page, **common},
            "required": ["type", "message", *required],
        },
        "WrongParameter": {
            "type": "object",
            "description": "What is wrong with one parameter of a request.",
            "properties": wrong,
            "required": ["code", "message", "fix"],
        },
        "Problem": {
            "type": "object",
            "description": "The same as problem details (RFC 9457), for who accepts them.",
            "properties": {
                "type": page,
                "title": {**text, "description": "The code as words."},
                "status": {"type": "integer", "description": "The status of the answer."},
                "detail": wrong["message"],
                "error_type": kind,
                **others,
                **common,
            },
            "required": ["type", "title", "status", "detail", "error_type", *required],
        },
    }
