"""Smoke tests: a request to each function that changes nothing, and what it must be answered."""

import json
import re
import time
from collections.abc import Iterator, Mapping
from http.client import HTTPException
from typing import NamedTuple
from urllib.error import HTTPError
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
    headers = {"User-Agent": f"ally-smoke/{values['commit']}", **headers}
    told = ""
    for attempt in range(TRIES):
        if attempt:
            time.sleep(PAUSE)
        try:
            reply = _reply(probe, address, headers)
        except (OSError, HTTPException) as error:
            told = str(error)
        else:
            told = str(reply)
            if reply.status in probe.statuses and reply.request_id:  # it is ours: IAM names none
                return f"{probe.function}: {probe.method} {probe.path} {reply}"
    raise StoppedError(
        f"Smoke test: {probe.function} at {address}{probe.path} answered {told}, and not"
        f" {' or '.join(map(str, sorted(probe.statuses)))} in our own words. Its logs say why:"
        f" gcloud run services logs read {service_name(probe.function)}"
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
            code = "(not our envelope)"
        return Reply(error.code, error.headers.get("Request-Id", ""), code)
