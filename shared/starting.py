"""What makes a process answer sooner after its start, and go on answering.

Imports make a hundred thousand objects, nearly all of which live as long as the process. The
garbage collector would go through them dozens of times while they are made, and again in every full
collection for ever after, and find next to nothing. So it rests from our first import (which is
why shared/__init__.py calls `begin` before it imports anything else) until the service is open, for
that imports the backend, and from then on it leaves out what there is by then.

And what lets it go on: between requests Cloud Run takes its CPU away, and the functions framework's
server kills a worker that gave no sign of life for as long as a request may take, as it reads in
CLOUD_RUN_TIMEOUT_SECONDS. Ours would die whenever the CPU comes back, with the request that it came
back for.
"""

import gc
import os


def begin() -> None:
    """Let the collector rest, pydantic search no installed package for a plugin, no worker die."""
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")
    os.environ["CLOUD_RUN_TIMEOUT_SECONDS"] = "0"  # no limit: Cloud Run has its own


def end() -> None:
    """Let the collector work, on what is made from now on. Once that is done, do nothing."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
