"""Our own client, as tests use it: on the running server, and on an instance in the process."""

import ssl
from datetime import date
from typing import Any, TypedDict

import httpx

from ally import Ally, AsyncAlly
from ally.params import AddressInput
from tests.support.conformity import conforming
from tests.support.inprocess import InProcess
from tests.support.serving import POSTCODE, Partner


class Person(TypedDict):
    """What has to be known of a patient."""

    firstName: str
    lastName: str
    phone: str
    email: str
    dateOfBirth: date


HOME: AddressInput = {"line1": "17 Quillon Row", "city": "London", "postcode": POSTCODE}
ADA: Person = {
    "firstName": "Ada",
    "lastName": "Loveworth",
    "phone": "+447400123456",
    "email": "ada@example.com",
    "dateOfBirth": date(1985, 12, 10),
}
ANNE: Person = {**ADA, "firstName": "Anne", "lastName": "Byron"}


def client_of(partner: Partner, **settings: Any) -> Ally:
    """Return a client that calls the partner's server with the partner's key."""
    told = {**_where(partner), **settings}
    return Ally(partner.key, **{"transport": Held(told["verify"]), **told})


def async_client_of(partner: Partner, **settings: Any) -> AsyncAlly:
    return AsyncAlly(partner.key, **{**_where(partner), **settings})


def _where(partner: Partner) -> dict[str, Any]:
    return {"base_url": partner.server.url, "verify": partner.server.certificate}


class Held(httpx.HTTPTransport):
    """The network, with every answer held against the OpenAPI document."""

    def __init__(self, verify: Any) -> None:
        super().__init__(verify=ssl.create_default_context(cafile=verify))

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = super().handle_request(request)
        answer.request = request
        answer.read()
        return conforming(answer)


class Within(httpx.BaseTransport):
    """What takes requests to an instance of the API in this process."""

    def __init__(self, api: InProcess) -> None:
        self._api = api

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        path = request.url.raw_path.decode()
        answer = self._api.send(
            request.method, path, headers=request.headers, content=request.read()
        )
        return httpx.Response(answer.status_code, headers=answer.headers, content=answer.content)


class Pauses:
    """A sleep that takes no time and remembers what was asked of it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)

    async def rest(self, seconds: float) -> None:
        self.seconds.append(seconds)
