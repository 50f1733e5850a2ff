"""Points that are put into the metrics, as if they had been counted, and what is shown of them."""

import itertools
import random
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from shared.backends.metrics import (
    BOUNDS,
    BYTES_IN,
    BYTES_OUT,
    LATENCIES,
    REQUESTS,
    Distribution,
    Metric,
    Point,
)
from shared.catalogue import CATALOGUE
from shared.exchange import VERSION
from tests.support.monitoring import monitoring
from tests.support.serving import Backing, Json, Partner
from tests.support.time_series import PREFIX, Kept, Series, Value

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
    """Put into the metrics what an organisation's callers did, however long ago."""
    points = []
    for each in counted:
        method, _, route = each.route.partition(" ")
        request = (method, route, str(each.status), each.code, each.key, VERSION)
        labels = (partner.organisation.id, each.mode, *request)
        sent = each.number * each.bytes_each
        points += [
            point_of(REQUESTS, labels, each.at, each.number),
            point_of(LATENCIES, labels, each.at, distribution(each.took)),
            point_of(BYTES_IN, labels, each.at, sent),
            point_of(BYTES_OUT, labels, each.at, sent * 2),
        ]
    put(partner.backing, points)


def point_of(metric: Metric, labels: tuple[str, ...], at: datetime, value: Value) -> Point:
    """Return a point that lies within one step."""
    return Point(metric, labels, at - timedelta(microseconds=1), at, value)


def put(backing: Backing, points: Sequence[Point]) -> None:
    """Put points into the metrics, also those that Cloud Monitoring would find too old."""
    task = f"counted-{next(_TASKS)}"
    if backing.environment["ALLY_BACKEND"] == "local":
        backing.run(lambda service: service.metrics.write(task, points))
        return
    resource = (("project_id", backing.environment["GOOGLE_CLOUD_PROJECT"]), ("task_id", task))
    for each in sorted(points, key=lambda each: each.end):
        labels = zip(each.metric.labels, each.labels, strict=True)
        series = Series(f"{PREFIX}ally/{each.metric.name}", tuple(labels), resource)
        monitoring().points.keep(series, Kept(each.start, each.end, each.value, each.end))


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
