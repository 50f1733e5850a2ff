"""Cloud Build: builds end well, and leave their images, if what they need is there."""

import hashlib
import re

from tests.support.google_cloud.kinds import Kind, kinds, on
from tests.support.google_cloud.state import Refusal, State, kept
from tests.support.google_cloud.wire import Answer, Call, Json

IMAGE = re.compile(r"([a-z0-9-]+)-docker\.pkg\.dev/([^/]+)/([^/]+)/")
LOG = b"The steps of a build are not run here.\n"

REPOSITORY = "projects/{project}/locations/{region}/repositories/{repository}"

BUILDS = Kind("cloudbuild", "projects/*/locations/*/builds")
kinds(BUILDS)


@on("POST", "cloudbuild", "projects/{project}/locations/{region}/builds")
def submit(state: State, call: Call, project: str, region: str) -> Json:
    """Queue a build. It has ended when it is looked at a second time."""
    sent = kept(call.body)
    options = sent.get("options", {})
    logging = options.get("logging", "LEGACY")
    owned = options.get("defaultLogsBucketBehavior") == "REGIONAL_USER_OWNED_BUCKET"
    known = logging in {"CLOUD_LOGGING_ONLY", "NONE"} or "logsBucket" in sent or owned
    if "serviceAccount" in sent and not known:
        raise Refusal(
            400,
            "if 'build.service_account' is specified, the build must either (a) specify"
            " 'build.logs_bucket' (b) use the REGIONAL_USER_OWNED_BUCKET"
            " build.options.default_logs_bucket_behavior option, or (c) use either"
            " CLOUD_LOGGING_ONLY / NONE logging options",
        )
    source = sent.get("source", {}).get("storageSource")
    if source:
        name = source["object"].replace("/", "%2F")
        state.find("storage", f"b/{source['bucket']}/o/{name}")
    number = state.project(project).number
    bucket = f"{project}_{region}_cloudbuild/logs" if owned else f"{number}.cloudbuild-logs"
    identity = state.fresh()
    place = f"locations/{region}/builds/{identity}"
    name = f"projects/{project}/{place}"
    build = {
        "logsBucket": f"gs://{bucket}",
        **sent,
        "name": f"projects/{number}/{place}",
        "id": identity,
        "projectId": project,
        "status": "QUEUED",
        "createTime": state.now(),
        "logUrl": f"https://console.cloud.google.com/cloud-build/builds;region={region}/{identity}",
    }
    state.resources[f"cloudbuild/{name}"] = build
    state.unripe[f"cloudbuild/{name}"] = _end(state, sent) | {"finishTime": state.now()}
    return {"name": f"projects/{project}/operations/{identity}", "metadata": {"build": build}}


@on("GET", "cloudbuild", "projects/{project}/locations/{region}/builds")
def builds(state: State, _call: Call, project: str, region: str) -> Json:
    """List builds, the newest first."""
    found = BUILDS.list(state, f"projects/{project}/locations/{region}/builds")
    return {"builds": found["builds"][::-1]}


@on("GET", "storage", "/{bucket}/{name=**}")
def log(_state: State, call: Call, bucket: str, name: str) -> Answer:
    """Return the log of any build, from where the caller has come to."""
    start = int(re.sub(r"\D", "", call.headers["Range"] or "0"))
    return Answer(LOG[start:], 206) if start < len(LOG) else Answer(b"", 416)


def _end(state: State, sent: Json) -> Json:
    """Return what becomes of a build: its images are pushed, if there is a repository."""
    images = sent.get("images", [])
    for image in images:
        found = IMAGE.match(image)
        if found:
            region, project, repository = found.groups()
            key = (
                f"artifactregistry/projects/{project}/locations/{region}/repositories/{repository}"
            )
            if key not in state.resources:
                detail = f'name unknown: Repository "{repository}" not found'
                return {
                    "status": "FAILURE",
                    "failureInfo": {"type": "PUSH_FAILED", "detail": detail},
                }
    pushed = []
    for image in images:
        digest = f"sha256:{hashlib.sha256(image.encode()).hexdigest()}"
        bare = re.sub(r":[^/]+$", "", image)
        state.images |= {image, f"{bare}@{digest}", f"{image}@{digest}"}
        pushed.append({"name": image, "digest": digest})
    return {"status": "SUCCESS", "results": {"images": pushed}}


@on("GET", "artifactregistry", f"{REPOSITORY}/packages/{{package}}/tags")
def tags(state: State, _call: Call, **place: str) -> Json:
    """List the tags of a package, which is there once an image of it was built."""
    name = "{region}-docker.pkg.dev/{project}/{repository}/{package}".format(**place)
    found = sorted(image for image in state.images if image.startswith(f"{name}:"))
    if not found:
        raise Refusal(404, f"Package '{place['package']}' was not found.")
    path = f"{REPOSITORY}/packages/{{package}}".format(**place)
    return {"tags": [{"name": f"{path}/tags/{image.rpartition(':')[2]}"} for image in found]}
