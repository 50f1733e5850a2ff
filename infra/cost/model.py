"""What a month of so many requests uses, costs, and comes near to."""

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from infra.cost.declared import WORKER, Everything, Limit, Operations, Size
from shared.limits import SLICE
from shared.memory import BURST_SECONDS, MOST
from shared.rollups import MODES
from shared.settings import Settings

SECONDS = 365.25 / 12 * 86_400
"""Of a month."""
HOURS = SECONDS / 3_600
MINUTE = 60
NOTED_EVERY = 3_600
"""Seconds after which it is noted again that a key is in use (shared/auth.py)."""
BILLED = 0.1
"""Seconds to which Cloud Run rounds the time up in which an instance serves."""
GIB, MIB = 2**30, 2**20
CALLERS, STANDING = "callers: keys, end users, quotas", "standing, whoever calls"
LINES, COUNTS, JOBS = "the request log", "usage, counted", "jobs and sweeps"
PAGES = "pages of the dashboard"
"""The rows of the bill that are no route."""
POINT, DISTRIBUTION = 8, 80
"""Bytes that Cloud Monitoring bills for a point of a count and of a distribution."""
LEAST_MESSAGE = 1_000
"""Bytes that Pub/Sub bills for a message at least."""

Usage = dict[str, defaultdict[str, float]]
"""Units of each price, for each row of the bill."""


@dataclass(frozen=True)
class Load:
    """What one function has to bear: requests a second, CPU and waiting seconds of one."""

    size: Size
    rate: float
    cpu: float
    waiting: float
    target: float

    def needed(self, times: float = 1) -> float:
        """Return the instances that so many times the rate needs, by CPU and by concurrency."""
        at_once = self.rate * times * (self.cpu + self.waiting) / self.size.concurrency
        return max(self.rate * times * self.cpu / self.size.cpu, at_once) / self.target

    @property
    def instances(self) -> float:
        """How many instances there are: one at least, when somebody calls."""
        return max(1.0, self.size.min_instances, self.needed())

    @property
    def serving(self) -> float:
        """How many instances serve at a moment; calls come at random."""
        return self.instances * -math.expm1(-self.rate * BILLED / self.instances)

    @property
    def waiting_instances(self) -> float:
        """How many minimum instances wait at a moment."""
        return max(0.0, self.size.min_instances - self.serving)


class Month:
    """A month of so many requests."""

    def __init__(self, declared: Everything, requests: float) -> None:
        self.declared = declared
        self.requests = requests
        mix = declared.traffic.mix
        self.count = {name: requests * part / sum(mix.values()) for name, part in mix.items()}
        callers = declared.traffic.callers
        self.keys = self.organisations * callers["keys"]
        self.peak = declared.traffic.time["peak"]

    def operations(self, route: str) -> Iterator[tuple[float, Operations]]:
        """Give what a route does, without and with an Idempotency-Key, and how likely each is."""
        keyed = self.declared.with_a_key.get(route)
        likely = 0.0 if keyed is None else self.declared.traffic.callers["idempotent"]
        yield 1 - likely, self.declared.routes[route]
        if keyed is not None:
            yield likely, keyed

    def cpu(self, route: str) -> float:
        """Return the CPU seconds of one request."""
        cost = self.declared.traffic.cpu
        body = cost["body"] if route.startswith(("POST", "PATCH")) else 0.0
        work = sum(
            likely * (each.calls * cost["call"] + (each.reads + each.writes) * cost["document"])
            for likely, each in self.operations(route)
        )
        return (cost["request"] + body + work) * cost["slower"] / 1e6

    @property
    def organisations(self) -> float:
        """How many partners there are."""
        return max(
            1.0, self.requests / self.declared.traffic.callers["requests_of_an_organisation"]
        )

    @cached_property
    def copied(self) -> dict[str, float]:
        """How many lines of each kind are copied to the request log: as if none were left out."""
        found = {"line": 0.0, "line of a patient": 0.0}
        for route in self.declared.known:
            of_patients = self.declared.functions[route] in ("patients", "appointments")
            found["line of a patient" if of_patients else "line"] += self.count[route]
        return found

    @property
    def worker(self) -> Load:
        """What the worker has to bear, nearly all of it lines: each is a request of its own."""
        cost = self.declared.traffic.cpu
        line = self.declared.lines["line"]
        work = cost["request"] + cost["body"] + line.calls * cost["call"]
        cpu = (work + line.writes * cost["document"]) * cost["slower"] / 1e6
        waiting = line.calls * self.declared.traffic.firestore / 1e3
        rate = (sum(self.copied.values()) + self.swept) / SECONDS
        return Load(self.declared.sizes[WORKER], rate, cpu, waiting, cost["target"])

    @property
    def swept(self) -> float:
        """How many sweeps there are."""
        return SECONDS / MINUTE

    @cached_property
    def loads(self) -> dict[str, Load]:
        """What each function has to bear in the mean second."""
        found = {}
        for function, size in self.declared.sizes.items():
            if function == WORKER:
                continue
            routes = [route for route in self.count if self.declared.functions[route] == function]
            count = sum(self.count[route] for route in routes)
            cpu = sum(self.count[route] * self.cpu(route) for route in routes) / count
            calls = sum(
                self.count[route] * likely * each.calls
                for route in routes
                for likely, each in self.operations(route)
            )
            waiting = calls / count * self.declared.traffic.firestore / 1e3
            target = self.declared.traffic.cpu["target"]
            found[function] = Load(size, count / SECONDS, cpu, waiting, target)
        return found

    # --- What is used ----------------------------------------------------------------------------

    @cached_property
    def usage(self) -> Usage:
        """What each row of the bill uses."""
        found: Usage = {route: self._route(route) for route in self.count}
        found[CALLERS] = self._callers()
        found[STANDING] = self._standing()
        found[LINES] = self._lines()
        found[COUNTS] = self._counts()
        found[JOBS] = self._jobs()
        found[PAGES] = self._pages()
        return found

    def _route(self, route: str) -> defaultdict[str, float]:
        used = defaultdict[str, float](float)
        count = self.count[route]
        traffic = self.declared.traffic
        plain = self.declared.routes[route]
        function = self.declared.functions[route]
        load = self.loads[function]
        used["gateway_calls"] = used["run_requests"] = count
        # An instance's time is shared by what it serves, as the CPU that each takes.
        share = count * self.cpu(route) / (load.rate * SECONDS * load.cpu)
        used["run_cpu"] = load.serving * load.size.cpu * SECONDS * share
        used["run_memory"] = load.serving * load.size.memory * SECONDS * share
        for likely, each in self.operations(route):
            self._add(used, each, count * likely)
        kept = count * traffic.time["months"] / GIB
        used["stored"] = used["history"] = kept * (plain.kept + plain.indexed)
        used["backups"] = kept * plain.kept * self.declared.backups
        out = count * (plain.answer + traffic.bytes["head"]) / GIB
        used["egress"] = out
        used["balancer_bytes"] = out + count * traffic.bytes["request"] / GIB
        used["logs"] = count * (plain.line + traffic.bytes["line"]) / GIB
        used["logs_kept"] = used["logs"] * (traffic.time["months"] - 1)
        return used

    def _callers(self) -> defaultdict[str, float]:
        used = defaultdict[str, float](float)
        each = self.declared.callers
        callers = self.declared.traffic.callers
        end_users = self.requests * callers["end_users"]
        by_key = 1 - callers["end_users"]
        for load in self.loads.values():
            met = load.instances * self.keys  # how many times a key is known to an instance
            rate = load.rate * by_key
            read = _renewed(rate, met, Settings.key_cache)
            self._add(used, each["key read"], read * SECONDS)
            life = self.declared.traffic.time["instance"] * 3_600
            self._add(used, each["key met"], _begun(rate, met, life) / life * SECONDS)
        noted = _renewed(self.requests * by_key / SECONDS, self.keys, NOTED_EVERY)
        self._add(used, each["key noted"], noted * SECONDS)
        # Hardly one calls the same function twice before what is known of them is old.
        self._add(used, each["end user read"], end_users)
        self._add(used, each["active"], end_users / callers["requests_of_an_end_user"])
        slices = self.requests * callers["leased"] / (SLICE * Settings.rate_live)
        self._add(used, each["slice"], slices)
        used["secret_versions"] = self.keys
        return used

    @staticmethod
    def _add(used: defaultdict[str, float], each: Operations, times: float) -> None:
        used["reads"] += each.reads * times
        used["writes"] += each.writes * times
        used["deletes"] += each.expiring * times
        used["secret_accesses"] += each.secrets * times
        used["series_read"] += each.series * times

    def _standing(self) -> defaultdict[str, float]:
        used = defaultdict[str, float](float)
        used["balancer_rules"] = HOURS
        used["image"] = self.declared.traffic.bytes["image"] / GIB
        used["secret_versions"] = 1  # the pepper
        for load in self.loads.values():
            used["run_idle_cpu"] += load.waiting_instances * load.size.cpu * SECONDS
            used["run_idle_memory"] += load.waiting_instances * load.size.memory * SECONDS
        return used

    def _lines(self) -> defaultdict[str, float]:
        """Copy each line of a known caller, and keep the copies for 30 days."""
        used = defaultdict[str, float](float)
        for kind, count in self.copied.items():
            line = self.declared.lines[kind]
            self._add(used, line, count)
            self._serve(used, count)
            used["stored"] += count * line.passing / GIB
            used["backups"] += count * line.kept * self.declared.backups / GIB
        used["history"] = used["stored"]
        sizes = self.declared.traffic.bytes
        used["messages"] = sum(
            2 * self.count[route] * max(LEAST_MESSAGE, told.line + sizes["line"]) / GIB
            for route, told in self.declared.routes.items()
            if route in self.declared.known
        )
        return used

    def _counts(self) -> defaultdict[str, float]:
        """Write what was counted: a point for each series that had anything to count.

        A series is a route as one key of one organisation calls it, or its end users; of requests
        that are refused each is taken to be a series of its own. Whom nobody knows is one caller.
        """
        used = defaultdict[str, float](float)
        callers = self.declared.traffic.callers
        for route, count in self.count.items():
            known = route in self.declared.known
            series = self.organisations * (callers["keys"] + 1) if known else 1
            load = self.loads[self.declared.functions[route]]
            served = count * (1 - callers["refused"])
            interval = self.declared.metering_interval / self.declared.traffic.time["open"]
            each = served / series / load.instances / SECONDS * interval
            points = served * -math.expm1(-each) / each + count - served
            sizes = 2 if route.startswith(("POST", "PATCH")) else 1  # of bodies that there are
            used["metrics"] += points * (DISTRIBUTION + POINT + sizes * POINT) / MIB
        days = self.organisations * len(MODES) * HOURS / 24
        self._add(used, self.declared.callers["rolled up"], days)
        self._add(used, self.declared.callers["rolled up again"], days)
        return used

    def _jobs(self) -> defaultdict[str, float]:
        """Make jobs and do them; sweep, to find what was lost."""
        used = defaultdict[str, float](float)
        done = self.count["DELETE /v1/patients/{patient}"]
        done *= self.declared.traffic.callers["jobs"]
        self._add(used, self.declared.worker["sweep"], self.swept)
        self._add(used, self.declared.worker["job"], done)
        used["writes"] += done
        used["tasks"] = 2 * done
        used["schedules"] = 2
        self._serve(used, self.swept + done)
        return used

    def _pages(self) -> defaultdict[str, float]:
        """Show pages to the people of organisations, past the gateway.

        Each is alone on its instance, for people are few; its line is copied as others are.
        """
        used = defaultdict[str, float](float)
        traffic, pages = self.declared.traffic, self.declared.pages
        shown = self.organisations * traffic.callers["pages_of_an_organisation"]
        page, size = pages["page"], self.declared.dashboard
        self._add(used, page, shown)
        self._add(used, pages["usage"], shown * traffic.callers["usage_pages"])
        self._add(used, self.declared.lines["line"], shown)
        self._serve(used, shown)
        used["run_requests"] += shown
        used["run_cpu"] += shown * BILLED * size.cpu
        used["run_memory"] += shown * BILLED * size.memory
        out = shown * (page.answer + traffic.bytes["head"]) / GIB
        used["egress"] = out
        used["balancer_bytes"] = out + shown * traffic.bytes["request"] / GIB
        used["logs"] = shown * (page.line + traffic.bytes["line"]) / GIB
        used["logs_kept"] = used["logs"] * (traffic.time["months"] - 1)
        return used

    def _serve(self, used: defaultdict[str, float], requests: float) -> None:
        """Add what the worker takes for so many of its requests."""
        load = self.worker
        share = requests / (load.rate * SECONDS)
        used["run_requests"] += requests
        used["run_cpu"] += load.serving * load.size.cpu * SECONDS * share
        used["run_memory"] += load.serving * load.size.memory * SECONDS * share

    # --- What it costs ---------------------------------------------------------------------------

    @cached_property
    def bill(self) -> dict[str, dict[str, float]]:
        """Dollars of each row for each part; what tiers save is shared by all that use a price."""
        prices = self.declared.prices
        one = {}
        for name, price in prices.items():
            units = sum(used[name] for used in self.usage.values())
            one[name] = price.cost(units) / units if units else 0.0
        found = {}
        for row, used in self.usage.items():
            parts = dict.fromkeys(self.parts, 0.0)
            for name, units in used.items():
                parts[prices[name].part] += units * one[name]
            found[row] = parts
        return found

    @property
    def parts(self) -> list[str]:
        """The parts of the bill, in the order of the file."""
        return list(dict.fromkeys(price.part for price in self.declared.prices.values()))

    @cached_property
    def totals(self) -> dict[str, float]:
        """Dollars for each part."""
        return {part: sum(row[part] for row in self.bill.values()) for part in self.parts}

    @property
    def total(self) -> float:
        """Dollars for all of it."""
        return sum(self.totals.values())

    # --- What it comes near to, in the busiest second --------------------------------------------

    def measured(self, limit: Limit) -> float:
        """Return how much there is of what is limited."""
        found: float = getattr(self, limit.measure)
        return found

    @property
    def _busiest(self) -> float:
        return self.requests / SECONDS * self.peak

    @property
    def fullest_function(self) -> float:
        """The instances that a function needs, of those that it may have, where that is most."""
        loads = [*self.loads.values(), self.worker]
        return max(load.needed(self.peak) / load.size.max_instances for load in loads)

    @property
    def largest_key(self) -> float:
        """What each live key of the largest organisation asks for, of its quota."""
        callers = self.declared.traffic.callers
        rate = self._busiest * callers["largest_organisation"] * (1 - callers["end_users"])
        return rate / (callers["keys"] - 1) * Settings.rate_window / Settings.rate_live

    def _met_anew(self, load: Load, seconds: float) -> tuple[float, float]:
        """Return the instances of a function, and the keys that each meets first when all begin."""
        instances = max(1.0, load.size.min_instances, load.needed(self.peak))
        rate = load.rate * self.peak * (1 - self.declared.traffic.callers["end_users"])
        return instances, _begun(rate / instances, self.keys, seconds)

    @property
    def look_ups_of_an_instance(self) -> float:
        """The keys that a new instance meets in its first window, of those that it may look up."""
        seconds = Settings.rate_window
        met = (self._met_anew(load, seconds)[1] for load in self.loads.values())
        return max(met) / _looked_up(seconds)

    @property
    def keys_of_an_instance(self) -> float:
        """The keys that an instance meets, of those that it remembers."""
        return self.keys / MOST

    @property
    def secret_accesses_a_minute(self) -> float:
        """How many secrets are read in a minute when every instance is new."""
        met = (self._met_anew(load, MINUTE) for load in self.loads.values())
        return sum(instances * min(each, _looked_up(MINUTE)) for instances, each in met)

    @property
    def commits_of_the_largest(self) -> float:
        """How many commits a second the largest organisation causes."""
        commits = sum(
            count * likely * len(each.commits)
            for route, count in self.count.items()
            for likely, each in self.operations(route)
        )
        largest = self.declared.traffic.callers["largest_organisation"]
        return commits / SECONDS * self.peak * largest

    @property
    def cpus(self) -> float:
        """How many CPUs all instances have."""
        return sum(
            max(load.size.min_instances, load.needed(self.peak)) * load.size.cpu
            for load in [*self.loads.values(), self.worker]
        )

    @property
    def log_bytes_a_minute(self) -> float:
        """What the log takes in."""
        logged = sum(used["logs"] for used in self.usage.values()) * GIB
        return logged / SECONDS * self.peak * MINUTE

    @property
    def gateway_units(self) -> float:
        """What 100 s of calls count at the gateway: a question and a report for each."""
        return self._busiest * 100 * 2


def _renewed(rate: float, known: float, life: float) -> float:
    """Return how often a second something is read anew that is believed for `life` seconds.

    `rate` calls a second fall at random on `known` such things: each is read, believed, and read
    again at the first call after that.
    """
    each = rate / known
    return known * each / (1 + each * life)


def _begun(rate: float, known: float, seconds: float) -> float:
    """Return how many of `known` things are called in so many seconds, at random."""
    return known * -math.expm1(-rate * seconds / known)


def _looked_up(seconds: float) -> float:
    """Return how many keys a new instance may look up in so many seconds."""
    return Settings.key_lookups * (seconds + BURST_SECONDS)


def reached(declared: Everything, limit: Limit, most: float = 1e15) -> float:
    """Return the requests a month at which a limit is reached; infinity beyond `most`."""
    low, high = 1.0, most
    if Month(declared, high).measured(limit) < limit.number:
        return math.inf
    while high / low > 1.0001:
        middle = math.sqrt(low * high)
        if Month(declared, middle).measured(limit) < limit.number:
            low = middle
        else:
            high = middle
    return high
