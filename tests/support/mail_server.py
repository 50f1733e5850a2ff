"""A mail server on this machine: it keeps what it takes, or refuses as it is told."""

import asyncio
import email
import email.policy
import ssl
import threading
from collections.abc import Callable
from email.message import EmailMessage
from typing import Any, Literal, NamedTuple

import trustme
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.support import leaks

USER, PASSWORD = "ally", "correct horse"
Stage = Literal["MAIL", "RCPT", "DATA"]


class Taken(NamedTuple):
    """A message, and to whom the envelope, which its readers do not see, says that it goes."""

    recipients: list[str]
    message: EmailMessage

    @property
    def text(self) -> str:
        """What is to be read, with the ends of its lines as Python writes them."""
        content: str = self.message.get_content()
        return content.replace("\r\n", "\n")


class MailServer:
    """Takes mail on a port of 127.0.0.1: in clear, over TLS, or over TLS that is begun later."""

    def __init__(
        self,
        scheme: Literal["smtp", "smtps", "smtp+starttls"] = "smtp",
        *,
        authority: trustme.CA | None = None,
        login: bool = False,
        utf8: bool = True,
    ) -> None:
        self.taken: list[Taken] = []
        self.refusals: dict[Stage, str] = {}
        """What commands are answered with instead of being done."""
        self.on_taken: Callable[[], None] = lambda: None
        """What happens when a message has been taken, before anybody is told so."""
        self.seconds = 0.0
        """How long it thinks about a recipient."""
        context = None
        if authority is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
        later = scheme == "smtp+starttls" and context is not None
        self._login = login
        self._spoken: list[SMTP] = []
        self._options: dict[str, Any] = {
            "enable_SMTPUTF8": utf8,
            "tls_context": context if later else None,
            "require_starttls": later,
            "auth_require_tls": False,
            "authenticator": _authenticate,
        }
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._run(self._listen(context if scheme == "smtps" else None))
        port = self._server.sockets[0].getsockname()[1]
        self.address = f"{scheme}://127.0.0.1:{port}"

    def stop(self) -> None:
        self._server.close()
        self._run(self._end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _listen(self, context: ssl.SSLContext | None) -> asyncio.Server:
        def speak() -> SMTP:
            made = SMTP(self, loop=self._loop, hostname="mail.example", **self._options)
            self._spoken.append(made)
            return made

        return await self._loop.create_server(speak, "127.0.0.1", 0, ssl=context)

    async def _end(self) -> None:
        """End conversations that are going on."""
        for each in self._spoken:
            if isinstance(each.transport, asyncio.WriteTransport):
                each.transport.abort()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def _run(self, doing: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(doing, self._loop).result(10)

    # --- What aiosmtpd asks ----------------------------------------------------------------------

    async def handle_MAIL(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        if self._login and not session.authenticated:
            return "530 5.7.0 Authentication required"
        envelope.mail_from = address
        envelope.mail_options += options
        return self.refusals.get("MAIL", "250 2.1.0 OK")

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await asyncio.sleep(self.seconds)
        envelope.rcpt_tos.append(address)
        return self.refusals.get("RCPT", "250 2.1.5 OK")

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if "DATA" in self.refusals:
            return self.refusals["DATA"]
        content = envelope.original_content or b""
        leaks.witness(content.decode())
        message = email.message_from_bytes(content, policy=email.policy.SMTP)
        self.taken.append(Taken(envelope.rcpt_tos, message))
        self.on_taken()
        return "250 2.0.0 OK"


def _authenticate(
    server: SMTP, session: Session, envelope: Envelope, mechanism: str, shown: LoginPassword
) -> AuthResult:
    known = (shown.login, shown.password) == (USER.encode(), PASSWORD.encode())
    return AuthResult(success=known, handled=False)
