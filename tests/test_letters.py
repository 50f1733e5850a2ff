"""Letters: what they say, and what nobody can make them say."""

import re
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from functions import discover_portals
from shared import letters
from shared.letters import Letter
from tests.support.mail_server import MailServer
from tests.support.sending import (
    CODE,
    DASHBOARD,
    GRACE,
    failed_by,
    local,
    send,
    serving,
    stage,
    to,
    yard_of,
)
from tests.support.yard import Yard


@pytest.fixture
def yard(tmp_path: Path, mail_server: MailServer) -> Iterator[Yard]:
    with yard_of(local(tmp_path) | to(mail_server.address)) as made:
        yield made


def test_a_name_cannot_write_a_header_nor_a_link(yard: Yard, mail_server: MailServer) -> None:
    name = "Evil\r\nBcc: all@health.example\n\nhttps://evil.example/x www.evil.example a@b.example"
    letter = letters.invitation(name, GRACE, "member", CODE, yard.now + timedelta(days=7))
    taken = send(yard, mail_server, letter)
    assert taken.recipients == [GRACE]
    assert taken.message["Bcc"] is None
    assert "\n" not in str(taken.message["Subject"])
    links = re.findall(r"\w+://\S+|www\.\S+|\S+@\S+\.\w+", taken.text)
    assert {link.rstrip(".") for link in links} == {
        f"{DASHBOARD}/invitation#{CODE}",
        f"{DASHBOARD}/invitation",
        GRACE,
        "support@ally.example",
    }


def test_a_name_reads_in_its_own_letters(yard: Yard, mail_server: MailServer) -> None:
    until = yard.now + timedelta(days=7)
    letter = letters.invitation("Iechyd Tŷ Gŵyr", GRACE, "administrator", CODE, until)
    taken = send(yard, mail_server, letter)
    assert taken.message["Subject"] == "Join Iechyd Tŷ Gŵyr on Ally"
    assert f"{GRACE} invites you to join Iechyd Tŷ Gŵyr on Ally, as an administrator." in taken.text
    assert taken.message.as_bytes().isascii()


@pytest.mark.parametrize(
    "address",
    ["grace@health.example\r\nBcc: all@health.example", "grace@health.example, all@health.example"],
)
def test_an_address_that_is_more_than_one_is_sent_to_nobody(
    address: str, yard: Yard, mail_server: MailServer
) -> None:
    ticket = stage(yard, letters.password_changed(), address)
    failed_by(yard, ticket)
    assert mail_server.taken == []
    assert "all@health" not in yard.log.read_text()


def test_a_domain_in_other_letters_is_written_as_mail_servers_know_it(
    yard: Yard, mail_server: MailServer
) -> None:
    taken = send(yard, mail_server, letters.password_changed(), "grace@bücher.example")
    assert taken.recipients == ["grace@xn--bcher-kva.example"]


@pytest.mark.parametrize("known", [True, False])
def test_an_address_in_other_letters_reaches_servers_that_know_such(
    known: bool, tmp_path: Path
) -> None:
    address = "gwénaël@health.example"
    with (
        serving(utf8=known) as mail_server,
        yard_of(local(tmp_path) | to(mail_server.address)) as yard,
    ):
        ticket = stage(yard, letters.password_changed(), address)
        assert yard.run(ticket) == "done"
        told = [line["result"] for line in yard.lines("mail")]
        assert told == ([] if known else ["undeliverable"])
        assert [taken.recipients for taken in mail_server.taken] == ([[address]] if known else [])


WRITTEN: dict[str, Callable[[datetime], Letter]] = {
    "confirm_email": lambda at: letters.confirm_email(CODE, at),
    "already_registered": lambda _: letters.already_registered(),
    "invitation": lambda at: letters.invitation("Test Health", GRACE, "developer", CODE, at),
    "reset_password": lambda at: letters.reset_password(CODE, at),
    "unknown_address": lambda _: letters.unknown_address(),
    "password_changed": lambda _: letters.password_changed(),
    "new_second_factor": lambda _: letters.new_second_factor("a passkey"),
    "second_factor_removed": lambda _: letters.second_factor_removed("a passkey"),
    "activation_approved": lambda _: letters.activation_approved("Test Health"),
    "activation_rejected": lambda _: letters.activation_rejected("Test Health", "No such company."),
    "display_name_approved": lambda _: letters.display_name_approved("Test Health"),
    "display_name_rejected": lambda _: letters.display_name_rejected("T", "Too short.\nReally."),
    "suspended": lambda _: letters.suspended("Test Health", "As you asked."),
    "resumed": lambda _: letters.resumed("Test Health"),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_every_letter_is_short_says_whom_to_write_to_and_folds_no_line(
    name: str, yard: Yard, mail_server: MailServer
) -> None:
    taken = send(yard, mail_server, WRITTEN[name](yard.now + timedelta(days=1)))
    assert len(taken.message["Subject"]) <= 60
    assert taken.text.startswith("Hello,\n\n")
    assert taken.text.endswith("write to support@ally.example.\n\nAlly\n")
    assert len(taken.text) < 1000
    for line in taken.text.splitlines():
        if "://" in line and line.startswith("https"):
            assert " " not in line


@pytest.mark.parametrize("name", WRITTEN)
def test_every_link_leads_to_a_page_of_the_dashboard(name: str) -> None:
    letter = WRITTEN[name](datetime(2027, 1, 1, tzinfo=UTC))
    (dashboard,) = (each for each in discover_portals() if each.name == "dashboard")
    assert not letter.path or "GET" in dashboard.allowed(letter.path)


def test_every_letter_is_tried() -> None:
    made = {
        name
        for name, each in vars(letters).items()
        if getattr(each, "__annotations__", {}).get("return") is Letter and not name.startswith("_")
    }
    assert made == WRITTEN.keys()


def test_a_code_says_until_when_it_is_taken_by_the_clock_of_the_united_kingdom(
    yard: Yard, mail_server: MailServer
) -> None:
    at = yard.now.replace(year=yard.now.year + 1, month=7, day=3, hour=8, minute=5)
    taken = send(yard, mail_server, letters.reset_password(CODE, at))
    assert re.search(r"It works until 09:05 on \w+day 3 July \(UK time\)\.", taken.text)
