"""Versions, and what is on its way out."""

from datetime import date

import httpx
import pytest

from shared import service as held
from shared.api import Api, Call, application
from shared.exchange import VERSION
from shared.models import Deleted
from shared.routes import Retiring
from shared.service import Service
from tests.support.serving import Partner


def test_the_version_is_told_with_every_answer(partner: Partner) -> None:
    for path in ("/v1/tasks", "/v1/nothing", "/docs/errors"):
        assert partner.send("GET", path).headers["Ally-Version"] == VERSION


def test_a_known_version_can_be_asked_for(partner: Partner) -> None:
    answer = partner.send("GET", "/v1/tasks", headers={"Ally-Version": VERSION})
    assert (answer.status_code, answer.headers["Ally-Version"]) == (200, VERSION)


@pytest.mark.parametrize("asked", ["2020-01-01", "latest", "", f"{VERSION},{VERSION}"])
def test_an_unknown_version_is_refused_and_the_known_ones_are_named(
    partner: Partner, asked: str
) -> None:
    answer = partner.send("GET", "/v1/tasks", headers={"Ally-Version": asked})
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "version_unknown")
    assert VERSION in error["fix"]


def test_who_asks_for_an_unknown_version_is_counted_as_who_asks_for_a_known_one(
    partner: Partner,
) -> None:
    asked = {"Ally-Version": "2020-01-01"}
    assert "RateLimit" in partner.send("GET", "/v1/tasks", headers=asked).headers
    stranger = partner.server.send("GET", "/v1/tasks", headers=asked)
    assert stranger.json()["error"]["code"] == "key_missing"


def test_what_is_on_its_way_out_says_since_when_until_when_and_what_comes_instead(
    partner: Partner,
) -> None:
    api = Api("things", audience="partner")
    retiring = Retiring(date(2027, 1, 1), date(2027, 7, 1), "/v1/new_things")

    @api.get("/v1/things", permission="things:read", retiring=retiring)
    async def index(call: Call) -> Deleted:
        return Deleted(id=call.caller.organisation, object="thing")

    async def ask(service: Service) -> httpx.Response:
        held.use(service)
        try:
            transport = httpx.ASGITransport(application([api]))
            async with httpx.AsyncClient(transport=transport, base_url="https://a.test") as client:
                return await client.get("/v1/things", headers={"Authorization": partner.key})
        finally:
            held.use(None)

    answer = partner.backing.run(ask)
    assert answer.status_code == 200
    assert answer.headers["Deprecation"] == "@1798761600"  # RFC 9745
    assert answer.headers["Sunset"] == "Thu, 01 Jul 2027 00:00:00 GMT"  # RFC 8594
    assert answer.headers["Link"] == '</v1/new_things>; rel="successor-version"'
    assert "Deprecation" not in partner.send("GET", "/v1/tasks").headers
