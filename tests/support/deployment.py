"""Staging, few of each kind of step, deployed by the real gcloud to a stand-in for Google."""

import json
import os
import pickle
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from functions import discover
from infra.applying import Run, StoppedError
from infra.checking import checks
from infra.steps import Step, Values, load
from infra.values import values
from tests.support.google_cloud import GoogleCloud
from tests.support.google_cloud.state import State
from tests.support.google_cloud.wire import Answer, Call, Json
from tests.support.pages import PORTALS

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NEXT_COMMIT = "89abcdef0123456789abcdef0123456789abcdef"
WHOLE = bool(os.environ.get("ALLY_DEPLOY"))
"""Whether everything is deployed, which takes minutes, or few of each kind."""
FEW = {"api_keys", "docs", "worker"}

ASKED = r"(GET |POST /(worker|v1/\w+/smoke|v1/test_helpers)/)"
"""How a smoke test asks a function: it reads, where the function has anything to read."""

# What each right of the pipeline permits, of what it does (Google's reference of roles).
PERMITTED = {
    "roles/cloudbuild.builds.editor": r"cloudbuild (GET|POST) .*/builds|cloudresourcemanager GET ",
    "roles/artifactregistry.writer": r"artifactregistry GET .*/tags$",
    "roles/storage.objectAdmin": r"storage (POST|GET) (/upload/storage/v1/b)?/ally-staging-builds/",
    "roles/storage.bucketViewer": r"storage GET /storage/v1/b/ally-staging-builds$",
    "roles/run.developer": r"run (GET|PUT|POST) .*(/services/[\w-]+(:getIamPolicy)?|:wait)$",
    "roles/run.invoker": rf"candidate---ally-[\w.-]+\.run\.app {ASKED}",
    "roles/apigateway.admin": r"apigateway \w+ ",
    "roles/secretmanager.secretAccessor": r"secretmanager GET .*/smoke-key/versions/latest:access$",
    "roles/iam.serviceAccountTokenCreator": r"iamcredentials POST .*/ally-pipeline@.*:generate",
}
ANYBODY = (
    rf"\w+-\w+\.nw\.gateway\.dev {ASKED}"
    r"|(dashboard|operations)\.staging\.ally\.example GET "
)
GOES_ON = r"serviceusage.*/services/run\.googleapis\.com$|run.*:setIamPolicy$"
"""What gcloud tries by the way, and does without where it may not."""


def functions_answer(call: Call) -> Answer:
    """Answer as functions do to who has no key and sends nothing: pages in full, or a refusal.

    At the pages of staff Google answers.
    """
    headers = {"Request-Id": "req_0"}
    if call.host.startswith("operations."):
        return Answer(b"", 302, {"Location": "https://accounts.google.com/o/oauth2/v2/auth?x=y"})
    if call.host.startswith("dashboard."):
        return Answer(b"", 303, {**headers, "Location": "/sign-in"})
    if call.path.startswith("/worker"):
        return Answer({"error": {"code": "body_malformed"}}, 400, headers)
    if call.path.startswith(("/docs", "/ally.js")):
        return Answer(b"", 200, headers)
    return Answer({"error": {"code": "key_missing"}}, 401, headers)


def declared(commit: str) -> Values:
    """Return the values of staging: few of each kind, of functions' rights one of each."""
    apis = [*(api for api in discover() if WHOLE or api.name in FEW), *PORTALS]
    found = values("staging", commit=commit, apis=apis)
    if WHOLE:
        return found
    kinds = (
        *("indexes", "exemptions", "expiries", "policies", "counts", "error_pages"),
        *("deployed", "enqueuers"),
    )
    few = {kind: [*found[kind][:1], *found[kind][-1:]] for kind in kinds}
    services = {each["service"] for each in found["functions"]}
    functions_grants = [each for each in found["grants"] if each["name"] in services]
    few["grants"] = [
        *{each["right"]: each for each in functions_grants}.values(),
        *(each for each in found["grants"] if each["name"] not in services),
    ]
    return {**found, **few}


def failing_at(host: str) -> Callable[[Call], Answer]:
    """Let functions answer, of which those at some hosts fail."""

    def site(call: Call) -> Answer:
        if re.search(host, call.host):
            return Answer({"error": {"code": "internal_error"}}, 500, {"Request-Id": "req_0"})
        return functions_answer(call)

    return site


class Deployment:
    """Google, what is declared of it, and what was said while it was made so."""

    def __init__(self, google: GoogleCloud, files: Path) -> None:
        self.google = google
        self.files = files
        self.said: list[str] = []
        self.before: dict[str, bytes] = {}
        """What Google remembered before each phase of the first deployment."""
        self.writes: dict[str, int] = {}
        """How many calls changed something in each phase of the first deployment."""
        self._released = b""
        self._declared: dict[tuple[str, str], tuple[Values, list[list[Step]]]] = {}
        google.site = functions_answer
        self.declare(COMMIT)

    def declare(self, commit: str, config: str = "") -> None:
        """Take what a commit declares from now on, perhaps with another config of the gateway."""
        named = commit, config
        if named not in self._declared:
            found = {**declared(commit), **({"config": config} if config else {})}
            files = self.files / f"{commit}{config}"
            files.mkdir()
            self._declared[named] = found, list(load(found, files))
        self.values, self.declarations = self._declared[named]

    @property
    def phases(self) -> list[str]:
        return list(dict.fromkeys(steps[0].phase for steps in self.declarations if steps))

    def deploy(self, *phases: str) -> Run:
        """Deploy. Whatever is said is kept, also where it stops."""
        self.said.clear()
        run = Run(checks(self.values), self.said.append)
        run.deploy(self.declarations, phases)
        return run

    def plan(self, *phases: str) -> Run:
        self.said.clear()
        run = Run(checks(self.values), self.said.append)
        run.plan(self.declarations, phases)
        return run

    def refused(self, *phases: str) -> str:
        """Return what is said where a deployment stops, which it must."""
        with pytest.raises(StoppedError) as stopped:
            self.deploy(*phases)
        return str(stopped.value)

    def bring_about(self) -> None:
        """Deploy into nothing, and remember the way there."""
        for phase in self.phases:
            self.before[phase] = self.remember()
            writes = len(self.google.writes)
            self.deploy(phase)
            self.writes[phase] = len(self.google.writes) - writes

    def release(self) -> None:
        """Make the revisions of the next commit, once: later, remember that they were made."""
        self.declare(NEXT_COMMIT)
        if not self._released:
            self.deploy("image", "services")
            self._released = self.remember()
        self._recall(self._released)

    def remember(self) -> bytes:
        """Return all that Google remembers."""
        names = vars(State({})).keys()
        return pickle.dumps({name: getattr(self.google, name) for name in names})

    def _recall(self, remembered: bytes) -> None:
        vars(self.google).update(pickle.loads(remembered))  # noqa: S301  # `remember` wrote it

    @contextmanager
    def as_it_was(self, remembered: bytes = b"") -> Iterator[None]:
        """Let Google remember this, and afterwards what it does now; so too what is declared."""
        now, taken = self.remember(), (self.values, self.declarations)
        if remembered:
            self._recall(remembered)
        try:
            yield
        finally:
            self.google.recover()
            self.google.site = functions_answer
            self._recall(now)
            self.values, self.declarations = taken

    def service(self, name: str) -> Json:
        """Return a service of Cloud Run as Google has it."""
        place = "run/projects/ally-staging/locations/europe-west2/services"
        return self.google.resources[f"{place}/{name}"]

    def serving(self, name: str) -> str:
        """Return the revision that has all traffic of a service."""
        (revision,) = [
            each["revisionName"]
            for each in self.service(name)["status"]["traffic"]
            if each.get("percent") == 100
        ]
        return str(revision)


def members(body: Json) -> Iterator[tuple[str, Json]]:
    """Give the members of all objects in a body, each with its name."""
    if isinstance(body, dict):
        for name, value in body.items():
            yield name, value
            yield from members(value)
    elif isinstance(body, list):
        for value in body:
            yield from members(value)


def texts(body: Json) -> Iterator[str]:
    """Give all texts in a body."""
    if isinstance(body, str):
        yield body
    elif isinstance(body, dict):
        for value in body.values():
            yield from texts(value)
    elif isinstance(body, list):
        for value in body:
            yield from texts(value)


def sent_bytes(call: Call) -> bytes:
    """Return all that was sent but the headers."""
    body = call.body if isinstance(call.body, bytes) else json.dumps(call.body).encode()
    return f"{call.path} {call.query}".encode() + body
