"""Points that are put into the metrics, as if they had been counted, and what is shown of them."""

import itertools
import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
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
from shared.catalogue import CATALOGUE
from shared.exchange import VERSION
from shared.service import Service
from tests.support.serving import Json, Partner

NOW = datetime(2026, 11, 22, 10, 7, 30, tzinfo=UTC)
KEYS = [f"key_{n}{'0' * 21}" for n in range(3)]
REFUSALS = ("parameter_invalid", "resource_missing", "rate_limited", "internal_error")
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


def some(
    seed: int, now: datetime = NOW, over: timedelta = timedelta(days=1), number: int = 60
) -> list[Counted]:
    """Return requests of all kinds at random moments before a moment, and a few longer ago."""
    chance = random.Random(seed)
    made = []
    for _ in range(number):
        code = chance.choice(["", "", "", *REFUSALS])
        made.append(
            Counted(
                at=now - chance.random() * 1.3 * over,
                took=tuple(chance.lognormvariate(3, 1.5) for _ in range(chance.randint(1, 9))),
                route=chance.choice(["GET /v1/patients", "POST /v1/patients", "GET /v1/tasks"]),
                status=CATALOGUE[code].status if code else 200,
                code=code,
                key=chance.choice([*KEYS, "end-users"]),
                mode=chance.choice(["test", "test", "live"]),
                bytes_each=chance.randint(0, 5000),
            )
        )
    return made


def within(made: list[Counted], shown: Json, mode: str = "test") -> list[Counted]:
    """Return those that were counted in the range that is shown."""
    start, end = (datetime.fromisoformat(shown[name]) for name in ("startAt", "endAt"))
    return [each for each in made if start < each.at <= end and each.mode == mode]


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
