"""The real gcloud, loaded once for many commands."""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent / "gcloud"
ASKING = """\
#!{python} -IS
import json, os, socket, sys
waiting = socket.socket(socket.AF_UNIX)
waiting.connect({address!r})
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(waiting, [asked[:1]], [0, 1, 2])
waiting.sendall(asked[1:])
waiting.shutdown(socket.SHUT_WR)
code = waiting.recv(1)
sys.exit(code[0] if code else "gcloud ended without a word.")
"""


class Gcloud:
    """A gcloud that is loaded already; `folder` is to come first in the PATH of who runs it."""

    def __init__(self, program: str) -> None:
        told = [program, "info", "--format=value(basic.python_location,installation.sdk_root)"]
        found = subprocess.run(told, capture_output=True, text=True, check=True)
        python, root = found.stdout.strip().split("\t")
        self._kept = tempfile.TemporaryDirectory(prefix="gcloud-")
        self.folder = Path(self._kept.name)
        address = f"{self._kept.name}/socket"
        asking = self.folder / "gcloud"
        asking.write_text(ASKING.format(python=sys.executable, address=address))
        asking.chmod(0o755)
        self._process = subprocess.Popen(
            [python, str(HERE / "waiting.py"), root, address],
            env={**os.environ, "CLOUDSDK_PYTHON_SITEPACKAGES": "1", "PYTHONPATH": str(HERE)},
            stdin=subprocess.PIPE,
        )
        while not Path(address).exists():
            if self._process.poll() is not None:
                raise RuntimeError("gcloud could not be loaded.")
            time.sleep(0.02)

    def stop(self) -> None:
        """End it, and take its folder away."""
        self._process.communicate()
        self._kept.cleanup()
