"""Documents as one caller may see them.

A handler reads through its store and stages what it wants changed; the door commits all of it, with
the replay record of the request, after the handler has returned its answer. So an effect and the
memory of it are one commit, a handler can be run again when others were faster, and a refusal
changes nothing. The organisation, the mode and the moment are bound in: no method takes them.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from typing import Any, ClassVar, Generic, NamedTuple, TypeVar, overload

from shared import ids
from shared.backends import (
    OURS,
    TERMS,
    Condition,
    ConflictError,
    Delete,
    Document,
    Guard,
    Key,
    Put,
    Query,
    Storage,
    Ticket,
    UnavailableError,
    Write,
    new_marker,
)
from shared.errors import ApiError
from shared.jobs import Job, Kind, kind
from shared.models import Model, Record, Resource
from shared.pages import ListQuery, Page, bound, narrowed
from shared.settings import Mode, Space

REPLAY_LIFE = timedelta(hours=24)
MOST_FORGOTTEN = 400
"""Replay records that one commit can take away; a job takes away what is beyond them."""
LONGEST_PAUSE = 0.5
"""Seconds between two attempts of a contended change, at most."""

T = TypeVar("T")
P = TypeVar("P", bound=Model)
R = TypeVar("R", bound=Record)
A = TypeVar("A", bound=Record)
B = TypeVar("B", bound=Record)
C = TypeVar("C", bound=Record)
D = TypeVar("D", bound=Record)
E = TypeVar("E", bound=Record)


class Ref(NamedTuple, Generic[R]):
    """A record that is to be read, and the parameter that named it."""

    model: type[R]
    id: str
    param: str | None = None


class Replay(Record):
    """The memory of a request that carried an Idempotency-Key: what was asked and answered.

    The id is a keyed hash of who asked and the key; `fingerprint` one of what was asked.
    """

    collection: ClassVar[str] = "replays"
    prefix: ClassVar[str] = ""
    traced: ClassVar[bool] = False

    fingerprint: str
    requestId: str
    objects: list[str] = []
    status: int = 200
    code: str = ""
    body: str = ""

    def terms(self) -> Sequence[str]:
        """Return the objects that it names, by which it is found when one is erased."""
        return self.objects


class Replayed(Exception):
    """The request has been answered before; `replay` says how."""

    def __init__(self, replay: Replay) -> None:
        super().__init__()
        self.replay = replay


class Store:
    """What one request reads and changes, at one moment, for one organisation in one mode."""

    def __init__(
        self,
        storage: Storage,
        *,
        mode: Mode,
        organisation: str,
        now: datetime,
        request_id: str,
        replay: Replay | None = None,
        account: bool = False,
        end_user: str | None = None,
        job: Document | None = None,
    ) -> None:
        """Bind a store. `account` says that what is changed belongs to no mode.

        A commit stays within one space, and the replay record lies where the effect does. Where an
        `end_user` is named, of records that belong to end users only theirs exist. Where it is a
        `job` that is done, the commit deletes it.
        """
        self._storage = storage
        self.mode: Mode = mode
        self.organisation = organisation
        self.now = now
        self._ground: Space = "account" if account else mode
        self.end_user = end_user
        self.request_id = request_id
        self._replay = replay
        self._replay_checked = replay is None
        self._read: dict[Key, Document | None] = {}
        self._staged: dict[Key, Write] = {}
        self._changed: dict[str, None] = {}
        self._marker: Key | None = None
        # A job may be done by two at once, and for a request that left a marker of its own.
        self._commit_id = request_id if job is None else ids.scatter("run")
        if job is not None:
            self._staged[job.key] = Delete(job.key, job.version)
        self.tickets: list[Ticket] = []
        """What is to be queued once all is committed."""
        self.touched: dict[str, None] = {}
        """Ids of the objects that were shown or changed, and of the patients whom these concern, in
        order: what the audit line names. Where nobody knows whether they were, they are among them.
        """

    @property
    def livemode(self) -> bool:
        """Whether real patients and practitioners are concerned."""
        return self.mode == "live"

    @property
    def account(self) -> bool:
        """Whether what is changed belongs to no mode."""
        return self._ground == "account"

    # --- Reading ---------------------------------------------------------------------------------

    async def get(self, model: type[R], record_id: str, param: str | None = None) -> R:
        """Return a record, or refuse with 404: what is not the caller's does not exist."""
        wanted = Ref(model, record_id, param)
        (found,) = await self.find(wanted)
        return self.required(found, wanted)

    @overload
    async def find(self, a: Ref[A], /) -> tuple[A | None]: ...
    @overload
    async def find(self, a: Ref[A], b: Ref[B], /) -> tuple[A | None, B | None]: ...
    @overload
    async def find(
        self, a: Ref[A], b: Ref[B], c: Ref[C], /
    ) -> tuple[A | None, B | None, C | None]: ...
    @overload
    async def find(
        self, a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D], /
    ) -> tuple[A | None, B | None, C | None, D | None]: ...
    @overload
    async def find(
        self, a: Ref[A], b: Ref[B], c: Ref[C], d: Ref[D], e: Ref[E], /
    ) -> tuple[A | None, B | None, C | None, D | None, E | None]: ...
    async def find(self, *refs: Ref[Any]) -> tuple[Any, ...]:
        """Return several records in one read, each None where there is none."""
        return tuple(await self.find_all(refs))

    async def find_all(self, refs: Sequence[Ref[R]]) -> list[R | None]:
        """Return any number of records in one read, each None where there is none."""
        keys = [self._key(ref.model, ref.id) if ref.model.accepts(ref.id) else None for ref in refs]
        wanted = [key for key in keys if key is not None]
        if not self._replay_checked and self._replay is not None:
            wanted.append(self._replay_key(self._replay))
        documents = await self._storage.get(wanted)
        self._read.update(zip(wanted, documents, strict=True))
        if self.end_user is not None:
            self._hide(keys, refs)
        self._consider_replay()
        found: list[R | None] = []
        for key, ref in zip(keys, refs, strict=True):
            document = None if key is None else self._read[key]
            if document is None:
                found.append(None)
                continue
            record = ref.model.load(document.data)
            found.append(record)
            if document.key.owner != OURS:
                self.touched |= _traces(record)
        return found

    @staticmethod
    def required(found: R | None, ref: Ref[R]) -> R:
        """Return what was found, or refuse with the 404 of what does not exist."""
        if found is None:
            noun = ref.model.collection.removesuffix("s").replace("_", " ")
            known = ref.model.accepts(ref.id)
            which = f": {ref.id}" if known else " (what was sent is not the id of one)"
            raise ApiError("resource_missing", param=ref.param, noun=noun, which=which)
        return found

    async def related(self, model: type[R], record_ids: Iterable[str]) -> dict[str, R]:
        """Return those records that exist, in one read, as this request has changed them.

        What a replay record is to hold of them must still be so when it is stored: it would
        otherwise outlive a patient who is erased meanwhile.
        """
        found: dict[str, R] = {}
        unread = []
        for record_id in record_ids:
            write = self._staged.get(self._key(model, record_id))
            if isinstance(write, Put):
                found[record_id] = model.load(write.data)
            elif not isinstance(write, Delete):
                unread.append(Ref(model, record_id))
        if unread:
            for ref, record in zip(unread, await self.find_all(unread), strict=True):
                if record is not None:
                    found[ref.id] = record
                    if self._replay is not None:
                        self.guard(record)
        return found

    async def page(
        self, model: type[R], query: ListQuery, where: Iterable[Condition] | None = None
    ) -> Page[R]:
        """Return one page of the caller's records, newest first, to be shown and not changed.

        `where` is what they must be, if that is not simply what the query says.
        """
        cursor = query.cursor(model.prefix)
        if where is None:
            where = query.conditions(model.prefix, livemode=self.livemode)
        documents = await self._query(
            model,
            [*where, *bound(cursor, ascending=query.backwards)],
            limit=query.limit + 1,
            descending=not query.backwards,
        )
        page = Page.cut(documents, query.limit, backwards=query.backwards)
        records = [model.load(document.data) for document in page.data]
        for record in records:
            self.touched |= _traces(record)
        return Page(records, page.has_more)

    async def select(
        self,
        model: type[R],
        where: Iterable[Condition],
        *,
        limit: int,
        descending: bool = True,
    ) -> list[R]:
        """Return records that match, in the order of their ids."""
        documents = await self._query(model, where, limit=limit, descending=descending)
        self._read |= {document.key: document for document in documents}
        return [model.load(document.data) for document in documents]

    async def _query(
        self, model: type[Record], where: Iterable[Condition], *, limit: int, descending: bool
    ) -> list[Document]:
        await self.check_replay()
        space, owner = self._home(model)
        if self.end_user is not None and model.owned:
            where = [*where, ("endUserId", "==", self.end_user)]
        # Each list may be asked for a range of updatedAt, so its indexes end in that.
        then = "updatedAt" if issubclass(model, Resource) else ""
        return await self._storage.query(
            Query(space, owner, model.collection, limit, narrowed(where), descending, then)
        )

    # --- Changing --------------------------------------------------------------------------------

    def insert(self, record: R) -> R:
        """Stage a new record, whose id is its own."""
        key = self._key(type(record), record.id)
        if not self._exists(type(record), getattr(record, "endUserId", None)):
            raise RuntimeError("an end user makes what is somebody else's")
        self._staged[key] = Put(key, record.dump(), None, record.expires, record.terms())
        self._changed |= _traces(record)
        self._marker = self._marker or key
        return record

    def put(self, record: R) -> R:
        """Stage a record over what was read in its place, be it an older state or nothing."""
        key = self._key(type(record), record.id)
        self._staged[key] = Put(
            key, record.dump(), self._version(key), record.expires, record.terms()
        )
        self._changed |= _traces(record)
        return record

    def delete(self, record: Record) -> None:
        """Stage the deletion of a record that was read."""
        key = self._key(type(record), record.id)
        self._staged[key] = Delete(key, self._version(key))
        self._changed |= _traces(record)

    def guard(self, record: Record) -> None:
        """Demand that a record that was read is still the same when the rest is committed."""
        key = self._key(type(record), record.id)
        self._staged.setdefault(key, Guard(key, self._version(key)))

    def later(self, what: Kind[P], payload: P, *, after: timedelta = timedelta()) -> None:
        """Stage a job, to be done when `after` has passed; of its payload only ids and codes."""
        job = Job.new(
            at=self.now,
            after=after,
            kind=what.name,
            organisation=self.organisation,
            mode=self.mode,
            payload=payload.model_dump(mode="json"),
            requestId=self.request_id,
        )
        key = Key(self._ground, OURS, Job.collection, job.id)
        self._staged[key] = Put(key, job.dump())
        self.tickets.append(job.ticket(self._ground))

    async def forget(self, record_id: str) -> None:
        """Stage the deletion of every replay record that names an object, be they ever so many."""
        where: tuple[Condition, ...] = ((TERMS, "contains", record_id),)
        query = Query(self._ground, self.organisation, Replay.collection, MOST_FORGOTTEN + 1, where)
        found = await self._storage.query(query)
        for document in found[:MOST_FORGOTTEN]:
            self._staged[document.key] = Delete(document.key, document.version)
        if len(found) > MOST_FORGOTTEN:
            self.later(forget_more, Forgotten(id=record_id))

    # --- For the door ----------------------------------------------------------------------------

    @property
    def staged(self) -> bool:
        """Whether a commit would change something."""
        return not all(isinstance(write, Guard) for write in self._staged.values())

    async def check_replay(self) -> None:
        """Read the replay record, unless that was done: raise Replayed or refuse, or go on."""
        if not self._replay_checked:
            await self.find_all([])

    def discard(self) -> None:
        """Forget what was staged, because the request is refused."""
        self._staged.clear()
        self._changed.clear()
        self.tickets.clear()
        self._marker = None

    async def commit(
        self, status: int = 200, body: bytes = b"", *, subject: str | None = None, code: str = ""
    ) -> None:
        """Commit what was staged, and the replay record with the answer, as one.

        `subject` is the id of the object that the answer shows, `code` that of a refusal. Outside a
        request there is no answer.
        """
        writes = list(self._staged.values())
        if self._replay is not None:
            named = {subject: None} if subject else {}
            record = self._replay.model_copy(
                update={
                    "status": status,
                    "code": code,
                    "body": body.decode(),
                    "objects": list({**named, **self.touched, **self._changed}),
                }
            )
            key = self._replay_key(record)
            expires = self.now + REPLAY_LIFE
            writes.append(Put(key, record.dump(), self._version(key), expires, record.terms()))
        if all(isinstance(write, Guard) for write in writes):
            return
        if any(write.key.space != self._ground for write in writes):
            raise RuntimeError("a commit stays within one space: declare the Api's `account`")
        marker = self._marker
        if marker is None:
            made = new_marker(self._ground, self.organisation, self._commit_id, self.now)
            writes.append(made)
            marker = made.key
        try:
            await self._storage.commit(writes, marker)
        except UnavailableError:  # what may have been changed is in the audit, too
            self.touched |= self._changed
            raise
        self.touched |= self._changed

    # --- Within ----------------------------------------------------------------------------------

    def _home(self, model: type[Record]) -> tuple[Space, str]:
        space: Space = "account" if model.account else self.mode
        return space, OURS if self.mode in model.shared else self.organisation

    def _hide(self, keys: Sequence[Key | None], refs: Sequence[Ref[Any]]) -> None:
        """Take what is not the end user's for what does not exist."""
        for key, ref in zip(keys, refs, strict=True):
            document = None if key is None else self._read[key]
            if document is not None and not self._exists(ref.model, document.data.get("endUserId")):
                self._read[document.key] = None

    def _exists(self, model: type[Record], end_user: str | None) -> bool:
        """Tell whether there is, for the caller, such a record of an end user, or of none."""
        return self.end_user is None or not model.owned or end_user == self.end_user

    def _key(self, model: type[Record], record_id: str) -> Key:
        return Key(*self._home(model), model.collection, record_id)

    def _replay_key(self, replay: Replay) -> Key:
        return Key(self._ground, self.organisation, Replay.collection, replay.id)

    def _consider_replay(self) -> None:
        """Look at the replay record, once it was read, before anything else is decided."""
        if self._replay_checked or self._replay is None:
            return
        self._replay_checked = True
        document = self._read[self._replay_key(self._replay)]
        if document is None or (document.expires is not None and document.expires <= self.now):
            return
        earlier = Replay.load(document.data)
        if earlier.fingerprint != self._replay.fingerprint:
            existing = f", which concerns {earlier.objects[0]}" if earlier.objects else ""
            raise ApiError("idempotency_key_reused", existing=existing)
        self.touched |= dict.fromkeys(earlier.objects)
        raise Replayed(earlier)

    def _version(self, key: Key) -> Any:
        document = self._read.get(key)
        return None if document is None else document.version


def _traces(record: Record) -> dict[str, None]:
    """Return the ids by which a line tells of a record: its own, and those of its patients."""
    return dict.fromkeys((record.id, *record.concerns())) if record.traced else {}


class Forgotten(Model):
    """An object that was erased."""

    id: str


@kind("forget")
async def forget_more(store: Store, body: Forgotten) -> None:
    """Take away replay records that name an erased object and were too many for one commit."""
    await store.forget(body.id)


async def insist(attempt: Callable[[], Awaitable[T]], seconds: float) -> T:
    """Make an attempt; again, with jitter, while others are faster, for so many seconds.

    Then its ConflictError is raised.
    """
    deadline = time.monotonic() + seconds
    number = 0
    while True:
        try:
            return await attempt()
        except ConflictError:
            number += 1
            pause = random.uniform(0, min(LONGEST_PAUSE, 0.005 * 2**number))  # noqa: S311 - jitter is no secret
            if time.monotonic() + pause > deadline:
                raise
            await asyncio.sleep(pause)
