"""In which mode somebody is: each page says so, and none leads to the other mode by itself."""

import re

import pytest

from tests.support.people import signed_in
from tests.support.serving import Partner

LIVE, TEST = "Live mode: real patients", "Test mode: nothing here"


def led_to(text: str) -> set[str]:
    """Return the modes to which the pages in the navigation lead."""
    return set(re.findall(r'href="/(test|live)/patients"', text))


@pytest.mark.parametrize(
    "path", ["/patients", "/patients/p_0000000000000000000000", "/patients?limit=0"]
)
def test_each_page_says_its_mode_and_leads_to_the_same_whatever_went_wrong(
    partner: Partner, path: str
) -> None:
    partner.live()
    person = signed_in(partner)
    for mode, said, other in (("live", LIVE, TEST), ("test", TEST, LIVE)):
        page = person.ask("GET", f"/{mode}{path}").text
        assert said in page
        assert other not in page
        assert led_to(page) == {mode}


def test_a_page_of_no_mode_leads_to_the_mode_in_which_somebody_was_last(partner: Partner) -> None:
    partner.live()
    person = signed_in(partner)
    person.get("/live/patients")
    for path, status in (("/organisation", 200), ("/team/usr_0000000000000000000000", 404)):
        page = person.get(path, status).text
        assert LIVE not in page
        assert TEST not in page
        assert led_to(page) == {"live"}


@pytest.mark.parametrize("activation", ["not_started", "suspended"])
def test_where_live_mode_is_closed_all_pages_lead_to_test_mode(
    partner: Partner, activation: str
) -> None:
    partner.live()
    person = signed_in(partner)
    person.get("/live/patients")
    partner.change_organisation(activation=activation)
    person = signed_in(partner)
    person.cookies["__Host-mode"] = "live"
    for path, status in (("/live/patients", 403), ("/organisation", 200)):
        page = person.get(path, status).text
        assert LIVE not in page
        assert led_to(page) == {"test"}
    closed = person.get("/live/patients", 403).text
    assert ("See why" in closed) is (activation == "suspended")
