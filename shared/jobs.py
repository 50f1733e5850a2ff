"""Jobs: what must happen after an answer, kept in the commit of its cause.

A kind of job is declared beside the rules that it belongs to, and staged with `store.later`:

    class ReminderIn(Model):
        appointmentId: str

    @kind("remind")
    async def remind(store: Store, body: ReminderIn) -> None: ...

    store.later(remind, ReminderIn(appointmentId=found.id), after=timedelta(days=1))

A job is done at least once and in effect once, for its effects and its deletion are one commit; so
a handler may be run again, and does nothing that its store does not commit. It gets a store bound
to the organisation and the mode of its cause. One whose effect is outside of storage, such as a
mail, asks for the process's Service too, by a parameter `held`: it leaves the same mark outside
however often it is run. docs/decisions/0020-jobs.md says why.
"""

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, Self, TypeVar, get_type_hints

from shared import ids
from shared.backends import Ticket
from shared.fields import Moment
from shared.models import Model, Record
from shared.settings import Mode, Space

SHARDS = 4
"""Parts of the jobs of one space, so that an index of their times has no single hot end."""
GRACE = timedelta(minutes=2)
"""How late a job is before the sweep takes its ticket for lost."""
PAUSES = (
    timedelta(seconds=10),
    timedelta(minutes=1),
    timedelta(minutes=10),
    timedelta(hours=1),
    timedelta(hours=6),
    timedelta(hours=24),
)
"""How long a job waits after each failure; after one more it has failed for good."""
JITTER = 0.2
"""The share of a pause by which it is longer or shorter, so that what failed together parts."""
MINUTE = timedelta(minutes=1)

P = TypeVar("P", bound=Model)

Handler = Callable[[Any, P], Awaitable[None]] | Callable[[Any, Any, P], Awaitable[None]]
"""What does a kind of job: it takes a Store and the payload, or the Service before these. Both are
built upon this module."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Kind(Generic[P]):
    """A kind of job: its name, what one is told, and what does it."""

    name: str
    payload: type[P]
    handler: Callable[..., Awaitable[None]]
    outward: bool
    """Whether its effect is outside of storage: its handler takes the Service."""


KINDS: dict[str, Kind[Any]] = {}
"""All kinds that this process knows, by name."""


def kind(name: str) -> Callable[[Handler[P]], Kind[P]]:
    """Declare a kind of job by what does it. The name stands in stored jobs: it never changes."""

    def declare(handler: Handler[P]) -> Kind[P]:
        if name in KINDS:
            raise ValueError(f"two kinds of job are named {name}")
        takes = get_type_hints(handler)
        declared = Kind(name, takes["body"], handler, outward="held" in takes)
        KINDS[name] = declared
        return declared

    return declare


class Job(Record):
    """Something that is still to be done.

    It lies in the space of its cause, as a document of ours. It is found by `due`, the minute from
    which the sweep asks after it: a minute and a shard, because an index of exact times over all
    organisations would be written at one end alone.
    """

    collection: ClassVar[str] = "jobs"
    prefix: ClassVar[str] = "job"

    kind: str
    organisation: str
    mode: Mode
    payload: dict[str, Any]
    """Ids and codes: never what they stand for."""
    runAt: Moment
    due: Moment
    shard: int
    attempts: int = 0
    """How often it failed, or was lost."""
    error: str | None = None
    """The type of the last failure."""
    requestId: str
    """The request that caused it, or caused the job that did."""
    createdAt: Moment

    @classmethod
    def new(cls, *, at: datetime, after: timedelta, **fields: Any) -> Self:
        """Make a job of the moment `at`, to be done when `after` has passed."""
        return cls(
            id=ids.scatter(cls.prefix),
            runAt=at + after,
            due=_due(at + after),
            shard=random.randrange(SHARDS),  # noqa: S311 - a shard is no secret
            createdAt=at,
            **fields,
        )

    def pause(self) -> timedelta | None:
        """Return how long to wait after one more failure; None where that was the last."""
        if self.attempts >= len(PAUSES):
            return None
        jitter = random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - jitter is no secret
        return PAUSES[self.attempts] * jitter

    def again(self, error: str, *, at: datetime, due: datetime) -> Self:
        """Return the job after one more failure: to be done `at`, and asked after if not by then.

        `due` is the earliest moment of that; it is rounded up.
        """
        counted = {"attempts": self.attempts + 1, "error": error}
        return self.model_copy(update={**counted, "runAt": at, "due": _due(due)})

    def renewed(self, at: datetime) -> Self:
        """Return the job as if it had never been tried, to be done `at`."""
        fresh = {"attempts": 0, "error": None, "runAt": at, "due": _due(at)}
        return self.model_copy(update=fresh)

    def ticket(self, space: Space) -> Ticket:
        """Return what a queue holds of it."""
        return Ticket(space, self.id, self.attempts, self.runAt)


FAILURE = "fail"
"""What the places of failed jobs begin with, in their list."""


class FailedJob(Job):
    """A job that was tried as often as it may be: it waits for a person (docs/operating.md)."""

    collection: ClassVar[str] = "failed_jobs"

    failure: str
    """Its place in the list of those that failed: an id of the moment at which it did."""

    @classmethod
    def of(cls, job: Job, at: datetime) -> Self:
        """Make the record of a job that failed at a moment, for good."""
        return cls(**dict(job), failure=ids.mint(FAILURE, at))


def _due(run_at: datetime) -> datetime:
    """Return the minute from which a job of that moment is late."""
    late = run_at + GRACE
    minute = late.replace(second=0, microsecond=0)
    return minute if minute == late else minute + MINUTE
