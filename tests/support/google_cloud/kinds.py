"""Kinds of resources: what nearly all of Google's APIs do alike, and the table of what differs."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.support.google_cloud.policies import POLICY_VERBS, policy_call
from tests.support.google_cloud.state import Refusal, State, UnknownCall, kept
from tests.support.google_cloud.wire import Call, Json

Handler = Callable[..., Json]
"""Takes the state, the call, and the segments of the path that its template names."""
Filling = Callable[[State, Call, str, Json], Json]
"""Takes the state, the call, a resource's name and the resource; returns what Google sets in it."""

OPERATION = re.compile(r"((?:.+/)?operations/[^/:]+)(:wait)?")
_ROUTES: list[tuple[str, str, re.Pattern[str], Handler]] = []
_KINDS: list["Kind"] = []


def nothing(_state: State, _call: Call, _name: str, _resource: Json) -> Json:
    """Set nothing."""
    return {}


@dataclass(frozen=True)
class Kind:
    """A kind of resource that is created, read, listed, changed and deleted the usual way."""

    service: str
    path: str
    """Where it lies: `projects/*/databases`."""
    id: str = ""
    """Where its id comes from: a query's `?databaseId`, a body's `name`; empty, Google's choice."""
    born: Filling = nothing
    """What Google sets when one is created; it may refuse."""
    changed: Filling = nothing
    """What Google sets when one is changed; it may refuse."""
    whole: bool = False
    """Whether a change that names no fields replaces all of them."""
    listed: str = ""
    """What a list calls them, if not by the last segment of the path."""
    operation: str = ""
    """When writes answer by an operation: `at once` or `later` it is done."""
    message: str = ""
    """The full name of its message, which an operation's answer carries."""

    def matches(self, name: str) -> bool:
        return bool(re.fullmatch(self.path.replace("*", "[^/:]+"), name))

    def keep(self, state: State, sent: Json) -> Json:
        """Return what of what was sent is kept and shown."""
        return kept(sent)

    def create(self, state: State, call: Call, collection: str) -> Json:
        sent = self.keep(state, call.body or {})
        name = f"{collection}/{self._identify(state, call, sent)}"
        key = f"{self.service}/{name}"
        if key in state.resources:
            raise Refusal(409, f"Resource '{name}' already exists.")
        made = {**sent, "name": name}
        state.resources[key] = made | self.born(state, call, name, made)
        return self.answer(state, name, state.resources[key])

    def get(self, state: State, name: str) -> Json:
        state.find(self.service, name)
        return state.see(f"{self.service}/{name}")

    def list(self, state: State, collection: str) -> Json:
        found = state.within(self.service, collection)
        return {self.listed or collection.rpartition("/")[2]: [state.see(key) for key in found]}

    def update(self, state: State, call: Call, name: str) -> Json:
        old = state.find(self.service, name)
        sent = self.keep(state, call.body or {})
        if sent.get("etag") and sent["etag"] != old.get("etag"):
            raise Refusal(409, "The etag provided does not match.", "ABORTED")
        mask = call.query.get("updateMask", "")
        replaced = call.method == "PUT" or (self.whole and not mask)
        merged = sent | {"name": old["name"]} if replaced else merge(old, sent, mask)
        changed = merged | self.changed(state, call, name, merged)
        state.resources[f"{self.service}/{name}"] = changed
        return self.answer(state, name, changed)

    def delete(self, state: State, name: str) -> Json:
        state.find(self.service, name)
        key = f"{self.service}/{name}"
        gone = [other for other in state.resources if other == key or other.startswith(f"{key}/")]
        for other in gone:
            del state.resources[other]
            state.policies.pop(other, None)
        return self.answer(state, name, {}, "google.protobuf.Empty")

    def answer(self, state: State, name: str, resource: Json, message: str = "") -> Json:
        """Return what a write is answered by: the resource or an operation."""
        if not self.operation:
            return resource
        return operate(
            state, name, resource, message or self.message, done=self.operation == "at once"
        )

    def _identify(self, state: State, call: Call, sent: Json) -> str:
        if not self.id:
            return state.fresh()
        given = call.query.get(self.id[1:]) if self.id[0] == "?" else sent.get(self.id)
        if not given:
            raise Refusal(400, f"{self.id.lstrip('?')} is required.")
        return str(given).rpartition("/")[2]


def operate(state: State, name: str, resource: Json, message: str, *, done: bool) -> Json:
    """Begin what takes its time, or end it already. It lies beside or below what it is about."""
    parent = "/".join(name.split("/")[:4])
    operation = {
        "name": f"{parent}/operations/{state.fresh()}",
        "metadata": {"target": name},
    }
    response = {"@type": f"type.googleapis.com/{message}", **resource}
    finished = operation | {"done": True, "response": response}
    state.operations[str(operation["name"])] = finished
    return finished if done else operation


def on(method: str, service: str, template: str) -> Callable[[Handler], Handler]:
    """Let a function answer where the usual way is not Google's.

    In a template `{name}` is a segment, or a part of one before a colon, and `{name=**}` the rest.
    """
    pattern = re.escape(template)
    pattern = re.sub(r"\\\{(\w+)=\\\*\\\*\\\}", r"(?P<\1>.+)", pattern)
    pattern = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/:]+)", pattern)

    def register(handler: Handler) -> Handler:
        _ROUTES.append((method, service, re.compile(pattern), handler))
        return handler

    return register


def kinds(*declared: Kind) -> None:
    """Make kinds known."""
    _KINDS.extend(declared)


def respond(state: State, call: Call) -> Json:
    """Do what was asked: by a function of its own, or the way of all kinds."""
    name = canonical(state, call.name)
    _stay_in_region(call, name)
    for method, service, pattern, handler in _ROUTES:
        found = (
            pattern.fullmatch(name) if (method, service) == (call.method, call.service) else None
        )
        if found:
            return handler(state, call, **found.groupdict())
    operation = OPERATION.fullmatch(name)
    if operation and (call.method == "GET" or operation[2]):
        return _operation(state, call.service, operation[1])
    name, _, verb = name.partition(":")
    if verb in POLICY_VERBS:
        return policy_call(state, call, name, verb)
    return _usual(state, call, name, verb)


def canonical(state: State, name: str) -> str:
    """Return a name with a project's id, where its number may be, or only an account's address."""
    parts = name.split("/")
    if len(parts) == 1 or parts[0] not in {"projects", "namespaces"} or ":" in parts[1]:
        return name
    if parts[1:3] == ["-", "serviceAccounts"]:
        parts[1] = parts[3].partition("@")[2].partition(".")[0]
    parts[1] = state.project(parts[1]).name
    return "/".join(parts)


def merge(old: Json, sent: Json, mask: str) -> Json:
    """Return what was there with what was sent in it: all of that, or what the mask names."""
    if not mask:
        return {**old, **sent}
    if mask == "*":
        return {"name": old["name"], **sent}
    merged = {**old}
    for path in mask.split(","):
        _put(merged, sent, [_camel(part) for part in path.split(".")])
    return merged


def _put(into: Json, sent: Any, path: list[str]) -> None:
    head, *rest = path
    value = sent.get(head) if isinstance(sent, dict) else None
    if rest:
        into[head] = {**(into.get(head) or {})}
        _put(into[head], value, rest)
    elif value is None:
        into.pop(head, None)
    else:
        into[head] = value


def _camel(name: str) -> str:
    return re.sub(r"_([a-z])", lambda found: found[1].upper(), name)


def _stay_in_region(call: Call, name: str) -> None:
    """Refuse a regional secret that is asked for elsewhere than in its region."""
    found = re.search(r"/locations/([^/]+)/", name)
    if call.service == "secretmanager" and found and call.region != found[1]:
        home = f"secretmanager.{found[1]}.rep.googleapis.com"
        raise Refusal(400, f"Regional secrets in {found[1]} are served at {home} alone.")


def _operation(state: State, service: str, name: str) -> Json:
    if name not in state.operations:
        raise Refusal(404, f"Operation '{name}' was not found.")
    operation = state.operations[name]
    key = f"{service}/{operation['metadata']['target']}"
    if key in state.resources:
        state.ripen(key)
        operation["response"] |= state.resources[key]
    return operation


def _usual(state: State, call: Call, name: str, verb: str) -> Json:
    collection = name.rpartition("/")[0]
    for kind in _KINDS:
        if kind.service != call.service or verb:
            continue
        if kind.matches(name):
            _parent(state, kind, collection)
            if call.method == "POST":
                return kind.create(state, call, name)
            if call.method == "GET":
                return kind.list(state, name)
        elif kind.matches(collection):
            if call.method == "GET":
                return kind.get(state, name)
            if call.method in {"PATCH", "PUT"}:
                return kind.update(state, call, name)
            if call.method == "DELETE":
                return kind.delete(state, name)
    raise UnknownCall


def _parent(state: State, kind: Kind, parent: str) -> None:
    """Refuse what would lie in something that is not there."""
    above = parent.rpartition("/")[0]
    if "/-" not in parent and any(
        other.service == kind.service and other.matches(above) for other in _KINDS
    ):
        state.find(kind.service, parent)
