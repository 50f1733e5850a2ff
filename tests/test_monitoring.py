"""The dashboard and the alerts: what Google's own types take, of metrics that there are."""

import re
from collections.abc import Iterator
from itertools import combinations
from string import Template
from typing import Any

import pytest
import yaml
from google.cloud.monitoring_dashboard_v1 import Dashboard
from google.cloud.monitoring_v3 import AlertPolicy
from google.protobuf import json_format

from infra.steps import HERE
from infra.values import values
from shared.backends.metrics import METRICS
from tests.support.processes import ROOT

VALUES = values("staging", commit="0" * 40, number="100000000001")
LISTED = yaml.safe_load((HERE / "monitoring" / "metrics.yaml").read_text())
COUNTED = {
    f"logging.googleapis.com/user/{each['count']}": yaml.safe_load(each["text"])
    for each in VALUES["counts"]
}
POLICIES = {each["title"]: yaml.safe_load(each["text"]) for each in VALUES["policies"]}
OWN = {
    f"custom.googleapis.com/ally/{metric.name}": {
        "resources": ["generic_task"],
        "kind": "CUMULATIVE",
        "value": "DISTRIBUTION" if metric.distribution else "INT64",
        "labels": metric.labels,
    }
    for metric in METRICS
}
NUMERIC = {"INT64", "DOUBLE"}
"""What an aligner takes, and what it makes of that (Google's reference of Aggregation)."""
ALIGNERS = {
    "ALIGN_RATE": ({"DELTA", "CUMULATIVE"}, NUMERIC),
    "ALIGN_DELTA": ({"DELTA", "CUMULATIVE"}, NUMERIC | {"DISTRIBUTION"}),
    "ALIGN_MAX": ({"GAUGE", "DELTA"}, NUMERIC),
    "ALIGN_MIN": ({"GAUGE", "DELTA"}, NUMERIC),
    "ALIGN_COUNT_TRUE": ({"GAUGE"}, {"BOOL"}),
    "ALIGN_FRACTION_TRUE": ({"GAUGE"}, {"BOOL"}),
}


def dashboard() -> dict[str, Any]:
    text = (HERE / "monitoring" / "dashboard.yaml").read_text()
    found: dict[str, Any] = yaml.safe_load(Template(text).substitute(VALUES))
    return found


def series() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each filter with how its series are aggregated."""
    for tile in dashboard()["mosaicLayout"]["tiles"]:
        for each in tile["widget"].get("xyChart", {}).get("dataSets", ()):
            drawn = each["timeSeriesQuery"]["timeSeriesFilter"]
            yield drawn["filter"], drawn["aggregation"]
    for policy in POLICIES.values():
        for condition in policy["conditions"]:
            held = condition.get("conditionThreshold", {})
            for kind, aggregations in (
                ("filter", "aggregations"),
                ("denominatorFilter", "denominatorAggregations"),
            ):
                for aggregation in held.get(aggregations, ()):
                    yield held[kind], aggregation


def test_google_takes_the_dashboard_and_would_show_it_as_it_is_written() -> None:
    """`make plan` compares with what Google shows, so nothing may be said that it would drop."""
    written = dashboard()
    taken = json_format.ParseDict(written, Dashboard.pb(Dashboard()))
    assert json_format.MessageToDict(taken) == written


@pytest.mark.parametrize("title", POLICIES)
def test_google_takes_an_alert_and_would_show_it_as_it_is_written(title: str) -> None:
    taken = json_format.ParseDict(POLICIES[title], AlertPolicy.pb(AlertPolicy()))
    assert json_format.MessageToDict(taken) == POLICIES[title]


def test_every_series_is_of_a_metric_that_there_is_and_fits_how_it_is_drawn() -> None:
    found = set()
    for text, aggregation in series():
        metric, resource = named(text)
        found.add(metric)
        if metric in COUNTED:
            assert resource == counted_on(COUNTED[metric]["filter"])
            described = COUNTED[metric]["metricDescriptor"]
            kind, value = described["metricKind"], described["valueType"]
            assert (value == "DISTRIBUTION") == ("valueExtractor" in COUNTED[metric])
            labels = {each["key"] for each in described.get("labels", ())}
            assert labels == set(COUNTED[metric].get("labelExtractors", ()))
        else:
            listed = (OWN | LISTED["metrics"])[metric]
            assert resource in listed["resources"], metric
            kind, value, labels = listed["kind"], listed["value"], set(listed["labels"])
        kinds, kinds_of_value = ALIGNERS[aggregation["perSeriesAligner"]]
        assert kind in kinds, text
        assert value in kinds_of_value, text
        is_percentile = "PERCENTILE" in aggregation["crossSeriesReducer"]
        assert is_percentile == (value == "DISTRIBUTION"), text
        known = {f"metric.labels.{each}" for each in labels}
        known |= {f"resource.labels.{each}" for each in LISTED["resources"][resource]}
        used = re.findall(r"(?:metric|resource)\.labels\.\w+", text)
        assert {*used, *aggregation.get("groupByFields", ())} <= known, text
    assert found - set(OWN) == set(LISTED["metrics"]) | set(COUNTED), "each is looked at somewhere"


def counted_on(condition: str) -> str:
    """Return what writes the log that is counted: functions, but for the schedules' own."""
    return "cloud_scheduler_job" if "cloudscheduler" in condition else "cloud_run_revision"


def test_a_query_in_the_language_of_prometheus_is_of_metrics_that_there_are() -> None:
    """It writes a metric's first slash as a colon, and what is neither letter nor digit as _."""
    names = {
        re.sub(r"\W", "_", host) + ":" + re.sub(r"\W", "_", path): listed["resources"]
        for metric, listed in (OWN | LISTED["metrics"]).items()
        for host, _, path in [metric.partition("/")]
    }
    queries = [
        condition["conditionPrometheusQueryLanguage"]
        for policy in POLICIES.values()
        for condition in policy["conditions"]
        if "conditionPrometheusQueryLanguage" in condition
    ]
    assert queries
    for query in queries:
        used = re.findall(r'(\w+:\w+)\{monitored_resource="(\w+)"[^{}]*\}', query["query"])
        assert len(used) == query["query"].count(":")
        assert all(resource in names[metric] for metric, resource in used)
        # Nobody has called yet when this is deployed first: Google would not know our own metric.
        assert query["disableMetricValidation"]


def named(text: str) -> tuple[str, str]:
    """Return the metric and the resource that a filter names; it names each once."""
    (metric,) = re.findall(r'metric\.type="([^"]+)"', text)
    (resource,) = re.findall(r'resource\.type="([^"]+)"', text)
    return metric, resource


def test_the_tiles_of_the_dashboard_lie_within_it_and_not_on_each_other() -> None:
    layout = dashboard()["mosaicLayout"]
    places = []
    for tile in layout["tiles"]:
        left, top = tile.get("xPos", 0), tile.get("yPos", 0)
        assert left + tile["width"] <= layout["columns"]
        places.append((left, top, left + tile["width"], top + tile["height"]))
    for one, other in combinations(places, 2):
        apart = one[2] <= other[0] or other[2] <= one[0] or one[3] <= other[1] or other[3] <= one[1]
        assert apart, (one, other)


@pytest.mark.parametrize("title", POLICIES)
def test_an_alert_says_how_bad_it_is_and_what_to_do(title: str) -> None:
    policy = POLICIES[title]
    assert policy["severity"] in {"CRITICAL", "ERROR", "WARNING"}
    assert policy["documentation"]["mimeType"] == "text/markdown"
    told, _, runbook = policy["documentation"]["content"].partition("Runbook: ")
    assert len(told.split()) > 15
    assert runbook.strip("`\n") in runbooks()


def test_the_dashboard_leads_to_every_runbook() -> None:
    told = dashboard()["mosaicLayout"]["tiles"][0]["widget"]["text"]["content"]
    linked = set(re.findall(r"docs/operating\.md#[\w-]+", told))
    alerted = {
        each["documentation"]["content"].partition("Runbook: ")[2].strip("`\n")
        for each in POLICIES.values()
    }
    assert linked == alerted | {"docs/operating.md#the-budget-is-spent"}
    assert linked <= runbooks()


def runbooks() -> set[str]:
    """Return where each heading of the page for operators can be found."""
    page = (ROOT / "docs" / "operating.md").read_text()
    return {
        f"docs/operating.md#{heading.lower().replace(' ', '-')}"
        for heading in re.findall(r"^#+ ([\w -]+)$", page, re.MULTILINE)
    }


def test_alerts_have_titles_of_their_own_since_they_are_found_by_them() -> None:
    assert len(POLICIES) == len(VALUES["policies"])


def test_an_alert_of_a_log_line_stands_alone_and_says_how_often_it_tells() -> None:
    """As Google asks of a condition that matches log lines."""
    for policy in POLICIES.values():
        matches = [each for each in policy["conditions"] if "conditionMatchedLog" in each]
        if matches:
            assert policy["conditions"] == matches
            assert len(matches) == 1
            assert policy["alertStrategy"]["notificationRateLimit"]


def test_each_function_has_a_condition_of_its_own_maximum_of_instances() -> None:
    near = {
        service: condition["conditionThreshold"]["thresholdValue"]
        for condition in POLICIES["Instances run out"]["conditions"]
        for service in re.findall(r'"(ally-[a-z-]+)"', condition["conditionThreshold"]["filter"])
    }
    assert near == {each["service"]: each["max_instances"] * 0.8 for each in VALUES["functions"]}
