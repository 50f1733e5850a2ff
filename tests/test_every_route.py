"""What holds for every route that is found, whoever wrote it."""

import re
from collections.abc import Callable
from typing import Any

import pytest

from functions import discover
from shared.api import Api
from shared.keys import Access
from shared.routes import INTERNAL, PUBLIC, Route
from tests.support.serving import PREFIXES, REASON, TEXTS, Backing, Json, Partner, Server

APIS = discover()
WITHOUT_A_KEY = (PUBLIC, INTERNAL)
ROUTES = [
    (api, route) for api in APIS for route in api.routes if route.permission not in WITHOUT_A_KEY
]
PLACEHOLDER = re.compile(r"\{(\w+)\}")


@pytest.fixture(scope="session")
def partner(backing: Backing, server: Server) -> Partner:
    """A partner with a key for everything, that which `*` leaves out included.

    It is the same for all tests: whatever they ask in its name is refused.
    """
    return backing.partner(server).administrator()


@pytest.fixture
def other(other: Partner) -> Partner:
    """Another organisation, with such a key too."""
    return other.administrator()


def every_route(*, only_objects: bool = False) -> pytest.MarkDecorator:
    """Parametrise a test over the routes; with `only_objects`, over those of one object."""
    chosen = [
        pytest.param(route, id=f"{route.method} {route.template}")
        for _, route in ROUTES
        if not only_objects or set(PLACEHOLDER.findall(route.template)) - TEXTS.keys()
    ]
    marked: pytest.MarkDecorator = pytest.mark.parametrize("route", chosen)
    return marked


def some_path(route: Route) -> str:
    """Return a path of a route, of an object that does not exist."""
    return PLACEHOLDER.sub(lambda found: missing_id(found[1]), route.template)


def missing_id(noun: str) -> str:
    if noun in TEXTS:
        return TEXTS[noun]
    assert noun in PREFIXES, f"say in PREFIXES what the ids of a {noun} begin with"
    return f"{PREFIXES[noun]}_{'0' * 22}"


def existing_id(noun: str, partner: Partner) -> str:
    """Make an object of a partner's and return its id."""
    makers: dict[str, Callable[[], Json]] = {
        "organisation": lambda: {"id": partner.organisation.id},
        "patient": partner.create_patient,
        "task": partner.task,
        "appointment": lambda: cancelled(partner),
        "api_key": lambda: {"id": partner.with_key({}).api_key.id},
        "request": partner.logged_request,
    }
    make = makers.get(noun)
    assert make is not None, f"say here how a {noun} is made"
    return str(make()["id"])


def cancelled(partner: Partner) -> Json:
    """Make an appointment that has a cancellation too, so that every route of it could answer."""
    booked = partner.book()
    partner.cancel(booked)
    return booked


def valid_body(route: Route) -> dict[str, Any] | None:
    """Return a body that a route would take, for it to get as far as looking for the object."""
    if route.template.endswith("/cancel"):
        return REASON
    if route.template.endswith("/reschedule"):
        return {"windowId": missing_id("window")}
    return {} if route.method in ("POST", "PATCH") else None


@every_route()
def test_without_a_key_every_route_answers_401(partner: Partner, route: Route) -> None:
    answer = partner.server.send(route.method, some_path(route))
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "key_missing"
    assert answer.headers["WWW-Authenticate"]


@every_route()
def test_with_a_wrong_secret_every_route_answers_401(partner: Partner, route: Route) -> None:
    forged = partner.key[:-30] + "0" * 30
    answer = partner.server.send(route.method, some_path(route), forged)
    assert answer.status_code == 401
    assert answer.json()["error"]["code"] == "key_invalid"


@every_route()
def test_without_the_permission_every_route_answers_403(partner: Partner, route: Route) -> None:
    resource, access = route.permission.split(":")
    weaker: Access = "read" if access == "write" else "none"
    restricted = partner.with_key({"*": "write", resource: weaker})
    answer = restricted.send(route.method, some_path(route))
    assert answer.status_code == 403
    error = answer.json()["error"]
    assert error["code"] == "permission_missing"
    assert route.permission in error["message"]


@every_route()
def test_an_unknown_parameter_is_named_and_refused(partner: Partner, route: Route) -> None:
    path = some_path(route)
    where = "data" if route.method in ("POST", "PATCH") else "params"
    answer = partner.send(route.method, path, **{where: {"colour[0]": "vermilion"}})
    assert answer.status_code == 400
    errors = answer.json()["error"]["errors"]
    assert ("parameter_unknown", "colour") in [(each["code"], each.get("param")) for each in errors]
    assert "vermilion" not in answer.text


@every_route(only_objects=True)
def test_anothers_object_and_the_other_modes_are_the_404_of_a_missing_one(
    partner: Partner, other: Partner, route: Route
) -> None:
    noun = PLACEHOLDER.findall(route.template)[0]
    theirs = existing_id(noun, other)
    strangers = [(partner, missing_id(noun)), (partner, theirs)]
    if noun != "organisation":  # an organisation is one in both modes
        strangers.append((other.live().administrator(), theirs))
    answers = []
    for caller, object_id in strangers:
        path = PLACEHOLDER.sub(object_id, route.template)
        answer = caller.send(route.method, path, json=valid_body(route))
        assert answer.status_code == 404, answer.text
        request_id = answer.headers["Request-Id"]
        suffix = object_id.partition("_")[2]
        told = answer.text.replace(request_id, "").replace(suffix, "")
        names = {name for name in answer.headers if name != "date"}
        answers.append((told, names))
    assert all(answer == answers[0] for answer in answers)
    assert '"code":"resource_missing"' in answers[0][0]


@every_route()
def test_a_wrong_verb_is_405_in_the_envelope(partner: Partner, route: Route) -> None:
    path = some_path(route)
    answer = partner.send("PUT", path)
    assert answer.status_code == 405
    assert answer.json()["error"]["code"] == "method_not_allowed"
    assert route.method in answer.headers["Allow"].split(", ")


def test_a_fixed_path_is_not_taken_for_the_id_of_an_object(partner: Partner) -> None:
    answer = partner.send("DELETE", "/v1/patients/search")
    assert answer.status_code == 405
    assert answer.headers["Allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/", "/v1/nothing", "/v2/patients", "/v1/patients/"]
)
def test_an_unknown_path_is_404_in_the_envelope(partner: Partner, path: str) -> None:
    answer = partner.send("GET", path)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "route_unknown"


def test_two_functions_that_claim_a_segment_do_not_load() -> None:
    from shared.api import application

    first, second = Api("first", audience="partner"), Api("second", audience="partner")
    for api in (first, second):
        api.get("/v1/things", permission="things:read")(_handler)
    with pytest.raises(ValueError, match="first and second both claim /v1/things"):
        application([first, second])


def test_a_route_without_a_permission_does_not_load() -> None:
    api = Api("things", audience="partner")
    with pytest.raises(TypeError, match="permission"):
        api.get("/v1/things")(_handler)  # type: ignore[call-arg]  # on purpose
    with pytest.raises(TypeError, match="permission"):
        api.get("/v1/things", permission="")(_handler)


@pytest.mark.parametrize(
    ("audience", "permission"), [("internal", "public"), ("partner", "internal")]
)
def test_internal_routes_are_those_of_internal_functions(audience: Any, permission: str) -> None:
    api = Api("things", audience=audience)
    with pytest.raises(TypeError, match="internal"):
        api.get("/things", permission=permission)(_handler)


def test_a_function_without_an_audience_does_not_load() -> None:
    with pytest.raises(TypeError, match="audience"):
        Api("things")  # type: ignore[call-arg]  # on purpose


async def _handler(call: Any) -> Any:
    return call
