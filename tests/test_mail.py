"""Mail: a job that hands what it was told to a real mail server, in effect once."""

import email.policy
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme

from functions import discover_portals
from shared import letters, mail
from shared.backends import OURS, Document, Query, Ticket, UnavailableError
from shared.backends.smtp import PASSWORD as PASSWORD_SECRET
from shared.backends.smtp import SmtpMailer
from shared.jobs import FailedJob, Job
from shared.letters import Letter
from shared.mail import Mail
from shared.provision import open_store
from shared.service import Service
from shared.settings import SettingError, load
from tests.conftest import BACKENDS, environment_of
from tests.support import cloud_tasks
from tests.support.addresses import ADDRESSES
from tests.support.joining import signs_up
from tests.support.mail_server import PASSWORD, USER, MailServer, Taken
from tests.support.people import Person
from tests.support.serving import Backing, Server
from tests.support.yard import Yard

GRACE = "grace@health.example"
CODE = "K7QD-M3XP-9V2B-T6WN"
DASHBOARD = "https://dashboard.ally.example"


@contextmanager
def serving(**options: Any) -> Iterator[MailServer]:
    running = MailServer(**options)
    try:
        yield running
    finally:
        running.stop()


@pytest.fixture
def server() -> Iterator[MailServer]:
    with serving() as running:
        yield running


@contextmanager
def yard_of(environment: dict[str, str]) -> Iterator[Yard]:
    made = Yard({**environment, "ALLY_DASHBOARD_URL": DASHBOARD})
    try:
        yield made
    finally:
        made.close()


def to(address: str, **settings: str) -> dict[str, str]:
    """Return the settings of who sends to a server."""
    return {"ALLY_SMTP": address, "ALLY_MAIL_FROM": "Ally <no-reply@ally.example>", **settings}


@pytest.fixture(params=BACKENDS)
def yard(request: pytest.FixtureRequest, tmp_path: Path, server: MailServer) -> Iterator[Yard]:
    with yard_of(environment_of(request, tmp_path) | to(server.address)) as made:
        yield made


@pytest.fixture
def local(tmp_path: Path) -> dict[str, str]:
    """The settings of the embedded backend, where one will do."""
    folder = str(tmp_path)
    return {"ALLY_BACKEND": "local", "ALLY_STATE": folder, "ALLY_LOG": f"{folder}/requests.jsonl"}


@pytest.fixture
def small_yard(local: dict[str, str], server: MailServer) -> Iterator[Yard]:
    with yard_of(local | to(server.address)) as made:
        yield made


def stage(yard: Yard, letter: Letter, address: str = GRACE) -> Ticket:
    async def act(held: Service) -> Ticket:
        store = open_store(held, "test", "org_a", at=yard.now, account=True)
        mail.send(store, held.keyring, address, letter)
        await store.commit()
        (ticket,) = store.tickets
        return ticket

    return yard.do(act)


def waiting(yard: Yard) -> list[Any]:
    return yard.documents(Mail.collection, "account", OURS)


def send(yard: Yard, server: MailServer, letter: Letter, address: str = GRACE) -> Taken:
    """Have a letter sent, and return it as it was taken."""
    assert yard.run(stage(yard, letter, address)) == "done"
    return server.taken[-1]


def confirmation(yard: Yard) -> Letter:
    return letters.confirm_email(CODE, yard.now + timedelta(hours=24))


# --- A job ----------------------------------------------------------------------------------------


def test_a_letter_arrives_with_its_code_and_its_link_and_is_then_forgotten(
    yard: Yard, server: MailServer
) -> None:
    assert yard.run(stage(yard, confirmation(yard))) == "done"
    (taken,) = server.taken
    assert taken.recipients == [GRACE]
    message = taken.message
    assert message["To"] == GRACE
    assert message["From"] == "Ally <no-reply@ally.example>"
    assert message["Reply-To"] == "support@ally.example"
    assert message["Subject"] == "Confirm your e-mail address"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Date"].datetime == yard.now
    assert f"\n{DASHBOARD}/confirm#{CODE}\n" in taken.text
    assert f"enter the code {CODE} on {DASHBOARD}/confirm." in taken.text
    assert "support@ally.example" in taken.text
    assert waiting(yard) == []
    assert yard.documents("jobs", "account") == []


def test_neither_storage_nor_log_shows_whom_it_goes_to_or_what_it_says(yard: Yard) -> None:
    ticket = stage(yard, confirmation(yard))
    (kept,) = waiting(yard)
    (job,) = yard.documents("jobs", "account")
    yard.run(ticket)
    for place in (str(kept.data), str(job.data), yard.log.read_text()):
        assert GRACE not in place
        assert CODE not in place
        assert "K7QD" not in place
    assert job.data["payload"] == {"mail": kept.key.id}


def test_a_mail_that_waits_expires_with_its_code(yard: Yard) -> None:
    stage(yard, confirmation(yard))
    stage(yard, letters.password_changed())
    ends = sorted(document.expires for document in waiting(yard))
    assert ends == [yard.now + timedelta(hours=24), yard.now + mail.LIFE]


def test_a_code_that_is_over_is_not_sent_any_more(small_yard: Yard, server: MailServer) -> None:
    ticket = stage(small_yard, confirmation(small_yard))
    small_yard.pass_time(hours=24)
    assert small_yard.run(ticket) == "done"
    assert server.taken == []
    assert waiting(small_yard) == []


def test_a_mail_that_was_deleted_meanwhile_is_done(small_yard: Yard, server: MailServer) -> None:
    ticket = stage(small_yard, confirmation(small_yard))

    async def forget(held: Service) -> None:
        store = open_store(held, "test", "org_a", at=small_yard.now, account=True)
        (document,) = await held.storage.query(Query("account", OURS, Mail.collection, 2))
        store.delete(await store.get(Mail, document.key.id))
        await store.commit()

    small_yard.do(forget)
    assert small_yard.run(ticket) == "done"
    assert server.taken == []


def test_a_mail_whose_commit_was_lost_is_sent_again_as_the_same_message(
    yard: Yard, server: MailServer
) -> None:
    """The process dies after the mail has left, and before anybody knows."""
    ticket = stage(yard, confirmation(yard))
    yard.watched.failing = {"commit": UnavailableError("told to")}
    with pytest.raises(UnavailableError):
        yard.run(ticket)
    yard.watched.failing = {}
    yard.pass_time(minutes=1)
    assert yard.run(ticket) == "done"
    first, again = (taken.message for taken in server.taken)
    assert first["Message-ID"] == again["Message-ID"]
    assert first.as_bytes() == again.as_bytes()
    assert re.fullmatch(r"<mail_\w{22}@ally\.example>", first["Message-ID"])


def test_a_server_that_is_killed_after_its_mail_has_left_sends_it_again_as_the_same_message(
    local: dict[str, str], tmp_path: Path, server: MailServer
) -> None:
    backing = Backing(local | to(server.address))
    serving = Server(backing, tmp_path)
    killed = threading.Event()

    def kill() -> None:
        if not killed.is_set():
            serving.process.kill()
            killed.set()

    server.on_taken = kill
    signs_up(Person(serving), GRACE)
    assert killed.wait(30)
    serving.close()
    serving.start()
    deadline = time.monotonic() + 30
    while len(server.taken) < 2 or left(backing):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    serving.stop()
    backing.close()
    first, again = (taken.message for taken in server.taken)
    assert first["Subject"] == "Confirm your e-mail address"
    assert first["Message-ID"] == again["Message-ID"]


def left(backing: Backing) -> list[Document]:
    """Return the jobs and the mails that are left."""

    async def read(held: Service) -> list[Document]:
        kinds = (Job.collection, Mail.collection)
        queries = [Query("account", OURS, kind, 10) for kind in kinds]
        return [each for query in queries for each in await held.storage.query(query)]

    return backing.run(read)


def test_two_mails_are_two_messages(small_yard: Yard, server: MailServer) -> None:
    first = send(small_yard, server, letters.password_changed())
    again = send(small_yard, server, letters.password_changed())
    assert first.message["Message-ID"] != again.message["Message-ID"]


# --- Servers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_a_server_is_spoken_to_over_tls_and_signed_in_to(
    scheme: Any, local: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    trusted = tmp_path / "trusted.pem"
    authority.cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with (
        serving(scheme=scheme, authority=authority, login=True) as server,
        yard_of(local | to(server.address, ALLY_SMTP_USER=USER)) as yard,
    ):
        yard.do(lambda held: held.secrets.create(PASSWORD_SECRET, f"{PASSWORD}\n".encode()))
        send(yard, server, letters.password_changed())
        assert len(server.taken) == 1


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_a_server_whose_certificate_nobody_vouches_for_is_told_nothing(
    scheme: Any, local: dict[str, str]
) -> None:
    with (
        serving(scheme=scheme, authority=trustme.CA()) as server,
        yard_of(local | to(server.address)) as yard,
    ):
        assert failed_by(yard) == "UnavailableError"
        assert server.taken == []


def test_a_server_that_offers_no_tls_is_told_nothing(
    server: MailServer, local: dict[str, str]
) -> None:
    stripped = server.address.replace("smtp://", "smtp+starttls://")
    with yard_of(local | to(stripped)) as yard:
        assert failed_by(yard) == "UnavailableError"
    assert server.taken == []


@pytest.mark.parametrize("kept", [b"battery staple", None], ids=["wrong", "missing"])
def test_a_wrong_or_missing_password_is_a_failure_that_shows_none(
    kept: bytes | None, local: dict[str, str]
) -> None:
    with (
        serving(login=True) as server,
        yard_of(local | to(server.address, ALLY_SMTP_USER=USER)) as yard,
    ):
        if kept is not None:
            secret = kept
            yard.do(lambda held: held.secrets.create(PASSWORD_SECRET, secret))
        assert failed_by(yard) == "RejectedError"
        assert server.taken == []
        assert "battery" not in yard.log.read_text()


def failed_by(yard: Yard, ticket: Ticket | None = None) -> str | None:
    """Have a mail fail, and return by what."""
    ticket = ticket or stage(yard, letters.password_changed())
    assert yard.run(ticket) == "failed"
    job = yard.job(ticket)
    assert job is not None
    return job.error


@pytest.mark.parametrize("stage_of_it", ["MAIL", "RCPT", "DATA"])
def test_what_a_server_puts_off_is_tried_again_by_the_schedule(
    stage_of_it: Any, small_yard: Yard, server: MailServer
) -> None:
    server.refusals = {stage_of_it: "451 4.7.1 Greylisted: come again"}
    ticket = stage(small_yard, confirmation(small_yard))
    assert failed_by(small_yard, ticket) == "UnavailableError"
    assert len(waiting(small_yard)) == 1
    server.refusals = {}
    assert small_yard.run(ticket) == "done"
    assert len(server.taken) == 1


@pytest.mark.parametrize(
    ("stage_of_it", "answer"),
    [
        ("MAIL", "550 5.7.1 You may not send"),
        ("RCPT", "550 5.7.1 Relaying denied to grace@health.example"),
        ("RCPT", "554 Relay access denied"),
        ("DATA", "554 5.6.0 We do not like what it says"),
    ],
)
def test_a_refusal_of_us_is_told_to_operations_in_the_end_and_can_be_mended(
    stage_of_it: Any, answer: str, small_yard: Yard, server: MailServer
) -> None:
    server.refusals = {stage_of_it: answer}
    ticket = stage(small_yard, letters.password_changed())
    while small_yard.job(ticket) is not None:
        assert small_yard.run(ticket) == "failed"
    failed = small_yard.job(ticket, FailedJob)
    assert failed is not None
    assert failed.error == "RejectedError"
    assert GRACE not in small_yard.log.read_text()
    server.refusals = {}
    small_yard.revive(ticket)
    assert small_yard.run(ticket) == "done"
    assert len(server.taken) == 1


@pytest.mark.parametrize(
    "answer",
    [
        "550 5.1.1 <grace@health.example>: no such user",
        "550 5.1.10 The domain takes no mail",
        "550 5.2.1 The mailbox is disabled",
        "550 No such user here",
    ],
)
def test_an_address_of_nobody_is_told_of_and_given_up(
    answer: str, small_yard: Yard, server: MailServer
) -> None:
    server.refusals = {"RCPT": answer}
    assert small_yard.run(stage(small_yard, confirmation(small_yard))) == "done"
    assert waiting(small_yard) == []
    (line,) = small_yard.lines("mail")
    assert (line["severity"], line["result"]) == ("WARNING", "undeliverable")
    assert GRACE not in small_yard.log.read_text()


def test_a_server_that_thinks_too_long_or_is_not_there_is_asked_again(
    small_yard: Yard, server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.backends.smtp.TIMEOUT", 0.2)
    server.seconds = 2
    ticket = stage(small_yard, letters.password_changed())
    assert failed_by(small_yard, ticket) == "UnavailableError"
    with serving() as gone:
        nobody = gone.address
    mailer = SmtpMailer(nobody, user="", secrets=small_yard.service.secrets)
    small_yard.service = replace(small_yard.service, mailer=mailer)
    assert failed_by(small_yard, ticket) == "UnavailableError"


# --- Texts ----------------------------------------------------------------------------------------


def test_a_name_cannot_write_a_header_nor_a_link(small_yard: Yard, server: MailServer) -> None:
    name = "Evil\r\nBcc: all@health.example\n\nhttps://evil.example/x www.evil.example a@b.example"
    letter = letters.invitation(name, GRACE, "member", CODE, small_yard.now + timedelta(days=7))
    taken = send(small_yard, server, letter)
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


def test_a_name_reads_in_its_own_letters(small_yard: Yard, server: MailServer) -> None:
    until = small_yard.now + timedelta(days=7)
    letter = letters.invitation("Iechyd Tŷ Gŵyr", GRACE, "administrator", CODE, until)
    taken = send(small_yard, server, letter)
    assert taken.message["Subject"] == "Join Iechyd Tŷ Gŵyr on Ally"
    assert f"{GRACE} invites you to join Iechyd Tŷ Gŵyr on Ally, as an administrator." in taken.text
    assert taken.message.as_bytes().isascii()


@pytest.mark.parametrize(
    "address",
    ["grace@health.example\r\nBcc: all@health.example", "grace@health.example, all@health.example"],
)
def test_an_address_that_is_more_than_one_is_sent_to_nobody(
    address: str, small_yard: Yard, server: MailServer
) -> None:
    ticket = stage(small_yard, letters.password_changed(), address)
    failed_by(small_yard, ticket)
    assert server.taken == []
    assert "all@health" not in small_yard.log.read_text()


def test_a_domain_in_other_letters_is_written_as_mail_servers_know_it(
    small_yard: Yard, server: MailServer
) -> None:
    taken = send(small_yard, server, letters.password_changed(), "grace@bücher.example")
    assert taken.recipients == ["grace@xn--bcher-kva.example"]


@pytest.mark.parametrize("known", [True, False])
def test_an_address_in_other_letters_reaches_servers_that_know_such(
    known: bool, local: dict[str, str]
) -> None:
    address = "gwénaël@health.example"
    with serving(utf8=known) as server, yard_of(local | to(server.address)) as yard:
        ticket = stage(yard, letters.password_changed(), address)
        assert yard.run(ticket) == "done"
        told = [line["result"] for line in yard.lines("mail")]
        assert told == ([] if known else ["undeliverable"])
        assert [taken.recipients for taken in server.taken] == ([[address]] if known else [])


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
    name: str, small_yard: Yard, server: MailServer
) -> None:
    taken = send(small_yard, server, WRITTEN[name](small_yard.now + timedelta(days=1)))
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
    small_yard: Yard, server: MailServer
) -> None:
    at = small_yard.now.replace(year=small_yard.now.year + 1, month=7, day=3, hour=8, minute=5)
    taken = send(small_yard, server, letters.reset_password(CODE, at))
    assert re.search(r"It is taken until 09:05 on \w+day 3 July \(UK time\)\.", taken.text)


# --- Without a server -----------------------------------------------------------------------------


def test_the_embedded_backend_keeps_mail_in_its_state_for_its_owner_alone(
    local: dict[str, str], tmp_path: Path
) -> None:
    with yard_of(local) as yard:
        yard.run(stage(yard, confirmation(yard)))
    (file,) = (tmp_path / "mailbox").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert CODE in message.get_content()


def test_a_message_that_is_kept_again_is_one(local: dict[str, str], tmp_path: Path) -> None:
    with yard_of(local) as yard:
        ticket = stage(yard, confirmation(yard))
        yard.watched.failing = {"commit": UnavailableError("told to")}
        with pytest.raises(UnavailableError):
            yard.run(ticket)
        yard.watched.failing = {}
        yard.run(ticket)
    assert len(list((tmp_path / "mailbox").iterdir())) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"ALLY_SMTP": "smtp://mail.example:25"},
        {"ALLY_SMTP": "smtps://mail.example"},
        {"ALLY_SMTP": "smtps://user:secret@mail.example:465"},
        {"ALLY_SMTP": "http://mail.example:465"},
        {"ALLY_MAIL_FROM": "no-reply@ally.example"},
        {"ALLY_MAIL_FROM": "Ally <ally>"},
        {"ALLY_MAIL_FROM": "Ally\r\nBcc: x <a@ally.example>"},
    ],
)
def test_a_setting_that_is_wrong_is_named(changes: dict[str, str], local: dict[str, str]) -> None:
    (name,) = changes
    with pytest.raises(SettingError, match=name):
        load(local | changes)


@pytest.mark.parametrize("name", ["ALLY_SMTP", "ALLY_MAIL_FROM"])
def test_the_google_backend_does_not_start_without_somebody_who_takes_mail(name: str) -> None:
    sound = {"ALLY_BACKEND": "google", "GOOGLE_CLOUD_PROJECT": "ally", **ADDRESSES}
    sound |= cloud_tasks.settings("https://worker.ally.example", "")
    load(sound)
    with pytest.raises(SettingError, match=name):
        load({**sound, name: ""})
