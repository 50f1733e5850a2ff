"""Mail by SMTP (RFC 5321): any provider, over TLS."""

import re
from email.message import EmailMessage
from email.utils import parseaddr
from urllib.parse import urlsplit

from shared.backends import RejectedError, Secrets, UnavailableError, UndeliverableError

PASSWORD = "smtp-password"  # noqa: S105 - the name of the secret
TIMEOUT = 8.0
"""Seconds within which a server answers each command: a few of them fit into a job's run."""
NOBODY = re.compile(r"5\.(1\.[12346]|1\.10|2\.1)\b", re.ASCII)
"""How RFC 3463 and RFC 7505 say that an address is of nobody, or of somebody who takes no mail."""
WITHOUT_REASON = frozenset({550, 551, 553})
"""The same, said by a server that gives no such code (RFC 5321)."""


class SmtpMailer:
    """A mail server: `smtps://`, `smtp+starttls://` or, on this machine alone, `smtp://`.

    Where a `user` is named, the secret `smtp-password` is what they sign in with. It is read for
    each mail: one that was changed is taken at once, and mail is rare.
    """

    def __init__(self, address: str, *, user: str, secrets: Secrets) -> None:
        self._address = urlsplit(address)
        self._user = user
        self._secrets = secrets

    async def send(self, message: EmailMessage) -> None:
        """Hand a message over. Raises BackendError; UndeliverableError if that is for good."""
        import aiosmtplib

        password = await self._password() if self._user else None
        try:
            await aiosmtplib.send(
                message,
                hostname=self._address.hostname,
                port=self._address.port,
                use_tls=self._address.scheme == "smtps",
                start_tls=self._address.scheme == "smtp+starttls",
                username=self._user or None,
                password=password,
                local_hostname=parseaddr(message["From"])[1].rpartition("@")[2],
                timeout=TIMEOUT,
            )
        except aiosmtplib.SMTPRecipientsRefused as refusal:
            (refused,) = refusal.recipients
            raise _refused(refused.code, refused.message) from None
        except aiosmtplib.SMTPResponseException as refusal:
            raise _said(f"{type(refusal).__name__} {refusal.code}", refusal.code) from None
        except aiosmtplib.SMTPNotSupported:  # letters beyond ASCII: whoever signs up chose them
            raise UndeliverableError("the mail server cannot write to such an address") from None
        except (aiosmtplib.SMTPException, OSError) as error:
            raise UnavailableError(type(error).__name__) from None

    async def _password(self) -> str:
        kept = await self._secrets.read(PASSWORD)
        if kept is None:
            raise RejectedError(f"the secret {PASSWORD} is missing")
        return kept.decode().strip()


def _refused(code: int, reason: str) -> Exception:
    """Return what a refusal of the recipient means. The reason may quote them: it goes no further.

    Only what is said of the address itself is for good; any other refusal, such as that we may not
    send, is of us.
    """
    told = re.match(r"\d\.\d{1,3}\.\d{1,3}", reason, re.ASCII)
    nobody = NOBODY.match(reason) if told else code in WITHOUT_REASON
    if nobody:
        return UndeliverableError(f"nobody reads mail there ({code})")
    return _said(f"the recipient was refused ({code})", code)


def _said(text: str, code: int) -> Exception:
    return UnavailableError(text) if 400 <= code < 500 else RejectedError(text)
