"""Mail to people of organisations: a job, made in the commit of its cause.

    mail.send(store, keyring, "grace@example.com", letters.password_changed())

The payload of the job is the id of a `Mail`, which lies sealed beside it until it is sent: neither
the address nor the code of a letter stands anywhere else. Whom we write to belongs to no mode, so
the store must be one for changes of the account. docs/decisions/0026-mail.md says why it is so.
"""

from datetime import datetime, timedelta
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import parseaddr
from typing import ClassVar

from shared import ids
from shared.auth import Keyring
from shared.backends import UndeliverableError
from shared.fields import Moment
from shared.jobs import kind
from shared.letters import Letter, written
from shared.models import Model, Record
from shared.service import Service
from shared.settings import Mode, Settings
from shared.store import Ref, Store

LIFE = timedelta(days=7)
"""How long a letter without a code may wait to be sent."""
_PURPOSE = "mail"


class Mail(Record):
    """A letter that is still to be sent, sealed with the address."""

    collection: ClassVar[str] = "mails"
    prefix: ClassVar[str] = "mail"
    account: ClassVar[bool] = True
    shared: ClassVar[frozenset[Mode]] = frozenset({"test", "live"})
    traced: ClassVar[bool] = False

    sealed: str
    until: Moment
    """Until when it is worth sending."""
    createdAt: Moment

    @property
    def expires(self) -> datetime:
        """When it may be deleted, sent or not."""
        return self.until


class Addressed(Model):
    """A letter and the address that it goes to."""

    to: str
    letter: Letter


class Sending(Model):
    """The mail to be sent, by its id."""

    mail: str


def send(store: Store, keyring: Keyring, to: str, letter: Letter) -> None:
    """Stage a mail to an address that was checked, and the job that sends it."""
    sealed = keyring.seal(_PURPOSE, Addressed(to=to, letter=letter).model_dump_json())
    until = letter.until or store.now + LIFE
    mail = Mail(id=ids.scatter(Mail.prefix), sealed=sealed, until=until, createdAt=store.now)
    store.insert(mail)
    store.later(deliver, Sending(mail=mail.id))


@kind("mail")
async def deliver(held: Service, store: Store, body: Sending) -> None:
    """Send a mail and forget it. Where the server died or we did, it is sent again, as the same."""
    (mail,) = await store.find(Ref(Mail, body.mail))
    if mail is None:
        return
    if mail.until > store.now:
        message = compose(mail, held.keyring, held.settings)
        try:
            await held.mailer.send(message)
        except UndeliverableError as refusal:  # nothing that Operations could mend
            told = {"severity": "WARNING", "result": "undeliverable", "message": str(refusal)}
            held.log.write(held.now(), "mail", {**told, "mail": mail.id})
    store.delete(mail)


def compose(mail: Mail, keyring: Keyring, settings: Settings) -> EmailMessage:
    """Return a mail as it is sent (RFC 5322): the same each time, its Message-ID too."""
    addressed = Addressed.model_validate_json(keyring.unseal(_PURPOSE, mail.sealed))
    sender = parseaddr(settings.mail_from)[1]
    message = EmailMessage(SMTP)
    message["Message-ID"] = f"<{mail.id}@{sender.rpartition('@')[2]}>"
    message["Date"] = mail.createdAt
    message["From"] = settings.mail_from
    message["To"] = _address(addressed.to)
    message["Reply-To"] = settings.support
    message["Subject"] = addressed.letter.subject
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no holiday answers this
    text = written(addressed.letter, settings.dashboard_url, settings.support)
    message.set_content(text, cte="quoted-printable")
    return message


def _address(text: str) -> Address:
    """Return an address as mail servers know it: the domain in its ASCII form (RFC 5891)."""
    import email_validator

    checked = email_validator.validate_email(text, check_deliverability=False)
    return Address(username=checked.local_part, domain=checked.ascii_domain)
