"""Roles in the dashboard: what a role does not include is refused, however it is asked for.

Whose each page is stands here a second time, in words of its own: a page of an area or with a
permission that nobody has thought of fails by itself.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import get_args

import httpx
import pytest

from functions.dashboard.main import portal
from shared.backends import Delete, Put
from shared.provision import open_store
from shared.routes import Route
from shared.service import Service
from shared.sessions import COOKIE
from shared.users import Role, Session
from tests.support.inprocess import InProcess
from tests.support.people import Person, signed_in
from tests.support.serving import Partner

ADMINISTRATOR, DEVELOPER, MEMBER = "administrator", "developer", "member"
ALL = frozenset(get_args(Role))

WHOSE: Mapping[str, tuple[str, frozenset[str]]] = {
    "patients": ("patients", frozenset({ADMINISTRATOR, MEMBER})),
    "appointments": ("appointments", frozenset({ADMINISTRATOR, MEMBER})),
    "booking": ("appointments", frozenset({ADMINISTRATOR, MEMBER})),
    "tasks": ("tasks", frozenset({ADMINISTRATOR, MEMBER})),
    "availability": ("availability", frozenset({ADMINISTRATOR, MEMBER})),
    "usage": ("usage", frozenset({ADMINISTRATOR, DEVELOPER})),
    "requests": ("requests", frozenset({ADMINISTRATOR, DEVELOPER})),
    "api_keys": ("api_keys", frozenset({ADMINISTRATOR})),
    "welcome": ("api_keys", frozenset({ADMINISTRATOR})),
    "audit_events": ("audit_events", frozenset({ADMINISTRATOR})),
    "team": ("users", frozenset({ADMINISTRATOR})),
    "activation": ("activation", frozenset({ADMINISTRATOR})),
    "organisation": ("organisations", ALL),
    "account": ("signed_in", ALL),
    "": ("signed_in", ALL),
}
"""Of each area of pages: the object of its permissions, and which roles may look at it."""
CHANGED_BY: Mapping[str, frozenset[str]] = {"organisation": frozenset({ADMINISTRATOR})}
"""Who may change what more may look at."""
PUBLIC = frozenset(
    {
        *("sign-in", "sign-up", "sign-out", "confirm", "invitation", "forgotten", "reset", "mail"),
        "assets",
    }
)
"""Areas of who has not signed in, whatever they ask for."""
SIGNING_IN_AGAIN = "/sign-in/again"
"""The one page among these that is for who has signed in."""
POSTED_READS = frozenset({"/{mode}/api_keys/find", "/{mode}/patients/search", "/team/find"})
"""Forms that change nothing: what they seek belongs in no address."""

ROUTES = [route for route in portal.routes if route.template != "/assets/{name}"]
NOT_INCLUDED = "Your role does not include this"
ENTRANCE = "/sign-in"


def area(route: Route) -> str:
    """Return the part of the dashboard that a route belongs to."""
    return route.template.removeprefix("/{mode}").removeprefix("/").partition("/")[0]


def is_public(route: Route) -> bool:
    return area(route) in PUBLIC and route.template != SIGNING_IN_AGAIN


def roles_of(route: Route) -> frozenset[str]:
    """Return the roles that may use a route."""
    if is_public(route) or route.template == SIGNING_IN_AGAIN:
        return ALL
    _, readers = WHOSE[area(route)]
    return CHANGED_BY.get(area(route), readers) if route.method == "POST" else readers


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.template}")
def test_each_page_declares_the_permission_of_the_area_that_it_belongs_to(route: Route) -> None:
    if is_public(route):
        assert route.permission == "public"
        return
    what = "signed_in" if route.template == SIGNING_IN_AGAIN else WHOSE[area(route)][0]
    writes = route.method == "POST" and route.template not in POSTED_READS
    if what == "signed_in":
        assert route.permission == "signed_in"
    elif route.method == "POST":
        assert route.permission == f"{what}:{'write' if writes else 'read'}"
    else:  # a form is shown to whoever may send it
        assert route.permission in (f"{what}:read", f"{what}:write")


def led_to(answer: httpx.Response) -> str:
    """Return the page that an answer leads to."""
    return str(answer.headers.get("location", "")).partition("?")[0]


class Site:
    """The dashboard in this process, with something of each kind of ours in one mode."""

    def __init__(self, partner: Partner, mode: str = "test") -> None:
        self.api = InProcess(partner.backing, partner.key)
        self.mode = mode
        booked = partner.book()
        self.ids = {
            "patient": booked["patientId"],
            "appointment": booked["id"],
            "task": booked["taskId"],
            "api_key": partner.api_key.id,
            "request": partner.logged_request()["id"],
            "user": signed_in(partner, "member").user.id,
        }

    def path(self, route: Route) -> str:
        """Return the address of a route: of what is ours, where it names something."""

        def fill(named: re.Match[str]) -> str:
            return self.mode if named[1] == "mode" else self.ids.get(named[1], "x_" + "0" * 22)

        return re.sub(r"\{(\w+)\}", fill, route.template)

    def ask(self, person: Person, route: Route, csrf: str = "") -> httpx.Response:
        """Ask for a route directly, with the form's token where the person has one."""
        self.api.watched.forget()
        sent = {"_csrf": csrf, "_once": ""}
        if route.method == "GET":
            return person.ask("GET", self.path(route))
        return person.post(self.path(route), dict(sent))

    def changed(self) -> list[Put | Delete]:
        """Return what the last request wrote or deleted."""
        return [each for each in self.api.watched.writes if isinstance(each, Put | Delete)]


def enter(site: Site, person: Person) -> str:
    """Have somebody come to this process's dashboard, and return the token of their forms."""
    person.enter(site.api)
    found = re.search(r'name="_csrf" value="(\w+)"', person.ask("GET", "/account").text)
    return found[1] if found else ""


@pytest.mark.parametrize("role", sorted(ALL))
def test_a_role_can_use_what_it_includes_and_nothing_else(partner: Partner, role: Role) -> None:
    site = Site(partner)
    person = signed_in(partner, role)
    csrf = enter(site, person)
    assert csrf
    asked = [route for route in ROUTES if not is_public(route)]
    for route in sorted(asked, key=lambda each: role in roles_of(each)):  # what changes much, last
        if role in roles_of(route):
            continue
        answer = site.ask(person, route, csrf)
        where = (route.method, route.template)
        assert (answer.status_code, NOT_INCLUDED in answer.text) == (403, True), where
        assert site.changed() == [], where


@pytest.mark.parametrize("role", sorted(ALL))
def test_a_role_is_let_in_where_it_may_go(partner: Partner, role: Role) -> None:
    site = Site(partner)
    person = signed_in(partner, role)
    csrf = enter(site, person)
    for route in ROUTES:
        if is_public(route) or role not in roles_of(route) or route.method == "POST":
            continue
        answer = site.ask(person, route, csrf)
        assert answer.status_code in (200, 303, 404), (route.template, answer.text)
        assert led_to(answer) != ENTRANCE, route.template


def nobody(partner: Partner) -> Person:
    return Person(partner.server)


def ended(partner: Partner) -> Person:
    """Return an administrator who has signed out elsewhere, and kept the cookie."""
    person = signed_in(partner)

    async def end(service: Service) -> None:
        owner = partner.organisation.id
        store = open_store(service, "test", owner, at=service.now(), account=True)
        session_id = service.sessions.id_of(person.cookies[COOKIE])
        store.delete(await store.get(Session, str(session_id)))
        await store.commit()

    partner.backing.run(end)
    return person


@pytest.mark.parametrize("somebody", [nobody, ended], ids=lambda made: made.__name__)
def test_who_is_not_signed_in_is_led_to_the_entrance_from_everywhere(
    partner: Partner, somebody: Callable[[Partner], Person]
) -> None:
    site = Site(partner)
    person = somebody(partner)
    person.enter(site.api)
    for route in ROUTES:
        if is_public(route):
            continue
        answer = site.ask(person, route)
        assert (answer.status_code, led_to(answer)) == (303, ENTRANCE), route.template
        assert site.changed() == [], route.template


def test_live_data_is_for_nobody_without_a_second_factor(partner: Partner) -> None:
    site = Site(partner, "live")
    partner.live()
    person = signed_in(partner, second_factor=False)
    csrf = enter(site, person)
    for route in of_modes():
        answer = site.ask(person, route, csrf)
        assert led_to(answer) == "/account/second-factor", route.template
        assert site.changed() == [], route.template


def test_live_pages_are_closed_until_the_organisation_is_active(partner: Partner) -> None:
    site = Site(partner, "live")
    person = signed_in(partner)
    csrf = enter(site, person)
    for route in of_modes():
        answer = site.ask(person, route, csrf)
        assert answer.status_code in (303, 403), route.template
        assert site.changed() == [], route.template


def of_modes() -> Iterator[Route]:
    for route in ROUTES:
        if "{mode}" in route.template:
            yield route


def test_another_organisations_administrator_sees_and_changes_nothing_of_ours(
    partner: Partner, other: Partner
) -> None:
    site = Site(partner)
    person = signed_in(other)
    csrf = enter(site, person)
    ours = set(site.ids.values())
    for route in ROUTES:
        if is_public(route):
            continue
        answer = site.ask(person, route, csrf)
        assert answer.status_code in (200, 303, 400, 404, 409), (route.template, answer.text)
        shown = answer.text.replace(site.path(route), "")
        assert not {each for each in ours if each in shown}, route.template
        assert partner.organisation.displayName not in answer.text, route.template
        assert {each.key.owner for each in site.changed()} <= {other.organisation.id, "ally"}
