"""Smoke tests: a request to each function that changes nothing, and what it must be answered."""

import json
import re
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import NamedTuple
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from functions import discover
from infra.applying import StoppedError
from infra.services import service_name
from infra.steps import Values
from shared.routes import INTERNAL, PUBLIC, Route

TRIES, PAUSE = 3, 2
"""How often a probe is sent, and the seconds between: the network is not what is tested."""
SLOWEST = 30
"""Seconds within which a probe is answered, the start of an instance included."""


SIGN_IN = "accounts.google.com"
"""Where Identity-Aware Proxy sends whoever has not signed in."""


class NoWayError(Exception):
    """A host name leads nowhere yet: it does not resolve, or has no certificate."""


class NoRedirect(HTTPRedirectHandler):
    """Goes nowhere else: the key is for the address that it was asked to be sent to."""

    def redirect_request(self, *_: object) -> None:
        """Follow none, so that a redirect is an answer like others."""


class Probe(NamedTuple):
    """A request that changes nothing, and the statuses that say all is well."""

    function: str
    method: str
    path: str
    statuses: frozenset[int]


class Reply(NamedTuple):
    """What a probe was answered."""

    status: int
    request_id: str
    code: str
    location: str = ""

    def __str__(self) -> str:
        """Tell the status, and the code of an error."""
        return f"{self.status} {self.code}".rstrip()


def probes(function: str, *, with_key: bool) -> Iterator[Probe]:
    """Choose a function's first route that reads, or its first. None has a body or a query."""
    routes = next(api for api in discover() if api.name == function).routes
    route = next((each for each in routes if each.method == "GET"), routes[0])
    yield Probe(function, route.method, _path(route), _expected(route, with_key))


def _path(route: Route) -> str:
    return re.sub(r"\{\w+\}", "smoke", route.template)


def _expected(route: Route, with_key: bool) -> frozenset[int]:
    if route.permission == PUBLIC:
        return frozenset({200})
    if route.permission == INTERNAL:  # it asks for no key, and was sent nothing that it could do
        return frozenset({400})
    # With a key its secret and its quota were read; what follows is a list, or the refusal of a
    # call that the key may not make or that asks for nothing that there is.
    return frozenset({200, 400, 403, 404}) if with_key else frozenset({401})


def ask(probe: Probe, address: str, headers: Mapping[str, str], values: Values) -> str:
    """Send a probe and tell its answer. StoppedError where it is none of those it may be."""

    def right(reply: Reply) -> bool:  # ours has an id: IAM's has none
        return reply.status in probe.statuses and bool(reply.request_id)

    try:
        reply = _answer(probe, address, headers, values, right)
    except _UnansweredError as error:
        raise StoppedError(
            f"Smoke test: {probe.function} at {address}{probe.path} answered {error}, and not"
            f" {' or '.join(map(str, sorted(probe.statuses)))} in our own words."
            f" {_logs(probe.function, values)}"
        ) from None
    return f"{probe.function}: {probe.method} {probe.path} {reply}"


def ask_page(portal: Values, values: Values) -> str:
    """Ask a portal as anybody can, and tell its answer. StoppedError where it is not what it owes.

    That is our way to where people sign in or, if it is for staff, the way to Google's.
    NoWayError where the host's name does not lead here yet, which no release changes.
    """
    staff = portal["audience"] == "staff"
    probe = Probe(portal["function"], "GET", "/", frozenset({302 if staff else 303}))
    address = f"https://{portal['host']}"

    def right(reply: Reply) -> bool:
        led = urlsplit(reply.location).hostname == SIGN_IN
        ours = bool(reply.request_id)
        return reply.status in probe.statuses and ours != staff and led == staff

    try:
        reply = _answer(probe, address, {}, values, right)
    except _UnansweredError as error:
        if _is_no_way(error.__cause__):
            raise NoWayError(
                f"{probe.function}: not asked, for {address} leads nowhere yet ({error})."
                " docs/operating.md says how a name is led here."
            ) from None
        owed = f"302 to {SIGN_IN}" if staff else "303 in our own words"
        raise StoppedError(
            f"Smoke test: {address}/ answered {error}, and not {owed}."
            f" {_logs(probe.function, values)}"
        ) from None
    return f"{probe.function}: GET {address}/ {reply}"


class _UnansweredError(Exception):
    """No try was answered as it should be; the message is what the last one was answered."""


def _answer(
    probe: Probe,
    address: str,
    headers: Mapping[str, str],
    values: Values,
    right: Callable[[Reply], bool],
) -> Reply:
    """Send a probe until its answer is right; `_UnansweredError` by what hindered it at last."""
    headers = {"User-Agent": f"ally-smoke/{values['commit']}", **headers}
    told, cause = "", None
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE)
        try:
            reply = _reply(probe, address, headers)
        except (OSError, HTTPException) as error:
            told, cause = str(error), error
        else:
            if right(reply):
                return reply
            told, cause = str(reply), None
    raise _UnansweredError(told) from cause


def _is_no_way(error: BaseException | None) -> bool:
    """Say whether a name does not resolve, has no certificate yet, or nobody listens there."""
    cause = error.reason if isinstance(error, URLError) else error
    return isinstance(cause, socket.gaierror | ssl.SSLError | ConnectionError)


def _logs(function: str, values: Values) -> str:
    return (
        f"Its logs say why: gcloud run services logs read {service_name(function)}"
        f" --region={values['region']} --project={values['project']}"
    )


def _reply(probe: Probe, address: str, headers: Mapping[str, str]) -> Reply:
    body = b"" if probe.method == "POST" else None
    # An opener changes a request where a proxy is, so it is sent once.
    request = Request(  # noqa: S310 - https, as Google says of our own services
        address + probe.path, body, dict(headers), method=probe.method
    )
    try:
        with build_opener(NoRedirect).open(request, timeout=SLOWEST) as answer:
            return Reply(answer.status, answer.headers.get("Request-Id", ""), "")
    except HTTPError as error:
        try:
            code = json.loads(error.read())["error"]["code"]
        except (ValueError, LookupError, TypeError):
            code = "(not our envelope)" if error.code >= 400 else ""
        head = error.headers
        return Reply(error.code, head.get("Request-Id", ""), code, head.get("Location", ""))
