"""What infra/ declares: gcloud would take it, and it is compared as it says."""

import json
import os
import re
import shlex
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from functions import discover, discover_portals
from infra.__main__ import main
from infra.comparing import difference
from infra.services import describe, environment
from infra.steps import COMMANDS, HERE, Step, StepError, Values, load
from infra.values import environments, values
from infra.watching import STYLE
from shared.api import Api
from shared.routes import PUBLIC
from shared.settings import load as load_settings
from tests.conftest import needed
from tests.support.google_cloud import MISSING, find_gcloud, quick
from tests.support.pages import PORTALS, Pages
from tests.support.processes import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"


API = Api("patients", audience="partner")
WORKER = Api("worker", audience="internal")
NUMBER = "100000000001"


def rights(found: Values) -> dict[str, set[str]]:
    """Return what each account may, by the names of rights.yaml."""
    given: dict[str, set[str]] = {}
    for grant in [*found["grants"], *found["enqueuers"]]:
        given.setdefault(grant["name"], set()).add(grant["right"])
    return given


def declared(environment: str, files: Path) -> list[list[Step]]:
    """Return every step of an environment."""
    return list(load(values(environment, commit=COMMIT, number=NUMBER), files))


@pytest.mark.timeout(600)  # gcloud reads forty in a second where it is alone
@pytest.mark.xdist_group("gcloud")
def test_gcloud_would_take_every_command_of_every_step(tmp_path: Path) -> None:
    needed(find_gcloud(), MISSING)
    commands = one_of_each_shape([declared(each, tmp_path) for each in environments()])
    assert len(commands) > 90
    for told in lint(commands, tmp_path):
        assert told["success"], f"{told['command_string']}\n{told['error_message']}"


@pytest.mark.xdist_group("gcloud")
def test_gcloud_would_take_every_command_of_the_pipeline(tmp_path: Path) -> None:
    needed(find_gcloud(), MISSING)
    steps = yaml.safe_load((ROOT / "cloudbuild.yaml").read_text())["steps"]
    commands = [
        shlex.join(step["args"]).replace("${PROJECT_ID}", "ally-staging")
        for step in steps
        if step["entrypoint"] == "gcloud"
    ]
    assert commands
    for told in lint(commands, tmp_path):
        assert told["success"], told["error_message"]


@pytest.mark.xdist_group("gcloud")
def test_a_command_that_gcloud_would_not_take_is_found(tmp_path: Path) -> None:
    needed(find_gcloud(), MISSING)
    (told,) = lint(["run deploy ally-patients --image=x --memory-size=1Gi"], tmp_path)
    assert not told["success"]
    assert "memory-size" in told["error_message"]


def one_of_each_shape(environments: list[list[list[Step]]]) -> list[str]:
    """Return one of the commands that differ in values alone: gcloud reads forty in a second.

    The steps of a declaration share the words of their commands, but may differ in flags.
    """
    found = {}
    for declarations in environments:
        for number, steps in enumerate(declarations):
            for step, member in product(steps, COMMANDS):
                words = shlex.split(getattr(step, member))
                flags = frozenset(each.partition("=")[0] for each in words if each[:2] == "--")
                others = sum(each[:2] != "--" for each in words)
                found[number, member, flags, others] = getattr(step, member)
    return sorted(filter(None, found.values()))


def test_of_commands_those_are_left_out_that_differ_in_values_alone() -> None:
    def steps(*commands: str) -> list[Step]:
        return [Step(name="", phase="", create=each) for each in commands]

    staging = [steps("a b --c=1", "a b --c=2", "a b --c=3 --d"), steps("a d --c=1")]
    production = [steps("a b --c=4 --e", "a b d --c=1"), steps("a d --c=1")]
    shapes = ["--c", "--c --d", "--c --e", "d --c"]
    chosen = one_of_each_shape([staging, production])
    assert [re.sub("=.", "", each) for each in chosen] == [
        *(f"a b {each}" for each in shapes),
        "a d --c",
    ]


def lint(commands: list[str], folder: Path) -> list[dict[str, Any]]:
    """Return what gcloud says of commands, which it runs none of."""
    listed = folder / "commands.json"
    listed.write_text(json.dumps([{"command_string": f"gcloud {each}"} for each in commands]))
    done = subprocess.run(
        [quick.launcher() / "gcloud", "meta", "lint-gcloud-commands", f"--commands-file={listed}"],
        env={**os.environ, "CLOUDSDK_CONFIG": str(folder / "gcloud")},
        capture_output=True,
        check=True,
    )
    told: list[dict[str, Any]] = json.loads(done.stdout)
    assert len(told) == len(set(commands))  # it tells of each once
    return told


@pytest.mark.parametrize(
    ("want", "found", "why"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, ""),
        ({"a": 1}, {"b": 2}, "it.a is None and not 1"),
        ({"a": {"b": [1]}}, {"a": {"b": [2]}}, "it.a.b lacks 1"),
        ([1, 3], [1, 2, 3], ""),
        ([3, 1], [1, 2, 3], "it lacks 1"),
        ([{"a": "*/x"}], [{"a": "p/y"}, {"a": "p/x", "b": 1}], ""),
        ({"exactly": [1]}, [1], ""),
        ({"exactly": [1]}, [1, 2], "it is [1, 2] and not [1]"),
        ({"exactly": [1, 2]}, [1, 3], "it lacks 2"),
        ("a*c", "abc", ""),
        ("a*c", "abd", "it is 'abd' and not 'a*c'"),
        ("a.c", "abc", "it is 'abc' and not 'a.c'"),
        (None, None, ""),
        (None, {"title": "x"}, "it is {'title': 'x'} and not None"),
        ([1], None, "it is None and not [1]"),
    ],
)
def test_what_is_wanted_is_looked_for_in_what_is_there(want: Any, found: Any, why: str) -> None:
    assert difference(want, found) == why


@pytest.mark.parametrize("name", ["main", "v1.0", "HEAD", "0123456 --image=x", ""])
def test_an_image_is_named_after_a_commit_and_nothing_that_moves(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["infra", "plan", "staging", "--commit", name])
    with pytest.raises(SystemExit):
        main()
    assert "say a commit by 7 to 40 of its hexadecimal digits" in capsys.readouterr().err


def test_a_step_with_a_word_that_no_step_has_is_refused(tmp_path: Path) -> None:
    (tmp_path / "10-x.yaml").write_text("- {step: X, raed: projects list}")
    with pytest.raises(StepError, match=r"10-x.yaml: a step has no raed\."):
        list(load({}, tmp_path, tmp_path))


def test_a_step_that_names_no_value_is_refused(tmp_path: Path) -> None:
    (tmp_path / "10-x.yaml").write_text("- {step: X, read: projects describe $projct}")
    with pytest.raises(StepError, match="X: there is no value 'projct'"):
        list(load({}, tmp_path, tmp_path))


def test_only_what_holds_no_data_can_be_taken_away(tmp_path: Path) -> None:
    deleting = {
        step.delete for steps in declared("production", tmp_path) for step in steps if step.delete
    }
    assert deleting
    for command in deleting:
        assert not re.search(r"firestore|secrets|logging buckets|storage", command), command


def test_a_function_that_is_added_gets_all_that_functions_get() -> None:
    """An account, its rights, a service; and a way in where partners or browsers are to come."""
    added = [Api("referrals", audience="partner"), Api("night_work", audience="internal")]
    found = values("staging", commit=COMMIT, number=NUMBER, apis=added)
    assert [each["service"] for each in found["functions"]] == ["ally-referrals", "ally-night-work"]
    assert [each["service"] for each in found["publics"]] == ["ally-referrals"]
    accounts = {each["name"] for each in found["accounts"]}
    assert {"ally-referrals", "ally-night-work"} < accounts
    assert rights(found)["ally-night-work"] == {"pepper", "keys", "data", "enqueue", "metrics"}
    called = {each["service"]: each["called_by"].partition("@")[0] for each in found["called"]}
    assert called == {
        "ally-referrals": "serviceAccount:ally-gateway",
        "ally-night-work": "serviceAccount:ally-caller",
    }


def test_what_answers_anybody_may_reach_neither_data_nor_keys() -> None:
    found = values("production", commit=COMMIT, number=NUMBER)
    public = {f"ally-{api.name}" for api in discover() if api.public}
    assert public == {"ally-docs"}
    assert rights(found)["ally-docs"] == {"pepper", "metrics"}


def test_no_account_may_do_anything_to_the_whole_project_that_it_need_not() -> None:
    """Data and secrets are reached by name; only the pipeline may build, release and route."""
    found = values("production", commit=COMMIT, number=NUMBER)
    for grant in found["grants"]:
        if grant["name"] == "ally-pipeline":
            assert not re.search(r"datastore|\.admin$|owner|editor$", grant["role"]) or grant[
                "role"
            ] in {"roles/cloudbuild.builds.editor", "roles/apigateway.admin"}
        elif grant["role"] == f"projects/{found['project']}/roles/allyNewKeys":
            assert grant["name"] in {"ally-api-keys", "ally-dashboard"}
        else:  # Cloud Logging and Cloud Monitoring know no rights to parts of a project
            assert grant["condition"] or grant["role"] in {
                *("roles/logging.logWriter", "roles/monitoring.metricWriter"),
                "roles/monitoring.viewer",
            }, grant
    assert not {"ally-gateway", "ally-caller"} & rights(found).keys()


def test_each_function_may_do_what_it_needs_and_no_more() -> None:
    apis = [*discover(), *PORTALS]
    found = values("production", commit=COMMIT, number=NUMBER, apis=apis)
    plain = {"pepper", "keys", "data", "enqueue", "metrics"}
    special = {
        "ally-docs": {"pepper", "metrics"},
        "ally-api-keys": plain | {"new_keys", "key_versions"},
        "ally-usage": plain | {"read_metrics"},
        "ally-dashboard": plain | {"new_keys", "key_versions", "read_metrics"},
        "ally-operations": plain - {"keys"},
        "ally-worker": {"pepper", "data", "enqueue", "metrics", "read_metrics", "smtp"},
    }
    for each in found["functions"]:
        assert rights(found)[each["service"]] == special.get(each["service"], plain)


@pytest.mark.parametrize("environment", environments())
def test_every_portal_is_deployed_under_a_host_of_its_own_but_those_of_developers(
    environment: str,
) -> None:
    found = values(environment, commit=COMMIT, number=NUMBER)
    deployed = {each["function"]: each["host"] for each in found["portals"]}
    assert deployed.keys() == {each.name for each in discover_portals() if each.deployed}
    assert deployed.keys() >= {"dashboard"}
    hosts = {each["label"]: each["domain"] for each in found["hosts"]}
    assert deployed.items() <= hosts.items()
    assert len(set(hosts.values())) == len(hosts)


def test_a_portal_is_led_to_by_its_host_and_never_by_the_gateway() -> None:
    apis = [API, *PORTALS, Pages("mailbox", audience="developer")]
    found = values("staging", commit=COMMIT, number=NUMBER, apis=apis)
    assert [each["function"] for each in found["functions"]] == [
        *("patients", "dashboard", "operations")
    ]
    assert [each["service"] for each in found["publics"]] == ["ally-patients"]
    assert "dashboard" not in found["gateway_document"]
    called = {each["service"]: each["called_by"] for each in found["called"]}
    assert called["ally-dashboard"] == "allUsers"
    assert called["ally-operations"].endswith("@gcp-sa-iap.iam.gserviceaccount.com")
    assert [each["backend"] for each in found["backends"]] == [
        *("ally-gateway", "ally-dashboard", "ally-operations")
    ]


def test_each_way_in_counts_its_own_proxies() -> None:
    apis = [API, *PORTALS]
    found = {**values("staging", commit=COMMIT, number=NUMBER, apis=apis), "pages_proxies": 7}
    told = {api.name: environment(api.name, found)["ALLY_PROXIES"] for api in apis}
    assert told == {"patients": str(found["proxies"]), "dashboard": "7", "operations": "7"}


def test_staff_are_who_is_named_to_the_very_service_that_asks() -> None:
    """The audience of what Identity-Aware Proxy signs, as Google says it for Cloud Run."""
    told = environment("operations", values("staging", commit=COMMIT, number=NUMBER))
    place = f"/projects/{NUMBER}/locations/europe-west2/services/ally-operations"
    assert told["ALLY_IAP_AUDIENCE"] == place


def test_what_a_portal_is_asked_for_before_it_serves_is_a_public_file_of_it() -> None:
    apis = [*discover_portals(), *PORTALS]
    for each in values("staging", commit=COMMIT, number=NUMBER, apis=apis)["portals"]:
        path = re.findall(r"httpGet\.path=([^,]+)", each["startup_probe"])
        assert path == [STYLE], each["function"]
    for portal in discover_portals():
        route, arguments = portal.find("GET", STYLE)
        assert route.permission == PUBLIC
        assert portal.design.asset(arguments["name"]).text


def test_the_worker_is_called_by_one_account_and_is_where_everybody_is_told() -> None:
    found = values("staging", commit=COMMIT, number=NUMBER, apis=[API, WORKER])
    worker = "https://ally-worker-100000000001.europe-west2.run.app"
    for each in found["functions"]:
        told = environment(each["function"], found)
        assert told["ALLY_QUEUE"] == "projects/ally-staging/locations/europe-west2/queues/ally"
        assert told["ALLY_WORKER_URL"] == worker
        assert told["ALLY_WORKER_ACCOUNT"] == "ally-caller@ally-staging.iam.gserviceaccount.com"
    assert worker not in found["gateway_document"]
    # In its name tasks are sent and nothing runs: so the pipeline has no business with it.
    assert found["caller"] not in {each["account"] for each in found["deployed"]}


def test_what_is_sent_to_the_worker_is_sent_to_a_route_of_it(tmp_path: Path) -> None:
    work = [
        f"{step.create} {step.update}"
        for steps in declared("production", tmp_path)
        for step in steps
        if step.phase == "work"
    ]
    sent = {path for commands in work for path in re.findall(r"/worker/\w+", commands)}
    (worker,) = (api for api in discover() if api.name == "worker")
    by_hand = {"/worker/failed_jobs"}
    assert sent | by_hand == {route.template for route in worker.routes}


def test_every_index_exemption_and_expiry_of_the_manifest_is_in_both_databases(
    tmp_path: Path,
) -> None:
    manifest = json.loads((HERE / "firestore.indexes.json").read_text())
    fields = manifest["fieldOverrides"]
    names = [step.name for steps in declared("production", tmp_path) for step in steps]
    for database in ("test", "live"):
        made = {
            "Index of": len(manifest["indexes"]),
            "No index in": len(fields),
            "Expiry in": sum(bool(each.get("ttl")) for each in fields),
        }
        for kind, count in made.items():
            assert count
            assert sum(name.startswith(f"{kind} {database}") for name in names) == count


def test_the_environment_of_a_service_opens_the_google_backend() -> None:
    found = values("production", commit=COMMIT, number=NUMBER)
    for each in found["functions"]:
        settings = load_settings(environment(each["function"], found))
        assert settings.behind_gateway
        assert settings.places["test"].database != settings.places["live"].database
        assert settings.url == "https://api.ally.example"
        assert settings.dashboard_url == "https://dashboard.ally.example"
        assert settings.operations_url == "https://operations.ally.example"
        assert not settings.pepper


def test_a_service_is_made_anew_only_where_something_of_it_differs() -> None:
    def fingerprint(**changed: str) -> str:
        found = dict(values("staging", commit=COMMIT, number=NUMBER, apis=[API]))
        return str(describe(API, {**found, **changed})["fingerprint"])

    assert fingerprint() == fingerprint()
    assert fingerprint(image="other") != fingerprint()
    assert fingerprint(support="other@ally.example") != fingerprint()
