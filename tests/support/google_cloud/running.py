"""Cloud Run: services, the revisions that they leave, and where the traffic goes."""

import hashlib
import json
import re

from tests.support.google_cloud.kinds import on
from tests.support.google_cloud.policies import get_policy, set_policy
from tests.support.google_cloud.state import Refusal, State, kept
from tests.support.google_cloud.wire import Call, Json

API = "serving.knative.dev/v1"
SERVICE = "serving.knative.dev/service"
CONDITIONS = ("Ready", "ConfigurationsReady", "RoutesReady")
DEFAULT_ACCOUNT = "-compute@developer.gserviceaccount.com"
DEFAULT_PROBE = {
    "tcpSocket": {"port": 8080},
    "timeoutSeconds": 240,
    "periodSeconds": 240,
    "failureThreshold": 1,
}
BEHIND_IAP = "run.googleapis.com/iap-enabled"
LEAST_MEMORY = 512
"""What the second generation of environments takes, in MiB."""
IMAGE = re.compile(r"[a-z0-9-]+-docker\.pkg\.dev/([^/]+)/")


@on("GET", "run", "namespaces/{project}/services")
def listed(state: State, call: Call, project: str) -> Json:
    return _list(state, project, call.region, "services", "ServiceList")


@on("GET", "run", "projects/{project}/locations/{region}/services")
def listed_everywhere(state: State, _call: Call, project: str, region: str) -> Json:
    return _list(state, project, region, "services", "ServiceList")


@on("GET", "run", "namespaces/{project}/revisions")
def revisions(state: State, call: Call, project: str) -> Json:
    """List revisions, all or those of a service, the newest first."""
    found = _list(state, project, call.region, "revisions", "RevisionList")
    label, _, value = call.query.get("labelSelector", "").partition("=")
    items = [
        item
        for item in found["items"]
        if not label or item["metadata"]["labels"].get(label.strip()) == value.strip()
    ]
    return found | {"items": items[::-1]}


@on("GET", "run", "namespaces/{project}/{kind}/{name}")
def described(state: State, call: Call, project: str, kind: str, name: str) -> Json:
    return state.find("run", f"projects/{project}/locations/{call.region}/{kind}/{name}")


@on("DELETE", "run", "namespaces/{project}/services/{name}")
def deleted(state: State, call: Call, project: str, name: str) -> Json:
    place = f"projects/{project}/locations/{call.region}"
    state.find("run", f"{place}/services/{name}")
    del state.resources[f"run/{place}/services/{name}"]
    state.policies.pop(f"run/{place}/services/{name}", None)
    for key, revision in state.within("run", f"{place}/revisions").items():
        if revision["metadata"]["labels"][SERVICE] == name:
            del state.resources[key]
    return {"status": "Success"}


@on("DELETE", "run", "namespaces/{project}/revisions/{name}")
def deleted_revision(state: State, call: Call, project: str, name: str) -> Json:
    place = f"projects/{project}/locations/{call.region}"
    labels = state.find("run", f"{place}/revisions/{name}")["metadata"]["labels"]
    service = state.find("run", f"{place}/services/{labels[SERVICE]}")
    if any(target["revisionName"] == name for target in service["status"]["traffic"]):
        raise Refusal(400, f"Revision '{name}' serves traffic.", "FAILED_PRECONDITION")
    del state.resources[f"run/{place}/revisions/{name}"]
    return {"status": "Success"}


@on("POST", "run", "namespaces/{project}/services")
def created(state: State, call: Call, project: str) -> Json:
    name = call.body["metadata"]["name"]
    if f"run/projects/{project}/locations/{call.region}/services/{name}" in state.resources:
        raise Refusal(409, f"Resource '{name}' already exists.")
    return _apply(state, call, project, {"metadata": {"generation": 0}, "spec": {}, "status": {}})


@on("PUT", "run", "namespaces/{project}/services/{name}")
def replaced(state: State, call: Call, project: str, name: str) -> Json:
    old = state.find("run", f"projects/{project}/locations/{call.region}/services/{name}")
    version = call.body["metadata"].get("resourceVersion")
    if version and version != old["metadata"]["resourceVersion"]:
        raise Refusal(409, f"Conflict for resource '{name}': it was changed.", "ABORTED")
    return _apply(state, call, project, old)


@on("POST", "iap", "projects/{project}/iap_web/cloud_run-{region}/services/{name}:getIamPolicy")
@on("POST", "iap", "projects/{project}/iap_web/cloud_run-{region}/services/{name}:setIamPolicy")
def let_in(state: State, call: Call, project: str, region: str, name: str) -> Json:
    """Say whom Identity-Aware Proxy lets in to a service that it stands before."""
    service = state.find("run", f"projects/{project}/locations/{region}/services/{name}")
    if service["metadata"]["annotations"].get(BEHIND_IAP) != "true":
        raise Refusal(404, f"Resource '{name}' was not found: it is not behind IAP.")
    key = f"iap/projects/{project}/iap_web/cloud_run-{region}/services/{name}"
    if call.name.endswith(":setIamPolicy"):
        return set_policy(state, key, call.body["policy"])
    return get_policy(state, key, 3)


def _list(state: State, project: str, region: str, collection: str, kind: str) -> Json:
    found = state.within("run", f"projects/{project}/locations/{region}/{collection}")
    metadata = {"resourceVersion": state.fresh()}
    return {"apiVersion": API, "kind": kind, "metadata": metadata, "items": list(found.values())}


def _apply(state: State, call: Call, project: str, old: Json) -> Json:
    """Make a service what was sent: with a new revision, if its template is another."""
    sent = kept(call.body)
    name = sent["metadata"]["name"]
    number = state.project(project).number
    place = f"projects/{project}/locations/{call.region}"
    operation = state.fresh()
    generation = old["metadata"]["generation"] + 1
    template = _template(state, project, sent["spec"]["template"])
    latest = old["status"].get("latestCreatedRevisionName")
    if template != old["spec"].get("template"):
        latest = template["metadata"].get("name") or f"{name}-{generation:05}-{state.fresh()[:3]}"
        _revise(state, place, name, latest, template)
    service = {
        "apiVersion": API,
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": number,
            "selfLink": f"/apis/{API}/namespaces/{number}/services/{name}",
            "uid": old["metadata"].get("uid") or state.fresh(),
            "resourceVersion": state.fresh(),
            "generation": generation,
            "creationTimestamp": old["metadata"].get("creationTimestamp") or state.now(),
            "labels": {
                **sent["metadata"].get("labels", {}),
                "cloud.googleapis.com/location": call.region,
            },
            "annotations": {
                "run.googleapis.com/ingress": "all",
                **sent["metadata"].get("annotations", {}),
                "run.googleapis.com/operation-id": operation,
                "run.googleapis.com/urls": json.dumps(
                    [f"https://{name}-{number}.{call.region}.run.app", _url(place, name)]
                ),
            },
        },
        "spec": {
            "template": template,
            "traffic": sent["spec"].get("traffic") or [{"latestRevision": True, "percent": 100}],
        },
    }
    ready = old["status"].get("latestReadyRevisionName")
    state.resources[f"run/{place}/services/{name}"] = service
    service["status"] = _status(state, place, service, latest, ready)
    state.operations[f"{place}/operations/{operation}"] = {
        "name": f"{place}/operations/{operation}",
        "metadata": {"target": f"{place}/services/{name}"},
        "done": True,
        "response": {"@type": "type.googleapis.com/google.cloud.run.v1.Service"},
    }
    unknown = [{"type": each, "status": "Unknown"} for each in CONDITIONS]
    return service | {"status": {**old["status"], "conditions": unknown}}


def _template(state: State, project: str, sent: Json) -> Json:
    """Fill in what Cloud Run takes for what is not said."""
    spec = sent["spec"]
    account = spec.get("serviceAccountName", f"{state.project(project).number}{DEFAULT_ACCOUNT}")
    owner = account.partition("@")[2].partition(".")[0]
    if owner in state.projects:
        key = f"iam/projects/{owner}/serviceAccounts/{account}"
        if key not in state.resources:
            raise Refusal(
                403,
                "Permission 'iam.serviceaccounts.actAs' denied on service account"
                f" {account} (or it may not exist).",
            )
    metadata = sent.get("metadata", {})
    annotations = {"autoscaling.knative.dev/maxScale": "100", **metadata.get("annotations", {})}
    containers = [
        {
            "ports": [{"name": "http1", "containerPort": 8080}],
            "startupProbe": DEFAULT_PROBE,
            **container,
            "resources": {
                "limits": {
                    "cpu": "1000m",
                    "memory": "512Mi",
                    **container.get("resources", {}).get("limits", {}),
                }
            },
        }
        for container in spec["containers"]
    ]
    if annotations.get("run.googleapis.com/execution-environment") == "gen2":
        for container in containers:
            memory = container["resources"]["limits"]["memory"]
            if memory.endswith("Mi") and int(memory.removesuffix("Mi")) < LEAST_MEMORY:
                raise Refusal(
                    400, f"Second generation services need 512Mi of memory, not {memory}."
                )
    return {
        "metadata": {**metadata, "annotations": annotations},
        "spec": {
            "containerConcurrency": 80,
            "timeoutSeconds": 300,
            **spec,
            "serviceAccountName": account,
            "containers": containers,
        },
    }


def _revise(state: State, place: str, service: str, name: str, template: Json) -> None:
    """Keep a template as a revision, which starts if its image is there."""
    if not name.startswith(f"{service}-"):
        raise Refusal(400, f"Revision name must be prefixed by '{service}-'.")
    if f"run/{place}/revisions/{name}" in state.resources:
        raise Refusal(409, f"Revision named '{name}' with different configuration already exists.")
    problem = ""
    for container in template["spec"]["containers"]:
        image = container["image"]
        found = IMAGE.match(image)
        if found and found[1] in state.projects and image not in state.images:
            problem = f"Image '{image}' not found."
    if service in state.broken:
        problem = "The user-provided container failed to start and listen on the port."
    state.resources[f"run/{place}/revisions/{name}"] = {
        "apiVersion": API,
        "kind": "Revision",
        "metadata": {
            **template["metadata"],
            "name": name,
            "namespace": state.project(place.split("/")[1]).number,
            "uid": state.fresh(),
            "creationTimestamp": state.now(),
            "generation": 1,
            "labels": {
                **template["metadata"].get("labels", {}),
                "serving.knative.dev/service": service,
                "serving.knative.dev/configuration": service,
            },
        },
        "spec": template["spec"],
        "status": {
            "observedGeneration": 1,
            "conditions": _conditions(state, {"Ready": problem, "ContainerHealthy": problem}),
        },
    }


def _status(state: State, place: str, service: Json, latest: str, ready: str | None) -> Json:
    """Say what became of a service: where its traffic really goes, and what is wrong."""
    name = service["metadata"]["name"]
    newest = state.find("run", f"{place}/revisions/{latest}")["status"]["conditions"][0]
    unready = newest.get("message", "")
    ready = ready if unready else latest
    lost = ""
    traffic = []
    for target in service["spec"]["traffic"]:
        revision = target.get("revisionName") or ready
        if f"run/{place}/revisions/{revision}" not in state.resources:
            lost = f"Revision '{revision}' not found."
            continue
        url = {"url": _url(place, name, target["tag"])} if "tag" in target else {}
        traffic.append({**target, "revisionName": revision, **url})
    problems = dict(zip(CONDITIONS, (unready or lost, unready, lost), strict=True))
    return {
        "observedGeneration": service["metadata"]["generation"],
        "conditions": _conditions(state, problems),
        "latestCreatedRevisionName": latest,
        **({"latestReadyRevisionName": ready} if ready else {}),
        "traffic": traffic,
        "url": _url(place, name),
        "address": {"url": _url(place, name)},
    }


def _conditions(state: State, problems: dict[str, str]) -> Json:
    return [
        {
            "type": name,
            "status": "False" if problem else "True",
            "lastTransitionTime": state.now(),
            **({"message": problem, "reason": "Failed"} if problem else {}),
        }
        for name, problem in problems.items()
    ]


def _url(place: str, name: str, tag: str = "") -> str:
    """Return a service's first address, which nobody can know before it is there."""
    letters = hashlib.sha256(place.encode()).hexdigest()[:10]
    return f"https://{tag}{'---' if tag else ''}{name}-{letters}-nw.a.run.app"
