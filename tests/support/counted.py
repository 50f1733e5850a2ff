"""Points that are put into the metrics, as if they had been counted, and what is shown of them."""

import itertools
from collections import Counter
from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from shared.backends.metrics import (
    BOUNDS,
    BYTES_IN,
    BYTES_OUT,
    LATENCIES,
    REQUESTS,
    Distribution,
    Point,
)
from shared.exchange import VERSION
from shared.service import Service
from tests.support.serving import Json, Partner

_TASKS = itertools.count()


class Counted(NamedTuple):
    """Requests of one kind, counted at a moment; each took some milliseconds."""

    at: datetime
    took: tuple[float, ...] = (5,)
    route: str = "GET /v1/patients"
    status: int = 200
    code: str = ""
    key: str = "key_0000000000000000000000"
    mode: str = "test"
    bytes_each: int = 100

    @property
    def number(self) -> int:
        return len(self.took)

    def group(self, by: str | None) -> str | None:
        """Return the name of the group that it is in."""
        if by is None:
            return None
        return VERSION if by == "version" else str(getattr(self, by))


def count(partner: Partner, counted: Iterable[Counted]) -> None:
    """Put into the metrics what an organisation's callers did."""
    metrics = (
        (REQUESTS, lambda each: each.number),
        (LATENCIES, lambda each: distribution(each.took)),
        (BYTES_IN, lambda each: each.number * each.bytes_each),
        (BYTES_OUT, lambda each: each.number * each.bytes_each * 2),
    )
    for each in counted:
        method, _, route = each.route.partition(" ")
        request = (method, route, str(each.status), each.code, each.key, VERSION)
        labels = (partner.organisation.id, each.mode, *request)
        began = each.at - timedelta(seconds=1)
        points = [Point(metric, labels, began, each.at, tell(each)) for metric, tell in metrics]
        task = f"counted-{next(_TASKS)}"

        async def write(service: Service, task: str = task, points: list[Point] = points) -> None:
            await service.metrics.write(task, points)

        partner.backing.run(write)


def distribution(took: Iterable[float]) -> Distribution:
    """Return the distribution of some milliseconds, found the slow way."""
    times = list(took)
    where = Counter(sum(bound <= each for bound in BOUNDS) for each in times)
    buckets = tuple(where[bucket] for bucket in range(len(BOUNDS) + 1))
    return Distribution(len(times), sum(times), buckets)


def totals(usage: Json) -> dict[str | None, int]:
    """Return the total of each group; each is the sum of its points."""
    for series in usage["series"]:
        assert series["total"] == sum(point["value"] for point in series["points"])
    return {series["group"]: series["total"] for series in usage["series"]}
