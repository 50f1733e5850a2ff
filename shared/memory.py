"""What a process remembers of what it looked up, and how much it may look up."""

import time
from collections.abc import Callable
from typing import TypeVar

K = TypeVar("K")
V = TypeVar("V")

MOST = 10_000
"""How many things of one kind are remembered."""
BURST_SECONDS = 5


def remember(memory: dict[K, V], place: K, value: V) -> V:
    """Keep a value, and of all of them the newest."""
    memory.pop(place, None)
    if len(memory) >= MOST:
        del memory[next(iter(memory))]
    memory[place] = value
    return value


class Budget:
    """How many look-ups a process may make: some each second, and those of five seconds at once.

    What anybody can make up (a key's id, an origin) is looked up from a budget, so that nobody who
    makes up many can exhaust a service for everyone.
    """

    def __init__(self, each_second: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._each_second = each_second
        self._timer = timer
        self._left = each_second * BURST_SECONDS
        self._at = timer()

    def spend(self) -> bool:
        """Take one look-up from the budget, and tell whether there was one."""
        at = self._timer()
        most = self._each_second * BURST_SECONDS
        self._left = min(most, self._left + (at - self._at) * self._each_second)
        self._at = at
        if self._left < 1:
            return False
        self._left -= 1
        return True
