"""The embedded queue: jobs are done in the process that serves."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine

from shared import clock
from shared.backends import Ticket
from shared.settings import Space

AT_ONCE = 8
"""Jobs that are done at a time."""
SWEEP_EVERY = 15.0
"""Seconds between two looks for what was lost."""
SECONDS_TO_FINISH = 3.0

Run = Callable[[Space, str], Awaitable[None]]
"""Does a job, by its space and id, and raises nothing."""
Sweep = Callable[[], Awaitable[None]]
"""Queues what is late, or all that there is, and raises nothing."""


class LocalQueue:
    """Tickets wait as tasks of the event loop and are gone with the process.

    The next one finds the jobs where they are kept. A process that was not told how to do
    jobs leaves them to one that was.
    """

    def __init__(self) -> None:
        self._run: Run | None = None
        self._places = asyncio.Semaphore(AT_ONCE)
        self._tasks: set[asyncio.Task[None]] = set()
        self._running: set[asyncio.Task[None]] = set()

    def start(self, run: Run, *, resume: Sweep, sweep: Sweep) -> None:
        """Do jobs from now on, and those that are left of earlier processes."""
        self._run = run
        self._begin(self._sweep(resume, sweep))

    async def enqueue(self, ticket: Ticket) -> None:
        """Have a job done, in this process."""
        if self._run is not None:
            self._begin(self._do(ticket, self._run))

    async def close(self) -> None:
        """Let what is being done end, for some seconds, and what waits be."""
        self._run = None
        for task in self._tasks - self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=SECONDS_TO_FINISH)
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _begin(self, work: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _do(self, ticket: Ticket, run: Run) -> None:
        await asyncio.sleep(max(0.0, (ticket.at - clock.now()).total_seconds()))
        async with self._places:
            task = asyncio.current_task()
            assert task is not None  # noqa: S101 - a coroutine that runs is in a task
            self._running.add(task)
            try:
                await run(ticket.space, ticket.job)
            finally:
                self._running.discard(task)

    async def _sweep(self, resume: Sweep, sweep: Sweep) -> None:
        await resume()
        while True:
            await asyncio.sleep(SWEEP_EVERY)
            await sweep()
