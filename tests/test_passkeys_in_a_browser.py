"""Passkeys, made and shown by a real browser that has an authenticator of its own."""

import json
from base64 import urlsafe_b64decode
from typing import Any
from urllib.parse import parse_qs

import pytest
from playwright.sync_api import CDPSession, Page, expect

from shared.service import Service
from shared.users import User
from tests.support.browser import Browser
from tests.support.joining import PASSWORD, address
from tests.support.people import user_of
from tests.support.serving import Partner
from tests.test_docs import once

KEY: dict[str, Any] = {
    "protocol": "ctap2",
    "transport": "internal",
    "hasResidentKey": True,
    "hasUserVerification": True,
    "isUserVerified": True,
    "automaticPresenceSimulation": True,
}


def has_password(partner: Partner) -> User:
    email = address()

    async def keep(service: Service) -> str:
        return await service.passwords.keep(email, PASSWORD)

    kept = partner.backing.run(keep)
    return user_of(partner.backing, partner.organisation.id, email=email, passwordHash=kept)


def gets_authenticator(page: Page, **options: Any) -> tuple[CDPSession, str]:
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    made = session.send("WebAuthn.addVirtualAuthenticator", {"options": {**KEY, **options}})
    return session, made["authenticatorId"]


def signs_in(page: Page, user: User) -> None:
    page.get_by_label("E-mail address").fill(user.email)
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Sign in").click()


def makes_passkey(page: Page, url: str) -> None:
    page.goto(f"{url}/account/second-factor")
    page.get_by_label("Name").fill("My laptop")
    page.get_by_role("button", name="Add a passkey").click()


def signs_out(page: Page, url: str) -> None:
    page.goto(f"{url}/account")
    page.locator("details.menu:not(.narrow) > summary").click()
    page.get_by_role("button", name="Sign out").click()


@once
def test_a_passkey_lets_its_owner_in_and_nobody_without_it(
    browser: Browser, partner: Partner
) -> None:
    user = has_password(partner)
    url = partner.server.portal("dashboard")

    def act(page: Page) -> None:
        session, authenticator = gets_authenticator(page)
        signs_in(page, user)
        makes_passkey(page, url)
        expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
        page.goto(f"{url}/account/second-factor")
        expect(page.get_by_role("rowheader", name="My laptop")).to_be_visible()

        signs_out(page, url)
        signs_in(page, user)
        expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
        # Whoever lifts the device and cannot unlock it does not get in.
        told = {"authenticatorId": authenticator, "isUserVerified": False}
        session.send("WebAuthn.setUserVerified", told)
        page.get_by_role("button", name="Use a passkey").click()
        expect(page.get_by_text("The passkey was not used.")).to_be_visible()
        session.send("WebAuthn.setUserVerified", {**told, "isUserVerified": True})
        page.get_by_role("button", name="Use a passkey").click()
        page.wait_for_url(f"{url}/test")

        # A clone counts from where it was copied.
        made = session.send("WebAuthn.getCredentials", {"authenticatorId": authenticator})
        (credential,) = made["credentials"]
        assert credential["signCount"] > 1
        signs_out(page, url)
        signs_in(page, user)
        session.send("WebAuthn.clearCredentials", {"authenticatorId": authenticator})
        clone = {**credential, "signCount": 0}
        told = {"authenticatorId": authenticator, "credential": clone}
        session.send("WebAuthn.addCredential", told)
        page.get_by_role("button", name="Use a passkey").click()
        expect(page.get_by_text("The passkey was not taken. Try again.")).to_be_visible()

    browser.visit(f"{url}/sign-in", act)


@once
def test_what_a_browser_answered_counts_once_for_its_session_and_as_it_was_signed(
    browser: Browser, partner: Partner
) -> None:
    user = has_password(partner)
    url = partner.server.portal("dashboard")

    def act(page: Page) -> None:
        gets_authenticator(page)
        signs_in(page, user)
        makes_passkey(page, url)
        expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()
        signs_out(page, url)
        signs_in(page, user)
        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.post_data or ""))
        page.get_by_role("button", name="Use a passkey").click()
        page.wait_for_url(f"{url}/test")
        (answer,) = (each for each in sent if "answer=" in each)

        # The same once more, in a session that has shown the password alone.
        signs_out(page, url)
        signs_in(page, user)
        expect(page.get_by_role("heading", name="Second factor")).to_be_visible()
        statuses = []
        for body in (answer, answer.replace("signature", "signaturf")):
            script = """async (body) => (await fetch("/sign-in/second-factor", {
              method: "POST", body, redirect: "manual",
              headers: {"Content-Type": "application/x-www-form-urlencoded"},
            })).status"""
            statuses.append(page.evaluate(script, body))
        assert statuses == [400, 400]

    browser.visit(f"{url}/sign-in", act)


@once
def test_a_passkey_is_made_for_the_dashboard_and_no_other_place_of_its_host(
    browser: Browser, partner: Partner
) -> None:
    from shared.clock import now
    from shared.second_factors import PasskeyError, Passkeys

    user = has_password(partner)
    url = partner.server.portal("dashboard")
    sent: list[str] = []

    def act(page: Page) -> None:
        gets_authenticator(page)
        signs_in(page, user)
        page.on("request", lambda request: sent.append(request.post_data or ""))
        makes_passkey(page, url)
        expect(page.get_by_role("heading", name="Recovery codes")).to_be_visible()

    browser.visit(f"{url}/sign-in", act)
    (answer,) = (found[0] for each in sent if (found := parse_qs(each).get("answer")))
    said = json.loads(answer)["response"]["clientDataJSON"]
    challenge = json.loads(urlsafe_b64decode(f"{said}=="))["challenge"]
    assert Passkeys(url).make(challenge, answer, "My laptop", now()).counter
    with pytest.raises(PasskeyError):
        Passkeys(f"{url}1").make(challenge, answer, "My laptop", now())
    with pytest.raises(PasskeyError):
        Passkeys(url).make(challenge[::-1], answer, "My laptop", now())


@once
def test_an_authenticator_that_asks_nobody_for_anything_makes_no_passkey(
    browser: Browser, partner: Partner
) -> None:
    user = has_password(partner)
    url = partner.server.portal("dashboard")

    def act(page: Page) -> None:
        gets_authenticator(page, hasUserVerification=False, isUserVerified=False)
        signs_in(page, user)
        page.set_default_timeout(5000)
        page.goto(f"{url}/account/second-factor")
        options = page.locator("input[data-passkey]").get_attribute("data-options") or ""
        assert json.loads(options)["publicKey"]["authenticatorSelection"] == {
            "residentKey": "preferred",
            "requireResidentKey": False,
            "userVerification": "required",
        }
        page.evaluate(
            """(field) => {
              const told = JSON.parse(field.dataset.options);
              told.publicKey.authenticatorSelection.userVerification = "discouraged";
              field.dataset.options = JSON.stringify(told);
            }""",
            page.locator("input[data-passkey]").element_handle(),
        )
        page.get_by_role("button", name="Add a passkey").click()
        expect(page.get_by_text("The passkey was not taken.")).to_be_visible()

    browser.visit(f"{url}/sign-in", act)


@pytest.mark.parametrize("answer", ["", "{}", "[]", "null", '{"id": 1}', "x" * 19_000, "\x00"])
def test_what_is_no_answer_of_a_browser_is_refused(answer: str) -> None:
    from shared.clock import now
    from shared.second_factors import PasskeyError, Passkeys

    passkeys = Passkeys("https://dashboard.example")
    for check in (
        lambda: passkeys.make("AAAA", answer, "x", now()),
        lambda: passkeys.check([], "AAAA", answer, now()),
    ):
        with pytest.raises(PasskeyError):
            check()
