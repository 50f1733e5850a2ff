"""Health at a glance: how requests went in the last 24 hours, for the home page."""

from collections.abc import Mapping, Sequence

from functions.dashboard.api_usage import failed, refused
from functions.dashboard.figures import (
    UNKNOWN,
    Tile,
    counts,
    overall,
    percentile,
    share,
)
from functions.dashboard.questions import Asked, Questions
from shared.charts import told
from shared.portals import Visit


async def health(visit: Visit) -> list[Tile]:
    """Return how many requests there were, what share of them erred, and how long they took.

    It makes two readings. The macro `tile` of usage/figures.html shows one, with charts.css.
    """

    async def nameless(_: Sequence[str]) -> Mapping[str, str]:
        return {}

    reader = visit.usage(visit.mode)
    asked = Asked(period="24h")
    async with Questions(asked, visit.now, reader, reader, nameless) as questions:
        counted, took = questions.ask("requests", "status"), questions.ask("latency")
        all_of, wrong = counts(await counted), counts(await counted, _wrong)
        slow = overall(await took, "p95")
        return [
            Tile(
                name="health-requests",
                title="Requests",
                value=told(sum(all_of), "count"),
                words="by all keys and end users",
                values=all_of,
            ),
            Tile(
                name="health-errors",
                title="Errors",
                value=share(sum(wrong), sum(all_of)),
                words=f"{told(sum(wrong), 'count')} refused or failed",
                values=wrong,
            ),
            Tile(
                name="health-latency",
                title="Latency (p95)",
                value=UNKNOWN if slow is None else told(slow, "ms"),
                words="95 in 100 were answered within this",
                values=percentile(await took, "p95"),
                unit="ms",
            ),
        ]


def _wrong(status: str | None) -> bool:
    return refused(status) or failed(status)
