"""One structured line for each request, written before the answer leaves.

It says who did what to which objects with what result, and holds no content: the audit of reads and
writes of patient data, and the replayable truth of usage. The file is only ever appended to. On
Google Cloud standard output is what Cloud Logging reads.
"""

import os
import sys
import traceback
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from shared import clock
from shared.backends import BackendError


class Log:
    """Appends JSON lines to a file, or to standard output where the path is `-`.

    The descriptor is opened for appending and a line is written at once, so lines of several
    processes do not mix, and a line that was written survives the death of the process.
    """

    def __init__(self, path: str) -> None:
        if path == "-":
            self._descriptor = sys.stdout.fileno()
        else:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._descriptor = os.open(Path(path), flags, 0o600)

    def write(self, at: datetime, kind: str, facts: dict[str, Any]) -> None:
        """Append one line. `kind` says what it tells of, as `request`, `metering` or `crash`."""
        line = {"time": clock.isoformat(at), "kind": kind, **facts}
        rest = orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]

    def crash(self, at: datetime, request_id: str, error: BaseException) -> None:
        """Tell of an exception: its type and where, and its message only where that is ours."""
        self.write(at, "crash", {"severity": "ERROR", "requestId": request_id, **trouble(error)})


def trouble(error: BaseException) -> dict[str, Any]:
    """Return what may be told of an exception: its type, its message only if ours, and where."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = {"message": str(error)} if isinstance(error, BackendError) else {}
    where = [f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames]
    return {"type": type(error).__name__, **ours, "where": where}
