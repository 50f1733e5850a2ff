"""Whether a patient's value got out: into a log, a label, a URL, an error, a count of usage.

Whatever the suite's servers print and log lies in files that pytest made. What stand-ins of
Google's services were sent, and answers that must not tell of patients, are witnessed here, in a
folder that all processes of a run share. At its end everything is searched (tests/conftest.py).
"""

import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

FOLDER = "ALLY_TEST_WITNESSED"
"""The environment variable that names the folder."""
LOGS = frozenset({".jsonl", ".log", ".out"})
METRICS = "metrics.sqlite"
"""How the files begin in which are the labels that the embedded backend counts under."""


class Leak(NamedTuple):
    """A value of a patient where none may be."""

    value: str
    file: Path
    line: str


def begin() -> Path | None:
    """Make the folder of this run. In a process that a run has started there is one already."""
    if FOLDER in os.environ:
        return None
    os.environ[FOLDER] = tempfile.mkdtemp(prefix="ally-witnessed-")
    return Path(os.environ[FOLDER])


def witness(text: object) -> None:
    """Keep what was sent to where no patient's value may be."""
    path = Path(os.environ[FOLDER], f"{os.getpid()}.log")
    with path.open("a") as file:
        file.write(f"{text}\n")


def written(root: Path) -> list[Path]:
    """Return all files of a run that are to be searched: those under pytest's folder too."""
    folders = (root, Path(os.environ[FOLDER]))
    return [
        path
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if (path.suffix in LOGS or path.name.startswith(METRICS)) and path.is_file()
    ]


def search(files: Iterable[Path], values: Iterable[str]) -> Iterator[Leak]:
    """Yield each line in which a value is, whatever the case of its letters."""
    sought = [(value, value.casefold()) for value in values]
    for path in files:
        for line in path.read_text(errors="replace").splitlines():
            folded = line.casefold()
            for value, small in sought:
                if small in folded:
                    yield Leak(value, path, line)
