"""What keeps data: Firestore's databases with their indexes, secrets, and images."""

import base64
import re

from tests.support.google_cloud.kinds import Kind, canonical, kinds, merge, on, operate
from tests.support.google_cloud.state import Refusal, State
from tests.support.google_cloud.wire import Call, Json

ADMIN = "google.firestore.admin.v1"
DEFAULT = "collectionGroups/__default__/fields/*"
EVERY_WAY = [{"order": "ASCENDING"}, {"order": "DESCENDING"}, {"arrayConfig": "CONTAINS"}]
"""How Firestore indexes a field by itself unless it is told otherwise."""


def database_born(state: State, call: Call, name: str, database: Json) -> Json:
    if database.get("type") not in {"FIRESTORE_NATIVE", "DATASTORE_MODE"}:
        raise Refusal(400, "Missing database type.")
    state.resources[f"firestore/{name}/{DEFAULT}"] = {
        "name": f"{name}/{DEFAULT}",
        "indexConfig": {"indexes": [_alone(way, "*") for way in EVERY_WAY]},
    }
    return {
        "uid": state.fresh(),
        "createTime": state.now(),
        "concurrencyMode": "PESSIMISTIC",
        "appEngineIntegrationMode": "DISABLED",
        **database_changed(state, call, name, database),
    }


def database_changed(state: State, _call: Call, _name: str, database: Json) -> Json:
    on = database.get("pointInTimeRecoveryEnablement") == "POINT_IN_TIME_RECOVERY_ENABLED"
    return {
        "pointInTimeRecoveryEnablement": f"POINT_IN_TIME_RECOVERY_{'EN' if on else 'DIS'}ABLED",
        "versionRetentionPeriod": "604800s" if on else "3600s",
        "earliestVersionTime": state.now(),
        "updateTime": state.now(),
        "etag": state.fresh(),
    }


def index_born(state: State, _call: Call, name: str, index: Json) -> Json:
    """Add the document's name, by which Firestore orders what is otherwise equal."""
    last = index["fields"][-1].get("order", "ASCENDING")
    fields = [*index["fields"], {"fieldPath": "__name__", "order": last}]
    for other in state.within("firestore", name.rpartition("/")[0]).values():
        if (other["fields"], other["queryScope"]) == (fields, index["queryScope"]):
            raise Refusal(409, "index already exists")
    state.unripe[f"firestore/{name}"] = {"state": "READY"}
    return {"fields": fields, "state": "CREATING"}


def schedule_born(state: State, _call: Call, name: str, schedule: Json) -> Json:
    for other in state.within("firestore", name.rpartition("/")[0]).values():
        if ("dailyRecurrence" in other) == ("dailyRecurrence" in schedule):
            raise Refusal(409, "A backup schedule of this recurrence already exists.")
    return {"createTime": state.now(), "updateTime": state.now()}


DATABASE = Kind(
    "firestore",
    "projects/*/databases",
    "?databaseId",
    database_born,
    database_changed,
    operation="later",
    message=f"{ADMIN}.Database",
)


@on("DELETE", "firestore", "projects/{project}/databases/{database}")
def delete_database(state: State, _call: Call, project: str, database: str) -> Json:
    name = f"projects/{project}/databases/{database}"
    if state.find("firestore", name)["deleteProtectionState"] == "DELETE_PROTECTION_ENABLED":
        raise Refusal(400, "Delete protection is enabled.", "FAILED_PRECONDITION")
    return DATABASE.delete(state, name)


@on("GET", "firestore", "{database=**}/collectionGroups/{group}/fields")
def fields(state: State, call: Call, database: str, group: str) -> Json:
    """List the fields that are not as others are, in the way the filter asks for."""
    state.find("firestore", database)
    wanted = {"ttlConfig:*": "ttlConfig", "indexConfig.usesAncestorConfig:false": "indexConfig"}
    found = state.within("firestore", f"{database}/collectionGroups/{group}/fields")
    part = wanted[call.query["filter"]]
    shown = [state.see(key) for key, field in found.items() if part in field]
    return {"fields": [_field(database, field) for field in shown]}


@on("GET", "firestore", "{database=**}/collectionGroups/{group}/fields/{field}")
def field(state: State, _call: Call, database: str, group: str, field: str) -> Json:
    """Return how a field is kept; each one is there, whether or not a document has it."""
    state.find("firestore", database)
    name = f"{database}/collectionGroups/{group}/fields/{field}"
    return _field(database, state.resources.get(f"firestore/{name}", {"name": name}))


@on("PATCH", "firestore", "{database=**}/collectionGroups/{group}/fields/{field}")
def update_field(state: State, call: Call, database: str, group: str, field: str) -> Json:
    state.find("firestore", database)
    name = f"{database}/collectionGroups/{group}/fields/{field}"
    old = state.resources.get(f"firestore/{name}", {"name": name})
    changed = merge(old, call.body, call.query.get("updateMask", ""))
    if "ttlConfig" in changed and "ttlConfig" not in old:
        changed["ttlConfig"] = {"state": "CREATING"}
        state.unripe[f"firestore/{name}"] = {"ttlConfig": {"state": "ACTIVE"}}
    state.resources[f"firestore/{name}"] = changed
    return operate(state, name, _field(database, changed), f"{ADMIN}.Field", done=False)


def _field(database: str, field: Json) -> Json:
    above = f"{database}/{DEFAULT}"
    if field["name"] == above:
        return field
    inherited = {
        "usesAncestorConfig": True,
        "indexes": [_alone(way, field["name"].rpartition("/")[2]) for way in EVERY_WAY],
    }
    return {**field, "indexConfig": field.get("indexConfig", inherited) | {"ancestorField": above}}


def _alone(way: Json, field: str) -> Json:
    return {
        "queryScope": "COLLECTION",
        "fields": [{"fieldPath": field, **way}],
        "state": "READY",
    }


def secret_born(state: State, _call: Call, name: str, _secret: Json) -> Json:
    return {
        "name": _numbered(state, name),
        "createTime": state.now(),
        "etag": state.fresh(),
    }


@on("POST", "secretmanager", "{secret=**}:addVersion")
def add_version(state: State, call: Call, secret: str) -> Json:
    secret = canonical(state, secret)
    state.find("secretmanager", secret)
    number = len(state.within("secretmanager", f"{secret}/versions")) + 1
    name = f"{secret}/versions/{number}"
    state.payloads[name] = base64.b64decode(call.body["payload"]["data"])
    state.resources[f"secretmanager/{name}"] = {
        "name": _numbered(state, name),
        "createTime": state.now(),
        "state": "ENABLED",
        "etag": state.fresh(),
        "clientSpecifiedPayloadChecksum": "dataCrc32c" in call.body["payload"],
    }
    return state.resources[f"secretmanager/{name}"]


@on("GET", "secretmanager", "{secret=**}/versions/{version}:access")
def access_version(state: State, _call: Call, secret: str, version: str) -> Json:
    found = _version(state, secret, version)
    if found["state"] != "ENABLED":
        raise Refusal(400, f"{found['name']} is in {found['state']} state.", "FAILED_PRECONDITION")
    payload = state.payloads[canonical(state, found["name"])]
    data = base64.b64encode(payload).decode()
    return {"name": found["name"], "payload": {"data": data}}


@on("GET", "secretmanager", "{secret=**}/versions/{version}")
def version(state: State, _call: Call, secret: str, version: str) -> Json:
    return _version(state, secret, version)


@on("POST", "secretmanager", "{secret=**}/versions/{version}:{verb}")
def change_version(state: State, _call: Call, secret: str, version: str, verb: str) -> Json:
    found = _version(state, secret, version)
    if found["state"] == "DESTROYED":
        raise Refusal(400, f"{found['name']} is in DESTROYED state.", "FAILED_PRECONDITION")
    found["state"] = {"enable": "ENABLED", "disable": "DISABLED", "destroy": "DESTROYED"}[verb]
    return found


def _version(state: State, secret: str, version: str) -> Json:
    if version == "latest":
        version = str(len(state.within("secretmanager", f"{secret}/versions")))
    return state.find("secretmanager", f"{secret}/versions/{version}")


def _numbered(state: State, name: str) -> str:
    return re.sub(r"(?<=^projects/)[^/]+", lambda found: state.project(found[0]).number, name)


def repository_born(state: State, _call: Call, name: str, _repository: Json) -> Json:
    _, project, _, region, _, identity = name.split("/")
    return {
        "mode": "STANDARD_REPOSITORY",
        "registryUri": f"{region}-docker.pkg.dev/{project}/{identity}",
        "createTime": state.now(),
        "updateTime": state.now(),
    }


kinds(
    DATABASE,
    Kind(
        "firestore",
        "projects/*/databases/*/collectionGroups/*/indexes",
        born=index_born,
        operation="later",
        message=f"{ADMIN}.Index",
    ),
    Kind("firestore", "projects/*/databases/*/backupSchedules", born=schedule_born),
    *(
        Kind("secretmanager", path, "?secretId", secret_born)
        for path in ("projects/*/secrets", "projects/*/locations/*/secrets")
    ),
    *(
        Kind("secretmanager", path)
        for path in ("projects/*/secrets/*/versions", "projects/*/locations/*/secrets/*/versions")
    ),
    Kind(
        "artifactregistry",
        "projects/*/locations/*/repositories",
        "?repositoryId",
        repository_born,
        operation="later",
        message="google.devtools.artifactregistry.v1.Repository",
    ),
)
