"""Servers and their metrics: all is there when one ends, and nearly all when one is killed."""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from shared import clock
from shared.backends.local_metrics import LocalMetrics
from shared.backends.metrics import LATENCIES, REQUESTS, Distribution, Metric, Point, Reading
from shared.metering import Meter
from tests.support.inprocess import InProcess
from tests.support.lines import lines_in
from tests.support.serving import Backing, Partner, Server

LABELS = ("mode", "method", "route", "status", "key")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    """A server of the test's own, which flushes every second."""
    environment = {
        "ALLY_BACKEND": "local",
        "ALLY_STATE": str(tmp_path),
        "ALLY_LOG": str(tmp_path / "requests.jsonl"),
        "ALLY_METERING_INTERVAL": "1",
    }
    backing = Backing(environment)
    running = Server(backing, tmp_path)
    yield running
    running.close()
    running.process.kill()
    backing.close()


def kept(server: Server, partner: Partner, metric: Metric = REQUESTS) -> Counter[tuple[str, ...]]:
    """Return what the metrics have of an organisation."""
    now = clock.now()
    hour = timedelta(hours=1)
    reading = Reading(
        metric, partner.organisation.id, ("test", "live"), now - hour, now + hour, 2 * hour, LABELS
    )
    found = asyncio.run(LocalMetrics(str(server.folder)).read(reading))
    return Counter(
        {
            each.group: each.value.count if isinstance(each.value, Distribution) else each.value
            for each in found
        }
    )


def load(partner: Partner, requests: int) -> Counter[tuple[str, ...]]:
    """Make requests, several at once, and return what they must be counted under."""

    def ask(number: int) -> tuple[str, ...]:
        path = ("/v1/patients", "/v1/tasks", "/v1/patients?limit=0")[number % 3]
        answer = partner.send("GET", path)
        route = path.partition("?")[0]
        return ("test", "GET", route, str(answer.status_code), partner.api_key.id)

    with ThreadPoolExecutor(8) as pool:
        return Counter(pool.map(ask, range(requests)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_ends_has_written_all_that_it_counted(
    server: Server, number: signal.Signals
) -> None:
    partner = server.backing.partner(server)
    expected = load(partner, 60)
    server.close()
    assert server.process.stop(number=number) == 0
    assert kept(server, partner) == expected
    server.start()
    expected += load(partner, 60)
    server.close()
    server.process.stop(number=number)
    assert kept(server, partner) == kept(server, partner, LATENCIES) == expected
    assert "metering" not in kinds(server)


def test_a_server_that_is_killed_loses_an_interval_at_most_and_the_log_has_it(
    server: Server,
) -> None:
    partner = server.backing.partner(server)
    expected = load(partner, 30)
    while kept(server, partner) != expected:
        server.send("GET", "/v1")  # some request must find the interval elapsed
        time.sleep(0.1)
    last = load(partner, 30)
    server.process.kill()
    assert expected <= kept(server, partner) <= expected + last
    assert kinds(server, partner)["request"] == 60


def kinds(server: Server, partner: Partner | None = None) -> Counter[str]:
    """Count the lines of the log by kind: all, or those of an organisation."""
    lines = lines_in(server.folder / "requests.jsonl")
    whose = partner and partner.organisation.id
    return Counter(line["kind"] for line in lines if whose in (None, line.get("organisation")))


class Hanging(LocalMetrics):
    """Metrics that take what they are given and never answer."""

    def __init__(self) -> None:
        self.asked = 0

    async def write(self, task: str, points: Sequence[Point]) -> None:
        self.asked += 1
        await asyncio.Event().wait()


def test_requests_are_answered_while_the_metrics_hang(server: Server) -> None:
    partner = server.backing.partner(server)
    api = InProcess(partner.backing, partner.key)
    held, hanging = api._service, Hanging()
    meter = Meter(hanging, held.log, activity=held.activity, interval=0)
    api._service = replace(held, metrics=hanging, meter=meter)
    for _ in range(5):
        api.call("GET", "/v1/tasks", 200)
    assert hanging.asked == 1  # and no request began another flush while that went on
