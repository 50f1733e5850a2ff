"""Days that are rolled up: the same numbers as those that were counted, from documents."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from shared.backends.metrics import Measured, Metrics, Reading
from shared.rollups import RollUp
from shared.service import Service
from tests.support.counted import KEYS, count, some
from tests.support.inprocess import InProcess
from tests.support.serving import Json, Partner

NOW = datetime(2026, 11, 22, 0, 40, tzinfo=UTC)
DAY = timedelta(days=1)
YESTERDAY = date(2026, 11, 21)


class Watched:
    """Metrics that remember what was read of another's."""

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.delay = metrics.delay
        self.readings: list[Reading] = []

    async def read(self, reading: Reading) -> list[Measured]:
        self.readings.append(reading)
        return await self.metrics.read(reading)

    async def organisations(self, start: datetime, end: datetime) -> list[str]:
        return await self.metrics.organisations(start, end)

    async def write(self, task: str, points: Any) -> None:
        await self.metrics.write(task, points)

    async def close(self) -> None:
        await self.metrics.close()


def rolled(partner: Partner, act: Callable[[RollUp], Awaitable[Any]], now: datetime = NOW) -> Any:
    """Do something with what rolls up, of this partner alone."""

    async def run(service: Service) -> Any:
        metrics = Mine(service.metrics, partner.organisation.id)
        return await act(RollUp(metrics, service.storage, now))

    return partner.backing.run(run)


class Mine(Watched):
    """Metrics in which there is one organisation, since others' tests count in them too."""

    def __init__(self, metrics: Metrics, organisation: str) -> None:
        super().__init__(metrics)
        self.organisation = organisation

    async def organisations(self, start: datetime, end: datetime) -> list[str]:
        found = await self.metrics.organisations(start, end)
        return [each for each in found if each == self.organisation]


def observer(partner: Partner, now: datetime = NOW) -> tuple[InProcess, Watched]:
    """Return a caller at a moment, and what it reads of the metrics."""
    api = InProcess(partner.backing, partner.key)
    api.at = now
    watched = Watched(api._service.metrics)
    api._service = replace(api._service, metrics=watched)
    api.call("GET", "/v1/organisations")  # the key is known from here on
    return api, watched


QUESTIONS: list[Json] = [
    {"by": "route"},
    {"by": "key", "route": "GET /v1/tasks"},
    {"metric": "errors"},
    {"metric": "rate_limited", "by": "key"},
    {"metric": "latency"},
    {"metric": "latency", "by": "route", "keyId": KEYS[0]},
    {"metric": "bytes_out", "by": "status"},
]


def answers(api: InProcess, period: str = "30d") -> list[Json]:
    return [api.call("GET", "/v1/usage", params={"period": period, **asked}) for asked in QUESTIONS]


def test_days_that_are_rolled_up_are_as_they_were_counted(partner: Partner) -> None:
    count(partner, some(1, NOW, timedelta(days=20), number=120))
    api, watched = observer(partner)
    counted = answers(api)
    assert {(each.start, each.end) for each in watched.readings} == {
        (datetime(2026, 10, 24, tzinfo=UTC), datetime(2026, 11, 23, tzinfo=UTC))
    }
    missing = rolled(partner, RollUp.missing)
    for day in missing:
        rolled(partner, lambda rolling, day=day: rolling.run(day))
    watched.readings.clear()
    assert answers(api) == counted
    today = NOW.replace(hour=0, minute=0)
    assert {(each.start, each.end) for each in watched.readings} == {(today, today + DAY)}
