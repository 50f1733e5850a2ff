"""Found by gcloud's Python when it starts: it sleeps, between polls and tries, a moment only."""

import time
from typing import Any

_sleep = time.sleep


def doze(seconds: Any) -> None:
    """Sleep a hundredth of a second at most."""
    _sleep(min(seconds, 0.01))


time.sleep = doze
