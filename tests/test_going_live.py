"""From the first page to a live key, in a browser: by keyboard alone, and without JavaScript."""

import base64
import hmac
import json
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Page, expect

from shared.staff import local_key
from tests.support.browser import Browser
from tests.support.serving import Backing, Server
from tests.support.waiting import until

MOST_TABS = 200
PASSWORD = "four grey herons wading"
EMAIL = "nia.owen@riverside.example"
ANSWERS = [
    {"Mobile number": "07400 123456"},
    {"If other, what kind?": ""},
    {"Name in messages": "Riverside Health"},
    {"Legal name": "Riverside Health Ltd", "Company number": "01234567"},
    {"Address line 1": "1 Water Lane", "Town or city": "London", "Postcode": "SW1A 1AA"},
]


class Hands(Protocol):
    """How somebody uses a page."""

    def write(self, page: Page, label: str, text: str) -> None:
        """Write something into the field of a label."""

    def choose(self, page: Page, label: str) -> None:
        """Choose what has a label."""

    def press(self, page: Page, name: str) -> None:
        """Press a button, or follow a link."""


class Mouse:
    """Somebody who clicks, and whose browser runs no script."""

    def write(self, page: Page, label: str, text: str) -> None:
        page.locator("input, textarea").and_(page.get_by_label(label)).first.fill(text)

    def choose(self, page: Page, label: str) -> None:
        page.get_by_label(label).check()

    def press(self, page: Page, name: str) -> None:
        button = page.get_by_role("button", name=name)
        (button if button.count() else page.get_by_role("link", name=name)).first.click()


class Keyboard:
    """Somebody who has no mouse."""

    def write(self, page: Page, label: str, text: str) -> None:
        _tab_to(page, label, "input, textarea")
        page.keyboard.press("Control+A")
        page.keyboard.type(text)

    def choose(self, page: Page, label: str) -> None:
        _tab_to(page, label, "input", among=True)
        page.keyboard.press("Space")

    def press(self, page: Page, name: str) -> None:
        _tab_to(page, name, "button, a, summary")
        with page.expect_navigation():
            page.keyboard.press("Enter")


NAME = """(kinds) => {
  const e = document.activeElement;
  if (!e || !e.matches(kinds)) return "";
  return e.labels?.length ? e.labels[0].innerText : e.innerText;
}"""


def _tab_to(page: Page, text: str, kinds: str, *, among: bool = False) -> None:
    """Press Tab until what has the focus is of a kind and called so.

    Of radio buttons one alone is reached by Tab, the others by arrows.
    """
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        for _ in range(8 if among else 1):
            if str(page.evaluate(NAME, kinds)).strip().startswith(text):
                return
            if not among or not page.evaluate("document.activeElement.type === 'radio'"):
                break
            page.keyboard.press("ArrowDown")
    raise AssertionError(f"{text} cannot be reached on {page.url}")


@dataclass
class Place:
    """Where all of this happens: a server of its own, and what its first page is."""

    server: Server
    state: Path

    def url(self, portal: str) -> str:
        return self.server.portal(portal)

    @property
    def mailbox(self) -> str:
        return "https://mailbox." + urlsplit(self.server.url).netloc


def code_now(secret: str) -> str:
    """Return what an authenticator app shows at this moment (RFC 6238, RFC 4226)."""
    step = int(time.time() // 30).to_bytes(8)
    digest = hmac.digest(base64.b32decode(secret), step, "sha1")
    place = digest[-1] & 15
    number = int.from_bytes(digest[place : place + 4]) & 0x7FFFFFFF
    return f"{number % 1_000_000:06}"


def mailed(page: Page, place: Place, subject: str) -> str:
    """Return the link of the latest mail with a subject, once there is one."""
    found = page.get_by_role("link", name=subject)
    until(lambda: page.goto(place.mailbox) and found.count(), f"no mail comes about {subject}")
    found.first.click()
    link = page.locator(f'a[href^="{place.url("dashboard")}/"]').first
    return str(link.get_attribute("href"))


def call(place: Place, shown: str) -> dict[str, object]:
    """Run a command as a page shows it, and return the answer."""
    ran = subprocess.run(
        ["sh", "-c", f"{shown} --silent --show-error"], capture_output=True, text=True, check=True
    )
    answer: dict[str, object] = json.loads(ran.stdout)
    return answer


@pytest.mark.parametrize(
    ("hands", "script"), [(Keyboard(), True), (Mouse(), False)], ids=["keyboard", "no script"]
)
def test_an_organisation_signs_up_makes_calls_and_goes_live(
    tmp_path: Path, browser: Browser, hands: Hands, script: bool
) -> None:
    environment = {"ALLY_BACKEND": "local", "ALLY_STATE": str(tmp_path)}
    backing = Backing({**environment, "ALLY_LOG": str(tmp_path / "requests.jsonl")})
    place = Place(Server(backing, tmp_path), tmp_path)
    portals = [place.url("dashboard"), place.url("operations"), place.mailbox]

    def act(page: Page) -> None:
        sign_up(page, place, hands, script=script)
        shown = first_call(page, place)
        see_it(page, place, hands, shown)
        ask_for_live_mode(page, place, hands)
        approve(page, place, hands)
        show_second_factor(page, place, hands)
        use_live_key(page, place, hands, shown)

    try:
        browser.visit(portals[0] + "/sign-up", act, script=script, calls=portals[1:])
    finally:
        place.server.stop()
        backing.close()


def sign_up(page: Page, place: Place, hands: Hands, *, script: bool) -> None:
    hands.write(page, "Your name", "Nia Owen")
    hands.write(page, "Organisation", "Riverside Health")
    hands.write(page, "Work e-mail address", EMAIL)
    hands.press(page, "Create account")
    expect(page.get_by_role("heading", name="Check your mail")).to_be_visible()
    link = mailed(page, place, "Confirm")
    page.goto(link)
    if script:
        expect(page.get_by_label("Code")).to_have_value(re.compile("-"))
        assert "#" not in page.url
    else:
        hands.write(page, "Code", link.partition("#")[2])
    hands.write(page, "Password", PASSWORD)
    hands.press(page, "Open my account")


def first_call(page: Page, place: Place) -> str:
    """Make the call that is shown, exactly as it is shown, and return it."""
    shown = page.locator("figure.code code").first.inner_text()
    made = call(place, shown)
    assert (made["object"], made["livemode"]) == ("patient", False)
    return shown


def see_it(page: Page, place: Place, hands: Hands, shown: str) -> None:
    page.goto(place.url("dashboard") + "/test/patients")
    hands.press(page, "Ada Lovelace")
    expect(page.get_by_role("heading", name="Ada Lovelace")).to_be_visible()


def ask_for_live_mode(page: Page, place: Place, hands: Hands) -> None:
    page.goto(place.url("dashboard") + "/live")
    expect(page.get_by_role("heading", name="Live mode is not open")).to_be_visible()
    page.goto(place.url("dashboard") + "/activation")
    steps = ["contact", "type", "name", "legal", "address"]
    for step, answers in zip(steps, ANSWERS, strict=True):
        page.goto(f"{place.url('dashboard')}/activation/{step}")
        if step == "type":
            hands.choose(page, "Limited company")
        for label, text in answers.items():
            if text:
                hands.write(page, label, text)
        hands.press(page, "Save and continue")
        assert "/activation" in page.url
    page.goto(place.url("dashboard") + "/activation")
    hands.press(page, "Send to Ally")
    expect(page.get_by_text("Under review")).to_be_visible()


def approve(page: Page, place: Place, hands: Hands) -> None:
    page.goto(place.url("operations") + "/sign-in")
    hands.write(page, "Key", local_key(place.state))
    hands.press(page, "Sign in")
    page.goto(place.url("operations") + "/queue")
    hands.press(page, "Riverside Health")
    expect(page.get_by_text("01234567")).to_be_visible()
    hands.press(page, "Approve")
    expect(page.locator(".badge", has_text="Active")).to_be_visible()


def show_second_factor(page: Page, place: Place, hands: Hands) -> None:
    page.goto(place.url("dashboard") + "/account/second-factor")
    secret = page.locator("figure.code code").first.inner_text().replace(" ", "")
    hands.write(page, "Code", code_now(secret))
    hands.press(page, "Add the app")
    expect(page.get_by_text(re.compile("recovery code", re.IGNORECASE)).first).to_be_visible()


def use_live_key(page: Page, place: Place, hands: Hands, shown: str) -> None:
    """Have the live key shown, make the same call with it, and see that the modes do not meet."""
    keys, live = place.url("dashboard") + "/live/api_keys", page.locator(".band.live")
    # This instance hears of the approval within seconds.
    until(lambda: page.goto(keys) and live.count(), "live mode does not open")
    hands.press(page, "First live key")
    hands.press(page, "Show the secret")
    hands.press(page, "Show the secret")
    key = page.locator("figure.code code").first.inner_text()
    assert key.startswith("live_")
    expect(page.get_by_text("Copy it now")).to_be_visible()
    page.goto(place.url("dashboard") + "/live/patients")
    expect(page.get_by_text("Ada Lovelace")).to_have_count(0)
    test_key = re.search(r"test_\w{24}\.\w{30}", shown)
    assert test_key is not None
    in_use = shown.replace("+447700900123", "+447400123456")  # that one is for tests
    made = call(place, in_use.replace(test_key[0], key))
    assert (made.get("object"), made.get("livemode")) == ("patient", True), made
    page.goto(f"{place.url('dashboard')}/live/patients/{made['id']}")
    expect(page.get_by_role("heading", name="Ada Lovelace")).to_be_visible()
    page.goto(f"{place.url('dashboard')}/test/patients/{made['id']}")
    expect(page.get_by_role("heading", name="Not found")).to_be_visible()
