"""The real Firestore emulator, of the Cloud SDK, run directly."""

import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import Process, free_port, listens

JAR = Path("platform/cloud-firestore-emulator/cloud-firestore-emulator.jar")
MISSING = (
    "The Firestore emulator was not found, so nothing was tested on Firestore. Install it with"
    " `gcloud components install cloud-firestore-emulator` and a Java of version 11 or newer."
)


def find_jar() -> Path | None:
    """Return the emulator's jar, found beside gcloud."""
    gcloud = shutil.which("gcloud")
    if gcloud is None or shutil.which("java") is None:
        return None
    jar = Path(gcloud).resolve().parents[1] / JAR
    return jar if jar.exists() else None


class Emulator:
    """An emulator on a port of its own. Each project in it begins empty."""

    def __init__(self, jar: Path, folder: Path) -> None:
        self.port = free_port()
        self.address = f"127.0.0.1:{self.port}"
        self._process = Process(
            [
                "java",
                "-Duser.language=en",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Xms64m",
                "-Xmx2g",
                "-cp",
                str(jar),
                "com.google.cloud.datastore.emulator.firestore.CloudFirestore",
                "start",
                "--host=127.0.0.1",
                f"--port={self.port}",
                "--database-mode=firestore-native",
            ],
            folder / "emulator.log",
        )
        self._process.wait_until(lambda: listens(self.port), "The Firestore emulator", 60)

    def stop(self) -> None:
        self._process.kill()


@contextmanager
def running_emulator(folder: Path) -> Iterator[Emulator]:
    """Run an emulator, or end the program and say why there is none."""
    jar = find_jar()
    if jar is None:
        sys.exit(f"NOT MEASURED. {MISSING}")
    emulator = Emulator(jar, folder)
    try:
        yield emulator
    finally:
        emulator.stop()
