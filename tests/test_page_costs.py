"""What a page asks of storage: little, however much is on it, and all of it by an index."""

from typing import cast

import pytest

from tests.support.inprocess import InProcess
from tests.support.plenty import give_plenty
from tests.support.serving import AREA, Backing, Server
from tests.support.tour import PAGES, Tour

# Above storage all is the same on both backends, and the mailbox is on one alone.
pytestmark = pytest.mark.parametrize("backing", ["local"], indirect=True, scope="session")

MOST = 4
"""How often a page calls storage, once it is known who looks at it."""
DEARER = {"/{mode}": 6}
"""Pages that may call it more often: the home shows a little of everything."""


@pytest.fixture(scope="module")
def tour(backing: Backing, server: Server) -> Tour:
    """A tour of an organisation that has some of everything, so that a call for each is seen."""
    partner = backing.partner(server)
    give_plenty(partner, AREA)
    return Tour(partner)


@pytest.mark.parametrize(("portal", "template"), PAGES)
def test_a_page_calls_storage_no_more_often_than_is_pinned_and_changes_nothing(
    portal: str, template: str, tour: Tour
) -> None:
    path = tour.path(template)
    person = tour.visitor(portal, template)
    api = InProcess(tour.partner.backing, "")
    person.server = cast("Server", api)  # it answers as one
    person.url = api.portal(portal)
    person.host = person.url.removeprefix("https://")
    person.ask("GET", path)  # who it is is known from here on
    api.watched.forget()
    assert person.ask("GET", path).status_code in (200, 303)
    asked = [*api.watched.gets, *(query.collection for query, _ in api.watched.queries)]
    assert len(asked) <= DEARER.get(template, MOST), asked
    assert api.watched.commits == []
