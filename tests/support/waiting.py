"""Waiting for what another process or thread does: as long as a busy machine may take."""

import time
from collections.abc import Callable

PATIENCE = 60
"""Seconds. A test ends as soon as something is so: this is what one that fails costs."""


def until(ready: Callable[[], object], what: str = "it does not come") -> None:
    """Wait until something is so, or fail and say what is not."""
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
