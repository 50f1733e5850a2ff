"""What makes a process answer sooner after its start.

Imports make a hundred thousand objects, nearly all of which live as long as the process. The
garbage collector would go through them dozens of times while they are made, and again in every full
collection for ever after, and find next to nothing. So it rests from our first import (which is
why shared/__init__.py calls `begin` before it imports anything else) until the service is open, for
that imports the backend, and from then on it leaves out what there is by then.
"""

import gc
import os


def begin() -> None:
    """Let the collector rest; let pydantic not search every installed package for a plugin."""
    gc.disable()
    os.environ.setdefault("PYDANTIC_DISABLE_PLUGINS", "__all__")


def end() -> None:
    """Let the collector work, on what is made from now on. Once that is done, do nothing."""
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
