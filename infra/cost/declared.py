"""What the three files and the deployment declare, read strictly."""

import re
from collections.abc import Mapping
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, model_validator

from functions import discover
from infra.services import sizes
from infra.steps import HERE as INFRA
from shared.routes import PUBLIC

HERE = Path(__file__).parent
PREFLIGHT = "OPTIONS /v1/patients"
"""What a browser asks before it calls, on whatever path; it is counted on this one."""


WORKER = "worker"
"""The function that does what happens after an answer."""


class Declared(BaseModel):
    """A part of a file."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Told(Declared):
    """What Google says: where, when it was read, and what of it is only remembered."""

    source: str
    date: date
    mem: str = ""


class Price(Told):
    """What Google asks for a kind of unit; `tiers` are [from units a month, dollars for `per`]."""

    what: str
    part: str
    unit: str
    per: float = 1
    tiers: list[tuple[float, float]]

    def cost(self, units: float) -> float:
        """Return the dollars that so many units cost in a month."""
        ends = [start for start, _ in self.tiers[1:]] + [float("inf")]
        return sum(
            max(0.0, min(units, end) - start) * dollars / self.per
            for (start, dollars), end in zip(self.tiers, ends, strict=True)
        )


class Limit(Told):
    """How far something goes, and what to do then. `measure` is a property of `model.Month`."""

    name: str
    whose: str
    measure: str
    number: float
    unit: str
    then: str


class Operations(Declared):
    """What a route, or something that callers cause now and then, does: see operations.yaml."""

    gets: list[int] = []
    queries: list[int] = []
    commits: list[int] = []
    guards: int = 0
    expiring: int = 0
    kept: int = 0
    indexed: int = 0
    answer: int = 0
    line: int = 0
    secrets: int = 0
    series: int = 0
    passing: int = 0

    @property
    def calls(self) -> int:
        """How often Firestore is called."""
        return len(self.gets) + len(self.queries) + len(self.commits)

    @property
    def reads(self) -> int:
        """Documents that are billed as read: of a query, one at least."""
        return sum(self.gets) + sum(max(1, found) for found in self.queries)

    @property
    def writes(self) -> int:
        """Documents that are billed as written."""
        return sum(self.commits) + self.guards


class Traffic(Declared):
    """Who calls how: see traffic.yaml."""

    mix: dict[str, float]
    callers: Mapping[str, float]
    time: Mapping[str, float]
    bytes: Mapping[str, float]
    cpu: Mapping[str, float]
    firestore: float


class Size(Declared):
    """What an instance of a function has, and how many there are."""

    cpu: float
    memory: float
    """GiB."""
    concurrency: float
    min_instances: float
    max_instances: float


class Everything(Declared):
    """All that the bill is worked out of."""

    prices: dict[str, Price]
    limits: list[Limit]
    routes: dict[str, Operations]
    with_a_key: dict[str, Operations]
    callers: dict[str, Operations]
    lines: dict[str, Operations]
    worker: dict[str, Operations]
    pages: dict[str, Operations]
    traffic: Traffic
    functions: dict[str, str]
    """The function that serves each route."""
    known: frozenset[str]
    """The routes whose callers are known: each line of them is copied to the request log."""
    metering_interval: float
    """Seconds between two flushes of what an instance counted."""
    sizes: dict[str, Size]
    dashboard: Size
    """What an instance of pages has."""
    backups: float
    """Copies of the data that are kept at a time."""

    @model_validator(mode="after")
    def same_routes(self) -> Self:
        """Insist that the files tell of the routes that there are."""
        for told, by in ((self.routes, "operations.yaml"), (self.traffic.mix, "traffic.yaml")):
            if differing := told.keys() ^ self.functions.keys():
                raise ValueError(f"{by} lacks, or there is no more: {', '.join(sorted(differing))}")
        return self


def load() -> Everything:
    """Read all of it, or raise pydantic's ValidationError, which names what is wrong."""
    operations = _file("operations.yaml")
    plain = operations["routes"]
    keyed = operations["with_a_key"]
    apis = [api for api in discover() if api.reachable]
    routes = {
        f"{route.method} {route.template}": (api.name, route.permission != PUBLIC)
        for api in apis
        for route in api.routes
    }
    served = {name: function for name, (function, _) in routes.items()}
    production = yaml.safe_load((INFRA / "environments" / "production.yaml").read_text())
    return Everything.model_validate(
        {
            **_file("prices.yaml"),
            "routes": {name: plain[name] | operations["live"].get(name, {}) for name in plain},
            "with_a_key": {name: plain[name] | keyed[name] for name in keyed},
            "callers": operations["callers"],
            "lines": operations["lines"],
            "worker": operations["worker"],
            "pages": operations["pages"],
            "traffic": _file("traffic.yaml"),
            "functions": {**served, PREFLIGHT: "patients"},
            "known": {name for name, (_, is_known) in routes.items() if is_known},
            "metering_interval": production["metering_interval"],
            "sizes": {name: _size(name) for name in sorted({*served.values(), WORKER})},
            "dashboard": _size("dashboard"),
            "backups": _backups(),
        }
    )


@cache
def _file(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((HERE / name).read_text())
    return content


def _size(function: str) -> dict[str, float]:
    """Return what infra/functions.yaml gives a function, as numbers."""
    declared = sizes()
    size = {**declared["defaults"], **declared["functions"].get(function, {})}
    size["memory"] = float(size["memory"].removesuffix("Mi")) / 1024
    return {name: float(size[name]) for name in Size.model_fields}


def _backups() -> float:
    """Return how many backups there are at a time, as the step that makes them declares."""
    text = (INFRA / "steps" / "40-data.yaml").read_text()
    days = {"daily": 1, "weekly": 7}
    made = re.findall(r"--recurrence=(daily|weekly).*?--retention=(\d+)([dw])", text, re.DOTALL)
    if not made:
        raise ValueError("infra/steps/40-data.yaml declares no backup")
    return sum(
        int(number) * {"d": 1, "w": 7}[unit] / days[recurrence] for recurrence, number, unit in made
    )
