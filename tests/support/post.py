"""What was mailed to somebody, sent or not."""

from pathlib import Path

from shared.backends import OURS, Query
from shared.backends.local_mail import LocalMailer
from shared.mail import Addressed, Mail
from shared.service import Service
from tests.support.serving import Backing
from tests.support.waiting import until


def mailed(backing: Backing, to: str, least: int = 1) -> list[tuple[str, str]]:
    """Return subject and text of what was mailed to an address, once there is so much of it."""
    found: list[tuple[str, str]] = []

    def come() -> bool:
        found[:] = [*backing.run(lambda service: _waiting(service, to)), *_kept(backing, to)]
        return len(found) >= least

    until(come, f"{least} mails do not come")
    return found


async def _waiting(service: Service, to: str) -> list[tuple[str, str]]:
    """Return what no server has taken yet."""
    query = Query("account", OURS, Mail.collection, limit=1000)
    found = []
    for document in await service.storage.query(query):
        sealed = service.keyring.unseal("mail", document.data["sealed"])
        addressed = Addressed.model_validate_json(sealed)
        if addressed.to == to:
            found.append((addressed.letter.subject, addressed.letter.text))
    return found


def _kept(backing: Backing, to: str) -> list[tuple[str, str]]:
    """Return what the local backend keeps in its folder."""
    folder = backing.environment["ALLY_STATE"]
    if not (Path(folder) / "mailbox").is_dir():
        return []
    return [
        (str(message["Subject"]), str(message.get_content()))
        for message in LocalMailer(folder).latest(1000)
        if str(message["To"]) == to
    ]
