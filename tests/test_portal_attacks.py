"""What somebody might try at the pages that no page would send."""

import re
from collections.abc import Sequence

import pytest

from shared.backends import ConflictError, Key, Write
from shared.throttles import MAILS
from tests.support.inprocess import InProcess
from tests.support.people import Person, signed_in
from tests.support.serving import Partner


def attacker(partner: Partner) -> Person:
    """Return an administrator who writes what they send by hand."""
    person = signed_in(partner)
    person.enter(InProcess(partner.backing, partner.key))
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
