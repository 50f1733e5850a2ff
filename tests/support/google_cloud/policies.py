"""Who may do what: policies, as every resource of Google's has one."""

import hashlib
import json
import re

from tests.support.google_cloud.state import Refusal, State
from tests.support.google_cloud.wire import Call, Json

POLICY_VERBS = frozenset({"getIamPolicy", "setIamPolicy", "testIamPermissions"})


def policy_call(state: State, call: Call, name: str, verb: str) -> Json:
    """Read or set the policy of a resource."""
    if name.split("/", maxsplit=1)[0] != "projects" or "/" in name.partition("/")[2]:
        state.find(call.service, name)
    key = f"{call.service}/{name}"
    sent = call.body or {}
    if verb == "testIamPermissions":
        return {"permissions": sent.get("permissions", [])}
    if verb == "setIamPolicy":
        return set_policy(state, key, sent["policy"])
    asked = call.query.get("options.requestedPolicyVersion") or sent.get("options", {}).get(
        "requestedPolicyVersion"
    )
    return get_policy(state, key, int(asked or 1))


def get_policy(state: State, key: str, version: int) -> Json:
    """Return a policy. Who does not ask for version 3 sees a condition as a strange role."""
    policy = state.policies.get(key, {"version": 1, "etag": "ACAB"})
    if version >= 3:
        return policy
    shown = [
        {
            "role": f"{binding['role']}_withcond_{_digest(binding['condition'])}",
            "members": binding["members"],
        }
        if "condition" in binding
        else binding
        for binding in policy.get("bindings", [])
    ]
    return policy | {"version": 1} | ({"bindings": shown} if shown else {})


def set_policy(state: State, key: str, sent: Json) -> Json:
    """Set a policy that was read before, if no other was set since."""
    old = state.policies.get(key, {"etag": "ACAB"})
    if sent.get("etag", old["etag"]) != old["etag"]:
        raise Refusal(
            409,
            "There were concurrent policy changes. Please retry the whole read-modify-write.",
            "ABORTED",
        )
    bindings = sent.get("bindings", [])
    conditional = any("condition" in binding for binding in bindings)
    if conditional and sent.get("version") != 3:
        raise Refusal(400, "A policy with conditions must have version 3.")
    for member in {member for binding in bindings for member in binding["members"]}:
        _exists(state, member)
    state.policies[key] = {
        "version": 3 if conditional else 1,
        "etag": f"BwX{state.next():05}",
        **({"bindings": bindings} if bindings else {}),
    }
    return state.policies[key]


AGENT = re.compile(r"serviceAccount:(service-(\d+)@gcp-sa-[a-z]+\.iam\.gserviceaccount\.com)")
"""An account of Google's own in a project, which a service acts as."""


def _exists(state: State, member: str) -> None:
    """Refuse a service account of one of the projects that is not there."""
    agent = AGENT.fullmatch(member)
    if agent and agent[1] not in state.agents:
        raise Refusal(400, f"Service account {agent[1]} does not exist.")
    found = re.fullmatch(r"serviceAccount:([^@]+@([^.]+)\.iam\.gserviceaccount\.com)", member)
    if found and found[2] in state.projects:
        key = f"iam/projects/{found[2]}/serviceAccounts/{found[1]}"
        if key not in state.resources:
            raise Refusal(400, f"Service account {found[1]} does not exist.")


def _digest(condition: Json) -> str:
    return hashlib.sha256(json.dumps(condition, sort_keys=True).encode()).hexdigest()[:20]
