"""Found by gcloud's Python when it starts: it sleeps, between polls and tries, a moment only.

It may also be told to be the one that all commands are forks of.
"""

import os
import time
from typing import Any

_sleep = time.sleep


def doze(seconds: Any) -> None:
    """Sleep a hundredth of a second at most."""
    _sleep(min(seconds, 0.01))


time.sleep = doze

if listener := os.environ.pop("ALLY_ZYGOTE", ""):
    import socket
    import traceback
    from importlib import import_module

    try:
        import_module("zygote").serve(socket.socket(fileno=int(listener)))
    except BaseException:  # Python would go on, and run gcloud without a command
        traceback.print_exc()
        os._exit(1)
