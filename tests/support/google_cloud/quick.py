"""The real gcloud without its start: its Python begins once, and each command is a fork of it."""

import atexit
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

HERE = Path(__file__).parent
FOUND_AT_THE_START = {
    # Between polls, and before it tries again, gcloud sleeps for seconds.
    "CLOUDSDK_PYTHON_SITEPACKAGES": "1",
    "PYTHONPATH": str(HERE / "impatient"),
    "CLOUDSDK_CORE_DISABLE_FILE_LOGGING": "1",  # nobody reads it
}
"""The environment of gcloud's own Python."""


def inherited() -> dict[str, str]:
    """Return this process's environment, but for what would tell gcloud something."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("CLOUDSDK_", "GOOGLE_")) and not name.upper().endswith("_PROXY")
    }


@cache
def launcher() -> Path:
    """Return a folder whose `gcloud` hands its command to a Python that has begun already.

    That ends with this process, however it ends. Each command has its own environment, folder,
    arguments and streams, and nothing of the commands before it. From when it began, with the
    environment of this process, are alone the Python with FOUND_AT_THE_START, and what tests have
    no reason to change: where Google's machines are asked who they are, which versions of Google's
    services gcloud asks, and which commands and flags it has.
    """
    place = tempfile.TemporaryDirectory(prefix="gcloud-")
    folder = Path(place.name)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "zygote"))
        listener.listen(64)
        running = subprocess.Popen(
            ["gcloud"],
            env={
                **inherited(),
                **FOUND_AT_THE_START,
                "CLOUDSDK_CONFIG": str(folder / "config"),
                "ALLY_ZYGOTE": str(listener.fileno()),
            },
            stdin=subprocess.PIPE,  # it ends with its standard input
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    script = folder / "gcloud"
    words = [sys.executable, "-ISE", str(HERE / "hand_over.py"), str(folder / "zygote")]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o755)

    @atexit.register
    def stop() -> None:
        running.communicate()
        place.cleanup()

    return folder
