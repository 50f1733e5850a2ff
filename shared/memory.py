"""What a process remembers of what it looked up, and how much it may look up."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

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


class Lookups(Generic[K, V]):
    """Look-ups under way: each is made once, for all who ask for the same at the same time.

    Who leaves before its end ends it for nobody else; what it raises, all who wait for it get.
    """

    def __init__(self) -> None:
        self._asked: dict[K, asyncio.Task[V]] = {}

    def __contains__(self, place: K) -> bool:
        return place in self._asked

    async def find(self, place: K, look_up: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return what a look-up finds: of the one that is under way, or of one that begins."""
        task = self._asked.get(place)
        if task is None:
            task = asyncio.create_task(look_up())
            self._asked[place] = task
            task.add_done_callback(lambda _: self._asked.pop(place, None))
        return await asyncio.shield(task)


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
