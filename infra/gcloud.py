"""gcloud: one command, run and answered as JSON."""

import json
import re
import shlex
import subprocess
from typing import Any

MISSING = re.compile(
    r"NOT_FOUND|NotFound|not found|does not exist|Cannot find|HTTPError 404|SERVICE_DISABLED"
    r"|has not been used in project"
)
"""How gcloud's commands say that there is no such thing, or that its service is not enabled yet."""


class GcloudError(Exception):
    """A command failed; the message is what gcloud said."""


def gcloud(command: str) -> Any:
    """Run a command, given without its first word, and return its JSON answer.

    GcloudError where it fails, or where gcloud is not installed.
    """
    words = ["gcloud", *shlex.split(command), "--format=json", "--quiet"]
    try:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise GcloudError("gcloud is not installed: see cloud.google.com/sdk.") from None
    if done.returncode:
        raise GcloudError(done.stderr.strip() or f"it ended with {done.returncode} and no word.")
    return json.loads(done.stdout) if done.stdout.strip() else None


def read(command: str) -> Any:
    """Return what a command describes or lists; None where there is no such thing."""
    try:
        return gcloud(command)
    except GcloudError as error:
        if MISSING.search(str(error)):
            return None
        raise
