"""Following: the local server folds its own log, from the file that the lines are appended to.

How far a file was folded is kept for each mode, in the commit of what was folded: so nothing is
left out or asked twice, whenever a process dies, and several may follow one file.
"""

import asyncio
import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, get_args

import orjson
from pydantic import ValidationError

from shared import clock
from shared.audit import Log
from shared.backends import OURS, ConflictError, Document, Key, Put, Storage
from shared.folding import MOST, Folder, keep
from shared.requests import RequestLine
from shared.settings import Mode

EVERY = 0.5
"""Seconds between two looks at the file."""
EVERY_AFTER_TROUBLE = 5.0
CHUNK = 1 << 18
"""Bytes that are read at once: many lines, of which the longest name some hundred objects."""
HEAD = 100
"""Bytes by which a file is known again: a moment and the id of a request, in most."""
BEGINNING = b'{"time":'
MODES: tuple[Mode, ...] = get_args(Mode)


class Place(NamedTuple):
    """How far a file was folded, and by what the file is known."""

    offset: int
    head: str


class Follower:
    """Folds what is appended to a file. Where another file takes its place it begins anew."""

    def __init__(self, storage: Storage, folder: Folder, log: Log, path: Path) -> None:
        self._storage = storage
        self._folder = folder
        self._log = log
        self._path = path
        self._id = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Follow the file from now on."""
        self._task = asyncio.create_task(self._follow())

    async def close(self) -> None:
        """Stop, in the middle of anything: the next one goes on from there."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _follow(self) -> None:
        while True:
            pause = EVERY
            try:
                while self._path.is_file() and any([await self._step(mode) for mode in MODES]):
                    pass
            except ConflictError:
                pass  # another process follows too, and was faster
            except Exception as error:  # whatever it was, it is tried again
                self._log.crash(clock.now(), "", error)
                pause = EVERY_AFTER_TROUBLE
            await asyncio.sleep(pause)

    async def _step(self, mode: Mode) -> bool:
        """Fold the next lines; return whether there may be more."""
        key = Key(mode, OURS, "folded", self._id)
        (kept,) = await self._storage.get([key])
        with self._path.open("rb") as file:
            place = _found_again(kept, file.read(HEAD), os.fstat(file.fileno()).st_size)
            file.seek(place.offset)
            chunk = file.read(CHUNK)
        copies: list[Put] = []
        offset = place.offset
        for raw in _whole_lines(chunk):
            offset += len(raw)
            line = _read(raw)
            copy = self._folder.copy(line) if line is not None and line.mode == mode else None
            if copy is not None:
                copies.append(copy)
            if len(copies) == MOST:
                break
        if offset == place.offset:
            return False
        with self._path.open("rb") as file:
            head = _digest(file.read(min(HEAD, offset)))
        data = {"id": key.id, "offset": offset, "head": head}
        version = None if kept is None else kept.version
        await keep(self._storage, copies, mode, also=[Put(key, data, version)])
        return True


def _found_again(kept: Document | None, head: bytes, size: int) -> Place:
    """Return how far a file was folded, if it is the one of which that was kept."""
    place = Place(0, "") if kept is None else Place(kept.data["offset"], kept.data["head"])
    same = place.offset <= size and place.head == _digest(head[: place.offset])
    return place if same else Place(0, "")


def _digest(head: bytes) -> str:
    return hashlib.sha256(head).hexdigest()


def _whole_lines(chunk: bytes) -> Iterator[bytes]:
    """Yield the lines of a chunk, but for the last while it has no end."""
    *whole, last = chunk.split(b"\n")
    yield from (raw + b"\n" for raw in whole)
    if len(last) == CHUNK:  # no line of ours is as long, and reading must go on
        yield last


def _read(raw: bytes) -> RequestLine | None:
    """Read a line; None where it is not that of a request whose caller is known.

    Where a process died in the middle of a line, the next one's follows on it.
    """
    try:
        return RequestLine.model_validate(orjson.loads(raw[max(0, raw.rfind(BEGINNING)) :]))
    except (orjson.JSONDecodeError, ValidationError):
        return None
