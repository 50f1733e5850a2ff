"""What can go wrong: one tree of exceptions.

AllyError
├── InvalidRequestError         400, 405, 413: the request has to be changed
│   └── IdempotencyError        400: the idempotency key was used for another request
├── AuthenticationError         401: no valid key
├── RequestFailedError          402: the request is right and the world refuses; see `code`
├── PermissionDeniedError       403: the key may not do this
├── NotFoundError               404: there is no such thing, or not for this key
├── ConflictError               409: others were changing the same; it was tried again
├── RateLimitError              429: too many requests; it was tried again
├── ServerError                 5xx, and an answer that cannot be read
├── ConnectionFailedError       the API could not be reached, or the connection broke
│   └── TimedOutError           no answer came in time
└── WebhookVerificationError    a webhook is not authentic, or not as it was sent
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

LONGEST_QUOTE = 200
"""Characters that are repeated of an answer that is not the API's own."""


@dataclass(frozen=True, slots=True)
class WrongParameter:
    """One wrong parameter of a request. `param` is its name, such as `address[postcode]`."""

    code: str | None = None
    message: str | None = None
    param: str | None = None
    fix: str | None = None


class AllyError(Exception):
    """The root of the tree. What is not known of a case is None.

    `code` is for programs, `message` and `fix` are for people, `param` names the first wrong
    parameter and `errors` has all of them. `request_id` finds the request in the API's logs.
    `idempotency_key` is the key of the request, made up or given: send the same request with it
    again, and it takes effect once, whatever became of this one. `attempts` counts how often the
    request was sent, `retry_after` is the seconds that the API asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        type: str | None = None,  # noqa: A002 - the name that it has in the answer
        code: str | None = None,
        param: str | None = None,
        errors: tuple[WrongParameter, ...] = (),
        fix: str | None = None,
        doc_url: str | None = None,
        request_log_url: str | None = None,
        request_id: str | None = None,
        http_status: int | None = None,
        retry_after: float | None = None,
        idempotency_key: str | None = None,
        attempts: int = 0,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.type = type
        self.code = code
        self.param = param
        self.errors = errors
        self.fix = fix
        self.doc_url = doc_url
        self.request_log_url = request_log_url
        self.request_id = request_id
        self.http_status = http_status
        self.retry_after = retry_after
        self.idempotency_key = idempotency_key
        self.attempts = attempts

    def __str__(self) -> str:
        head = " ".join(str(part) for part in (self.http_status, self.code) if part is not None)
        found = f"(request {self.request_id})" if self.request_id else None
        parts = (f"{head}:" if head else None, self.message, self.fix, found)
        return " ".join(part for part in parts if part)


class InvalidRequestError(AllyError):
    """The request has to be changed before it can work: 400, 405 or 413."""


class IdempotencyError(InvalidRequestError):
    """The idempotency key was used for another request."""


class AuthenticationError(AllyError):
    """No valid key was sent: 401. `code` tells missing, malformed, expired and revoked apart."""


class RequestFailedError(AllyError):
    """The request is right and the world refuses: 402. `code` says why, for a program to act on."""


class PermissionDeniedError(AllyError):
    """The key may not do this, or its organisation is not activated: 403."""


class NotFoundError(AllyError):
    """There is no such thing, or not for this key: 404.

    After a DELETE that was sent more than once (`attempts`) an earlier attempt, whose answer was
    lost, may have deleted it.
    """


class ConflictError(AllyError):
    """Others were changing the same things: 409. Nothing was changed."""


class RateLimitError(AllyError):
    """Too many requests: 429. `retry_after` says how long to wait."""


class ServerError(AllyError):
    """The API failed, or something on the way to it: 5xx, or an answer that cannot be read."""


class ConnectionFailedError(AllyError):
    """The API could not be reached, or the connection broke before the answer came."""


class TimedOutError(ConnectionFailedError):
    """No answer came in time. The request may have taken effect."""


class WebhookVerificationError(AllyError):
    """A webhook is not authentic, or not as it was sent.

    `likely` is the likely cause: the `body` was changed on its way to here, the `secret` is not
    that of the endpoint, or the `time` is not now. It is None where the signature is missing.
    """

    def __init__(
        self, message: str, likely: Literal["body", "secret", "time"] | None = None
    ) -> None:
        super().__init__(message)
        self.likely = likely


_BY_STATUS: Mapping[int, type[AllyError]] = {
    401: AuthenticationError,
    402: RequestFailedError,
    403: PermissionDeniedError,
    404: NotFoundError,
    409: ConflictError,
    429: RateLimitError,
}


def read_refusal(status: int, text: str, *, request_id: str | None, **sent: Any) -> AllyError:
    """Make the exception of an answer that is not 2xx.

    What stands between here and the API answers without its envelope: the HTTP server in plain
    text, the gateway with `{"code", "message"}`, a proxy with a page. That has no `code`, and its
    text is shortened.
    """
    written = _object(text)
    own = written.get("error")
    if not isinstance(own, dict):
        return _class_of(status, None)(
            _quote(status, str(written.get("message") or text)),
            http_status=status,
            request_id=request_id,
            **sent,
        )
    kind = _text(own, "type")
    return _class_of(status, kind)(
        _text(own, "message") or _quote(status, ""),
        type=kind,
        code=_text(own, "code"),
        param=_text(own, "param"),
        errors=_all_wrong(own.get("errors")),
        fix=_text(own, "fix"),
        doc_url=_text(own, "doc_url"),
        request_log_url=_text(own, "request_log_url"),
        request_id=_text(own, "request_id") or request_id,
        http_status=status,
        **sent,
    )


def _class_of(status: int, kind: str | None) -> type[AllyError]:
    if kind == "idempotency_error" and status == 400:
        return IdempotencyError
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    return InvalidRequestError if 400 <= status < 500 else ServerError


def _object(text: str) -> dict[str, Any]:
    try:
        written = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return written if isinstance(written, dict) else {}


def _text(written: Mapping[str, Any], name: str) -> str | None:
    value = written.get(name)
    return value if isinstance(value, str) else None


def _all_wrong(listed: object) -> tuple[WrongParameter, ...]:
    members = listed if isinstance(listed, list) else []
    return tuple(_wrong(each) for each in members if isinstance(each, dict))


def _wrong(written: Mapping[str, Any]) -> WrongParameter:
    return WrongParameter(*(_text(written, name) for name in ("code", "message", "param", "fix")))


def _quote(status: int, text: str) -> str:
    """Return what an answer says in one short line, without the tags of a page."""
    line = " ".join(re.sub(r"<[^>]*>", " ", text).split())
    if 300 <= status < 400:
        line = f"A redirection, which is not followed. {line}".rstrip()
    shortened = line[:LONGEST_QUOTE] + "…" * (len(line) > LONGEST_QUOTE)
    return shortened or "An answer without a text."
