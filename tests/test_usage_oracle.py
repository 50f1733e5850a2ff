"""An oracle of usage: what clients counted of a random load, against all that the service tells.

Servers restart in the middle of it, and Cloud Monitoring fails before it has written, after it has,
and in between. The lines of the log, the points that it keeps, `GET /v1/usage` and the request log
must say the same as the clients, for every organisation, mode, route and status. `make soak` does
it at full size.
"""

import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from tests.conftest import BACKENDS, environment_of
from tests.support.lines import lines_in
from tests.support.load import Counted, Load
from tests.support.log_sink import LogSink
from tests.support.monitoring import Fault, Monitoring
from tests.support.serving import Backing, Partner, Server
from tests.support.waiting import until
from tests.support.worker import Worker

REQUESTS = int(os.environ.get("ALLY_LOAD", "200"))
ORGANISATIONS, SERVERS = (7, 4) if REQUESTS > 400 else (2, 2)
RESTARTS = max(2, REQUESTS // 500)
LOGGED_ROUTES = ("/v1/requests", "/v1/usage")
"""Routes that the oracle itself calls."""
FAULTS = (
    Fault(),
    Fault(done=1),
    Fault(done=0.5),
    Fault(grpc.StatusCode.DEADLINE_EXCEEDED, done=1, delay=0.5),
    Fault(grpc.StatusCode.INTERNAL, delay=0.2),
)

pytestmark = [pytest.mark.timeout(3600), pytest.mark.xdist_group("load")]


class Place:
    """Servers on one backing, and what carries their counts and lines."""

    def __init__(self, request: pytest.FixtureRequest, folder: Path, chance: random.Random) -> None:
        environment = environment_of(request, folder) | {
            "ALLY_LOG_RATE": "1000000",
            "ALLY_METERING_INTERVAL": "10" if request.param == "google" else "1",
        }
        self.monitoring = Monitoring() if request.param == "google" else None
        if self.monitoring is not None:
            environment["ALLY_MONITORING_HOST"] = self.monitoring.address
        self.backing = Backing(environment)
        self.servers = [Server(self.backing, self._home(folder, n)) for n in range(SERVERS)]
        self.worker = self.sink = None
        if self.monitoring is not None:
            self.worker = Worker(environment, folder)
            self.sink = LogSink(folder / "requests.jsonl", self.worker.url, chance)

    def _home(self, folder: Path, number: int) -> Path:
        """Return where a server keeps its own: on the local backend all share what they keep."""
        home = folder / f"server-{number}" if self.monitoring is not None else folder
        home.mkdir(exist_ok=True)
        return home

    def fail(self, chance: random.Random, *, ending: bool) -> None:
        """Let Cloud Monitoring fail some of the next calls; one, where a server is about to end.

        For that has ten seconds, and so time for one more attempt (docs/decisions/0021).
        """
        if self.monitoring is not None:
            self.monitoring.recover()
            self.monitoring.fail(*chance.choices(FAULTS, k=1 if ending else chance.randrange(6)))

    def given_up(self) -> list[str]:
        """Return the lines of servers that ended with something that may not have been written."""
        log = Path(self.backing.environment["ALLY_LOG"])
        return [str(line) for line in lines_in(log, "metering") if "TimeoutError" in str(line)]

    def settle(self) -> None:
        """End all servers but one, which then answers for all that was counted and logged."""
        if self.monitoring is not None:
            self.monitoring.recover()
        for server in self.servers:
            assert server.stop() == 0
        if self.sink is not None:
            until(self.sink.idle, "the log is not folded")
        self.servers[0].start()

    def close(self) -> None:
        for server in self.servers:
            server.stop()
        if self.sink is not None and self.worker is not None:
            self.sink.stop()
            self.worker.process.stop()
        self.backing.close()
        if self.monitoring is not None:
            self.monitoring.stop()


@pytest.fixture
def chance() -> random.Random:
    return random.Random(6)


@pytest.fixture(params=BACKENDS)
def place(request: pytest.FixtureRequest, tmp_path: Path, chance: random.Random) -> Iterator[Place]:
    made = Place(request, tmp_path, chance)
    yield made
    made.close()


def test_points_usage_and_request_log_say_what_clients_counted(
    place: Place, chance: random.Random
) -> None:
    partners = []
    for number in range(ORGANISATIONS):
        partner = place.backing.partner(place.servers[0], f"Organisation {number}")
        partners += [partner, partner.live()]
    load = Load(
        place.servers, partners, chance, troubles=lambda ending: place.fail(chance, ending=ending)
    )
    load.run(REQUESTS, RESTARTS)
    assert load.restarts == RESTARTS
    assert load.counts.total() >= REQUESTS
    place.settle()
    assert place.given_up() == []

    assert in_lines(place, load.request_ids) == load.counts
    if place.monitoring is not None:
        assert place.monitoring.refusals == []
        assert in_points(place.monitoring) == load.counts
    for partner in partners:
        expected = Counter({each: n for each, n in load.counts.items() if is_of(each, partner)})
        assert in_usage(partner, expected) == expected
        assert in_log(partner, load.request_ids) == expected


def is_of(each: Counted, partner: Partner) -> bool:
    return (each.organisation, each.mode) == (partner.organisation.id, partner.mode)


def in_points(monitoring: Monitoring) -> Counter[Counted]:
    """Add up what Cloud Monitoring has of callers that are known."""
    sums = monitoring.points.totals("requests", *Counted._fields)
    return Counter(
        {
            Counted(organisation, mode, method, route, int(status)): count
            for (organisation, mode, method, route, status), count in sums.items()
            if organisation != "-" and route not in LOGGED_ROUTES
        }
    )


def in_lines(place: Place, sent: set[str]) -> Counter[Counted]:
    """Count the lines of the requests that were sent, which is what a replay would go by."""
    log = Path(place.backing.environment["ALLY_LOG"])
    lines = [line for line in lines_in(log, "request") if line["requestId"] in sent]
    return Counter(Counted(*(line[name] for name in Counted._fields)) for line in lines)


def in_usage(partner: Partner, routes: Counter[Counted]) -> Counter[Counted]:
    """Read the usage of each route by status, and insist that no other route has any."""
    found: Counter[Counted] = Counter()
    named = {f"{each.method} {each.route}" for each in routes}
    every = partner.get("/v1/usage", metric="requests", by="route", period="24h")["series"]
    others = {each["group"].partition(" ")[2] for each in every if each["group"] not in named}
    assert others <= {*LOGGED_ROUTES}
    for name in sorted(named):
        method, _, route = name.partition(" ")
        told = partner.get("/v1/usage", metric="requests", by="status", route=name, period="24h")
        for series in told["series"]:
            assert series["total"] == sum(point["value"] for point in series["points"])
            counted = Counted(
                partner.organisation.id, partner.mode, method, route, int(series["group"])
            )
            found[counted] += series["total"]
    return found


def in_log(partner: Partner, sent: set[str]) -> Counter[Counted]:
    """Count what the request log has of the requests that were sent, and insist on each once."""
    found: Counter[Counted] = Counter()
    seen = set()
    where = (partner.organisation.id, partner.mode)
    for each in partner.everything("/v1/requests", limit=100):
        if each["id"] in sent:
            assert each["id"] not in seen
            seen.add(each["id"])
            found[Counted(*where, each["method"], each["route"], each["status"])] += 1
    return found
