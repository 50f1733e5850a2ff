"""The pages under /docs as their readers have them: on a phone, in the dark, without a mouse."""

import os
from collections.abc import Iterable

import pytest
from playwright.sync_api import Page, expect

from tests.support.axe import broken
from tests.support.browser import NARROW, SCHEMES, WIDE, Browser
from tests.support.serving import Partner, Server
from tests.test_docs import PATHS, once, read

PATIENTS = "/docs/reference/patients"
TRY = "Try it: Create a patient"
UNFOLD = "for (const each of document.querySelectorAll('main details')) each.open = true"
CONTRAST = "color-contrast"
LOOKED_AT = {
    *("/docs/errors", "/docs/idempotency", "/docs/test-mode"),
    *("/docs/reference", "/docs/reference/organisations"),
}
"""Pages that axe sees in all colours and widths: together they have each kind of element."""
EVERY_LOOK = bool(os.environ.get("ALLY_LOOKS"))
"""Whether axe sees every page so, which takes minutes."""
MOST_TABS = 120
"""How often one presses Tab until one gives up."""


@once
@pytest.mark.parametrize("path", PATHS)
def test_a_page_can_be_read_by_everybody_on_every_screen(
    server: Server, browser: Browser, path: str
) -> None:
    def look(page: Page) -> list[str]:
        page.evaluate(UNFOLD)
        every_look = EVERY_LOOK or path in LOOKED_AT
        found = []
        for width in (WIDE, NARROW):
            page.set_viewport_size({"width": width, "height": 900})
            if width == WIDE or every_look:
                found += broken(page, f"{width}", rules={CONTRAST: {"enabled": False}})
            for scheme in SCHEMES if every_look else ():
                page.emulate_media(color_scheme=scheme)
                found += broken(page, f"{width} {scheme}", runOnly=[CONTRAST])
            beyond = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
            if page.evaluate(beyond) > 0:
                found.append(f"{width}: it scrolls sideways")
        return found

    assert browser.look(f"{server.url}{path}", look) == []


def test_what_nobody_can_read_is_found_however_often_one_looks(browser: Browser) -> None:
    unread = "data:text/html,<html lang=en><title>x</title><main><h1 style='color:%23eee'>Pale</h1>"

    def look(page: Page) -> list[str]:
        return [found for what in SCHEMES for found in broken(page, what, runOnly=[CONTRAST])]

    assert [each.splitlines()[0] for each in browser.visit(unread, look)] == list(SCHEMES)


@once
def test_what_is_looked_at_has_all_that_any_page_has(server: Server) -> None:
    def kinds(paths: Iterable[str]) -> set[tuple[str, str]]:
        elements = [each for path in paths for each in read(server, path).attributes]
        return {(tag, attributes.get("class", "")) for tag, attributes in elements}

    assert kinds(LOOKED_AT) == kinds(PATHS)


@once
def test_on_a_phone_the_menu_leads_to_every_page(server: Server, browser: Browser) -> None:
    def look(page: Page) -> list[str]:
        page.get_by_text("Menu", exact=True).press("Enter")
        links = page.get_by_role("navigation", name="Pages", exact=True).get_by_role("link").all()
        paths = [str(link.get_attribute("href")) for link in links if link.is_visible()]
        page.keyboard.press("Escape")
        expect(page.locator("details.menu")).not_to_have_attribute("open", "")
        expect(page.locator("details.menu summary")).to_be_focused()
        return [each for each in paths if not each.startswith("#")]

    assert browser.visit(f"{server.url}/docs", look, width=NARROW) == PATHS


@once
def test_without_scripts_a_page_is_whole_and_has_no_console(
    server: Server, browser: Browser
) -> None:
    def look(page: Page) -> None:
        expect(page.get_by_role("heading", name="Create a patient")).to_be_visible()
        expect(page.locator("#createPatient pre", has_text="Ada").first).to_be_visible()
        expect(page.get_by_text("dateOfBirth", exact=True).first).to_be_visible()
        assert page.get_by_text("Try it").count() > 0
        for console in page.locator(".console").all():
            expect(console).to_be_hidden()
        expect(page.get_by_role("button")).to_have_count(0)

    browser.visit(f"{server.url}{PATIENTS}", look, script=False)


# --- The console ---------------------------------------------------------------------------------


def tab_to(page: Page, text: str, tab: str = "Tab") -> None:
    """Press Tab until what has the focus is called so."""
    name = "(e => e.labels?.[0]?.innerText ?? (e === document.body ? '' : e.innerText))"
    for _ in range(MOST_TABS):
        page.keyboard.press(tab)
        if text in str(page.evaluate(f"{name}(document.activeElement)")):
            return
    raise AssertionError(f"{text} cannot be reached by {tab}")


def open_console(page: Page, key: str) -> None:
    """Open the console of an operation and write a key, by keyboard alone."""
    tab_to(page, "Try it")
    page.keyboard.press("Enter")
    tab_to(page, "Test key")
    page.keyboard.type(key)


def send(page: Page, status: str) -> None:
    tab_to(page, "Send")
    page.keyboard.press("Enter")
    expect(page.locator(".console[open] .status").first).to_contain_text(status)


@once
def test_a_patient_is_created_in_the_console_by_keyboard_alone(
    partner: Partner, browser: Browser
) -> None:
    def act(page: Page) -> tuple[str, str, str]:
        open_console(page, partner.key)
        tab_to(page, "Body")
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.insert_text(
            '{"firstName": "Keyboard", "lastName": "Alone", "phone": "+447700900123",'
            ' "email": "k@example.com", "dateOfBirth": "1985-12-10"}'
        )
        command = page.locator(".console[open] .command code").first.inner_text()
        send(page, "200 in")
        tab_to(page, "object")  # what was answered takes the focus, to be scrolled by keys
        answer = page.locator(".console[open] .told code").first.inner_text()
        stored = str(page.evaluate("JSON.stringify({...sessionStorage, ...localStorage})"))
        return answer, command, stored

    answer, command, stored = browser.visit(f"{partner.server.url}{PATIENTS}", act)
    (made,) = partner.get("/v1/patients")["data"]
    assert (made["firstName"], made["lastName"]) == ("Keyboard", "Alone")
    assert f'"id": "{made["id"]}"' in answer
    assert "$ALLY_KEY" in command
    assert partner.key not in command
    assert partner.key not in stored
    assert made["id"] in stored


@once
def test_the_example_of_an_operation_can_be_sent_as_it_is_and_its_id_is_used_again(
    partner: Partner, browser: Browser
) -> None:
    def act(page: Page) -> None:
        open_console(page, partner.key)
        send(page, "200 in")
        retrieve = page.locator("#getPatient .console")
        retrieve.locator("summary").first.press("Enter")
        (made,) = partner_patients()
        expect(retrieve.get_by_label("patient")).to_have_value(made)
        retrieve.get_by_role("button", name="Send").press("Enter")
        expect(retrieve.locator(".status")).to_contain_text("200 in")
        expect(retrieve.locator(".told")).to_contain_text(made)

    def partner_patients() -> list[str]:
        listed = partner.server.send("GET", "/v1/patients", partner.key).json()
        return [str(each["id"]) for each in listed["data"]]

    browser.visit(f"{partner.server.url}{PATIENTS}", act)


@once
def test_an_appointment_is_made_from_console_to_console_without_copying_an_id(
    partner: Partner, browser: Browser
) -> None:
    url = f"{partner.server.url}/docs/reference"

    def act(page: Page) -> None:
        for resource, operation in (
            ("patients", "createPatient"),
            ("tasks", "listTasks"),
            ("availability", "listAvailability"),
            ("appointments", "createAppointment"),
        ):
            page.goto(f"{url}/{resource}")
            console = page.locator(f"#{operation} .console")
            console.locator("summary").first.press("Enter")
            if resource == "patients":
                console.get_by_label("Test key").fill(partner.key)
                console.get_by_label("Keep it").check()
            console.get_by_role("button", name="Send").press("Enter")
            expect(console.locator(".status")).to_contain_text("200 in")

    browser.visit(url, act)
    (booked,) = partner.get("/v1/appointments")["data"]
    assert booked["status"] == "scheduled"


@once
def test_a_refusal_is_shown_as_one(partner: Partner, browser: Browser) -> None:
    def act(page: Page) -> None:
        open_console(page, partner.key)
        tab_to(page, "Body")
        page.keyboard.press("ControlOrMeta+A")
        page.keyboard.insert_text('{"firstName": "A"}')
        send(page, "400 in")
        expect(page.locator(".console[open] .told").first).to_contain_text("parameter_missing")
        tab_to(page, "Body", "Shift+Tab")
        page.keyboard.insert_text("{")
        send(page, "The body is not JSON")

    browser.visit(f"{partner.server.url}{PATIENTS}", act)
    assert partner.get("/v1/patients")["data"] == []


@once
@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("live_000000000000000000000000.000000000000000000000000000000", "This is a live key."),
        ("", "Put in your test key first"),
    ],
)
def test_the_console_sends_nothing_with_a_live_key_or_without_one(
    server: Server, browser: Browser, key: str, words: str
) -> None:
    def act(page: Page) -> list[str]:
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        open_console(page, key)
        send(page, words)
        expect(page.get_by_label("Test key").first).to_be_focused()
        return [url for url in asked if "/docs/" not in url]

    assert browser.visit(f"{server.url}{PATIENTS}", act) == []


@once
def test_a_key_outlives_the_page_only_where_that_is_asked_for(
    partner: Partner, browser: Browser
) -> None:
    def act(page: Page) -> None:
        key = page.get_by_label("Test key").first
        open_console(page, partner.key)
        page.reload()
        expect(key).to_have_value("")
        open_console(page, partner.key)
        tab_to(page, "Keep it")
        page.keyboard.press("Space")
        page.reload()
        expect(key).to_have_value(partner.key)
        open_console(page, "")
        tab_to(page, "Keep it")
        page.keyboard.press("Space")
        page.reload()
        expect(key).to_have_value("")

    browser.visit(f"{partner.server.url}{PATIENTS}", act)
