"""Cloud Storage: buckets and the objects in them."""

import base64
import hashlib
import json
import re

from tests.support.google_cloud.kinds import merge, on
from tests.support.google_cloud.policies import get_policy, set_policy
from tests.support.google_cloud.state import Refusal, State
from tests.support.google_cloud.wire import Answer, Call, Json

ROOT = "https://www.googleapis.com/storage/v1"
PART = re.compile(rb"\r?\n\r?\n")


@on("POST", "storage", "b")
def create_bucket(state: State, call: Call) -> Json:
    name = call.body["name"]
    if f"storage/b/{name}" in state.resources:
        raise Refusal(409, "The requested bucket name is not available.")
    project = state.project(call.query["project"])
    location = call.body.get("location", "US").upper()
    state.resources[f"storage/b/{name}"] = {
        "kind": "storage#bucket",
        "storageClass": "STANDARD",
        "iamConfiguration": {"uniformBucketLevelAccess": {"enabled": False}},
        **call.body,
        "id": name,
        "selfLink": f"{ROOT}/b/{name}",
        "projectNumber": project.number,
        "location": location,
        "locationType": "region" if "-" in location else "multi-region",
        "timeCreated": state.now(),
        "updated": state.now(),
        "metageneration": "1",
        "etag": state.fresh(),
    }
    return state.resources[f"storage/b/{name}"]


@on("GET", "storage", "b")
def buckets(state: State, call: Call) -> Json:
    number = state.project(call.query["project"]).number
    found = state.within("storage", "b").values()
    return {"items": [bucket for bucket in found if bucket.get("projectNumber") == number]}


@on("GET", "storage", "b/{bucket}")
def bucket(state: State, _call: Call, bucket: str) -> Json:
    return state.find("storage", f"b/{bucket}")


@on("PATCH", "storage", "b/{bucket}")
def update_bucket(state: State, call: Call, bucket: str) -> Json:
    old = state.find("storage", f"b/{bucket}")
    count = str(int(old["metageneration"]) + 1)
    changed = {"metageneration": count, "updated": state.now(), "etag": state.fresh()}
    state.resources[f"storage/b/{bucket}"] = merge(old, call.body, "") | changed
    return state.resources[f"storage/b/{bucket}"]


@on("DELETE", "storage", "b/{bucket}")
def delete_bucket(state: State, _call: Call, bucket: str) -> Answer:
    state.find("storage", f"b/{bucket}")
    if state.within("storage", f"b/{bucket}/o"):
        raise Refusal(409, "The bucket you tried to delete is not empty.")
    del state.resources[f"storage/b/{bucket}"]
    return Answer(b"", 204)


@on("GET", "storage", "b/{bucket}/iam")
def policy(state: State, call: Call, bucket: str) -> Json:
    state.find("storage", f"b/{bucket}")
    version = int(call.query.get("optionsRequestedPolicyVersion", "1"))
    return {"kind": "storage#policy", **get_policy(state, f"storage/b/{bucket}", version)}


@on("PUT", "storage", "b/{bucket}/iam")
def change_policy(state: State, call: Call, bucket: str) -> Json:
    state.find("storage", f"b/{bucket}")
    return set_policy(state, f"storage/b/{bucket}", call.body)


@on("POST", "storage", "b/{bucket}/o")
def upload(state: State, call: Call, bucket: str) -> Json:
    """Take an object: at once, of two parts, or in a second call to an address that is given."""
    state.find("storage", f"b/{bucket}")
    if call.query["uploadType"] == "resumable":
        name = call.query.get("name") or call.body["name"]
        place = f"https://{call.host}{call.path}?uploadType=resumable&upload_id={name}"
        return Answer({}, headers={"Location": place})
    if call.query["uploadType"] == "media":
        return _keep(state, bucket, {"name": call.query["name"]}, call.body or b"")
    boundary = re.search(r"boundary=[\"']?([^\"';]+)", call.headers["Content-Type"])
    assert boundary
    _, told, data, _ = call.body.split(b"--" + boundary[1].encode())
    metadata = json.loads(PART.split(told, maxsplit=1)[1])
    content = PART.split(data, maxsplit=1)[1].removesuffix(b"\n").removesuffix(b"\r")
    return _keep(state, bucket, {"name": call.query.get("name"), **metadata}, content)


@on("PUT", "storage", "b/{bucket}/o")
def resume(state: State, call: Call, bucket: str) -> Json:
    return _keep(state, bucket, {"name": call.query["upload_id"]}, call.body or b"")


@on("GET", "storage", "b/{bucket}/o")
def objects(state: State, call: Call, bucket: str) -> Json:
    state.find("storage", f"b/{bucket}")
    found = state.within("storage", f"b/{bucket}/o").values()
    prefix = call.query.get("prefix", "")
    return {"items": [each for each in found if each["name"].startswith(prefix)]}


@on("GET", "storage", "b/{bucket}/o/{name=**}")
def read(state: State, call: Call, bucket: str, name: str) -> Json:
    """Return an object: what it holds, or what is known of it."""
    key = f"b/{bucket}/o/{_flat(name)}"
    found = state.find("storage", key)
    return state.payloads[key] if call.query.get("alt") == "media" else found


@on("DELETE", "storage", "b/{bucket}/o/{name=**}")
def delete_object(state: State, _call: Call, bucket: str, name: str) -> Answer:
    key = f"b/{bucket}/o/{_flat(name)}"
    state.find("storage", key)
    del state.resources[f"storage/{key}"]
    del state.payloads[key]
    return Answer(b"", 204)


def _keep(state: State, bucket: str, metadata: Json, content: bytes) -> Json:
    name = metadata["name"]
    key = f"b/{bucket}/o/{_flat(name)}"
    state.payloads[key] = content
    state.resources[f"storage/{key}"] = {
        "kind": "storage#object",
        "storageClass": "STANDARD",
        **metadata,
        "id": f"{bucket}/{name}",
        "bucket": bucket,
        "selfLink": f"{ROOT}/{key}",
        "size": str(len(content)),
        "md5Hash": base64.b64encode(hashlib.md5(content).digest()).decode(),  # noqa: S324  # Google's
        "generation": str(state.next()),
        "metageneration": "1",
        "timeCreated": state.now(),
        "updated": state.now(),
        "etag": state.fresh(),
    }
    return state.resources[f"storage/{key}"]


def _flat(name: str) -> str:
    """Return an object's name as one segment, as it stands in an address."""
    return name.replace("/", "%2F")
