"""What watches: logs and where they are kept, dashboards, alerts, budgets."""

import json
import re

from tests.support.google_cloud.kinds import Kind, kinds, on
from tests.support.google_cloud.state import Refusal, State
from tests.support.google_cloud.wire import Call, Json


def seed(state: State) -> None:
    """Give each project the buckets and the sinks that are there from the start."""
    for project in state.projects:
        parent = f"projects/{project}"
        audit = 'LOG_ID("cloudaudit.googleapis.com/activity")'
        for name, days, chosen in (("_Default", 30, f"NOT {audit}"), ("_Required", 400, audit)):
            bucket = f"{parent}/locations/global/buckets/{name}"
            state.resources[f"logging/{bucket}"] = {
                "name": bucket,
                "retentionDays": days,
                "lifecycleState": "ACTIVE",
                **({"locked": True} if name == "_Required" else {}),
            }
            state.resources[f"logging/{parent}/sinks/{name}"] = {
                "name": name,
                "resourceName": f"{parent}/sinks/{name}",
                "destination": f"logging.googleapis.com/{bucket}",
                "filter": chosen,
            }


def bucket_born(state: State, _call: Call, _name: str, bucket: Json) -> Json:
    return {
        "retentionDays": bucket.get("retentionDays", 30),
        "lifecycleState": "ACTIVE",
        "createTime": state.now(),
        "updateTime": state.now(),
    }


def bucket_changed(state: State, _call: Call, name: str, _bucket: Json) -> Json:
    if name.endswith("/_Required"):
        raise Refusal(400, "The bucket _Required cannot be changed.")
    return {"updateTime": state.now()}


def sink_born(state: State, call: Call, name: str, sink: Json) -> Json:
    made = {"name": sink["name"].rpartition("/")[2], "resourceName": name}
    return {**made, "createTime": state.now(), **sink_changed(state, call, name, sink)}


def sink_changed(state: State, call: Call, name: str, sink: Json) -> Json:
    """Say as whom it writes: that is nobody where it writes to a bucket of its own project."""
    if name.endswith("/_Required"):
        raise Refusal(400, "The sink _Required cannot be changed.")
    service, _, bucket = sink["destination"].partition("/")
    if service == "logging.googleapis.com":
        state.find("logging", bucket)
    excluded = [exclusion["name"] for exclusion in sink.get("exclusions", [])]
    if len(excluded) != len(set(excluded)):
        raise Refusal(400, "Exclusion names must be unique within a sink.")
    if service == "logging.googleapis.com":
        return {"updateTime": state.now()}
    number = state.project(name.split("/")[1]).number
    whose = f"service-{number}@gcp-sa-logging"
    if call.query.get("uniqueWriterIdentity") != "True":
        whose = "cloud-logs@system"
    writer = f"{whose}.iam.gserviceaccount.com"
    state.agents.add(writer)
    return {"updateTime": state.now(), "writerIdentity": f"serviceAccount:{writer}"}


def metric_set(state: State, _call: Call, name: str, metric: Json) -> Json:
    """Name a count as it is named in its project, and its descriptor in full."""
    short = name.rpartition("/")[2]
    kind = f"logging.googleapis.com/user/{short}"
    described = metric.get("metricDescriptor", {})
    whole = {"name": f"{name.rpartition('/metrics')[0]}/metricDescriptors/{kind}", "type": kind}
    return {"name": short, "metricDescriptor": {**described, **whole}, "updateTime": state.now()}


def uptime_born(_state: State, _call: Call, _name: str, check: Json) -> Json:
    shown = {"requestMethod": "GET", **check["httpCheck"]}
    return {"httpCheck": shown, "checkerType": "STATIC_IP_CHECKERS"}


def dashboard_born(state: State, call: Call, name: str, _dashboard: Json) -> Json:
    number = state.project(name.split("/")[1]).number
    made = {"name": f"projects/{number}/dashboards/{name.rpartition('/')[2]}"}
    return made | dashboard_changed(state, call, name, made)


def dashboard_changed(state: State, _call: Call, _name: str, _dashboard: Json) -> Json:
    return {"etag": state.fresh()}


def policy_born(state: State, call: Call, name: str, policy: Json) -> Json:
    changed = policy_changed(state, call, name, policy)
    return {"enabled": True, "creationRecord": changed["mutationRecord"], **changed}


def policy_changed(state: State, _call: Call, name: str, policy: Json) -> Json:
    for channel in policy.get("notificationChannels", []):
        state.find("monitoring", channel)
    conditions = [
        {"name": f"{name}/conditions/{state.fresh()}", **condition}
        for condition in policy["conditions"]
    ]
    return {"conditions": conditions, "mutationRecord": {"mutateTime": state.now()}}


def channel_born(state: State, _call: Call, _name: str, _channel: Json) -> Json:
    return {"enabled": True, "creationRecord": {"mutateTime": state.now()}}


def budget_set(state: State, _call: Call, _name: str, budget: Json) -> Json:
    """Fill in what a budget is by default; projects are shown by their numbers."""
    chosen = budget.get("budgetFilter", {})
    projects = [
        f"projects/{state.project(name.partition('/')[2]).number}"
        for name in chosen.get("projects", [])
    ]
    return {
        "budgetFilter": {
            "calendarPeriod": "MONTH",
            "creditTypesTreatment": "INCLUDE_ALL_CREDITS",
            **chosen,
            **({"projects": projects} if projects else {}),
        },
        "thresholdRules": [
            {"spendBasis": "CURRENT_SPEND", **rule} for rule in budget.get("thresholdRules", [])
        ],
        "etag": state.fresh(),
    }


DASHBOARD = Kind(
    "monitoring", "projects/*/dashboards", "?named", dashboard_born, dashboard_changed, whole=True
)
kinds(
    Kind("logging", "projects/*/locations/*/buckets", "?bucketId", bucket_born, bucket_changed),
    Kind("logging", "projects/*/sinks", "name", sink_born, sink_changed),
    Kind("logging", "projects/*/metrics", "name", metric_set, metric_set, whole=True),
    DASHBOARD,
    Kind("monitoring", "projects/*/uptimeCheckConfigs", "", uptime_born),
    Kind("monitoring", "projects/*/alertPolicies", "", policy_born, policy_changed, whole=True),
    Kind("monitoring", "projects/*/notificationChannels", "", channel_born),
    Kind("billingbudgets", "billingAccounts/*/budgets", "", budget_set, budget_set),
)


@on("POST", "monitoring", "projects/{project}/dashboards")
def create_dashboard(state: State, call: Call, project: str) -> Json:
    """Create a dashboard, or only say that it could be."""
    if call.query.get("validateOnly") == "True":
        return call.body
    given = (call.body.get("name") or state.fresh()).rpartition("/")[2]
    call.query["named"] = given
    return DASHBOARD.create(state, call, f"projects/{project}/dashboards")


@on("POST", "logging", "entries:list")
def entries(state: State, call: Call) -> Json:
    """List what a test says was logged into the buckets that are asked for.

    Of a filter only the texts count: each must be somewhere in an entry.
    """
    looked_for = re.sub(r'timestamp[<>=]+"[^"]*"', "", call.body.get("filter", ""))
    texts = re.findall(r'"([^"]*)"', looked_for)
    listed = [
        entry
        for name in call.body["resourceNames"]
        for entry in state.entries.get(name.partition("/buckets/")[2].partition("/")[0], ())
        if all(text in json.dumps(entry) for text in texts)
    ]
    return {"entries": listed} if listed else {}
