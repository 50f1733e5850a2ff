"""Sending a request until it is answered: once written as a policy, with two thin senders."""

import json
import logging
import re
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from platform import python_version
from typing import Any, Generic, TypeVar
from uuid import uuid4

import httpx

from ally.errors import (
    AllyError,
    ConnectionFailedError,
    InvalidRequestError,
    ServerError,
    TimedOutError,
    read_refusal,
)
from ally.keys import Key
from ally.pages import AsyncPages, Page
from ally.requests import Batch, Request
from ally.version import API_VERSION, VERSION

T = TypeVar("T")

Outcome = httpx.Response | httpx.RequestError

FIRST_PAUSE, LONGEST_PAUSE = 0.5, 8.0
"""Seconds: the bound of the first pause between attempts, which doubles, and of the longest."""

_LOG = logging.getLogger("ally")
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_TRANSIENT = (
    httpx.TimeoutException,
    httpx.NetworkError,
    httpx.RemoteProtocolError,
    httpx.ProxyError,
)
_AGENT = f"ally-python/{VERSION} python/{python_version()}"


@dataclass(frozen=True, slots=True)
class Policy:
    """What a client was told when it was made. Times are in seconds."""

    base_url: str
    key: Key
    timeout: float
    max_retries: int
    max_wait: float
    jitter: Callable[[], float]


class Call(Generic[T]):
    """One request on its way: what is sent, how often, and what becomes of it."""

    def __init__(self, policy: Policy, request: Request[Any], read: Callable[[Any], T]) -> None:
        self._policy = policy
        self._request = request
        self._read = read
        told = request.options
        self._key: Key = told.get("key", policy.key)
        self._retries: int = told.get("max_retries", policy.max_retries)
        self._timeout: float = told.get("timeout", policy.timeout)
        self._idempotency_key: str | None = None
        if request.method == "POST":
            self._idempotency_key = told.get("idempotency_key", str(uuid4()))
            if not _IDEMPOTENCY_KEY.fullmatch(self._idempotency_key):
                raise ValueError("idempotency_key must be 1 to 255 printable characters of ASCII")
        self._attempts = 0
        self._written = self._write()

    def attempt(self) -> httpx.Request:
        """Return what is to be sent: the same each time, its idempotency key included."""
        self._attempts += 1
        return self._written

    def _write(self) -> httpx.Request:
        request = self._request
        headers = httpx.Headers(
            {
                "Authorization": self._key.reveal(),
                "Ally-Version": API_VERSION,
                "Accept": "application/json",
                "User-Agent": _AGENT,
            }
        )
        content = None
        if request.body is not None:
            content = json.dumps(request.body).encode()
            headers["Content-Type"] = "application/json"
        if self._idempotency_key is not None:
            headers["Idempotency-Key"] = self._idempotency_key
        url = None
        with suppress(httpx.InvalidURL):  # which repeats the parameters
            url = httpx.URL(self._policy.base_url + request.target)
        if url is None:
            raise InvalidRequestError("The parameters are too long for an address.", **self._sent())
        wait = httpx.Timeout(self._timeout).as_dict()
        return httpx.Request(
            request.method, url, headers=headers, content=content, extensions={"timeout": wait}
        )

    def pause_after(self, outcome: Outcome) -> float | None:
        """Return the seconds to wait before the next attempt; None where there is to be none."""
        self._note(outcome)
        if self._attempts > self._retries or not _worth_repeating(outcome):
            return None
        bound = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** (self._attempts - 1))
        pause = self._policy.jitter() * bound
        asked = _retry_after(outcome)
        if asked is None:
            return pause
        return asked + pause if asked <= self._policy.max_wait else None

    def conclude(self, outcome: Outcome) -> T:
        """Return what the last answer says, or raise what it is."""
        if isinstance(outcome, httpx.RequestError):
            raise self._unanswered(outcome)
        if not outcome.is_success:
            raise read_refusal(
                outcome.status_code,
                self._key.hide(outcome.text),
                request_id=outcome.headers.get("Request-Id"),
                retry_after=_retry_after(outcome),
                **self._sent(),
            )
        try:
            return self._read(json.loads(outcome.content))
        except (json.JSONDecodeError, UnicodeDecodeError, RecursionError):
            problem = "it is not JSON"
        except ValueError as error:
            problem = str(error)
        raise ServerError(
            f"The answer cannot be read: {problem}.",
            http_status=outcome.status_code,
            request_id=outcome.headers.get("Request-Id"),
            **self._sent(),
        )

    def _unanswered(self, error: httpx.RequestError) -> AllyError:
        """Make the exception of a request without an answer.

        It does not carry httpx's own, in whose frames the key and the body can be seen.
        """
        timed_out = isinstance(error, httpx.TimeoutException)
        kind = TimedOutError if timed_out else ConnectionFailedError
        said = self._key.hide(f"{type(error).__name__}: {error}".removesuffix(": "))
        what = "No answer came in time" if timed_out else "The API was not reached, or broke off"
        return kind(f"{what} ({said}).", **self._sent())

    def _sent(self) -> dict[str, Any]:
        return {"idempotency_key": self._idempotency_key, "attempts": self._attempts}

    def _note(self, outcome: Outcome) -> None:
        request, attempt = self._request, self._attempts
        what, request_id = type(outcome).__name__, None
        if isinstance(outcome, httpx.Response):
            what, request_id = str(outcome.status_code), outcome.headers.get("Request-Id")
        _LOG.debug(
            "%s %s: %s, request %s, attempt %d",
            *(request.method, request.template, what, request_id, attempt),
        )


def _worth_repeating(outcome: Outcome) -> bool:
    """Tell whether the same request may fare better, which the API knows best."""
    if isinstance(outcome, httpx.RequestError):
        return isinstance(outcome, _TRANSIENT)
    said = outcome.headers.get("Stripe-Should-Retry")
    if said in ("true", "false"):
        return bool(said == "true")
    return outcome.status_code in (409, 429) or outcome.status_code >= 500


def _retry_after(outcome: Outcome) -> float | None:
    """Return the seconds that an answer asks to wait; the form that names a date is not read."""
    if isinstance(outcome, httpx.RequestError):
        return None
    text = outcome.headers.get("Retry-After", "")
    return float(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


class Sender:
    """Sends, and waits for the answer. Threads may share it."""

    def __init__(
        self, policy: Policy, transport: httpx.BaseTransport, sleep: Callable[[float], None]
    ) -> None:
        self._policy = policy
        self._transport = transport
        self._sleep = sleep

    def one(self, request: Request[T]) -> T:
        """Return the object that a request is answered with."""
        return self._exchange(Call(self._policy, request, request.one))

    def batch(self, request: Request[T]) -> Batch[T]:
        """Return the objects of the page that a request is answered with."""
        return self._exchange(Call(self._policy, request, request.many))

    def page(self, request: Request[T]) -> Page[T]:
        """Return the page that a request is answered with."""
        return Page(self, request, self.batch(request))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def _exchange(self, call: Call[T]) -> T:
        while True:
            outcome = self._attempt(call.attempt())
            pause = call.pause_after(outcome)
            if pause is None:
                return call.conclude(outcome)
            self._sleep(pause)

    def _attempt(self, request: httpx.Request) -> Outcome:
        # Not through httpx.Client: it logs URLs, keeps cookies, and asks the environment for
        # proxies to send the key to.
        try:
            response = self._transport.handle_request(request)
            try:
                response.read()
            finally:
                response.close()
        except httpx.RequestError as error:
            return error
        return response


class AsyncSender:
    """Sends, and lets others work until the answer comes. One event loop may use it."""

    def __init__(
        self,
        policy: Policy,
        transport: httpx.AsyncBaseTransport,
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._policy = policy
        self._transport = transport
        self._sleep = sleep

    async def one(self, request: Request[T]) -> T:
        """Return the object that a request is answered with."""
        return await self._exchange(Call(self._policy, request, request.one))

    async def batch(self, request: Request[T]) -> Batch[T]:
        """Return the objects of the page that a request is answered with."""
        return await self._exchange(Call(self._policy, request, request.many))

    def page(self, request: Request[T]) -> AsyncPages[T]:
        """Return the list that a request asks for, before it is asked for."""
        return AsyncPages(self, request)

    async def close(self) -> None:
        """Close the connections."""
        await self._transport.aclose()

    async def _exchange(self, call: Call[T]) -> T:
        while True:
            outcome = await self._attempt(call.attempt())
            pause = call.pause_after(outcome)
            if pause is None:
                return call.conclude(outcome)
            await self._sleep(pause)

    async def _attempt(self, request: httpx.Request) -> Outcome:
        try:
            response = await self._transport.handle_async_request(request)
            try:
                await response.aread()
            finally:
                await response.aclose()
        except httpx.RequestError as error:
            return error
        return response
