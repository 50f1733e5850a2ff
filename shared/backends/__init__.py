"""The ports: what storage, queue, secrets, tokens and mail must do, wherever the service runs.

Storage has three verbs: `get` (many at once), `query` and `commit`. Documents are JSON objects at a
key; a commit is all or nothing. docs/decisions/0003-three-storage-verbs.md says why no more.
What metrics must do is in metrics.py.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from email.message import EmailMessage
from typing import Any, Literal, NamedTuple, Protocol

from shared.backends.metrics import Metrics
from shared.passwords import HashedPasswords, Passwords
from shared.settings import Settings, Space

Data = dict[str, Any]
"""A document's content: JSON values only."""

OURS = "ally"
"""The owner of documents that are not one organisation's."""

Version = object
"""What a backend says of a document's state: compared by the backend, opaque to everyone else."""


class Key(NamedTuple):
    """The place of a document: the space, whose it is, the collection, and its id."""

    space: Space
    owner: str
    collection: str
    id: str


class Document(NamedTuple):
    """A document as it was read."""

    key: Key
    data: Data
    version: Version
    expires: datetime | None


@dataclass(frozen=True, slots=True)
class Put:
    """Write a whole document: one at `version`, or, where that is None, one that must not exist."""

    key: Key
    data: Data
    version: Version | None = None
    expires: datetime | None = None
    """When the document may be deleted. Until it is, it still reads back."""
    terms: Sequence[str] = ()
    """What the document is found by beside its data, each a line; it does not read back."""


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a document that is at `version`."""

    key: Key
    version: Version


@dataclass(frozen=True, slots=True)
class Guard:
    """Write nothing, but demand that a document is at `version`, or, where None, does not exist."""

    key: Key
    version: Version | None = None


Write = Put | Delete | Guard

MARKER_LIFE = timedelta(hours=1)


def new_marker(space: Space, owner: str, marker_id: str, at: datetime) -> Put:
    """Make a marker, for a commit that creates nothing that could serve as one."""
    key = Key(space, owner, "commits", marker_id)
    return Put(key, {"id": marker_id}, expires=at + MARKER_LIFE)


Operator = Literal["==", "<", "<=", ">", ">=", "in", "contains"]
"""`in` asks for one of several values, `contains` for one of the terms of a document."""

TERMS = "terms"
"""The name under which a query seeks what documents are found by."""

Condition = tuple[str, Operator, Any]
"""A field, and what its value must be."""


@dataclass(frozen=True, slots=True)
class Query:
    """Documents of one collection of one owner, in the order of the field `by`, then of their ids.

    `where` compares top-level fields. A range on another field than the first of the order reads
    past what does not match.
    """

    space: Space
    owner: str
    collection: str
    limit: int
    where: tuple[Condition, ...] = ()
    descending: bool = True
    then: str = ""
    """A field of every document, by which the order goes on. No two documents share an id, so what
    is found stays the same; but the index of a range on this field serves all other queries too."""
    by: str = "id"
    """The field, which every document has, that the order begins with."""


class BackendError(Exception):
    """What a backend raises. The message is ours and quotes no data, so it may be logged."""


class ConflictError(BackendError):
    """A commit found a document that is not as it demanded; nothing was written."""


class RejectedError(BackendError):
    """The backend says that a call was wrong in itself: a fault of this program."""


class UnavailableError(BackendError):
    """The backend does not answer in time, or says that it cannot.

    After a commit: nothing is known to have been written. The caller may repeat the request; what
    was written, if anything, will refuse the repetition or be found by it.
    """


class UndeliverableError(BackendError):
    """Nobody reads the mail of an address: no attempt will reach them."""


class Storage(Protocol):
    """Where documents are kept."""

    async def get(self, keys: Sequence[Key]) -> list[Document | None]:
        """Read documents, in the order of the keys; None where there is none."""

    async def query(self, query: Query) -> list[Document]:
        """Read at most `limit` documents that match, in the query's order."""

    async def commit(self, writes: Sequence[Write], marker: Key) -> None:
        """Do all the writes, or none and raise ConflictError.

        `marker` is a document that this commit creates and no other ever does. A backend that
        loses the answer of a commit reads it to learn whether the commit took effect.
        """

    async def close(self) -> None:
        """Finish what was begun and let go of files and connections."""


class Ticket(NamedTuple):
    """What a queue holds of a job: its space and id, how often it failed, when to do it."""

    space: Space
    job: str
    attempts: int
    at: datetime


class Queue(Protocol):
    """What has jobs done at their times, at least once. What it loses, a sweep finds."""

    async def enqueue(self, ticket: Ticket) -> None:
        """Have a job done; the same ticket again changes nothing. Raises BackendError."""

    async def close(self) -> None:
        """Finish what was begun."""


class Secrets(Protocol):
    """Where secrets are kept: small values by name, each written once."""

    async def read(self, name: str) -> bytes | None:
        """Return a secret's value; None where there is none."""

    async def create(self, name: str, value: bytes) -> None:
        """Store a new secret, or raise ConflictError where the name is taken."""


class Tokens(Protocol):
    """What opens the ID tokens of end users (RFC 7519)."""

    async def open(self, token: str) -> dict[str, Any] | None:
        """Return what a token says; None unless its signature is right."""

    async def issue(self, claims: Mapping[str, Any]) -> str | None:
        """Make a token; None where others make them."""


class Mailer(Protocol):
    """What takes mail and delivers it. A message is the same again by its Message-ID."""

    async def send(self, message: EmailMessage) -> None:
        """Hand a message over. Raises BackendError; UndeliverableError if that is for good."""


def open_storage(settings: Settings) -> Storage:
    """Open the storage that the settings name; heavy imports happen here, not before."""
    if settings.backend == "local":
        from shared.backends.local import LocalStorage

        return LocalStorage(settings.state)
    from shared.backends.google.firestore import FirestoreStorage

    return FirestoreStorage(
        settings.project,
        settings.places,
        call_timeout=settings.storage_timeout,
        emulator=settings.firestore_emulator,
    )


def open_queue(settings: Settings) -> Queue:
    """Open the queue that the settings name."""
    if settings.backend == "local":
        from shared.backends.local_queue import LocalQueue

        return LocalQueue()
    from shared.backends.google.tasks import CloudTasks

    return CloudTasks(
        settings.queue,
        worker=settings.worker_url,
        account=settings.worker_account,
        address=settings.cloud_tasks,
    )


def open_secrets(settings: Settings) -> Secrets:
    """Open the secrets that the settings name."""
    if settings.backend == "local":
        from shared.backends.local import LocalSecrets

        return LocalSecrets(settings.state)
    from shared.backends.google.secrets import GoogleSecrets

    return GoogleSecrets(
        settings.project, call_timeout=settings.storage_timeout, address=settings.secret_manager
    )


def open_metrics(settings: Settings) -> Metrics:
    """Open the metrics that the settings name."""
    if settings.backend == "local":
        from shared.backends.local_metrics import LocalMetrics

        return LocalMetrics(settings.state)
    from shared.backends.google.monitoring import CloudMetrics

    return CloudMetrics(
        settings.project,
        settings.service,
        call_timeout=settings.storage_timeout,
        address=settings.monitoring,
    )


def open_tokens(settings: Settings, secrets: Secrets) -> Tokens:
    """Open what the settings say of ID tokens. On the google backend they are signed by Google."""
    if settings.firebase_emulator:
        from shared.backends.tokens import UnsignedTokens

        return UnsignedTokens()
    if settings.backend == "local" and not settings.firebase_keys:
        from shared.backends.tokens import LocalTokens

        return LocalTokens(secrets)
    from shared.backends.google.tokens import KEYS, PublishedTokens

    return PublishedTokens(settings.firebase_keys or KEYS, timeout=settings.storage_timeout)


def open_mailer(settings: Settings, secrets: Secrets) -> Mailer:
    """Open what takes mail. The local backend keeps it, unless the settings name a server."""
    if settings.backend == "local" and not settings.smtp:
        from shared.backends.local_mail import LocalMailer

        return LocalMailer(settings.state)
    from shared.backends.smtp import SmtpMailer

    return SmtpMailer(settings.smtp, user=settings.smtp_user, secrets=secrets)


def open_passwords(settings: Settings, keyed: Callable[[str], str]) -> Passwords:
    """Open what keeps passwords: we ourselves, unless the settings name an Identity Platform."""
    ours = HashedPasswords(keyed)
    if not settings.identity_platform:
        return ours
    from shared.backends.google.identity import IdentityPasswords

    return IdentityPasswords(
        settings.identity_platform,
        settings.identity_key,
        earlier=ours,
        call_timeout=settings.storage_timeout,
        address=settings.identity_host,
    )


def open_staff_tokens(settings: Settings) -> Tokens:
    """Open what Identity-Aware Proxy says of members of staff (ES256)."""
    from shared.backends.google.tokens import PublishedTokens

    return PublishedTokens(settings.iap_keys, timeout=settings.storage_timeout, algorithm="ES256")
