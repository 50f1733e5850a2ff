"""docs/operating.md: gcloud takes its commands, what it names is there, and what it stops stops."""

import os
import re
import secrets
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import pytest

from infra.services import environment
from infra.values import values
from tests.conftest import google_environment, needed
from tests.support.emulator import Emulator
from tests.support.google_cloud import MISSING, find_gcloud
from tests.support.inprocess import InProcess
from tests.support.processes import ROOT
from tests.support.secret_manager import SecretManager
from tests.support.serving import Backing
from tests.test_infra import lint

PAGE = (ROOT / "docs" / "operating.md").read_text()
BLOCKS = [
    re.sub(r"(?m)^ +", "", block) for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
]
LINES = [line for block in BLOCKS for line in block.splitlines()]
SAMPLES = {
    "PROJECT": "ally-staging",
    "PEOPLE": "ally-people",
    "NUMBER": "100000000001",
    "BILLING_ACCOUNT": "000000-000000-000000",
    "FUNCTION": "patients",
    "REVISION": "ally-patients-0123456789",
    "INDEX": "CICAgOjXh4EK",
    "BACKUP": "0123",
    "WORKER": "https://ally-worker-100000000001.europe-west2.run.app",
    "ORGANISATION": "org_0",
    "REQUEST_ID": "req_0",
    "PATIENT_ID": "p_0",
    "LOGS": "projects/ally-staging/locations/europe-west2/buckets/ally/views/_AllLogs",
}
"""What stands for the variables of gcloud's commands."""


def gcloud_commands(lines: list[str]) -> list[str]:
    """Return the commands of gcloud, those within other commands too."""
    said = [
        found.strip()
        for line in lines
        for found in re.findall(r"(?:^|\| )gcloud ([^|]*)", line)
        + re.findall(r"\$\(gcloud ((?:[^()]|\([^()]*\))*)\)", line)
    ]
    prose = re.findall(r"`gcloud ([^`]*)`", PAGE)
    return [re.sub(r"\$([A-Z_]+)", lambda name: SAMPLES[name[1]], each) for each in said + prose]


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.xdist_group("gcloud")
def test_gcloud_would_take_every_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    needed(find_gcloud(), MISSING)
    monkeypatch.setenv("CLOUDSDK_CORE_PROJECT", SAMPLES["PROJECT"])
    monkeypatch.setenv("CLOUDSDK_RUN_REGION", "europe-west2")
    commands = gcloud_commands(LINES)
    assert len(commands) == PAGE.count("gcloud ")
    for told in lint(sorted(set(commands)), tmp_path):
        assert told["success"], f"{told['command_string']}\n{told['error_message']}"


def test_a_command_is_found_wherever_it_stands() -> None:
    lines = [
        "export A=$(gcloud auth print-access-token)",
        "x | gcloud secrets create y --data-file=-",
    ]
    found = gcloud_commands([*lines, "gcloud compute addresses list --format='value(address)'"])
    assert found[:3] == [
        "auth print-access-token",
        "secrets create y --data-file=-",
        "compute addresses list --format='value(address)'",
    ]


def test_every_command_is_one_that_a_shell_can_read() -> None:
    for block in BLOCKS:
        subprocess.run(["sh", "-n", "-c", block], check=True)


def test_what_the_page_names_is_there() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGE, re.MULTILINE)) <= targets
    for path in re.findall(r"(?<![\w/])((?:infra|docs|shared|functions)/[\w./-]*\w)", PAGE):
        assert (ROOT / path).exists(), path
    for module in re.findall(r"python -m ([\w.]+)", PAGE):
        assert find_spec(module), module
    assert (ROOT / "cloudbuild.yaml").exists()


def test_every_link_leads_to_a_heading() -> None:
    assert set(re.findall(r"\(#([\w-]+)\)", re.sub(r"\s+", " ", PAGE))) <= anchors(PAGE)


def test_what_is_declared_is_what_the_page_says() -> None:
    declared = values("staging", commit="-", number="0")
    assert f"export PROJECT={declared['project']} HOST={declared['host']}" in PAGE
    assert set(re.findall(r"--database=(\w+)\b(?!-)", PAGE)) <= {declared["database_live"], "test"}


@pytest.fixture(scope="module")
def deployed(
    emulator: Emulator, secret_manager: SecretManager, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """The environment of a project's functions, in which no organisation is yet."""
    declared = {**values("staging", commit="-", number="0")}
    stand_ins = google_environment(emulator, secret_manager)
    place = f"projects/{declared['project']}/locations/europe-west2/secrets/pepper"
    secret_manager.versions.setdefault(place, [secrets.token_hex(32).encode()])
    names = (
        *("FIRESTORE_EMULATOR_HOST", "ALLY_FIREBASE_KEYS"),
        *("ALLY_SECRET_MANAGER_HOST", "ALLY_MONITORING_HOST", "ALLY_CLOUD_TASKS_HOST"),
    )
    return {
        **environment("organisations", declared),
        **{name: stand_ins[name] for name in names},
        "ALLY_BEHIND_GATEWAY": "0",
        "ALLY_LOG": str(tmp_path_factory.mktemp("operating") / "requests.jsonl"),
    }


def made(deployed: dict[str, str]) -> str:
    """Make an organisation as the page says, and return its key."""
    ran = subprocess.run(
        [sys.executable, "-m", "infra.organisation", "staging", "Smoke Test"],
        cwd=ROOT,
        env={**os.environ, **deployed},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout.strip()


def test_an_organisation_that_is_made_can_call(deployed: dict[str, str]) -> None:
    key = made(deployed)
    with closing(Backing(deployed)) as backing:
        api = InProcess(backing, key)
        task, *_ = api.call("GET", "/v1/tasks")["data"]
        place = {"taskId": task["id"], "postcode": "SW1A 1AA"}
        assert api.call("GET", "/v1/coverage", params=place)["covered"]
        ids = [each["id"] for each in api.call("GET", "/v1/api_keys")["data"]]
        assert ids == [shell(next(line for line in LINES if "cut -c" in line), "KEY_ID", KEY=key)]


def shell(line: str, name: str, **variables: str) -> str:
    """Run a line and return the variable that it sets."""
    ran = subprocess.run(
        ["sh", "-c", f'{line}\nprintf %s "${name}"'],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return ran.stdout


def test_a_key_and_an_organisation_that_the_page_stops_are_stopped(
    deployed: dict[str, str], emulator: Emulator
) -> None:
    key = made(deployed)
    stop_key, suspend = (line for line in LINES if line.startswith("curl -sf -X PATCH"))
    with closing(Backing(deployed)) as backing:
        api = InProcess(backing, key)
        organisation = api.call("GET", "/v1/organisations")["data"][0]
        variables = {
            "FIRESTORE": f"http://{emulator.address}/v1",
            "TOKEN": "owner",
            "PROJECT": deployed["GOOGLE_CLOUD_PROJECT"],
            "ORGANISATION": organisation["id"],
            "KEY_ID": api.call("GET", "/v1/api_keys")["data"][0]["id"],
        }
        shell(suspend, "TOKEN", **variables)
        api.elapsed += 15
        organisation = api.call("GET", "/v1/organisations")["data"][0]
        assert organisation["activation"] == "suspended"
        # It is a test key, so of its document's two names both are another.
        shell(re.sub(r"\blive\b", "test", stop_key), "TOKEN", **variables)
        api.elapsed += 15
        assert api.call("GET", "/v1/tasks", 401)["error"]["code"] == "key_revoked"
