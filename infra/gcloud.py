"""gcloud: one command, run and answered as JSON."""

import json
import os
import re
import shlex
import subprocess
from typing import Any

MISSING = re.compile(
    r"NOT_FOUND|NotFound|not found|does not exist|Cannot find|HTTPError 404|SERVICE_DISABLED"
    r"|has not been used in project"
)
"""How gcloud's commands say that there is no such thing, or that its service is not enabled yet."""
PASSING = re.compile(f"{MISSING.pattern}|contention|underlying data changed")
"""What passes by itself: Google does not know yet what was just made, or is busy making others."""


ENVIRONMENT = {
    # Regional secrets are served where they are kept, and gcloud asks elsewhere unless told.
    "CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER": (
        "https://secretmanager.europe-west2.rep.googleapis.com/"
    ),
    "TERM": "dumb",  # what it says ends in messages and logs
}


class GcloudError(Exception):
    """A command failed; the message is the command and what gcloud said."""


def gcloud(command: str) -> Any:
    """Run a command, given without its first word, and return its JSON answer.

    GcloudError where it fails, or where gcloud is not installed.
    """
    words = ["gcloud", *shlex.split(command), "--format=json", "--quiet"]
    try:
        done = subprocess.run(
            words, env={**os.environ, **ENVIRONMENT}, capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise GcloudError("gcloud is not installed: see cloud.google.com/sdk.") from None
    if done.returncode:
        said = done.stderr.strip() or f"nothing, and ended with {done.returncode}"
        raise GcloudError(f"The command: gcloud {command}\nsaid: {said}")
    return json.loads(done.stdout) if done.stdout.strip() else None


def read(command: str) -> Any:
    """Return what a command describes or lists; None where there is no such thing."""
    try:
        return gcloud(command)
    except GcloudError as error:
        if MISSING.search(str(error)):
            return None
        raise
