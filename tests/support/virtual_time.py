"""An event loop whose time passes when nothing else is left to do, and then at once.

What it runs may wait for minutes, and its waits may be asserted exactly, since no real time counts.
"""

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop that waits for its own timers only, for no other thread and no other process."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self.elapsed


class _Selector(selectors.SelectSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout is None:
            raise RuntimeError("what it waits for will never happen")
        if not ready and timeout is not None:
            self._loop.elapsed += max(0, timeout)
        return ready


def run(action: Coroutine[Any, Any, T]) -> T:
    """Run something to its end in virtual time, which begins at zero."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(action)
