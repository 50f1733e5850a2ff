"""Compute Engine, as far as a load balancer needs it."""

import hashlib
import json
import re

from tests.support.google_cloud.kinds import Kind, kinds, nothing, on
from tests.support.google_cloud.state import Refusal, State
from tests.support.google_cloud.wire import Call, Json

ROOT = "https://www.googleapis.com/compute/v1/"
LINK = re.compile(r"https://[a-z.]+/compute/\w+/(projects/.+)")


class Compute(Kind):
    """A kind of Compute Engine: its name is short, others link to it, its operations differ."""

    def keep(self, state: State, sent: Json) -> Json:
        """Return all that was sent, with each link as Google writes it. It must lead somewhere."""
        if isinstance(sent, dict):
            return {name: self.keep(state, value) for name, value in sent.items()}
        if isinstance(sent, list):
            return [self.keep(state, value) for value in sent]
        found = LINK.fullmatch(sent) if isinstance(sent, str) else None
        if not found:
            return sent
        if f"compute/{found[1]}" not in state.resources:
            raise Refusal(404, f"The resource '{found[1]}' was not found")
        return ROOT + found[1]

    def create(self, state: State, call: Call, collection: str) -> Json:
        name = f"{collection}/{call.body['name']}"
        answer = super().create(state, call, collection)
        state.resources[f"compute/{name}"] |= _labelled(name) | {
            "creationTimestamp": state.now(),
            "fingerprint": state.fresh(),
        }
        return answer

    def list(self, state: State, collection: str) -> Json:
        return {"items": list(state.within("compute", collection).values())}

    def update(self, state: State, call: Call, name: str) -> Json:
        old = state.find("compute", name)
        if call.body.get("fingerprint", old["fingerprint"]) != old["fingerprint"]:
            raise Refusal(412, "Supplied fingerprint does not match current metadata fingerprint.")
        answer = super().update(state, call, name)
        state.resources[f"compute/{name}"] |= _labelled(name) | {"fingerprint": state.fresh()}
        return answer

    def delete(self, state: State, name: str) -> Json:
        gone = state.find("compute", name)
        for key, other in state.resources.items():
            uses = other is not gone and key.startswith("compute/") and json.dumps(other)
            if uses and any(f'"{gone.get(part)}"' in uses for part in ("selfLink", "address")):
                raise Refusal(400, f"The resource '{name}' is already being used by '{key}'")
            if other.get("address") and other["address"] == gone.get("IPAddress"):
                other["status"] = "RESERVED"
        return super().delete(state, name)

    def answer(self, state: State, name: str, _resource: Json, _message: str = "") -> Json:
        parent = re.sub(r"/[^/]+/[^/]+$", "", name)
        operation = f"{parent}/operations/operation-{state.fresh()}"
        state.operations[operation] = {
            "kind": "compute#operation",
            "name": operation.rpartition("/")[2],
            "operationType": "insert" if f"compute/{name}" in state.resources else "delete",
            "selfLink": ROOT + operation,
            "targetLink": ROOT + name,
            "status": "DONE",
            "progress": 100,
            **({"region": ROOT + parent} if "/regions/" in parent else {}),
        }
        return state.operations[operation] | {"status": "RUNNING", "progress": 0}


def _labelled(name: str) -> Json:
    digits = int(hashlib.sha256(name.encode()).hexdigest()[:15], 16)
    return {"id": str(digits), "name": name.rpartition("/")[2], "selfLink": ROOT + name}


def address_born(state: State, _call: Call, _name: str, _address: Json) -> Json:
    return {
        "address": f"203.0.113.{state.next() % 254 + 1}",
        "addressType": "EXTERNAL",
        "networkTier": "PREMIUM",
        "status": "RESERVED",
    }


def certificate_born(_state: State, _call: Call, _name: str, certificate: Json) -> Json:
    """Say that the domains are still being looked at, as they are until the host's name points."""
    domains = dict.fromkeys(certificate["managed"]["domains"], "PROVISIONING")
    return {
        "managed": {
            **certificate["managed"],
            "status": "PROVISIONING",
            "domainStatus": domains,
        }
    }


def backends_set(_state: State, _call: Call, _name: str, service: Json) -> Json:
    return {
        "sessionAffinity": service.get("sessionAffinity", "NONE"),
        "backends": [
            {"balancingMode": "UTILIZATION", "capacityScaler": 1.0, **backend}
            for backend in service.get("backends", [])
        ],
    }


def rule_born(state: State, _call: Call, _name: str, rule: Json) -> Json:
    """Take the address that is linked to."""
    ports = rule["portRange"]
    address = state.find("compute", rule["IPAddress"].removeprefix(ROOT))
    address["status"] = "IN_USE"
    return {
        "IPAddress": address["address"],
        "IPProtocol": rule.get("IPProtocol", "TCP"),
        "portRange": ports if "-" in ports else f"{ports}-{ports}",
        "networkTier": "PREMIUM",
    }


kinds(
    *(
        Compute("compute", f"projects/*/global/{collection}", "name", born, changed)
        for collection, born, changed in (
            ("addresses", address_born, nothing),
            ("sslCertificates", certificate_born, nothing),
            ("sslPolicies", nothing, nothing),
            ("backendServices", backends_set, backends_set),
            ("backendBuckets", nothing, nothing),
            ("urlMaps", nothing, nothing),
            ("targetHttpsProxies", nothing, nothing),
            ("forwardingRules", rule_born, nothing),
        )
    ),
    Compute("compute", "projects/*/regions/*/networkEndpointGroups", "name"),
)


@on("GET", "compute", "{parent=**}/operations/{operation}")
@on("POST", "compute", "{parent=**}/operations/{operation}/wait")
def operation(state: State, _call: Call, parent: str, operation: str) -> Json:
    return state.operations[f"{parent}/operations/{operation}"]


@on("POST", "compute", "{parent=**}/urlMaps/{name}/validate")
def validate(_state: State, _call: Call, parent: str, name: str) -> Json:
    """Say that a map can be loaded; gcloud has read it with the messages of the API."""
    return {"result": {"loadSucceeded": True, "testPassed": True}}
