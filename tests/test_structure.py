"""How the code is laid out: the rules that a reader relies on, read from the code itself."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from functions import discover, discover_portals
from tests.support.processes import ROOT
from tests.support.serving import Json

FUNCTIONS = [each.name for each in (*discover(), *discover_portals())]


def lint(folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "lint-imports"), "--no-cache"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_imports_point_one_way() -> None:
    ran = lint(ROOT)
    assert ran.returncode == 0, ran.stdout


@pytest.mark.parametrize(
    ("file", "line", "rule"),
    [
        ("shared/store.py", "import shared.api", "Imports point one way"),
        ("shared/ids.py", "import shared.models", "Imports point one way"),
        ("shared/store.py", "import starlette", "Only the door knows the web framework"),
        ("shared/store.py", "import google.cloud.firestore_v1", "A vendor is named in"),
    ],
)
def test_an_import_against_the_rules_is_named(
    tmp_path: Path, file: str, line: str, rule: str
) -> None:
    for name in ("functions", "infra", "shared"):
        shutil.copytree(ROOT / name, tmp_path / name)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    changed = tmp_path / file
    changed.write_text(changed.read_text() + f"\n{line}\n")
    ran = lint(tmp_path)
    assert ran.returncode == 1
    (broken,) = (each for each in ran.stdout.splitlines() if " BROKEN" in each)
    assert rule in broken


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_imports_what_is_shared_and_no_other_function(name: str) -> None:
    imported = {"functions_framework"}
    for file in (ROOT / "functions" / name).rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                imported |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                imported.add(node.module or ".")
    own = f"functions.{name}"
    foreign = {each for each in imported if each != own and not each.startswith(f"{own}.")}
    roots = {module.partition(".")[0] for module in foreign}
    assert roots - set(sys.stdlib_module_names) <= {
        *("functions_framework", "pydantic", "shared"),
        *("jinja2", "markdown_it", "markupsafe"),  # what pages are made with
    }


IMPORT = """
import json, os, sys, threading
from functions_framework.aio import create_asgi_app
import pydantic, starlette
assert threading.active_count() == 1
heavy = ("google.auth", "google.cloud.firestore_v1", "grpc", "requests", "sqlite3")
heavy += ("phonenumbers", "email_validator", "nhs_number", "markdown_it")
for name in sys.argv[1:]:
    if not os.fork():
        __import__(f"functions.{name}.main")
        loaded = [each for each in heavy if each in sys.modules]
        threads = threading.active_count()
        create_asgi_app(name, f"functions/{name}/main.py")
        print(json.dumps({name: {"loaded": loaded, "threads": threads}}), flush=True)
        os._exit(0)
    os.wait()
"""
"""Imports each function in a fork of a process that has imported what is not ours."""


@pytest.fixture(scope="module")
def imported() -> dict[str, Json]:
    """What importing a function does, by its name; those that did not start are missing."""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT, *FUNCTIONS],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    told: dict[str, Json] = {}
    for line in ran.stdout.splitlines():
        told |= json.loads(line)
    return told


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_starts_in_the_functions_framework_loads_no_vendor_and_starts_nothing(
    imported: dict[str, Json], name: str
) -> None:
    """Its folder, its name and its entry point are one, and the framework finds it by them."""
    assert imported[name] == {"loaded": [], "threads": 1}


def test_the_worker_knows_every_kind_of_job_that_any_function_stages() -> None:
    """A kind is known once the module that declares it is imported."""
    script = """
import functions.worker.main
from shared.jobs import KINDS
known = set(KINDS)
from functions import discover, discover_portals
discover()
print(len(known), set(KINDS) - known)
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    known, _, unknown = ran.stdout.strip().partition(" ")
    assert int(known) >= 1
    assert unknown == "set()"


@pytest.mark.parametrize(("settings", "status"), [({"ALLY_BACKEND": "local"}, 401), ({}, 500)])
def test_garbage_is_collected_from_the_first_answer_on_and_what_imports_made_left_alone(
    tmp_path: Path, settings: dict[str, str], status: int
) -> None:
    script = """
import asyncio, gc, json
from functions.patients.main import api
from starlette.requests import Request
rested = not gc.isenabled()
scope = {"type": "http", "method": "GET", "path": "/v1/patients", "raw_path": b"/v1/patients"}
scope |= {"query_string": b"", "headers": []}
answer = asyncio.run(api(Request(scope)))
frozen = gc.get_freeze_count()
print(json.dumps([answer.status_code, rested, gc.isenabled(), frozen > 10_000]))
"""
    unset = {name for name in os.environ if name.startswith("ALLY_")}
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", script],
        cwd=ROOT,
        env={**environment, "ALLY_STATE": str(tmp_path), **settings},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(ran.stdout.splitlines()[-1]) == [status, True, True, True]


MISSING = {
    ("test_storage.py", "three_roots"): "The Firestore emulator was not found",
    ("test_docs_in_a_browser.py", "menu"): "Chromium was not found",
    ("test_generated_clients.py", "(local-python and cancels)"): "Java, Node.js or the tools",
}
"""What is said where it is missing, by the tests that need it: file and name."""


@pytest.mark.parametrize("ci", ["", "true"])
def test_where_a_part_is_not_found_a_developer_is_told_and_ci_fails(
    tmp_path: Path, ci: str
) -> None:
    for tool in ("sh", "git"):
        (tmp_path / tool).symlink_to(str(shutil.which(tool)))
    files = [f"tests/{file}" for file, _ in MISSING]
    which = " or ".join(name for _, name in MISSING)
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *files, "-k", which],
        cwd=ROOT,
        env={**os.environ, "CI": ci, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == (1 if ci else 0), ran.stdout
    ended = ran.stdout.splitlines()[-1]
    assert f"{len(MISSING)} {'errors' if ci else 'skipped'}" in ended
    assert not re.search(r"passed|failed", ended)
    assert all(missing in ran.stdout for missing in MISSING.values())
    assert ran.stdout.count("NOT TESTED") == (0 if ci else len(MISSING))


def test_the_lock_of_npm_names_no_host() -> None:
    text = (ROOT / "tests" / "tools" / "package-lock.json").read_text()
    assert '"integrity": "sha512-' in text
    assert "://" not in text


@pytest.mark.parametrize("folder", ["tools", "firebase"])
def test_npm_runs_no_script_of_a_package(folder: str) -> None:
    """They would run wherever tests do, in the pipeline with its rights."""
    told = (ROOT / "tests" / folder / ".npmrc").read_text()
    assert "ignore-scripts=true" in told.splitlines()


def test_lock_files_pin_hashes_and_name_no_host() -> None:
    for name in ("requirements.txt", "requirements-local.txt", "requirements-dev.txt"):
        text = (ROOT / name).read_text()
        assert "://" not in text
        pinned = [line for line in text.splitlines() if line and line[0].isalnum()]
        assert pinned
        assert all("==" in line and line.endswith("\\") for line in pinned)
