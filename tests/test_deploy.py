"""The whole of `make deploy`, by the real gcloud, against a stand-in for Google that remembers."""

from pathlib import Path
from typing import Any

import pytest

from functions import discover
from infra.applying import Run
from infra.checking import checks
from infra.steps import Step, Values, load
from infra.values import values
from tests.support.google_cloud import GoogleCloud
from tests.support.google_cloud.wire import Answer, Call

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FEW = {"api_keys", "docs"}
"""Functions that are enough to see each kind of step."""


def functions_answer(call: Call) -> Answer:
    """Answer as the functions do to who has no key: pages in full, all else by 401."""
    headers = {"Request-Id": "req_0"}
    if call.path.startswith("/docs"):
        return Answer(b"", 200, headers)
    return Answer({"error": {"code": "key_missing"}}, 401, headers)


class Deployment:
    """An environment's steps, few of each kind, and what was said while they were run."""

    def __init__(self, google: GoogleCloud, folder: Path) -> None:
        self.google = google
        google.site = functions_answer
        apis = [api for api in discover() if api.name in FEW]
        self.values: Values = thinned(values("staging", commit=COMMIT, apis=apis))
        self.declarations = list(load(self.values, folder))
        self.said: list[str] = []

    def deploy(self, *phases: str) -> Run:
        run = Run(checks(self.values), self.said.append)
        run.deploy(self.declarations, phases)
        return run

    def plan(self, *phases: str) -> Run:
        run = Run(checks(self.values), self.said.append)
        run.plan(self.declarations, phases)
        return run

    @property
    def steps(self) -> list[Step]:
        return [step for steps in self.declarations for step in steps]


def thinned(found: Values) -> dict[str, Any]:
    """Keep two of each kind that there are dozens of."""
    kinds = ("indexes", "exemptions", "expiries")
    return {**found, **{kind: [*found[kind][:1], *found[kind][-1:]] for kind in kinds}}


@pytest.fixture
def deployment(
    google_cloud: GoogleCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Deployment:
    for name, value in google_cloud.environment.items():
        monkeypatch.setenv(name, value)
    files = tmp_path / "files"
    files.mkdir()
    return Deployment(google_cloud, files)


def test_an_empty_project_becomes_what_is_declared_and_a_second_run_changes_nothing(
    deployment: Deployment,
) -> None:
    planned = deployment.plan()
    assert deployment.google.writes == []
    assert [change.verb for change in planned.changes].count("create") == len(planned.changes)

    deployment.deploy()
    writes = len(deployment.google.writes)
    again = deployment.deploy()
    assert again.changes == []
    assert len(deployment.google.writes) == writes
    assert deployment.plan().changes == []
