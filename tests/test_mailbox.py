"""The mailbox of `make run`: what would have been mailed, to be read and followed."""

import re
from datetime import datetime, timedelta
from html import unescape
from pathlib import Path

import pytest

from functions import discover_portals
from shared import letters, mail, running
from shared.letters import Letter
from shared.provision import open_store
from shared.service import Service
from tests.support.people import Person
from tests.support.serving import Backing, Server

on_a_machine = pytest.mark.parametrize("backing", ["local"], indirect=True)
deployed = pytest.mark.parametrize("backing", ["google"], indirect=True)

CODE = "K7QD-M3XP-9V2B-T6WN"


def write(backing: Backing, letter: Letter, to: str) -> None:
    """Have a letter sent."""

    async def act(held: Service) -> None:
        store = open_store(held, "test", "org_a", at=held.now(), account=True)
        mail.send(store, held.keyring, to, letter)
        await store.commit()
        for ticket in store.tickets:
            assert (await running.run(held, ticket.space, ticket.job)).outcome == "done"

    backing.run(act)


@pytest.fixture
def reader(server: Server) -> Person:
    return Person(server, "mailbox")


@on_a_machine
def test_mail_is_listed_the_newest_first_and_opened_in_full(
    backing: Backing, reader: Person
) -> None:
    write(backing, letters.password_changed(), "first@health.example")
    until = backing.run(_now) + timedelta(days=1)
    write(backing, letters.confirm_email(CODE, until), "second@health.example")
    listed = reader.get("/").text
    assert listed.index("second@health.example") < listed.index("first@health.example")
    found = re.search(r'<a href="(/mails/\w+)">Confirm your e-mail address</a>', listed)
    assert found is not None
    page = reader.get(found[1]).text
    assert "second@health.example" in page
    dashboard = backing.run(_dashboard)
    (link,) = re.findall(r'<a href="([^"]*#[^"]*)"', page.partition("<main")[2])
    assert unescape(link) == f"{dashboard}/confirm#{CODE}"


async def _now(held: Service) -> datetime:
    return held.now()


async def _dashboard(held: Service) -> str:
    return held.settings.dashboard_url


@on_a_machine
def test_what_a_mail_says_is_text_and_never_markup(backing: Backing, reader: Person) -> None:
    name = '<script>alert("x")</script>'
    write(backing, letters.suspended(name, f"{name}\n{name}"), "third@health.example")
    listed = reader.get("/")
    found = re.search(r'<a href="(/mails/\w+)">&lt;script&gt;', listed.text)
    assert found is not None
    for page in (listed, reader.get(found[1])):
        assert "<script>alert" not in page.text


@on_a_machine
@pytest.mark.parametrize("path", ["mail_" + "0" * 22, "..%2fsecrets", "mail_"])
def test_a_mail_that_is_not_there_is_404(path: str, reader: Person) -> None:
    reader.get(f"/mails/{path}", 404)


@deployed
def test_no_mailbox_is_shown_of_a_deployment(reader: Person) -> None:
    reader.get("/", 404)
    reader.get("/mails/mail_" + "0" * 22, 404)


def test_the_mailbox_is_not_deployed() -> None:
    found = {portal.name: portal.deployed for portal in discover_portals()}
    assert found["dashboard"]
    assert not found["mailbox"]


def test_where_mail_leaves_the_mailbox_says_so(tmp_path: Path) -> None:
    folder = str(tmp_path)
    backing = Backing(
        {"ALLY_BACKEND": "local", "ALLY_STATE": folder, "ALLY_LOG": f"{folder}/requests.jsonl"}
    )
    server = Server(backing, tmp_path, ALLY_SMTP="smtp://127.0.0.1:1")
    page = Person(server, "mailbox").get("/")
    server.stop()
    backing.close()
    assert "Mail leaves by smtp://127.0.0.1:1" in page.text
    assert "Nothing of it has left" not in page.text
