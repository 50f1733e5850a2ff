"""What is built into the image of the functions: all that they need, and nothing else."""

import ast
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

import pytest

from functions import discover, discover_portals
from tests.conftest import needed
from tests.support import google_cloud, image
from tests.support.processes import ROOT

CHECKED_HASH = 3
"""The flags of byte code that is compared with its source by a hash (PEP 552)."""
LOCAL = {
    f"shared.backends.{name}" for name in ("local", "local_mail", "local_metrics", "local_queue")
}
"""What is imported only where ALLY_BACKEND is local."""


def module(file: Path) -> str:
    """Return the name of the module that a file of the repository is."""
    path = file.relative_to(ROOT).with_suffix("")
    return ".".join(path.parent.parts if path.name == "__init__" else path.parts)


def imported(file: Path) -> Iterator[str]:
    """Yield what a file may import, wherever in it the import stands."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def needed_modules() -> set[Path]:
    """Return the files of all modules that production's functions import, directly or not."""
    folders = ("functions", "shared")
    files = {module(file): file for name in folders for file in (ROOT / name).rglob("*.py")}
    functions = [each for each in (*discover(), *discover_portals()) if each.deployed]
    waiting = [f"functions.{each.name}.main" for each in functions]
    found: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in files and name not in found | LOCAL:
            found.add(name)
            packages = accumulate(name.split("."), "{}.{}".format)
            waiting += [*packages, *imported(files[name])]
    return {files[name] for name in found}


def test_what_is_uploaded_is_what_the_functions_import_and_open(uploaded: set[str]) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "functions", "shared"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    local = tuple(f"functions/{each.name}/" for each in discover_portals() if not each.deployed)
    opened = {name for name in tracked if not name.endswith(".py") and not name.startswith(local)}
    modules = {str(file.relative_to(ROOT)) for file in needed_modules()}
    assert opened
    assert {f"functions/{api.name}/main.py" for api in discover()} <= modules
    assert uploaded == {"project.toml", "requirements.txt"} | opened | modules


def test_what_lies_about_in_a_checkout_is_not_uploaded(tmp_path: Path) -> None:
    """Keys, notes, state: git may have been told to say nothing of them."""
    shutil.copy(ROOT / ".gcloudignore", tmp_path)
    folders = ["", "functions", "functions/patients", "functions/docs", "shared", "shared/backends"]
    names = [".env", ".ally/secrets.json", "key.json", "id_rsa", "notes.txt", "__pycache__/x.pyc"]
    about = [tmp_path / folder / name for folder in folders for name in names]
    ours = tmp_path / "functions" / "patients" / "main.py"
    for file in (*about, ours, tmp_path / "shared" / "backends" / "google" / "key.json"):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    gcloud = needed(google_cloud.find_gcloud(), google_cloud.MISSING)
    assert image.uploaded(gcloud, tmp_path) == {"functions/patients/main.py"}


def test_the_image_runs_a_function_that_there_is_unless_it_is_told_another() -> None:
    told = image.build_environment()
    target = told["GOOGLE_FUNCTION_TARGET"]
    assert target in {api.name for api in discover()}
    assert told["GOOGLE_FUNCTION_SOURCE"] == f"functions/{target}/main.py"


@pytest.mark.parametrize("name", ["functions-framework", "gunicorn"])
def test_the_buildpack_finds_pinned_what_it_would_add_unpinned(name: str) -> None:
    pinned = (ROOT / "requirements.txt").read_text()
    assert re.search(rf"^{name}==", pinned, re.MULTILINE)


def test_byte_code_stays_current_although_the_image_sets_the_times_of_all_files(
    uploaded: set[str], tmp_path: Path
) -> None:
    image.build(uploaded, tmp_path)
    sources = list(tmp_path.rglob("*.py"))
    compiled = list(tmp_path.rglob("*.pyc"))
    assert len(sources) == len(compiled) > 0
    assert {int.from_bytes(file.read_bytes()[4:8], "little") for file in compiled} == {CHECKED_HASH}
    assert {file.stat().st_mtime for file in sources} == {image.IMAGE_TIME}


def test_an_image_cannot_keep_its_data_on_its_own_disk(uploaded: set[str], tmp_path: Path) -> None:
    image.build(uploaded, tmp_path)
    script = """
import asyncio
from shared.service import open_service
from shared.settings import load
asyncio.run(open_service(load({"ALLY_BACKEND": "local"})))
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "No module named 'shared.backends.local'" in ran.stderr
    assert not (tmp_path / ".ally").exists()
