"""Lists of the portals: each pages by cursor both ways, is searched, and leads back."""

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import cast

import httpx
import pytest

from functions import discover_portals
from shared.clock import london_day, now
from shared.pages import PageQuery
from shared.scheduling import Coverage
from tests.support.dashboard import kept
from tests.support.inprocess import InProcess
from tests.support.plenty import NOTHING, SOME, give_plenty
from tests.support.serving import AREA, Backing, Server
from tests.support.tour import PAGES, Tour
from tests.test_folding import line_of

# Above storage all is the same on both backends, and the mailbox is on one alone.
pytestmark = pytest.mark.parametrize("backing", ["local"], indirect=True, scope="session")


@dataclass(frozen=True)
class Listed:
    """A list: a filter that matches nothing in it, and what else its address takes to be shown."""

    nothing: str = ""
    """Empty for lists that are searched by what is posted alone."""
    beside: str = ""


OWN_AREA = "guernsey"
"""Where no other test opens windows: all have the same."""
LISTS = {
    ("dashboard", "/{mode}/patients"): Listed("externalRef=none"),
    ("dashboard", "/{mode}/appointments"): Listed("externalRef=none"),
    ("dashboard", "/{mode}/tasks"): Listed("name=zither"),
    ("dashboard", "/{mode}/requests"): Listed("code=key_expired"),
    ("dashboard", "/{mode}/audit_events"): Listed(f"patientId=p_{'1' * 22}"),
    ("dashboard", "/{mode}/api_keys"): Listed("name=zither"),
    ("dashboard", "/team"): Listed(),
    ("dashboard", "/team/invitations"): Listed(),
    ("operations", "/queue"): Listed("name=zither"),
    ("operations", "/organisations"): Listed("name=zither"),
    ("operations", "/organisations/{organisation}/{mode}/tasks"): Listed("name=zither"),
    ("operations", "/actions"): Listed(f"organisation=org_{NOTHING}"),
    ("operations", "/jobs"): Listed("kind=zither"),
    ("operations", "/{mode}/windows"): Listed("day=2020-01-01", f"area={OWN_AREA}"),
    ("operations", "/{mode}/coverage"): Listed("code=ZZ9"),
}
"""Every list that goes on, page after page."""
FEW = {
    ("dashboard", "/welcome"): "what to do next",
    ("dashboard", "/account"): "one's own sessions, which end by themselves within a day",
    ("dashboard", "/{mode}"): "the newest of some lists, each a link away",
    ("dashboard", "/{mode}/patients/{patient}"): "the newest appointments, all of them a link away",
    ("dashboard", "/{mode}/tasks/{task}"): "the steps of one task",
    ("dashboard", "/{mode}/booking"): "the newest patients, before one is sought",
    ("operations", "/organisations/{organisation}"): "the newest actions, all of them a link away",
    ("mailbox", "/"): "what was mailed on a developer's machine",
}
"""Pages that show some objects of a list, and why they need not go on."""


@pytest.fixture(scope="module")
def tour(backing: Backing, server: Server) -> Tour:
    """A tour of an organisation that has some of everything, and of Operations who have too."""
    partner = backing.partner(server)
    give_plenty(partner, OWN_AREA)
    codes = [Coverage(id=f"GY{number}", area=OWN_AREA) for number in range(SOME)]
    backing.keep("test", partner.organisation.id, codes)
    kept(partner, *(line_of(partner, objects=[f"p_{NOTHING}"]) for _ in range(SOME)))
    return Tour(partner)


Opened = Callable[[str], httpx.Response]


@pytest.fixture
def opened(tour: Tour, listed: tuple[str, str]) -> tuple[str, Opened]:
    """The address of a list, and what opens an address of its portal in this process."""
    portal, template = listed
    path = tour.path(template)
    person = tour.visitor(portal, template)
    person.enter(cast("Server", InProcess(tour.partner.backing, "")), portal)

    def ask(address: str) -> httpx.Response:
        return person.ask("GET", address)

    return path, ask


def rows(page: httpx.Response) -> list[tuple[str, str]]:
    """Return what the first list of a page shows: what each row, or card, begins with."""
    assert page.status_code == 200, page.text
    first = re.split("</table>|</ul>\n<", page.text.partition("<main")[2])[0]
    return re.findall(r'<th scope="row">(.*?)</th>|<li class="card">(.*?)</h2>', first, re.S)


def way(page: httpx.Response, rel: str) -> str:
    """Return where a list leads to the page after or before it."""
    (found,) = re.findall(rf'rel="{rel}" href="([^"]+)"', page.text)
    return html.unescape(found)


@pytest.mark.parametrize("listed", list(LISTS), ids=" ".join)
def test_a_list_goes_on_page_by_page_and_back(
    listed: tuple[str, str], opened: tuple[str, Opened]
) -> None:
    path, ask = opened
    first = ask(f"{path}?limit=1&{LISTS[listed].beside}")
    second = ask(way(first, "next"))
    third = ask(way(second, "next"))
    seen = [*rows(first), *rows(second), *rows(third)]
    assert len(seen) == len(set(seen)) == SOME
    back = ask(way(third, "prev"))
    assert rows(back) == rows(second)
    assert rows(ask(way(back, "prev"))) == rows(first)
    assert rows(ask(way(back, "next"))) == rows(third)


@pytest.mark.parametrize(
    "listed", [each for each, known in LISTS.items() if known.nothing], ids=" ".join
)
def test_a_filter_that_matches_nothing_says_so_and_leads_back(
    listed: tuple[str, str], opened: tuple[str, Opened]
) -> None:
    path, ask = opened
    page = ask(f"{path}?{LISTS[listed].nothing}")
    assert rows(page) == []
    (empty,) = re.findall(r'<div class="empty">(.*?)</div>', page.text, re.S)
    assert f'<a href="{path}">' in empty
    name, value = LISTS[listed].nothing.split("=")
    assert name in ("patientId", "day") or f'value="{html.escape(value)}"' in page.text


@pytest.mark.parametrize("listed", list(LISTS), ids=" ".join)
def test_a_cursor_that_is_none_of_a_list_is_refused_in_words(
    listed: tuple[str, str], opened: tuple[str, Opened]
) -> None:
    path, ask = opened
    page = ask(f"{path}?starting_after=x")
    assert page.status_code == 400
    assert "of this list" in page.text
    assert "starting_after" not in re.sub(r"<[^>]+>", "", page.text)


def test_every_list_of_a_portal_is_held_to_this(tour: Tour) -> None:
    asked = {
        (portal.name, route.template)
        for portal in discover_portals()
        for route in portal.routes
        if route.method == "GET" and issubclass(route.query, PageQuery)
    }
    assert asked == LISTS.keys()
    for portal, template in PAGES:
        person = tour.visitor(portal, template)
        person.enter(cast("Server", InProcess(tour.partner.backing, "")), portal)
        page = person.ask("GET", tour.path(template))
        shows = re.search('<table class="list|<ul class="cards', page.text)
        if shows and "/usage" not in template:
            assert (portal, template) in {*LISTS, *FEW}, template


def test_staff_find_where_a_beginning_of_a_postcode_is_served(tour: Tour) -> None:
    person = tour.visitor("operations", "/{mode}/coverage")
    person.enter(cast("Server", InProcess(tour.partner.backing, "")), "operations")
    found = rows(person.ask("GET", "/test/coverage?code=gy&area=guernsey&limit=2"))
    assert found == [("GY0", ""), ("GY1", "")]


def test_windows_of_other_days_are_a_link_away(tour: Tour) -> None:
    person = tour.visitor("operations", "/{mode}/windows")
    person.enter(cast("Server", InProcess(tour.partner.backing, "")), "operations")
    page = person.ask("GET", f"/live/windows?area={AREA}")
    for days in (-1, 1):
        assert f"day={london_day(now()) + timedelta(days=days)}" in page.text


OBJECTS = [
    ("/{mode}/patients/{patient}", "object", "/v1/patients/"),
    ("/{mode}/appointments/{appointment}", "object", "/v1/appointments/"),
    ("/{mode}/tasks/{task}", "object", "/v1/tasks/"),
    ("/{mode}/api_keys/{api_key}", "principal", "/v1/api_keys/"),
    ("/{mode}/requests/{request}", "principal", "/v1/requests/"),
    ("/organisation", "object", "/v1/organisations/"),
    ("/team/{user}", "principal", ""),
]
"""The page of each kind of object, what finds its requests, and its call: the API has no users."""


@pytest.mark.parametrize(("template", "found_by", "call"), OBJECTS)
def test_every_object_leads_to_its_requests_and_its_call(
    tour: Tour, template: str, found_by: str, call: str
) -> None:
    person = tour.visitor("dashboard", template)
    person.enter(cast("Server", InProcess(tour.partner.backing, "")))
    page = person.ask("GET", tour.path(template))
    shown = html.unescape(page.text)
    found = re.search(rf'href="(/test/requests\?[^"]*{found_by}=\w+[^"]*)"', shown)
    assert found
    assert person.ask("GET", found[1]).status_code == 200
    assert call in shown.partition('class="api"')[2]


def test_the_queue_begins_with_the_organisation_that_has_been_here_longest(tour: Tour) -> None:
    person = tour.visitor("operations", "/queue")
    person.enter(cast("Server", InProcess(tour.partner.backing, "")), "operations")
    page = person.ask("GET", "/queue")
    shown = list(dict.fromkeys(re.findall(r'href="/organisations/(org_\w+)"', page.text)))
    assert len(shown) >= SOME
    assert shown == sorted(shown)
