"""Mail of the embedded backend: kept in the state folder, for the people of this machine alone."""

import email
import email.policy
import os
from email.message import EmailMessage
from pathlib import Path


class LocalMailer:
    """Messages in `mailbox/` of the state folder, a file each, named after its Message-ID."""

    def __init__(self, state: str) -> None:
        self._folder = Path(state, "mailbox")

    async def send(self, message: EmailMessage) -> None:
        """Keep a message, for its owner alone; the same again changes nothing."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        file = self._folder / f"{name(message)}.eml"
        draft = file.with_suffix(".new")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as writing:
            writing.write(message.as_bytes())
        draft.replace(file)

    def latest(self, limit: int) -> list[EmailMessage]:
        """Return the latest messages, the newest first."""
        files = [(file.stat().st_mtime_ns, file) for file in self._folder.glob("*.eml")]
        return [_parsed(file) for _, file in sorted(files, reverse=True)[:limit]]

    def read(self, named: str) -> EmailMessage | None:
        """Return the message of a name that has been checked; None where there is none."""
        file = self._folder / f"{named}.eml"
        return _parsed(file) if file.is_file() else None


def name(message: EmailMessage) -> str:
    """Return what a message is kept under: the first part of its Message-ID."""
    return str(message["Message-ID"]).strip("<>").partition("@")[0]


def _parsed(file: Path) -> EmailMessage:
    message = email.message_from_bytes(file.read_bytes(), policy=email.policy.SMTP)
    if not isinstance(message, EmailMessage):
        raise TypeError("this policy makes such messages")
    return message
