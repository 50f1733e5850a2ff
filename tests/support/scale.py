"""How much a property is tried: little in `make test`, much more in `make soak`."""

import os

_TIMES = int(os.environ.get("ALLY_EXAMPLES", "1"))


def examples(number: int) -> int:
    """Return how many examples to try where `number` are tried by default."""
    return number * _TIMES
