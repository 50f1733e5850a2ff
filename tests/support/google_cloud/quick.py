"""The real gcloud without its start: it begins once, and each command is a fork of that."""

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
IMPATIENT = HERE / "impatient"
FOUND_AT_THE_START = {
    # Between polls, and before it tries again, gcloud sleeps for seconds.
    "CLOUDSDK_PYTHON_SITEPACKAGES": "1",
    "PYTHONPATH": str(IMPATIENT),
}
"""The environment of gcloud's own Python."""


@cache
def launcher() -> Path:
    """Return a folder, for the front of PATH, whose `gcloud` starts in a moment.

    What gcloud reads of its environment it reads anew for each command; but it is the Python that
    was chosen when this was called first, with FOUND_AT_THE_START. It ends with this process.
    """
    place = tempfile.TemporaryDirectory(prefix="gcloud-")
    folder = Path(place.name)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(folder / "socket"))
    listener.listen(64)
    with listener:
        running = subprocess.Popen(
            ["gcloud"],
            env={**os.environ, **FOUND_AT_THE_START, "ALLY_ZYGOTE": str(listener.fileno())},
            stdin=subprocess.PIPE,  # it ends when this does, however this process ends
            stdout=subprocess.DEVNULL,
            pass_fds=[listener.fileno()],
            start_new_session=True,
        )
    script = folder / "gcloud"
    words = [sys.executable, "-ISE", str(HERE / "hand_over.py"), str(folder / "socket")]
    script.write_text(f'#!/bin/sh\nexec {shlex.join(words)} "$@"\n')
    script.chmod(0o755)

    @atexit.register
    def stop() -> None:
        running.communicate()
        place.cleanup()

    return folder
