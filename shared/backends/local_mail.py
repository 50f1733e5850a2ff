"""Mail of the embedded backend: kept in the state folder, for the people of this machine alone."""

import email
import email.policy
import os
from email.message import EmailMessage
from pathlib import Path

from shared.backends import RejectedError


class LocalMailer:
    """Messages in `mailbox/` of the state folder, a file each, named after its Message-ID."""

    def __init__(self, state: str) -> None:
        self._folder = Path(state, "mailbox")

    async def send(self, message: EmailMessage) -> None:
        """Keep a message, for its owner alone; the same again changes nothing."""
        name = str(message["Message-ID"]).strip("<>").partition("@")[0]
        if not name.replace("_", "").isalnum():
            raise RejectedError("a message without an id of ours")
        self._folder.mkdir(mode=0o700, exist_ok=True)
        draft = self._folder / f"{name}.new"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(message.as_bytes())
        draft.replace(self._folder / f"{name}.eml")

    def read(self) -> list[EmailMessage]:
        """Return what is kept, the newest first."""
        files = self._folder.glob("*.eml")
        kept = sorted(files, key=lambda file: (file.stat().st_mtime_ns, file.name), reverse=True)
        parsed = (email.message_from_bytes(f.read_bytes(), policy=email.policy.SMTP) for f in kept)
        return list(parsed)
