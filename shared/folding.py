"""Folding: from lines of the log to requests that can be queried (shared/requests.py).

A line may come twice, late, or after its successors: its copy has the id of the request and never
changes, so what is there is left alone. Lines that come together are kept together: while one
commit is under way, those that arrive wait for the next, and each is acknowledged once it is kept.
"""

import asyncio
import base64
from collections.abc import Sequence
from functools import partial
from typing import Any

import orjson

from shared import clock, ids
from shared.backends import (
    OURS,
    ConflictError,
    Key,
    Put,
    RejectedError,
    Storage,
    Write,
    new_marker,
)
from shared.requests import LoggedRequest, RequestLine
from shared.settings import Mode
from shared.store import insist

MOST = 200
"""Lines of one commit."""
REMEMBERED = 1000
"""Seconds of organisations for which it is remembered how many lines they had."""

_Waiting = tuple[Put, asyncio.Future[None]]
"""A copy, and who waits until it is kept."""


def read_message(message: Any) -> RequestLine:
    """Read the line in a message of Pub/Sub, which holds an entry of Cloud Logging.

    ValueError where there is none in it: it says nothing of what there is instead.
    """
    try:
        entry = orjson.loads(base64.b64decode(message["data"], validate=True))
        return RequestLine.model_validate(entry["jsonPayload"])
    except (KeyError, TypeError, ValueError):
        raise ValueError("the message holds no line of a request") from None


async def keep(
    storage: Storage, copies: Sequence[Put], mode: Mode, *, also: Sequence[Write] = ()
) -> None:
    """Commit copies, but for those that there are, together with other writes.

    ConflictError where it is those that others were faster with, or where nobody knows.
    """
    while copies or also:
        marker = copies[0].key if copies else also[0].key
        writes = [*copies, *also]
        if len(writes) > 1:  # for another commit may create the same copies, but not them all
            made = new_marker(mode, OURS, ids.scatter("fold"), clock.now())
            writes, marker = [*writes, made], made.key
        try:
            await storage.commit(writes, marker)
        except ConflictError:
            found = await storage.get([copy.key for copy in copies])
            new = [copy for copy, there in zip(copies, found, strict=True) if there is None]
            if len(new) == len(copies):
                raise
            copies = new
        else:
            return


class Folder:
    """Makes copies of lines, and keeps them.

    Of the lines that an organisation has in one second and mode, those beyond `rate` are left out
    where they tell of a success that touched no patient and changed nothing: the log still has
    them. Those of its pages are counted apart, and left out though they tell of refusals: anybody
    can make any number. What users only looked at in the dashboard is left out likewise, unless it
    was a patient's. A line that comes again meets the same fate again.
    """

    def __init__(self, storage: Storage, *, rate: int, patience: float) -> None:
        """Begin. `patience` is for how many seconds a contended commit is tried."""
        self._storage = storage
        self._rate = rate
        self._patience = patience
        self._first: dict[tuple[str, Mode, bool, str], set[str]] = {}
        """The first requests of a second, as many as `rate`."""
        self._waiting: dict[Mode, dict[Key, _Waiting]] = {}
        self._working: dict[Mode, asyncio.Task[None]] = {}

    def copy(self, line: RequestLine) -> Put | None:
        """Make the copy of a line; None where it is left out."""
        request = LoggedRequest.of(line)
        second = (line.organisation, line.mode, line.page, line.time[: len("2026-11-22T09:30:00")])
        first = self._first[second] = self._first.pop(second, set())
        if len(self._first) > REMEMBERED:
            del self._first[next(iter(self._first))]
        if len(first) < self._rate:
            first.add(request.id)
        changed = request.method != "GET" and request.objects
        harmless = line.page or (request.status < 400 and not request.patients and not changed)
        if harmless and (request.user is not None or request.id not in first):
            return None
        key = Key(line.mode, line.organisation, request.collection, request.id)
        return Put(key, request.dump(), expires=request.expires, terms=request.terms())

    async def fold(self, line: RequestLine) -> None:
        """Keep the copy of a line, together with those of others; return when it is kept."""
        copy = self.copy(line)
        if copy is None:
            return
        waiting = self._waiting.setdefault(line.mode, {})
        made = (copy, asyncio.get_running_loop().create_future())
        _, kept = waiting.setdefault(copy.key, made)
        if line.mode not in self._working:
            self._working[line.mode] = asyncio.create_task(self._work(line.mode))
        await asyncio.shield(kept)  # others may wait for the same

    async def _work(self, mode: Mode) -> None:
        """Commit what waits, until nothing does."""
        waiting = self._waiting[mode]
        try:
            while waiting:
                batch = [waiting.pop(key) for key in list(waiting)[:MOST]]
                await self._commit(batch, mode)
        finally:
            del self._working[mode]

    async def _commit(self, batch: Sequence[_Waiting], mode: Mode) -> None:
        """Keep copies by one commit, or, where one of them cannot be kept, each by its own."""
        try:
            copies = [copy for copy, _ in batch]
            await insist(partial(keep, self._storage, copies, mode), self._patience)
        except Exception as error:  # whatever it is, who waits must be told
            if isinstance(error, RejectedError) and len(batch) > 1:
                for each in batch:
                    await self._commit([each], mode)
                return
            for _, kept in batch:
                kept.set_exception(error)
                kept.exception()  # nobody may be left who asks
        else:
            for _, kept in batch:
                kept.set_result(None)
