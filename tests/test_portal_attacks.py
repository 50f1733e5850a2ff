"""What somebody might try at the pages that no page would send."""

import asyncio
import re
from collections.abc import AsyncIterator, Sequence
from secrets import token_hex
from urllib.parse import quote

import pytest

from functions import discover_portals
from shared import portals
from shared.backends import ConflictError, Key, Write
from shared.exchange import PUBLIC_FORM
from shared.routes import PUBLIC
from shared.service import Service
from shared.sessions import COOKIE
from shared.throttles import MAILS, SECOND_FACTORS, SIGN_INS
from shared.visits import KNOWN
from tests.support.inprocess import InProcess
from tests.support.people import Person, forms, signed_in
from tests.support.serving import Partner
from tests.support.staff import staff
from tests.test_signing_in import has_password, sets_up_app, signs_in


def attacker(partner: Partner) -> Person:
    """Return an administrator who writes what they send by hand."""
    person = signed_in(partner)
    person.enter(InProcess(partner.backing, partner.key))
    return person


def elsewhere(partner: Partner) -> Person:
    """Return somebody with a browser in a network of its own."""
    person = Person(InProcess(partner.backing, partner.key, proxies=1))
    person.headers["X-Forwarded-For"] = f"2001:db8:{token_hex(2)}:{token_hex(2)}::1"
    return person


def posts(person: Person, path: str, **sent: str) -> int:
    """Send a form with the token of the person's own pages; return what it is answered with."""
    shown = re.search(r'name="_csrf" value="(\w+)"', person.get("/account").text)
    assert shown
    return person.post(path, {"_csrf": shown[1], **sent}).status_code


def test_what_a_page_brings_back_may_be_any_text(partner: Partner) -> None:
    person = attacker(partner)
    made_up = {"code": "123456", "answer": "x", "asked": "é"}
    for path in ("/account/second-factor/app", "/account/second-factor/passkey"):
        assert posts(person, path, **made_up) == 400


@pytest.mark.parametrize("made_up", ["a/b", "..", "__x__", "0" * 64], ids=str)
def test_a_session_that_is_none_is_not_found(partner: Partner, made_up: str) -> None:
    assert posts(attacker(partner), "/account/sessions/end", session=made_up) == 404


def test_what_was_chosen_may_be_any_text(partner: Partner) -> None:
    chosen = {"patientId": partner.create_patient()["id"], "taskId": partner.task()["id"]}
    sent = {**chosen, "windowId": "w" * 300}
    assert posts(attacker(partner), "/test/booking/confirm", **sent) == 400


def test_a_form_of_steps_may_hold_none(partner: Partner) -> None:
    person = staff(partner.server)
    path = f"/organisations/{partner.organisation.id}/test/tasks/new"
    (csrf,) = {dict(form.fields)["_csrf"] for form in forms(person.get(path)) if form.fields}
    sent = {"_csrf": csrf, "name": "Blood draw", "steps": 1}
    answer = person.ask("POST", path, json=sent)
    assert answer.status_code == 400


def test_what_is_no_organisation_is_not_found(partner: Partner) -> None:
    task = partner.task()["id"]
    for made_up in ("a%2Fb", "__x__"):
        staff(partner.server).get(f"/organisations/{made_up}/test/tasks/{task}", 404)


def test_a_link_of_another_site_says_nothing_in_our_name(partner: Partner) -> None:
    person = attacker(partner)
    for site, said in (("same-origin", True), ("cross-site", False), ("same-site", False)):
        page = person.ask("GET", "/account?said=key_revoked", headers={"Sec-Fetch-Site": site})
        assert ("The key is revoked." in page.text) is said


def test_a_try_counts_once_however_often_others_are_faster(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = InProcess(partner.backing, partner.key)
    person = signed_in(partner)
    person.enter(here)
    commit, faster = here.watched.commit, MAILS[0].most + 1

    async def contended(writes: Sequence[Write], marker: Key) -> None:
        nonlocal faster
        if any(write.key.collection == "invitations" for write in writes) and faster:
            faster -= 1
            raise ConflictError("ABORTED")
        await commit(writes, marker)

    monkeypatch.setattr(here.watched, "commit", contended)
    sent = {"email": "sam@northfield.example", "role": "member"}
    assert posts(person, "/team/invite", **sent) == 303
    assert faster == 0


def test_strangers_use_up_the_tries_of_strangers_alone(partner: Partner) -> None:
    email = has_password(partner).email
    owner, stranger = elsewhere(partner), elsewhere(partner)
    signs_in(owner, email)
    del owner.cookies[COOKIE]
    stranger.cookies[KNOWN] = "0" * 64

    async def use_up(service: Service) -> None:
        while not await service.throttles.count(service.now(), (SIGN_INS, email)):
            pass

    partner.backing.run(use_up)
    signs_in(stranger, email, status=429)
    for _ in range(MAILS[0].most):
        stranger.submit(stranger.get("/forgotten"), email=email)
    stranger.submit(stranger.get("/forgotten"), 429, email=email)
    owner.submit(owner.get("/forgotten"), email=email)
    signs_in(owner, email)


def test_who_knows_the_password_alone_uses_up_no_second_factor_of_its_owner(
    partner: Partner,
) -> None:
    email = has_password(partner).email
    owner, thief = elsewhere(partner), elsewhere(partner)
    signs_in(owner, email)
    _, codes = sets_up_app(owner, partner.backing)
    page = signs_in(thief, email)
    assert KNOWN not in thief.cookies
    for _ in range(SECOND_FACTORS[0].most):
        page = thief.submit(page, 400, code="000000")
    thief.submit(page, 429, code="000000")
    del owner.cookies[COOKIE]
    page = signs_in(owner, email)
    assert owner.submit(page, code=codes[0]).url.path == "/test"


# --- Before anybody is known ---------------------------------------------------------------------

WIDEST = len(quote("\U0001f600"))
"""Bytes that one character has in a form."""
WRITTEN_BY_SCRIPT = ("answer", "asked")
"""Fields that are letters and digits nearly all, a byte each."""


def test_the_longest_form_that_anybody_may_send_is_read() -> None:
    longest = {}
    for portal in discover_portals():
        for route in portal.routes:
            if route.permission == PUBLIC and route.method == "POST":
                fields = route.body.model_json_schema().get("properties", {})
                longest[portal.name, route.template] = sum(
                    each["maxLength"] * (1 if name in WRITTEN_BY_SCRIPT else WIDEST)
                    for name, each in fields.items()
                )
    assert len(longest) > 5
    assert all(size < PUBLIC_FORM.size for size in longest.values()), longest


def test_of_a_form_that_anybody_may_send_little_is_read_and_not_for_long(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger, known = elsewhere(partner), attacker(partner)
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    full = f"code=x&password={quote(chr(0x1F600) * 512)}"
    full += "&" * (PUBLIC_FORM.size - len(full))
    answer = stranger.ask("POST", "/reset", content=full, headers=kind)
    assert "This code no longer works." in answer.text
    answer = stranger.ask("POST", "/reset", content=f"{full}&", headers=kind)
    assert answer.status_code == 413
    assert "What you sent is too long. Go back and make it shorter." in answer.text
    answer = known.ask("POST", "/account/name", content=f"{full}&", headers=kind)
    assert answer.status_code == 403  # it is read, and has no token

    async def slowly() -> AsyncIterator[bytes]:
        yield b"code=x"
        await asyncio.sleep(60)

    monkeypatch.setattr(portals, "PUBLIC_FORM", PUBLIC_FORM._replace(seconds=0.05))
    answer = stranger.ask("POST", "/reset", content=slowly(), headers=kind)
    assert "What you sent cannot be read. Go back and send it once more." in answer.text
