"""The tools of npm that tests run, where `make` has installed them."""

from pathlib import Path

from tests.support.processes import ROOT

FOLDER = ROOT / "tests" / "tools"
MISSING = "The tools of npm were not found: run `make tools`, which needs npm. They check OpenAPI."


def find(name: str) -> Path | None:
    """Return the program of a tool, if it is installed."""
    program = FOLDER / "node_modules" / ".bin" / name
    return program if program.exists() else None
