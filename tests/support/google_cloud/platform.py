"""Projects, the services they have enabled, and IAM."""

import jwt

from tests.support.google_cloud.kinds import merge, on
from tests.support.google_cloud.state import Project, Refusal, State
from tests.support.google_cloud.wire import Call, Json


@on("GET", "cloudresourcemanager", "projects/{project}")
def project(state: State, _call: Call, project: str) -> Json:
    found = state.project(project)
    return {
        "projectId": found.name,
        "projectNumber": found.number,
        "name": found.name,
        "lifecycleState": "ACTIVE",
        "createTime": "2026-11-01T00:00:00.000Z",
    }


@on("GET", "serviceusage", "projects/{project}/services")
def enabled(state: State, _call: Call, project: str) -> Json:
    """Those that are enabled: gcloud asks for no others."""
    found = state.project(project)
    return {"services": [_service(found.number, name) for name in sorted(found.services)]}


@on("GET", "serviceusage", "projects/{project}/services/{service}")
def service(state: State, _call: Call, project: str, service: str) -> Json:
    found = state.project(project)
    name = service.removesuffix(".googleapis.com")
    return _service(found.number, name, enabled=name in found.services)


@on("POST", "serviceusage", "projects/{project}/services:batchEnable")
def enable_all(state: State, call: Call, project: str) -> Json:
    return _enable(state, project, call.body["serviceIds"])


@on("POST", "serviceusage", "projects/{project}/services/{service}:enable")
def enable(state: State, _call: Call, project: str, service: str) -> Json:
    return _enable(state, project, [service])


@on("POST", "serviceusage", "projects/{project}/services/{service}:disable")
def disable(state: State, _call: Call, project: str, service: str) -> Json:
    found = state.project(project)
    found.services.discard(service.removesuffix(".googleapis.com"))
    return _done(state, found)


def _enable(state: State, project: str, services: list[str]) -> Json:
    found = state.project(project)
    if len(services) > 20:
        raise Refusal(400, "At most 20 services can be enabled in one batch.")
    found.services |= {name.removesuffix(".googleapis.com") for name in services}
    return _done(state, found)


def _done(state: State, project: Project) -> Json:
    name = f"operations/acat.p2-{project.number}-{state.fresh()}"
    state.operations[name] = {
        "name": name,
        "metadata": {"target": project.name},
        "done": True,
        "response": {},
    }
    return {"name": name}


def _service(number: str, name: str, *, enabled: bool = True) -> Json:
    api = f"{name}.googleapis.com"
    return {
        "name": f"projects/{number}/services/{api}",
        "config": {"name": api},
        "state": "ENABLED" if enabled else "DISABLED",
        "parent": f"projects/{number}",
    }


@on("POST", "iam", "projects/{project}/serviceAccounts")
def create_account(state: State, call: Call, project: str) -> Json:
    email = f"{call.body['accountId']}@{project}.iam.gserviceaccount.com"
    name = f"projects/{project}/serviceAccounts/{email}"
    if f"iam/{name}" in state.resources:
        raise Refusal(409, f"Service account {call.body['accountId']} already exists.")
    state.resources[f"iam/{name}"] = call.body.get("serviceAccount", {}) | {
        "name": name,
        "projectId": project,
        "email": email,
        "uniqueId": f"1{state.next():020}",
        "etag": "MDEwMjE5MjA=",
        "oauth2ClientId": f"1{state.next():020}",
    }
    return state.resources[f"iam/{name}"]


@on("GET", "iam", "projects/{project}/serviceAccounts")
def accounts(state: State, _call: Call, project: str) -> Json:
    return {"accounts": list(state.within("iam", f"projects/{project}/serviceAccounts").values())}


@on("GET", "iam", "projects/-/serviceAccounts/{email}")
def account(state: State, _call: Call, email: str) -> Json:
    project = email.partition("@")[2].partition(".")[0]
    return state.find("iam", f"projects/{project}/serviceAccounts/{email}")


@on("POST", "iam", "projects/{project}/roles")
def create_role(state: State, call: Call, project: str) -> Json:
    name = f"projects/{project}/roles/{call.body['roleId']}"
    if f"iam/{name}" in state.resources:
        raise Refusal(409, f"A role named {call.body['roleId']} already exists.")
    state.resources[f"iam/{name}"] = call.body["role"] | {"name": name, "etag": _etag(state)}
    return state.resources[f"iam/{name}"]


@on("GET", "iam", "projects/{project}/roles/{role}")
def role(state: State, _call: Call, project: str, role: str) -> Json:
    return state.find("iam", f"projects/{project}/roles/{role}")


@on("PATCH", "iam", "projects/{project}/roles/{role}")
def update_role(state: State, call: Call, project: str, role: str) -> Json:
    name = f"projects/{project}/roles/{role}"
    merged = merge(state.find("iam", name), call.body, call.query.get("updateMask", ""))
    state.resources[f"iam/{name}"] = merged | {"etag": _etag(state)}
    return state.resources[f"iam/{name}"]


def _etag(state: State) -> str:
    return f"BwY{state.next():05}"


@on("POST", "iam", "permissions:queryTestablePermissions")
def testable(_state: State, _call: Call) -> Json:
    """Return nothing to be said against any permission of a role."""
    return {}


@on("POST", "iamcredentials", "projects/-/serviceAccounts/{email}:generateAccessToken")
def access_token(state: State, _call: Call, email: str) -> Json:
    account(state, _call, email)
    return {"accessToken": f"token-of-{email}", "expireTime": "2099-01-01T00:00:00Z"}


@on("POST", "iamcredentials", "projects/-/serviceAccounts/{email}:generateIdToken")
def id_token(state: State, call: Call, email: str) -> Json:
    account(state, call, email)
    claims = {"email": email, "aud": call.body["audience"], "iat": 0, "exp": 4_000_000_000}
    return {"token": jwt.encode(claims, "nobody checks this signature, which Google's would do")}
