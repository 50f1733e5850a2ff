"""The door of portals: what every page keeps, whichever it is."""

from tests.support.people import Person, signed_in
from tests.support.serving import Partner, Server


def test_who_has_not_signed_in_is_led_to_the_entrance_and_from_there_back(server: Server) -> None:
    answer = Person(server).ask("GET", "/test?a=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Ftest%3Fa%3D1"


def test_a_user_sees_the_home_of_their_organisation(partner: Partner) -> None:
    page = signed_in(partner).get("/")
    assert page.url.path == "/test"
    assert partner.organisation.displayName in page.text
