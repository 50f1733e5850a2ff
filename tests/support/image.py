"""The image of the functions as the buildpack makes it: what is uploaded, and its environment."""

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from tests.support.processes import ROOT

IMAGE_TIME = 315_532_801
"""The time of every file in an image: the second second of 1980. The buildpack's lifecycle sets it,
so that the same sources make the same image."""


def uploaded(gcloud: str, checkout: Path = ROOT) -> set[str]:
    """Return the files that gcloud would upload of a checkout, by their paths in it."""
    with tempfile.TemporaryDirectory() as folder:
        offline = {
            "CLOUDSDK_CONFIG": folder,
            "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
            "CLOUDSDK_CORE_CHECK_GCE_METADATA": "false",
            "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
            "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        }
        listed = _run([gcloud, "meta", "list-files-for-upload", str(checkout)], env=offline)
    return set(listed.splitlines())


def build_environment() -> dict[str, str]:
    """Return the variables that project.toml gives the buildpack."""
    declared = tomllib.loads((ROOT / "project.toml").read_text())
    return {each["name"]: each["value"] for each in declared["build"]["env"]}


def build(files: set[str], folder: Path, python: str = sys.executable) -> None:
    """Copy files into a folder, byte-compile them and set their times, as a build does."""
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    _run([python, "-m", "compileall", "-f", "-q", "."], folder, build_environment())
    for file in folder.rglob("*"):
        os.utime(file, (IMAGE_TIME, IMAGE_TIME))


def environment_of_requirements() -> Path:
    """Return a Python environment made of requirements.txt alone, as the buildpack installs it.

    It is made once for each Python and each content of the file, and kept outside the repository.
    """
    pinned = (ROOT / "requirements.txt").read_bytes()
    made_of = hashlib.sha256(sys.version.encode() + pinned).hexdigest()[:16]
    kept = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "ally-api-tests"
    kept.mkdir(parents=True, exist_ok=True)
    environment = kept / made_of
    with (kept / f"{made_of}.lock").open("w") as lock:  # other processes of the suite wait for it
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (environment / "complete").exists():
            shutil.rmtree(environment, ignore_errors=True)
            _run([sys.executable, "-m", "venv", str(environment)])
            python = str(environment / "bin" / "python")
            install = [python, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
            requirements = str(ROOT / "requirements.txt")
            _run([*install, "--require-hashes", "--no-compile", "--requirement", requirements])
            _run([python, "-m", "pip", "check"])
            compiling = [python, "-m", "compileall", "-qq", "--invalidation-mode", "unchecked-hash"]
            _run([*compiling, str(environment / "lib")], tolerated=(0, 1))
            (environment / "complete").touch()
    return environment


def _run(
    command: Sequence[str],
    folder: Path = ROOT,
    env: dict[str, str] | None = None,
    tolerated: Sequence[int] = (0,),
) -> str:
    ran = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode not in tolerated:
        raise RuntimeError(f"{' '.join(command)} failed:\n{ran.stdout}{ran.stderr}")
    return ran.stdout
