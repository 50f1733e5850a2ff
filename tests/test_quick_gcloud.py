"""The gcloud that starts in a moment says and does what gcloud does."""

import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.google_cloud import GoogleCloud
from tests.support.processes import ROOT

# One process runs all that is for gcloud, and has learned it.
pytestmark = pytest.mark.xdist_group("gcloud")

SLOW = shutil.which("gcloud") or ""
"""gcloud as it is installed."""


def told(
    google: GoogleCloud, gcloud: str, command: str, stdin: str = "", **changed: str
) -> tuple[int, str, str]:
    """Return the exit status of a command, and all that it says."""
    done = subprocess.run(
        [gcloud, *command.split()],
        env=google.environment | changed,
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    ("command", "stdin", "status", "said"),
    [
        ("projects describe ally-staging", "", 0, "projectNumber: '100000000001'"),
        ("iam service-accounts list --project=ally-staging", "", 1, "it is disabled"),
        ("projects describe ally-staging --flags-file=-", "--format: json", 0, '"ACTIVE"'),
        ("projects descrbe", "", 2, "Maybe you meant"),
    ],
)
def test_a_command_ends_and_says_the_same(
    google_cloud: GoogleCloud, command: str, stdin: str, status: int, said: str
) -> None:
    ended, *words = slow = told(google_cloud, SLOW, command, stdin)
    assert ended == status
    assert said in "".join(words)
    assert told(google_cloud, "gcloud", command, stdin) == slow


def test_a_command_knows_nothing_of_the_one_before(
    google_cloud: GoogleCloud, tmp_path: Path
) -> None:
    everything = "config list --all"
    slow = told(google_cloud, SLOW, everything)
    other = {
        "CLOUDSDK_CONFIG": str(tmp_path / "other"),
        "CLOUDSDK_CORE_PROJECT": "ally-production",
        "CLOUDSDK_CORE_VERBOSITY": "debug",
    }
    told(google_cloud, "gcloud", "config set run/region europe-west2", **other)
    status, stdout, stderr = told(google_cloud, "gcloud", f"{everything} --format=json", **other)
    assert status == 0
    assert '"region": "europe-west2"' in stdout
    assert '"project": "ally-production"' in stdout
    assert "DEBUG: " in stderr
    assert told(google_cloud, "gcloud", everything) == slow


def test_what_is_begun_ends_with_the_process_that_began_it(
    google_cloud: GoogleCloud, tmp_path: Path
) -> None:
    begin = (
        "import os, subprocess; from tests.support.google_cloud import quick;"
        "gcloud = quick.launcher() / 'gcloud'; subprocess.run([gcloud, 'version'], check=True);"
        "print(gcloud.parent / 'zygote', flush=True); os._exit(0)"  # without a word to anybody
    )
    begun = subprocess.run(
        [sys.executable, "-c", begin],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    address = begun.stdout.splitlines()[-1]
    assert "Google Cloud SDK" in begun.stdout
    while listens(address):
        time.sleep(0.01)


def listens(address: str) -> bool:
    """Say whether somebody listens at a socket."""
    with socket.socket(socket.AF_UNIX) as caller:
        try:
            caller.connect(address)
        except ConnectionRefusedError:
            return False
    return True
