"""Who sends mail in tests: a yard whose jobs hand letters to a mail server."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from shared import letters, mail
from shared.backends import OURS, Ticket
from shared.letters import Letter
from shared.mail import Mail
from shared.provision import open_store
from shared.service import Service
from tests.support.mail_server import MailServer, Taken
from tests.support.yard import Yard

GRACE = "grace@health.example"
CODE = "K7QD-M3XP-9V2B-T6WN"
DASHBOARD = "https://dashboard.ally.example"


@contextmanager
def serving(**options: Any) -> Iterator[MailServer]:
    """Run a mail server."""
    running = MailServer(**options)
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def yard_of(environment: dict[str, str]) -> Iterator[Yard]:
    """Open a yard whose links lead to the dashboard."""
    made = Yard({**environment, "ALLY_DASHBOARD_URL": DASHBOARD})
    try:
        yield made
    finally:
        made.close()


def to(address: str, **settings: str) -> dict[str, str]:
    """Return the settings of who sends to a server."""
    return {"ALLY_SMTP": address, "ALLY_MAIL_FROM": "Ally <no-reply@ally.example>", **settings}


def local(folder: Path) -> dict[str, str]:
    """Return the settings of the embedded backend, where one will do."""
    return {
        "ALLY_BACKEND": "local",
        "ALLY_STATE": str(folder),
        "ALLY_LOG": f"{folder}/requests.jsonl",
    }


def stage(yard: Yard, letter: Letter, address: str = GRACE) -> Ticket:
    """Have a letter wait to be sent."""

    async def act(held: Service) -> Ticket:
        store = open_store(held, "test", "org_a", at=yard.now, account=True)
        mail.send(store, held.keyring, address, letter)
        await store.commit()
        (ticket,) = store.tickets
        return ticket

    return yard.do(act)


def waiting(yard: Yard) -> list[Any]:
    """Return what was not sent yet."""
    return yard.documents(Mail.collection, "account", OURS)


def send(yard: Yard, server: MailServer, letter: Letter, address: str = GRACE) -> Taken:
    """Have a letter sent, and return it as it was taken."""
    assert yard.run(stage(yard, letter, address)) == "done"
    return server.taken[-1]


def confirmation(yard: Yard) -> Letter:
    """Return a letter with a code that ends."""
    return letters.confirm_email(CODE, yard.now + timedelta(hours=24))


def failed_by(yard: Yard, ticket: Ticket | None = None) -> str | None:
    """Have a mail fail, and return by what."""
    ticket = ticket or stage(yard, letters.password_changed())
    assert yard.run(ticket) == "failed"
    job = yard.job(ticket)
    assert job is not None
    return job.error
