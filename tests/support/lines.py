"""The lines of a log."""

import json
from pathlib import Path
from typing import Any


def lines_in(log: Path, kind: str = "") -> list[dict[str, Any]]:
    """Return the lines of a log, or those of a kind; not the one that is just being written."""
    whole, _, _ = log.read_bytes().rpartition(b"\n") if log.exists() else (b"", b"", b"")
    lines = [json.loads(line) for line in whole.splitlines()]
    return [line for line in lines if kind in ("", line["kind"])]
