"""The mailbox: what would have been mailed, for whoever runs this on a machine of their own.

It is never deployed: it shows to everybody what is for one reader alone.
"""

from datetime import datetime
from email.message import EmailMessage
from pathlib import Path
from typing import Any

import functions_framework.aio

from shared import Request, Response
from shared.backends.local_mail import LocalMailer, name
from shared.callers import Caller
from shared.errors import ApiError
from shared.exchange import Exchange
from shared.mail import Mail
from shared.portals import Portal, View, Visit
from shared.routes import PUBLIC, Route
from shared.settings import Mode

MOST = 100
"""Mails that the list shows."""


class Nobody:
    """Lets nobody in: all pages are for everybody."""

    entrance = "/"

    async def find(self, exchange: Exchange, mode: Mode) -> Caller | None:
        """Return nobody."""
        return None

    def hinder(self, route: Route, caller: Caller, mode: Mode | None, now: datetime) -> str:
        """Return no page that must be seen first."""
        return ""

    def form_secret(self, caller: Caller) -> str:
        """Return nothing: there are no forms."""
        return ""

    def last_secret(self, exchange: Exchange) -> str | None:
        """Return nothing: there are no forms."""
        return None


portal = Portal(
    "mailbox",
    audience="developer",
    doorman=Nobody(),
    templates=Path(__file__).parent,
    notices={},
    title="Mailbox",
)


@portal.get("/", permission=PUBLIC)
async def index(visit: Visit) -> View:
    """List the latest mails, the newest first."""
    mailer = _mailer(visit)
    kept = mailer.latest(MOST) if mailer else []
    mails = [_told(each) for each in kept]
    return visit.page("list.html", title="Mail", mails=mails, leaves=mailer is None, most=MOST)


@portal.get("/mails/{mail}", permission=PUBLIC)
async def show(visit: Visit, mail: str) -> View:
    """Show one mail in full, with links that lead on."""
    mailer = _mailer(visit)
    found = mailer.read(mail) if mailer and Mail.accepts(mail) else None
    if found is None:
        raise ApiError("resource_missing", noun="mail", which="")
    told = _told(found)
    paragraphs = found.get_content().replace("\r\n", "\n").split("\n\n")
    return visit.page("mail.html", title=told["subject"], mail=told, paragraphs=paragraphs)


def _mailer(visit: Visit) -> LocalMailer | None:
    """Return what keeps mail; None where it leaves. Refuses wherever it is not a machine's own."""
    if visit.settings.backend != "local":
        raise ApiError("route_unknown")
    mailer = visit.service.mailer
    return mailer if isinstance(mailer, LocalMailer) else None


def _told(message: EmailMessage) -> dict[str, Any]:
    headers = {each: str(message[each]) for each in ("from", "to", "subject")}
    return {"id": name(message), "at": message["Date"].datetime, **headers}


@functions_framework.aio.http
async def mailbox(request: Request) -> Response:
    """Serve the mailbox's host."""
    return await portal(request)
