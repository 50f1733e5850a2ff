"""The Python client of the Ally API: see README.md, and `Ally` and `AsyncAlly`."""

from ally import webhooks
from ally.client import Ally, AsyncAlly
from ally.errors import (
    AllyError,
    AuthenticationError,
    ConflictError,
    ConnectionFailedError,
    IdempotencyError,
    InvalidRequestError,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    RequestFailedError,
    ServerError,
    TimedOutError,
    WebhookVerificationError,
    WrongParameter,
)
from ally.pages import AsyncPage, Page
from ally.version import VERSION as __version__

__all__ = [
    "Ally",
    "AllyError",
    "AsyncAlly",
    "AsyncPage",
    "AuthenticationError",
    "ConflictError",
    "ConnectionFailedError",
    "IdempotencyError",
    "InvalidRequestError",
    "NotFoundError",
    "Page",
    "PermissionDeniedError",
    "RateLimitError",
    "RequestFailedError",
    "ServerError",
    "TimedOutError",
    "WebhookVerificationError",
    "WrongParameter",
    "__version__",
    "webhooks",
]
