"""Usage of each partner, counted in memory. Flushing it comes with the metrics."""

from collections import defaultdict
from dataclasses import dataclass
from typing import NamedTuple


class Series(NamedTuple):
    """What a request is counted under: bounded words only, never a path or a person."""

    organisation: str
    mode: str
    route: str
    method: str
    status: int
    code: str
    key_id: str


@dataclass(slots=True)
class Totals:
    """What was counted under one series: times in seconds, sizes of bodies in bytes."""

    requests: int = 0
    seconds: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0


class Meter:
    """Counts requests by series."""

    def __init__(self) -> None:
        self.totals: defaultdict[Series, Totals] = defaultdict(Totals)

    def count(self, series: Series, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """Count one request."""
        totals = self.totals[series]
        totals.requests += 1
        totals.seconds += seconds
        totals.bytes_in += bytes_in
        totals.bytes_out += bytes_out
