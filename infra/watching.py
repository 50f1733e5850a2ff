"""What is logged, counted and told: values for the steps, from logs.yaml and monitoring/."""

import json
import re
import shlex
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from string import Template
from typing import Any

import yaml

from infra.steps import HERE, Values

MONITORING = HERE / "monitoring"
TOLD = {"notificationChannels": ["*/notificationChannels/*"]}
"""What an alert has beside its file: somebody whom it tells."""


LOGO, STYLE = "/docs/assets/ally.svg", "/assets/portal.css"
"""What is fetched of the API and of pages: files that are small and public."""


def watching(values: Values) -> dict[str, Any]:
    """Return the values. Each alert and each count is a file, and a new file is a new one."""
    logs = yaml.safe_load((HERE / "logs.yaml").read_text())
    sinks = [{**sink, "filter_flag": shlex.quote(sink["filter"])} for sink in logs["log_sinks"]]
    amount = re.fullmatch(r"(?P<budget_units>\d+)(?P<budget_currency>[A-Z]{3})", values["budget"])
    if amount is None:
        raise ValueError("budget must be a whole amount and a currency, such as 200GBP")
    known = {**values, "near_the_maximum": _near_the_maximum(values["functions"])}
    return {
        "watched": [{"check": "ally", "domain": values["host"], "path": LOGO}, *_pages(values)],
        "log_buckets": logs["log_buckets"],
        "log_sinks": sinks,
        "lines": logs["lines"],
        "lines_flag": shlex.quote(logs["lines"]),
        "counts": [{"count": path.stem, "text": path.read_text()} for path in _files("counts")],
        "policies": [_policy(path, known) for path in _files("alerts")],
        **amount.groupdict(),
    }


def _pages(values: Values) -> list[Values]:
    """Return what is fetched of each portal where Google does not ask first who comes."""
    return [
        {"check": each["service"], "domain": each["host"], "path": STYLE}
        for each in values["portals"]
        if each["audience"] != "staff"
    ]


def _files(folder: str) -> list[Path]:
    return sorted((MONITORING / folder).glob("*.yaml"))


def _policy(path: Path, values: Values) -> Values:
    text = Template(path.read_text()).substitute(values)
    policy = yaml.safe_load(text)
    return {"title": policy["displayName"], "text": text, "policy": {**policy, **TOLD}}


def _near_the_maximum(functions: Iterable[Values]) -> str:
    """Return the conditions of four fifths of each maximum of instances, as lines of YAML."""
    services = defaultdict(list)
    for each in functions:
        services[each["max_instances"]].append(f'"{each["service"]}"')
    return "\n".join(
        f"- {json.dumps(_condition(most, names))}" for most, names in sorted(services.items())
    )


def _condition(most: int, services: list[str]) -> Values:
    return {
        "displayName": f"A function had more than four fifths of its {most} instances",
        "conditionThreshold": {
            "filter": 'metric.type="run.googleapis.com/container/instance_count"'
            ' resource.type="cloud_run_revision"'
            f" resource.labels.service_name=one_of({','.join(services)})",
            "aggregations": [
                {
                    "alignmentPeriod": "60s",
                    "perSeriesAligner": "ALIGN_MAX",
                    "crossSeriesReducer": "REDUCE_SUM",
                    "groupByFields": ["resource.labels.service_name"],
                }
            ],
            "comparison": "COMPARISON_GT",
            "thresholdValue": most * 0.8,
            "duration": "300s",
            "trigger": {"count": 1},
        },
    }
