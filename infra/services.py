"""What each function is given when it runs: its size, its rights and its environment."""

import hashlib
from functools import cache
from typing import Any

import yaml

from infra.steps import HERE, Values
from shared.routes import Routes


@cache
def sizes() -> dict[str, Any]:
    """Return functions.yaml."""
    declared: dict[str, Any] = yaml.safe_load((HERE / "functions.yaml").read_text())
    return declared


def service_name(function: str) -> str:
    """Return the name of a function's service on Cloud Run, which takes no underscore."""
    return f"ally-{function.replace('_', '-')}"


def address(function: str, number: str, region: str) -> str:
    """Return where a function is, in a project that has this number."""
    return f"https://{service_name(function)}-{number}.{region}.run.app"


def host(function: str, values: Values) -> str:
    """Return the name that people know a portal by; nothing for a function that is none."""
    return next((each["domain"] for each in values["hosts"] if each["label"] == function), "")


def environment(function: str, values: Values) -> dict[str, str]:
    """Return the environment variables of a function. No secret is among them."""
    return {
        # How the functions framework is started; the image itself knows another function.
        "FUNCTION_TARGET": function,
        "FUNCTION_SOURCE": f"functions/{function}/main.py",
        "FUNCTION_USE_ASGI": "true",
        "PYTHONPATH": "/workspace",
        "ALLY_BACKEND": "google",
        "GOOGLE_CLOUD_PROJECT": values["project"],
        "ALLY_DATABASE_TEST": values["database_test"],
        "ALLY_DATABASE_LIVE": values["database_live"],
        "ALLY_DATABASE_ACCOUNT": values["database_live"],
        "ALLY_URL": f"https://{values['host']}",
        "ALLY_DASHBOARD_URL": f"https://{host('dashboard', values)}",
        "ALLY_OPERATIONS_URL": f"https://{host('operations', values)}",
        "ALLY_IAP_AUDIENCE": f"/projects/{values['number']}/locations/{values['region']}"
        f"/services/{service_name('operations')}",
        "ALLY_BEHIND_GATEWAY": "1",
        "ALLY_PROXIES": str(values["pages_proxies" if host(function, values) else "proxies"]),
        "ALLY_SUPPORT": values["support"],
        "ALLY_FIREBASE_TEST": values["firebase_test"],
        "ALLY_FIREBASE_LIVE": values["firebase_live"],
        "ALLY_QUEUE": values["queue"],
        "ALLY_WORKER_URL": values["worker"],
        "ALLY_WORKER_ACCOUNT": values["caller"],
        "ALLY_SMTP": values["smtp"],
        "ALLY_SMTP_USER": values["smtp_user"],
        "ALLY_MAIL_FROM": values["mail_from"],
        "ALLY_IDENTITY_PLATFORM": values["identity_platform"],
        "ALLY_IDENTITY_KEY": values["identity_key"],
        "ALLY_METERING_INTERVAL": str(values["metering_interval"]),
    }


def _caller(api: Routes, values: Values) -> str:
    """Return who may call a function; nothing where nobody calls it yet.

    Of a portal the balancer alone does, which shows no token of its own: so the dashboard's is
    called by everybody, and that of staff by what has asked who they are.
    """
    if api.reachable:
        return f"serviceAccount:{values['gateway']}"
    if api.audience == "internal":
        return f"serviceAccount:{values['caller']}"
    if not host(api.name, values):
        return ""
    return f"serviceAccount:{values['proxy']}" if api.audience == "staff" else "allUsers"


def describe(api: Routes, values: Values) -> dict[str, Any]:
    """Return the values of one function for the steps of its service."""
    function = api.name
    declared = sizes()
    size = {**declared["defaults"], **declared["functions"].get(function, {})}
    variables = environment(function, values)
    name = service_name(function)
    flags = (HERE / "steps" / "60-services.yaml").read_text()
    ingress = "internal-and-cloud-load-balancing" if host(function, values) else "all"
    made_of = repr(
        (flags, ingress, sorted(size.items()), sorted(variables.items()), values["image"])
    )
    return {
        **size,
        "function": function,
        "audience": api.audience,
        "service": name,
        "account": f"{name}@{values['project']}.iam.gserviceaccount.com",
        "called_by": _caller(api, values),
        "host": host(function, values),
        "ingress": ingress,
        # A service whose label is this was made of just that, so the same again is left alone.
        "fingerprint": hashlib.sha256(made_of.encode()).hexdigest()[:16],
        "variables": "^;^" + ";".join(f"{key}={value}" for key, value in variables.items()),
    }
