"""The values of an environment: its file, what a commit adds, and what is derived from the code."""

import hashlib
import json
import secrets
import shlex
import subprocess
from collections.abc import Iterable
from typing import Any

import yaml

from functions import discover, discover_portals
from infra import errors, gateway, routing, services
from infra.gcloud import gcloud
from infra.steps import HERE, StepError, Values, fill
from infra.watching import watching
from shared.routes import Routes

REGION = "europe-west2"
"""London. Nothing is kept anywhere else."""


def environments() -> list[str]:
    """Return the names of the environments there are."""
    return sorted(path.stem for path in (HERE / "environments").glob("*.yaml"))


def commit() -> str:
    """Return the commit that is checked out. StepError where files differ from it."""
    if _git("status", "--porcelain"):
        raise StepError("Commit first: an image is named after its commit, and yours is changed.")
    return _git("rev-parse", "HEAD").strip()


def _git(*words: str) -> str:
    try:
        done = subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        raise StepError("This is no checkout of git: say which commit it is by --commit.") from None
    return done.stdout


def project_number(project: str) -> str:
    """Ask Google for a project's number."""
    return str(gcloud(f"projects describe {project}")["projectNumber"])


def values(
    environment: str, *, commit: str, number: str = "", apis: Iterable[Routes] = ()
) -> Values:
    """Return all values that steps may use.

    The project's number is asked for, and the functions are looked for, where they are not given.
    """
    declared = yaml.safe_load((HERE / "environments" / f"{environment}.yaml").read_text())
    project = declared["project"]
    number = number or project_number(project)
    found: dict[str, Any] = {
        **declared,
        "host": declared["hosts"]["api"],
        "hosts": [{"label": label, "domain": name} for label, name in declared["hosts"].items()],
        "certificates": ",".join(f"ally-{label}" for label in declared["hosts"]),
        "certificate_links": [f"*/ally-{label}" for label in declared["hosts"]],
        "environment": environment,
        "region": REGION,
        "number": number,
        "commit": commit,
        "image": f"{REGION}-docker.pkg.dev/{project}/ally/api:{commit}",
        "pipeline": f"ally-pipeline@{project}.iam.gserviceaccount.com",
        "gateway": f"ally-gateway@{project}.iam.gserviceaccount.com",
        "caller": f"ally-caller@{project}.iam.gserviceaccount.com",
        "queue": f"projects/{project}/locations/{REGION}/queues/ally",
        "worker": services.address("worker", number, REGION),
        "worker_host": services.address("worker", number, REGION).removeprefix("https://"),
        # Google's own accounts in the project: who pushes messages, who writes what sinks choose,
        # who asks staff for their Google account.
        "pusher": f"service-{number}@gcp-sa-pubsub.iam.gserviceaccount.com",
        "logger": f"service-{number}@gcp-sa-logging.iam.gserviceaccount.com",
        "proxy": f"service-{number}@gcp-sa-iap.iam.gserviceaccount.com",
        "pepper": secrets.token_hex(32),
    }
    apis = [api for api in list(apis) or [*discover(), *discover_portals()] if api.deployed]
    found["functions"] = [services.describe(api, found) for api in apis]
    found["publics"] = [services.describe(api, found) for api in apis if api.reachable]
    found["called"] = [each for each in found["functions"] if each["called_by"]]
    found["portals"] = [each for each in found["functions"] if each["host"]]
    found["staffed"] = [each for each in found["portals"] if each["audience"] == "staff"]
    found |= routing.portals(found)
    leading = gateway.document(apis, number=found["number"], region=REGION)
    document = json.dumps(leading, indent=1)
    found["gateway_document"] = document
    found["config"] = f"ally-{hashlib.sha256(document.encode()).hexdigest()[:12]}"
    found["signers"] = [
        {"who": who} for who in (f"serviceAccount:{found['pipeline']}", found["deployers"])
    ]
    found["accounts"], grants = _accounts(found)
    # What runs as these is deployed by the pipeline; in the name of the caller tasks are sent.
    found["deployed"] = [each for each in found["accounts"] if each["account"] != found["caller"]]
    found["grants"] = [each for each in grants if each["of"] == "project"]
    found["enqueuers"] = [each for each in grants if each["of"] == "queue"]
    found["error_pages"] = errors.pages(found)
    found |= watching(found)
    databases = [found["database_test"], found["database_live"]]
    found["databases"] = [{"database": each} for each in databases]
    found |= _firestore(databases)
    return found


def _accounts(found: Values) -> tuple[list[Values], list[Values]]:
    """Return whom there is an account for, and the rights that each is given."""
    declared = yaml.safe_load((HERE / "rights.yaml").read_text())
    accounts = {
        **{
            each["service"]: {"title": f"The function {each['function']}", "may": each["may"]}
            for each in found["functions"]
        },
        **declared["accounts"],
    }
    described: list[Values] = []
    grants: list[Values] = []
    for name, account in accounts.items():
        who = {"name": name, "account": f"{name}@{found['project']}.iam.gserviceaccount.com"}
        described.append({**who, "title": account["title"]})
        grants += [
            {**who, "right": right, **_grant(declared["rights"][right], right, found)}
            for right in account["may"]
        ]
    return described, grants


def _grant(right: dict[str, str], name: str, found: Values) -> Values:
    granted = {"role": fill(right["role"], found), "of": right.get("of", "project")}
    if "if" not in right:
        return {**granted, "condition": None, "condition_flag": "None"}
    condition = {"title": f"ally {name}", "expression": fill(right["if"], found)}
    flag = "^;^" + ";".join(f"{member}={text}" for member, text in condition.items())
    return {**granted, "condition": condition, "condition_flag": shlex.quote(flag)}


def _firestore(databases: Iterable[str]) -> dict[str, list[Values]]:
    """Return the indexes, exemptions and expiries of each database."""
    manifest = json.loads((HERE / "firestore.indexes.json").read_text())
    exemptions: list[Values] = [
        {
            "collection": each["collectionGroup"],
            "field": each["fieldPath"],
            "listed": each["fieldPath"].replace("*", "[*]"),  # itself, where * would be a pattern
            "ttl": each.get("ttl"),
        }
        for each in manifest["fieldOverrides"]
    ]
    kinds: dict[str, list[Values]] = {
        "indexes": [_index(each) for each in manifest["indexes"]],
        "exemptions": exemptions,
        "expiries": [each for each in exemptions if each["ttl"]],
    }
    return {
        kind: [{"database": database, **each} for database in databases for each in found]
        for kind, found in kinds.items()
    }


def _index(declared: dict[str, Any]) -> Values:
    """Return an index as gcloud is told of it and as it then lists it."""
    flags = {"fieldPath": "field-path", "order": "order", "arrayConfig": "array-config"}
    configs = (
        ",".join(
            f"{flags[name]}={value.lower() if name != 'fieldPath' else value}"
            for name, value in each.items()
        )
        for each in declared["fields"]
    )
    collection = declared["collectionGroup"]
    return {
        "collection": collection,
        "title": f"{collection} by {', '.join(each['fieldPath'] for each in declared['fields'])}",
        "configs": " ".join(f"--field-config={each}" for each in configs),
        # Firestore ends each index with the documents' names, in the direction of the last field.
        "fields": [*declared["fields"], {"fieldPath": "__name__"}],
    }
