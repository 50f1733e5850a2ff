"""Every command of the README works, on a clone of its own."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.google_cloud import GoogleCloud
from tests.support.processes import ROOT
from tests.test_make_run import Clone

README = (ROOT / "README.md").read_text()
COMMANDS = set(re.findall(r"`(make [^`]+)`", README)) | set(
    re.findall(r"^(make .+)$", README, re.MULTILINE)
)
SMALLER: dict[str, dict[str, str]] = {
    # What takes long is run here on a part of what it does. `make run` is tested in test_make_run.
    "make test": {"ARGS": "-n 0 tests/test_make_run.py -k test_help_says_what_can_be_chosen"},
    'make test ARGS="-k availability"': {"PYTEST_ADDOPTS": "tests/test_breaking.py"},
    "make soak": {"ARGS": "-k cancellations", "ALLY_KILLS": "1"},
    "make check-contract": {
        "ALLY_CONTRACT": "1",
        "ALLY_CONTRACT_LEAST": "1",
        "ALLY_CONTRACT_PHASES": "fuzzing",
    },
    "make bench": {"ARGS": "--help"},
    "make screenshots": {"ARGS": "--only idempotency"},
}
ON_GOOGLE_CLOUD = {"make deploy", "make plan", "make plan ENVIRONMENT=production"}
"""What asks Google, here of a stand-in, and only about the first of its steps."""
READ_BEFORE = ".mypy_cache"
ELSEWHERE = {
    "make run",
    'make run ARGS="--port 9443"',
    # A suite of its own, which fetches 300 MB.
    "make test-firebase",
    # tests/test_releases.py and tests/test_deploy.py do what these do.
    "make rollback",
    "make destroy",
}


@pytest.mark.timeout(900)
def test_every_command_works(
    tmp_path_factory: pytest.TempPathFactory, google_cloud: GoogleCloud
) -> None:
    clone = Clone(tmp_path_factory.mktemp("readme"))
    borrow_environment(clone)
    last = ["make lock", "make clean"]  # the environment is not as locked any more, or gone
    assert ON_GOOGLE_CLOUD | ELSEWHERE < COMMANDS
    for command in [*sorted(COMMANDS - ELSEWHERE - set(last)), *last]:
        there = google_cloud.environment | {"ARGS": "--only project --commit 0123456"}
        own = there if command in ON_GOOGLE_CLOUD else SMALLER.get(command, {})
        ran = subprocess.run(
            ["sh", "-c", command],
            cwd=clone.folder,
            env={**os.environ, **own, "PYTHON": sys.executable},
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, f"{command}\n{ran.stdout}\n{ran.stderr}"
    assert not (clone.folder / ".venv").exists()


def borrow_environment(clone: Clone) -> None:
    """Give a clone the environment that runs this, as if `make` had just made it there.

    Making one takes as long as all the commands. CI makes them of the same files before the suite
    begins, and `make run` makes one in a clone (tests/test_make_run.py). What mypy has read before,
    if it has, is lent too: it believes that of files alone whose content is the same.
    """
    environment = clone.folder / ".venv"
    environment.mkdir()
    for name in ("bin", "lib", "pyvenv.cfg"):
        (environment / name).symlink_to(Path(sys.prefix) / name)
    for name in ("run", "dev"):
        (environment / name).touch()
    if (ROOT / READ_BEFORE).exists():
        shutil.copytree(ROOT / READ_BEFORE, clone.folder / READ_BEFORE)


def test_what_the_readme_points_at_exists() -> None:
    for path in re.findall(r"`((?:functions|shared|tests|infra|docs)/[\w./-]+)`", README):
        assert (ROOT / path).exists(), path
    for folder in re.findall(r"^(\w+/) ", README, re.MULTILINE):
        assert (ROOT / folder).is_dir()


def test_every_decision_says_its_context_choice_price_and_when_to_look_again() -> None:
    records = sorted(Path(ROOT / "docs" / "decisions").glob("*.md"))
    assert [record.name[:4] for record in records] == [
        f"{number:04d}" for number in range(1, len(records) + 1)
    ]
    for record in records:
        if record.stem.endswith("smaller-choices"):  # a list of them
            continue
        text = record.read_text()
        for part in ("**Context.**", "**Choice.**", "**Price.**", "**Look again**"):
            assert part in text, (record.name, part)
