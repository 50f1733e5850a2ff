"""What was typed when a session ended: it is kept in the page of who typed it, and nowhere else."""

import re
from datetime import timedelta

import httpx
import pytest
from playwright.sync_api import Page

from functions import discover_portals
from shared.routes import PUBLIC
from shared.sessions import COOKIE
from tests.support.axe import broken
from tests.support.browser import Browser
from tests.support.inprocess import InProcess
from tests.support.people import HtmlForm, Person, begin_session, end_session, forms, signed_in
from tests.support.serving import Partner
from tests.test_docs import once

TYPED = {
    "firstName": "Grace",
    "lastName": '"><b>Hopper',
    "phone": "+447700900124",
    "email": "grace@example.com",
    "dateOfBirth": "1906-12-09",
    "note": "Ring twice.\nThen wait.",
}


def asks(partner: Partner) -> Person:
    """Return somebody who has the form of a new patient before them, in this process."""
    person = signed_in(partner)
    person.enter(InProcess(partner.backing, partner.key))
    return person


def ends(partner: Partner, person: Person) -> None:
    """End somebody's session, as after some hours, or from elsewhere."""
    end_session(partner.backing, person)
    person.enter(InProcess(partner.backing, partner.key))  # which believes nobody yet


def again(partner: Partner, person: Person) -> None:
    """Let somebody sign in again, in another tab of their browser."""
    person.cookies[COOKIE] = begin_session(partner.backing, person.user)


def sends(person: Person, page: httpx.Response, **typed: str) -> httpx.Response:
    """Send what was typed as a browser does, which says from which page it comes."""
    (form,) = (each for each in forms(page) if "firstName" in each.names)
    referer = {"Referer": f"{person.url}{page.url.raw_path.decode()}"}
    return person.post("/test/patients", {**dict(form.fields), **typed}, headers=referer)


def kept(page: httpx.Response) -> HtmlForm:
    """Return the form that has what was typed."""
    assert page.status_code == 403
    (form,) = (each for each in forms(page) if "firstName" in each.names)
    return form


def names(partner: Partner) -> list[str]:
    return [each["lastName"] for each in partner.get("/v1/patients")["data"]]


def test_what_was_typed_is_sent_after_signing_in_again(partner: Partner) -> None:
    person = asks(partner)
    page = person.get("/test/patients/new?next=/test/booking")
    ends(partner, person)
    late = sends(person, page, **TYPED)
    assert "Not sent yet" in late.text
    assert 'href="/sign-in?next=%2Ftest%2Fpatients%2Fnew%3Fnext%3D%2Ftest%2Fbooking"' in late.text
    assert dict(kept(late).fields).items() >= TYPED.items()
    again(partner, person)
    asked = person.post(kept(late).action, dict(kept(late).fields))
    assert "you have signed in again since this was typed" in asked.text
    assert names(partner) == []
    done = person.post(kept(asked).action, dict(kept(asked).fields))
    assert done.status_code == 303
    assert names(partner) == [TYPED["lastName"]]
    (note,) = (each["note"] for each in partner.get("/v1/patients")["data"])
    assert note == TYPED["note"]


def test_what_was_typed_before_signing_in_anew_is_sent_from_its_page(partner: Partner) -> None:
    person = asks(partner)
    page = person.get("/test/patients/new")
    again(partner, person)
    asked = sends(person, page, **TYPED)
    assert person.post(kept(asked).action, dict(kept(asked).fields)).status_code == 303
    assert names(partner) == [TYPED["lastName"]]


def test_nobody_else_sends_what_was_typed(partner: Partner, other: Partner) -> None:
    person, colleague, stranger = asks(partner), asks(partner), asks(other)
    page = person.get("/test/patients/new")
    ends(partner, person)
    late = kept(sends(person, page, **TYPED))
    for somebody in (colleague, stranger):
        answer = somebody.post(late.action, dict(late.fields))
        assert (answer.status_code, "Grace" in answer.text) == (403, False)
    assert names(partner) == names(other) == []


@pytest.mark.parametrize("cookie", ["", "x", "made up"])
def test_nothing_is_repeated_for_whom_we_have_not_let_in(partner: Partner, cookie: str) -> None:
    person = asks(partner)
    page = person.get("/test/patients/new")
    person.cookies = {COOKIE: cookie} if cookie else {}
    answer = sends(person, page, **TYPED)
    assert answer.headers["location"] == "/sign-in?next=%2Ftest%2Fpatients%2Fnew&said=not_sent"
    person = asks(partner)
    ends(partner, person)
    answer = person.post("/test/patients", {**TYPED, "_csrf": "0" * 80})
    assert answer.headers["location"] == "/sign-in?next=%2Ftest%2Fpatients&said=not_sent"


def test_the_way_back_from_a_sign_in_leads_to_no_page_of_others(partner: Partner) -> None:
    person = Person(partner.server)
    ways = ("//evil.example", "/\\evil.example", "//[", "", "/test/nowhere")
    for referer in ("https://evil.example/test/tasks", "//[", *(person.url + way for way in ways)):
        answer = person.post("/test/patients", TYPED, headers={"Referer": referer})
        assert answer.status_code == 303
        assert re.search(r"next=%2Ftest%2Fpatients&|\?said", answer.headers["location"]), referer


def test_what_is_asked_again_of_who_signed_in_long_ago_is_kept_too(partner: Partner) -> None:
    partner.live()
    person = asks(partner)
    page = person.get("/live/api_keys/new")
    user = person.user
    person.cookies[COOKIE] = begin_session(partner.backing, user, ago=timedelta(minutes=20))
    (form,) = (each for each in forms(page) if "preset" in each.names)
    token = re.search(r'name="_csrf" value="(\w+)"', person.get("/test/patients/new").text)
    assert token
    sent = {**dict(form.fields), "name": "Ward 7", "_csrf": token[1]}
    late = person.post("/live/api_keys", sent)
    assert (late.status_code, "/sign-in/again" in late.text) == (403, True)
    assert 'value="Ward 7"' in late.text


def test_no_form_that_takes_a_secret_is_repeated(partner: Partner) -> None:
    secret = {"password", "current", "code", "answer", "asked", "key"}
    for portal in discover_portals():
        for route in portal.routes:
            if route.method == "POST" and route.permission != PUBLIC and portal.name == "dashboard":
                takes = set(route.body.model_fields) & secret
                assert route.body.secretive or not takes, route.template
    person = asks(partner)
    page = person.get("/account")
    (form,) = (each for each in forms(page) if "current" in each.names)
    ends(partner, person)
    answer = person.post(form.action, {**dict(form.fields), "current": "x", "password": "y"})
    assert answer.status_code == 303
    again(partner, person)
    answer = person.post(form.action, {**dict(form.fields), "current": "x", "password": "y"})
    assert "was not sent from its page" in answer.text


def test_lists_of_what_was_chosen_are_kept_whole(partner: Partner) -> None:
    person = asks(partner)
    page = person.get("/organisation")
    (form,) = (each for each in forms(page) if "displayName" in each.names)
    sent: dict[str, str | list[str]] = dict(form.fields)
    sent["endUserPermissions"] = ["tasks:read", "patients:read"]
    sent["messaging[signature]"] = "Test"
    again(partner, person)
    asked = person.post(form.action or "/organisation", sent)
    (form,) = (each for each in forms(asked) if "displayName" in each.names)
    repeated = [text for name, text in form.fields if name == "endUserPermissions"]
    assert repeated == sent["endUserPermissions"]
    assert ("messaging[signature]", "Test") in form.fields


@once
def test_the_page_that_has_what_was_typed_can_be_used_by_everybody(
    partner: Partner, browser: Browser
) -> None:
    person = signed_in(partner)
    later = begin_session(partner.backing, person.user)

    def write(page: Page) -> list[str]:
        for name in ("firstName", "lastName", "phone", "email", "dateOfBirth"):
            page.locator(f"[name={name}]").fill(TYPED[name])
        cookie = {"name": COOKIE, "value": later, "url": f"{person.url}/"}
        page.context.add_cookies([{**cookie, "secure": True}])  # type: ignore[typeddict-item]  # as it says
        page.get_by_role("button", name="Create").click()
        assert page.locator("h1").text_content() == "Not sent yet"
        found = broken(page, "wide")
        page.get_by_role("button", name="Send it").click()
        page.wait_for_url("**/test/patients/p_*")
        return found

    url = f"{person.url}/test/patients/new"
    assert browser.visit(url, write, cookies=person.cookies) == []
    assert names(partner) == [TYPED["lastName"]]
