"""Usage of each partner, counted in memory. What is counted here is flushed with the metrics."""

from collections import Counter, defaultdict
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


class Meter:
    """Counts requests, their time and their sizes by series."""

    def __init__(self) -> None:
        self.requests: Counter[Series] = Counter()
        self.seconds: defaultdict[Series, float] = defaultdict(float)
        self.bytes_in: Counter[Series] = Counter()
        self.bytes_out: Counter[Series] = Counter()

    def count(self, series: Series, seconds: float, bytes_in: int, bytes_out: int) -> None:
        """Count one request: its time in seconds, the sizes of its bodies in bytes."""
        self.requests[series] += 1
        self.seconds[series] += seconds
        self.bytes_in[series] += bytes_in
        self.bytes_out[series] += bytes_out
