"""The two clients: `Ally`, and `AsyncAlly` for asyncio."""

import asyncio
import os
import random
import re
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

import httpx

from ally.keys import Key
from ally.resources import Resources
from ally.sending import AsyncSender, Policy, Sender

BASE_URL = "https://api.ally.example"
"""The address that the documentation names; a deployment has one of its own."""
TIMEOUT = 30.0
MAX_RETRIES = 2
MAX_WAIT = 60.0

Verify = str | os.PathLike[str] | ssl.SSLContext | None
"""Whom to trust: a file of certificates, a context, or None for the public authorities."""

_LOOPBACK = re.compile(r"localhost|127(\.[0-9]{1,3}){3}|::1")


class Ally(Resources[Sender]):
    """The Ally API, called with one secret key, which also chooses test or live mode.

    `timeout` is the seconds to connect, and to wait for the answer to go on. A request that may
    fare better is sent again up to `max_retries` times, after pauses with jitter (`jitter` gives a
    number from 0 to 1, `sleep` waits); a `Retry-After` of more than `max_wait` seconds is not
    waited for. `transport` takes the place of the network, as for a proxy. Threads may share a
    client.

    ValueError says what can be no key, or why a key must not be sent to an address.
    """

    def __init__(
        self,
        key: str,
        *,
        base_url: str = BASE_URL,
        verify: Verify = None,
        timeout: float = TIMEOUT,
        max_retries: int = MAX_RETRIES,
        max_wait: float = MAX_WAIT,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        policy = Policy(_safe(base_url), Key(key), timeout, max_retries, max_wait, jitter)
        network = transport or httpx.HTTPTransport(verify=_trusted(verify))
        super().__init__(Sender(policy, network, sleep))

    def close(self) -> None:
        """Close the connections."""
        self._sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncAlly(Resources[AsyncSender]):
    """The Ally API for asyncio: as Ally is, but what it does is awaited, in one event loop."""

    def __init__(
        self,
        key: str,
        *,
        base_url: str = BASE_URL,
        verify: Verify = None,
        timeout: float = TIMEOUT,
        max_retries: int = MAX_RETRIES,
        max_wait: float = MAX_WAIT,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        policy = Policy(_safe(base_url), Key(key), timeout, max_retries, max_wait, jitter)
        network = transport or httpx.AsyncHTTPTransport(verify=_trusted(verify))
        super().__init__(AsyncSender(policy, network, sleep))

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()


def _safe(base_url: str) -> str:
    """Return an address that a key may be sent to: over TLS, or on this machine."""
    url = httpx.URL()
    with suppress(httpx.InvalidURL):
        url = httpx.URL(base_url)
    local = url.scheme == "http" and _LOOPBACK.fullmatch(url.host)
    if not (url.host and (url.scheme == "https" or local)):
        raise ValueError("base_url must be https://…: a key is never sent over plain HTTP.")
    if url.userinfo or url.query or url.fragment:
        raise ValueError("base_url must have no user name, query or fragment.")
    return str(url).rstrip("/")


def _trusted(verify: Verify) -> ssl.SSLContext:
    if verify is None:
        return httpx.create_ssl_context()
    if isinstance(verify, ssl.SSLContext):
        return verify
    return ssl.create_default_context(cafile=verify)
