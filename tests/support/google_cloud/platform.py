"""Projects, the services they have enabled, what pays for them, and IAM."""

import jwt

from tests.support.google_cloud.kinds import Kind, kinds, on
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
    name = service.removesuffix(".googleapis.com")
    if name == "cloudtrace" and "cloudapis" in found.services:
        raise Refusal(
            400,
            f"The service {service} is depended on by the following active service(s):"
            " cloudapis.googleapis.com; Please specify disable_dependent_services=true if you want"
            " to proceed with disabling all services.",
            "FAILED_PRECONDITION",
        )
    found.services.discard(name)
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


@on("POST", "serviceusage", "projects/{project}/services/{service}:generateServiceIdentity")
def identify(state: State, _call: Call, project: str, service: str) -> Json:
    """Make a service's own account, which some are to be given roles before they are first used."""
    number = state.project(project).number
    name = service.removesuffix(".googleapis.com")
    email = f"service-{number}@gcp-sa-{name}.iam.gserviceaccount.com"
    state.agents.add(email)
    return {
        "name": f"operations/finished.{state.fresh()}",
        "done": True,
        "response": {
            "@type": "type.googleapis.com/google.api.serviceusage.v1beta1.ServiceIdentity",
            "email": email,
            "uniqueId": f"1{state.next():020}",
        },
    }


@on("GET", "cloudbilling", "projects/{project}/billingInfo")
def billing(state: State, _call: Call, project: str) -> Json:
    account = state.project(project).billing
    return {
        "name": f"projects/{project}/billingInfo",
        "projectId": project,
        "billingAccountName": account,
        "billingEnabled": bool(account),
    }


@on("PUT", "cloudbilling", "projects/{project}/billingInfo")
def link_billing(state: State, call: Call, project: str) -> Json:
    state.project(project).billing = call.body["billingAccountName"]
    return billing(state, call, project)


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
        "oauth2ClientId": f"1{state.next():020}",
        "etag": "MDEwMjE5MjA=",
    }
    return state.resources[f"iam/{name}"]


@on("POST", "iam", "projects/{project}/roles")
def create_role(state: State, call: Call, project: str) -> Json:
    name = f"projects/{project}/roles/{call.body['roleId']}"
    if f"iam/{name}" in state.resources:
        raise Refusal(409, f"A role named {call.body['roleId']} already exists.")
    state.resources[f"iam/{name}"] = call.body["role"] | {"name": name, "etag": state.fresh()}
    return state.resources[f"iam/{name}"]


def role_changed(state: State, _call: Call, _name: str, _role: Json) -> Json:
    return {"etag": state.fresh()}


kinds(
    Kind("iam", "projects/*/serviceAccounts", listed="accounts"),
    Kind("iam", "projects/*/roles", changed=role_changed),
)


@on("POST", "iam", "permissions:queryTestablePermissions")
def testable(_state: State, _call: Call) -> Json:
    """Return nothing to be said against any permission of a role."""
    return {}


@on("POST", "iamcredentials", "projects/{project}/serviceAccounts/{email}:generateAccessToken")
def access_token(state: State, _call: Call, project: str, email: str) -> Json:
    state.find("iam", f"projects/{project}/serviceAccounts/{email}")
    return {"accessToken": f"token-of-{email}", "expireTime": "2099-01-01T00:00:00Z"}


@on("POST", "iamcredentials", "projects/{project}/serviceAccounts/{email}:generateIdToken")
def id_token(state: State, call: Call, project: str, email: str) -> Json:
    state.find("iam", f"projects/{project}/serviceAccounts/{email}")
    claims = {"email": email, "aud": call.body["audience"], "iat": 0, "exp": 4_000_000_000}
    return {"token": jwt.encode(claims, "nobody checks this signature, which Google's would do")}
