"""Activation: how an organisation goes live, in the dashboard."""

from typing import Any

import httpx

from tests.support.people import Person, signed_in
from tests.support.serving import Partner

ANSWERS: dict[str, dict[str, Any]] = {
    "contact": {"contactMobile": "07400 123456"},
    "type": {"organisationType": "company"},
    "name": {"displayName": "Ward Seven"},
    "legal": {
        "legalName": "Ward Seven Limited",
        "companyNumber": "1234567",
        "vatNumber": "gb 980 7806 84",
    },
    "address": {"line1": "10 Example Street", "city": "London", "postcode": "sw1a1aa"},
}


def fill_in(person: Person, **changed: dict[str, Any]) -> httpx.Response:
    """Fill in all steps, and return the page on which it can be sent."""
    page = person.get("/activation/contact")
    for step, said in {**ANSWERS, **changed}.items():
        assert page.url.path == f"/activation/{step}"
        page = person.submit(page, **said)
    assert page.url.path == "/activation"
    return page


def test_each_step_is_saved_by_itself_and_leads_to_the_next(partner: Partner) -> None:
    person = signed_in(partner)
    page = person.submit(person.get("/activation/contact"), contactMobile="07400 123456")
    assert page.url.path == "/activation/type"
    assert "+447400123456" in person.get("/activation").text
    assert partner.get("/v1/organisations")["data"][0]["activation"] == "begun"
