"""A measure: two works in turns, and the limit of their ratio."""

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

Spend = Callable[[int], float]
"""Does a piece of work so many times and returns the seconds that they took."""
Pair = tuple[Spend, Spend]

MOST_TURNS = 10
"""Turns that a round takes: short ones, so that what else the machine does meets both works."""


@dataclass(frozen=True, slots=True)
class Measure:
    """A pair of works, ours and the least, how often a round does each, and their ratio's limit."""

    title: str
    pair: Callable[[Path], AbstractContextManager[Pair]]
    count: int
    limit: float

    def ratios(self, rounds: int) -> list[float]:
        """Measure in turns, after a round 0 that only warms up."""
        with TemporaryDirectory() as folder, self.pair(Path(folder)) as (ours, least):
            return [self._ratio(ours, least, number) for number in range(rounds + 1)][1:]

    def _ratio(self, ours: Spend, least: Spend, number: int) -> float:
        turns = min(self.count, MOST_TURNS)
        spent = floor = 0.0
        for _ in range(turns):
            spent += ours(self.count // turns)
            floor += least(self.count // turns)
        each = 1e3 / self.count
        progress = f"{self.title}, round {number}: {spent * each:.3g} to {floor * each:.3g} ms"
        print(f"{progress:<90}", end="\r", file=sys.stderr, flush=True)
        return spent / floor
