"""Mail: a job that hands what it was told to a real mail server, in effect once."""

import email.policy
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import pytest
import trustme

from shared import letters, mail
from shared.backends import OURS, Document, Query, UnavailableError
from shared.backends.smtp import PASSWORD as PASSWORD_SECRET
from shared.backends.smtp import SmtpMailer
from shared.jobs import FailedJob, Job
from shared.mail import Mail
from shared.provision import open_store
from shared.service import Service
from shared.settings import SettingError, load
from tests.conftest import BACKENDS, environment_of
from tests.support import cloud_tasks
from tests.support.addresses import ADDRESSES
from tests.support.joining import signs_up
from tests.support.mail_server import PASSWORD, USER, MailServer
from tests.support.people import Person
from tests.support.sending import (
    CODE,
    DASHBOARD,
    GRACE,
    confirmation,
    failed_by,
    local,
    send,
    serving,
    stage,
    to,
    waiting,
    yard_of,
)
from tests.support.serving import Backing, Server
from tests.support.waiting import until
from tests.support.yard import Yard


@pytest.fixture(params=BACKENDS)
def yard(request: pytest.FixtureRequest, tmp_path: Path, mail_server: MailServer) -> Iterator[Yard]:
    with yard_of(environment_of(request, tmp_path) | to(mail_server.address)) as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> dict[str, str]:
    """The settings of the embedded backend, where one will do."""
    return local(tmp_path)


@pytest.fixture
def small_yard(settings: dict[str, str], mail_server: MailServer) -> Iterator[Yard]:
    with yard_of(settings | to(mail_server.address)) as made:
        yield made


# --- A job ----------------------------------------------------------------------------------------


def test_a_letter_arrives_with_its_code_and_its_link_and_is_then_forgotten(
    yard: Yard, mail_server: MailServer
) -> None:
    assert yard.run(stage(yard, confirmation(yard))) == "done"
    (taken,) = mail_server.taken
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
    ends = {document.expires for document in waiting(yard)}
    assert ends == {yard.now + timedelta(hours=24), yard.now + mail.LIFE}


def test_a_code_that_is_over_is_not_sent_any_more(
    small_yard: Yard, mail_server: MailServer
) -> None:
    ticket = stage(small_yard, confirmation(small_yard))
    small_yard.pass_time(hours=24)
    assert small_yard.run(ticket) == "done"
    assert mail_server.taken == []
    assert waiting(small_yard) == []


def test_a_mail_that_was_deleted_meanwhile_is_done(
    small_yard: Yard, mail_server: MailServer
) -> None:
    ticket = stage(small_yard, confirmation(small_yard))

    async def forget(held: Service) -> None:
        store = open_store(held, "test", "org_a", at=small_yard.now, account=True)
        (document,) = await held.storage.query(Query("account", OURS, Mail.collection, 2))
        store.delete(await store.get(Mail, document.key.id))
        await store.commit()

    small_yard.do(forget)
    assert small_yard.run(ticket) == "done"
    assert mail_server.taken == []


def test_a_mail_whose_commit_was_lost_is_sent_again_as_the_same_message(
    yard: Yard, mail_server: MailServer
) -> None:
    """The process dies after the mail has left, and before anybody knows."""
    ticket = stage(yard, confirmation(yard))
    yard.watched.failing = {"commit": UnavailableError("told to")}
    with pytest.raises(UnavailableError):
        yard.run(ticket)
    yard.watched.failing = {}
    yard.pass_time(minutes=1)
    assert yard.run(ticket) == "done"
    first, again = (taken.message for taken in mail_server.taken)
    assert first["Message-ID"] == again["Message-ID"]
    assert first.as_bytes() == again.as_bytes()
    assert re.fullmatch(r"<mail_\w{22}@ally\.example>", first["Message-ID"])


def test_a_server_that_is_killed_after_its_mail_has_left_sends_it_again_as_the_same_message(
    settings: dict[str, str], tmp_path: Path, mail_server: MailServer
) -> None:
    backing = Backing(settings | to(mail_server.address))
    serving = Server(backing, tmp_path)
    killed = threading.Event()

    def kill() -> None:
        if not killed.is_set():
            serving.process.kill()
            killed.set()

    mail_server.on_taken = kill
    signs_up(Person(serving), GRACE)
    assert killed.wait(30)
    serving.close()
    serving.start()
    until(lambda: len(mail_server.taken) >= 2 and not left(backing))
    serving.stop()
    backing.close()
    first, again = (taken.message for taken in mail_server.taken)
    assert first["Subject"] == "Confirm your e-mail address"
    assert first["Message-ID"] == again["Message-ID"]


def left(backing: Backing) -> list[Document]:
    """Return the jobs and the mails that are left."""

    async def read(held: Service) -> list[Document]:
        kinds = (Job.collection, Mail.collection)
        queries = [Query("account", OURS, kind, 10) for kind in kinds]
        return [each for query in queries for each in await held.storage.query(query)]

    return backing.run(read)


def test_two_mails_are_two_messages(small_yard: Yard, mail_server: MailServer) -> None:
    first = send(small_yard, mail_server, letters.password_changed())
    again = send(small_yard, mail_server, letters.password_changed())
    assert first.message["Message-ID"] != again.message["Message-ID"]


# --- Servers --------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_a_server_is_spoken_to_over_tls_and_signed_in_to(
    scheme: Any, settings: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority = trustme.CA()
    trusted = tmp_path / "trusted.pem"
    authority.cert_pem.write_to_path(trusted)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    with (
        serving(scheme=scheme, authority=authority, login=True) as mail_server,
        yard_of(settings | to(mail_server.address, ALLY_SMTP_USER=USER)) as yard,
    ):
        yard.do(lambda held: held.secrets.create(PASSWORD_SECRET, f"{PASSWORD}\n".encode()))
        send(yard, mail_server, letters.password_changed())
        assert len(mail_server.taken) == 1


@pytest.mark.parametrize("scheme", ["smtps", "smtp+starttls"])
def test_a_server_whose_certificate_nobody_vouches_for_is_told_nothing(
    scheme: Any, settings: dict[str, str]
) -> None:
    with (
        serving(scheme=scheme, authority=trustme.CA()) as mail_server,
        yard_of(settings | to(mail_server.address)) as yard,
    ):
        assert failed_by(yard) == "UnavailableError"
        assert mail_server.taken == []


def test_a_server_that_offers_no_tls_is_told_nothing(
    mail_server: MailServer, settings: dict[str, str]
) -> None:
    stripped = mail_server.address.replace("smtp://", "smtp+starttls://")
    with yard_of(settings | to(stripped)) as yard:
        assert failed_by(yard) == "UnavailableError"
    assert mail_server.taken == []


@pytest.mark.parametrize("kept", [b"battery staple", None], ids=["wrong", "missing"])
def test_a_wrong_or_missing_password_is_a_failure_that_shows_none(
    kept: bytes | None, settings: dict[str, str]
) -> None:
    with (
        serving(login=True) as mail_server,
        yard_of(settings | to(mail_server.address, ALLY_SMTP_USER=USER)) as yard,
    ):
        if kept is not None:
            secret = kept
            yard.do(lambda held: held.secrets.create(PASSWORD_SECRET, secret))
        assert failed_by(yard) == "RejectedError"
        assert mail_server.taken == []
        assert "battery" not in yard.log.read_text()


@pytest.mark.parametrize("stage_of_it", ["MAIL", "RCPT", "DATA"])
def test_what_a_server_puts_off_is_tried_again_by_the_schedule(
    stage_of_it: Any, small_yard: Yard, mail_server: MailServer
) -> None:
    mail_server.refusals = {stage_of_it: "451 4.7.1 Greylisted: come again"}
    ticket = stage(small_yard, confirmation(small_yard))
    assert failed_by(small_yard, ticket) == "UnavailableError"
    assert len(waiting(small_yard)) == 1
    mail_server.refusals = {}
    assert small_yard.run(ticket) == "done"
    assert len(mail_server.taken) == 1


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
    stage_of_it: Any, answer: str, small_yard: Yard, mail_server: MailServer
) -> None:
    mail_server.refusals = {stage_of_it: answer}
    ticket = stage(small_yard, letters.password_changed())
    while small_yard.job(ticket) is not None:
        assert small_yard.run(ticket) == "failed"
    failed = small_yard.job(ticket, FailedJob)
    assert failed is not None
    assert failed.error == "RejectedError"
    assert GRACE not in small_yard.log.read_text()
    mail_server.refusals = {}
    small_yard.revive(ticket)
    assert small_yard.run(ticket) == "done"
    assert len(mail_server.taken) == 1


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
    answer: str, small_yard: Yard, mail_server: MailServer
) -> None:
    mail_server.refusals = {"RCPT": answer}
    assert small_yard.run(stage(small_yard, confirmation(small_yard))) == "done"
    assert waiting(small_yard) == []
    (line,) = small_yard.lines("mail")
    assert (line["severity"], line["result"]) == ("WARNING", "undeliverable")
    assert GRACE not in small_yard.log.read_text()


def test_a_server_that_thinks_too_long_or_is_not_there_is_asked_again(
    small_yard: Yard, mail_server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.backends.smtp.TIMEOUT", 0.2)
    mail_server.seconds = 2
    ticket = stage(small_yard, letters.password_changed())
    assert failed_by(small_yard, ticket) == "UnavailableError"
    with serving() as gone:
        nobody = gone.address
    mailer = SmtpMailer(nobody, user="", secrets=small_yard.service.secrets)
    small_yard.service = replace(small_yard.service, mailer=mailer)
    assert failed_by(small_yard, ticket) == "UnavailableError"


# --- Without a server -----------------------------------------------------------------------------


def test_the_embedded_backend_keeps_mail_in_its_state_for_its_owner_alone(
    settings: dict[str, str], tmp_path: Path
) -> None:
    with yard_of(settings) as yard:
        yard.run(stage(yard, confirmation(yard)))
    (file,) = (tmp_path / "mailbox").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.SMTP)
    assert isinstance(message, EmailMessage)
    assert CODE in message.get_content()


def test_a_message_that_is_kept_again_is_one(settings: dict[str, str], tmp_path: Path) -> None:
    with yard_of(settings) as yard:
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
def test_a_setting_that_is_wrong_is_named(
    changes: dict[str, str], settings: dict[str, str]
) -> None:
    (name,) = changes
    with pytest.raises(SettingError, match=name):
        load(settings | changes)


@pytest.mark.parametrize("name", ["ALLY_SMTP", "ALLY_MAIL_FROM"])
def test_the_google_backend_does_not_start_without_somebody_who_takes_mail(name: str) -> None:
    sound = {"ALLY_BACKEND": "google", "GOOGLE_CLOUD_PROJECT": "ally", **ADDRESSES}
    sound |= cloud_tasks.settings("https://worker.ally.example", "")
    load(sound)
    with pytest.raises(SettingError, match=name):
        load({**sound, name: ""})
