"""`make deploy`, whole, by the real gcloud against a stand-in for Google that remembers."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from infra import applying
from infra.applying import Run
from infra.checking import checks, pruned
from tests.support.deployment import (
    ANYBODY,
    GOES_ON,
    NEXT_COMMIT,
    PERMITTED,
    Deployment,
    members,
    sent_bytes,
    texts,
)

# One process does it all: the deployment is made once.
pytestmark = [pytest.mark.xdist_group("gcloud"), pytest.mark.timeout(3600)]

FAULTS = int(os.environ.get("ALLY_FAULTS", "2"))
"""In how many writes of the deployment a fault is tried, spread over all of it."""
LONDON = {"europe-west2", "europe-west2-docker.pkg.dev"}


def test_a_second_run_changes_nothing(deployment: Deployment) -> None:
    writes = len(deployment.google.writes)
    again = deployment.deploy()
    assert again.changes == []
    assert deployment.said[-1] == f"0 of {again.steps} steps changed something."
    assert deployment.google.writes[writes:] == []


def test_a_plan_says_the_commands_and_changes_nothing(deployment: Deployment) -> None:
    with deployment.as_it_was(deployment.before["data"]):
        writes = len(deployment.google.writes)
        planned = deployment.plan("data")
        assert len(planned.changes) == planned.steps - 1  # one asks for the password of mail
        assert any(
            line.startswith("    gcloud firestore databases create --database=live ")
            for line in deployment.said
        )
        assert len(deployment.google.writes) == writes


def test_what_somebody_changed_by_hand_is_made_as_declared_again(deployment: Deployment) -> None:
    databases = "firestore/projects/ally-staging/databases/live"
    deployment.google.resources[databases]["deleteProtectionState"] = "DELETE_PROTECTION_DISABLED"
    run = deployment.deploy("data")
    assert [change.step.name for change in run.changes] == ["Database live"]
    assert deployment.google.resources[databases]["deleteProtectionState"] == (
        "DELETE_PROTECTION_ENABLED"
    )


def test_whom_somebody_let_call_a_function_by_hand_is_kept_out_again(
    deployment: Deployment,
) -> None:
    policies = deployment.google.policies
    name = "run/projects/ally-staging/locations/europe-west2/services/ally-docs"
    declared_callers = policies[name]["bindings"]
    anybody = {"role": "roles/run.invoker", "members": ["allUsers"]}
    policies[name] = {**policies[name], "bindings": [*declared_callers, anybody]}
    run = deployment.deploy("callers")
    assert [change.step.name for change in run.changes] == ["Who may call ally-docs"]
    assert policies[name]["bindings"] == declared_callers
    assert deployment.deploy("callers").changes == []


# --- What Google was sent -------------------------------------------------------------------------


def test_everything_lies_in_london(made: Deployment) -> None:
    for call in made.google.writes:
        for region in re.findall(r"/(?:locations|regions)/([^/:]+)", call.path):
            elsewhere = {"global"} if call.service in {"apigateway", "iam"} else set()
            assert region in {"europe-west2", *elsewhere}, call
        for name, value in members(call.body):
            if name == "allowedPersistenceRegions":
                assert value == ["europe-west2"]
            if name in {"locationId", "location", "region"}:
                assert str(value).lower().rpartition("/")[2] in LONDON, call
    kept = {name.split("/")[0] for name in made.google.resources}
    assert {"run", "firestore", "secretmanager", "artifactregistry", "storage", "logging"} < kept
    assert {"cloudtasks", "cloudscheduler", "pubsub"} < kept


def test_who_may_call_a_function_is_one_alone(made: Deployment) -> None:
    """The gateway, but for what is called for no partner, and what the balancer leads to."""
    ours = "serviceAccount:{}@ally-staging.iam.gserviceaccount.com"
    others = {
        "worker": ours.format("ally-caller"),
        "dashboard": "allUsers",
        "operations": "serviceAccount:service-100000000001@gcp-sa-iap.iam.gserviceaccount.com",
    }
    for each in made.values["functions"]:
        member = others.get(each["function"], ours.format("ally-gateway"))
        name = f"run/projects/ally-staging/locations/europe-west2/services/{each['service']}"
        assert made.google.policies[name]["bindings"] == [
            {"role": "roles/run.invoker", "members": [member]}
        ]
    anybody = [
        name
        for name, policy in made.google.policies.items()
        if {"allUsers", "allAuthenticatedUsers"} & set(texts(policy))
    ]
    assert sorted(anybody) == [
        "run/projects/ally-staging/locations/europe-west2/services/ally-dashboard",
        "storage/b/ally-staging-errors",  # the words that the balancer says
    ]


def test_a_portal_is_reached_through_the_balancer_alone_by_a_host_of_its_own(
    made: Deployment,
) -> None:
    """And what is for staff through Google's sign-in, by those whom the environment names."""
    maps = [each for name, each in made.google.resources.items() if "/urlMaps/" in name]
    led = {
        host: rule["pathMatcher"]
        for each in maps
        for rule in each["hostRules"]
        for host in rule["hosts"]
    }
    assert led == {
        "dashboard.staging.ally.example": "ally-dashboard",
        "operations.staging.ally.example": "ally-operations",
    }
    for each in made.values["portals"]:
        service = made.service(each["service"])["metadata"]["annotations"]
        assert service["run.googleapis.com/ingress"] == "internal-and-cloud-load-balancing"
        group = made.google.resources[
            "compute/projects/ally-staging/regions/europe-west2/networkEndpointGroups/"
            + each["service"]
        ]
        assert group["cloudRun"] == {"service": each["service"]}
    staff = made.service("ally-operations")["metadata"]["annotations"]
    assert staff["run.googleapis.com/iap-enabled"] == "true"
    policy = made.google.policies[
        "iap/projects/ally-staging/iap_web/cloud_run-europe-west2/services/ally-operations"
    ]
    assert policy["bindings"] == [
        {"role": "roles/iap.httpsResourceAccessor", "members": [made.values["staff"]]}
    ]


def test_staff_whom_somebody_let_in_by_hand_are_kept_out_again(deployment: Deployment) -> None:
    name = "iap/projects/ally-staging/iap_web/cloud_run-europe-west2/services/ally-operations"
    policies = deployment.google.policies
    before = policies[name]["bindings"]
    anybody = {"role": "roles/iap.httpsResourceAccessor", "members": ["allAuthenticatedUsers"]}
    policies[name] = {**policies[name], "bindings": [*before, anybody]}
    place = deployment.service("ally-operations")["metadata"]["annotations"]
    del place["run.googleapis.com/iap-enabled"]
    run = deployment.deploy("staff")
    assert [change.step.name for change in run.changes] == [
        "Identity-Aware Proxy before ally-operations",
        "Whom Identity-Aware Proxy lets in to ally-operations",
    ]
    assert policies[name]["bindings"] == before
    assert deployment.deploy("staff").changes == []


def test_each_function_runs_as_an_account_of_its_own(made: Deployment) -> None:
    accounts = []
    for each in made.values["functions"]:
        template = made.service(each["service"])["spec"]["template"]
        accounts.append(template["spec"]["serviceAccountName"])
        assert accounts[-1].startswith(f"{each['service']}@")
    assert len(set(accounts)) == len(accounts)


def test_rights_over_data_and_secrets_are_bound_to_their_names(made: Deployment) -> None:
    policy = made.google.policies["cloudresourcemanager/projects/ally-staging"]
    assert policy["bindings"]
    for binding in policy["bindings"]:
        role = binding["role"]
        assert role not in {"roles/owner", "roles/editor", "roles/viewer"}
        if re.search(r"datastore|secretmanager|storage", role):
            assert "resource.name" in binding["condition"]["expression"], binding


def test_a_service_is_sent_its_size_its_labels_and_no_secret(made: Deployment) -> None:
    pepper = made.google.payloads[
        "projects/ally-staging/locations/europe-west2/secrets/pepper/versions/1"
    ]
    for each in made.values["functions"]:
        service = made.service(each["service"])
        template = service["spec"]["template"]
        (container,) = template["spec"]["containers"]
        ingress = service["metadata"]["annotations"]["run.googleapis.com/ingress"]
        assert ingress == ("internal-and-cloud-load-balancing" if each["host"] else "all")
        assert template["spec"]["containerConcurrency"] == each["concurrency"] == 80
        assert container["resources"]["limits"] == {"cpu": "1", "memory": each["memory"]}
        assert container["image"] == made.values["image"]
        assert {
            "app": "ally",
            "function": each["function"],
            "commit": made.values["commit"],
        }.items() <= (service["metadata"]["labels"].items())
        variables = {entry["name"]: entry.get("value") for entry in container["env"]}
        assert variables["FUNCTION_TARGET"] == each["function"]
        assert "ALLY_PEPPER" not in variables
    told = [call for call in made.google.calls if pepper in sent_bytes(call)]
    assert {call.service for call in told} <= {"secretmanager"}
    assert not any(pepper.decode() in line for line in made.said)


def test_the_balancer_listens_to_port_443_alone_and_logs_no_request(made: Deployment) -> None:
    rules = [each for name, each in made.google.resources.items() if "/forwardingRules/" in name]
    assert [rule["portRange"] for rule in rules] == ["443-443"]
    assert not [name for name in made.google.resources if "/targetHttpProxies/" in name]
    backends = [each for name, each in made.google.resources.items() if "/backendServices/" in name]
    assert len(backends) == 1 + len(made.values["portals"])
    for backend in backends:
        assert not backend.get("logConfig", {}).get("enable")
        (sent,) = backend["customResponseHeaders"]
        assert sent.startswith("Strict-Transport-Security:")


def test_the_gateway_calls_functions_as_itself(made: Deployment) -> None:
    (config,) = [each for name, each in made.google.resources.items() if "/configs/" in name]
    assert "ally-gateway@" in json.dumps(config["gatewayServiceAccount"])


# --- What goes wrong ------------------------------------------------------------------------------


def test_a_fault_in_any_step_stops_with_a_clear_message_and_a_rerun_finishes(
    deployment: Deployment,
) -> None:
    writes = deployment.writes.items()
    places = [(phase, nth + 1) for phase, count in writes for nth in range(count)]
    assert len(places) > 50
    for phase, nth in places[:: -(-len(places) // FAULTS)]:
        with deployment.as_it_was(deployment.before[phase]):
            deployment.google.fail(403, nth=nth)
            message = deployment.refused(phase)
            assert message.startswith("Stopped at: "), (phase, nth)
            assert "The command: gcloud " in message
            assert "Told to fail" in message
            assert message.endswith("then run the same again: it goes on here.")
            deployment.google.recover()
            assert deployment.deploy(phase).changes
            assert deployment.deploy(phase).changes == []


@pytest.mark.parametrize(
    ("status", "said"),
    [(404, "Database not found"), (409, "Aborted due to cross-transaction contention")],
)
def test_what_passes_by_itself_is_waited_for(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    monkeypatch.setattr(applying, "PAUSE", 0)
    wanted = ("Database", "Index")
    made = [each for each in deployment.declarations if each and each[0].name.startswith(wanted)]
    with deployment.as_it_was(deployment.before["data"]):
        deployment.google.fail(status, "/indexes$", said=said)
        told: list[str] = []
        Run({}, told.append).deploy(made)
        (waited,) = [line for line in told if "again in 0 s" in line]
        assert said in waited


# --- Going away -----------------------------------------------------------------------------------


def test_old_gateway_configs_are_deleted_and_the_one_in_use_never(deployment: Deployment) -> None:
    configs = "apigateway/projects/ally-staging/locations/global/apis/ally/configs"
    (used,) = (name for name in deployment.google.resources if name.startswith(configs))
    for number in range(12):
        made = {
            **deployment.google.resources[used],
            "createTime": f"2027-01-{number + 10}T00:00:00Z",
        }
        made["name"] = f"{used.partition('/')[2]}-{number:02}"
        deployment.google.resources[f"{used}-{number:02}"] = made
    list(pruned(deployment.values))
    left = [name for name in deployment.google.resources if name.startswith(configs)]
    assert used in left
    assert len(left) == 11


def test_destroying_leaves_data_keys_and_logs(deployment: Deployment) -> None:
    run = Run(checks(deployment.values), deployment.said.append)
    run.destroy(deployment.declarations)
    names = list(deployment.google.resources)
    left = {name.split("/")[0] for name in names}
    assert {"firestore", "secretmanager", "logging", "artifactregistry"} < left
    assert not {"run", "cloudscheduler"} & left
    assert {"cloudtasks", "pubsub"} < left  # a queue's name is not free again for days
    assert not [name for name in names if "/gateways/" in name]
    # Names lead to the address, and what Google says of it cannot be chosen again.
    (address,) = [name for name in names if name.startswith("compute/")]
    assert address.endswith("/addresses/ally")


def test_the_commands_work_as_they_are_typed(deployment: Deployment) -> None:
    def infra(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "infra", *words, f"--commit={NEXT_COMMIT}"],
            input=typed,
            capture_output=True,
            text=True,
            check=False,
        )

    writes = len(deployment.google.writes)
    planned = infra("plan", "staging", "--only=image")
    assert planned.returncode == 0, planned.stderr
    assert f"+ The image of commit {NEXT_COMMIT}: it lacks " in planned.stdout
    deployment.google.fail(403, "/services/ally-", method="GET")
    refused = infra("deploy", "staging", "--only=traffic")
    assert refused.returncode == 1
    assert refused.stderr.startswith("Stopped at: Traffic of ally-")
    kept = infra("destroy", "staging", typed="ally-production\n")
    assert kept.returncode == 1
    assert kept.stderr == "Nothing was taken away.\n"
    assert deployment.google.writes[writes:] == []
    assert "make it so" in infra("--help").stdout


# --- The pipeline ---------------------------------------------------------------------------------


def test_cloud_build_runs_the_checks_as_an_account_that_may_do_nothing(
    deployment: Deployment,
) -> None:
    deployment.google.ask(
        "builds submit --no-source --config=infra/checks.yaml --async --region=europe-west2"
        " --project=ally-staging"
    )
    account = deployment.google.writes[-1].body["serviceAccount"]
    assert account.endswith("/ally-checks@${PROJECT_ID}.iam.gserviceaccount.com")
    rights = {
        each["right"] for each in deployment.values["grants"] if each["name"] == "ally-checks"
    }
    assert rights == {"log", "source"}


def test_cloud_build_takes_the_pipeline(deployment: Deployment) -> None:
    deployment.google.ask(
        "builds submit --no-source --config=cloudbuild.yaml --async --region=europe-west2"
        f" --project=ally-staging --substitutions=_ENVIRONMENT=staging,_COMMIT={NEXT_COMMIT}"
    )
    build = deployment.google.writes[-1].body
    assert [step["id"] for step in build["steps"]] == ["check and test", "build", "release"]
    assert build["serviceAccount"].endswith("@${PROJECT_ID}.iam.gserviceaccount.com")


def test_cloud_build_would_refuse_a_pipeline_with_an_unknown_word(
    deployment: Deployment, tmp_path: Path
) -> None:
    wrong = tmp_path / "cloudbuild.yaml"
    wrong.write_text(Path("cloudbuild.yaml").read_text().replace("timeout:", "time_out:"))
    refused = deployment.google.gcloud(
        f"builds submit --no-source --config={wrong} --region=europe-west2 --project=ally-staging"
    )
    assert "timeOut: unused" in refused.stderr


def test_every_command_of_the_pipeline_is_one_that_people_run(deployment: Deployment) -> None:
    """Its `make` targets exist, with phases that exist."""
    pipeline = Path("cloudbuild.yaml").read_text()
    targets = set(re.findall(r"^([a-z-]+):", Path("Makefile").read_text(), re.MULTILINE))
    assert "deploy" in targets
    assert set(re.findall(r"--only (\w+)", pipeline)) == {"image", "services", "traffic", "gateway"}
    assert set(re.findall(r"--only (\w+)", pipeline)) <= set(deployment.phases)


def test_the_pipeline_may_do_all_that_it_does(deployment: Deployment) -> None:
    for method in ("GET", "POST"):
        deployment.google.fail(403, GOES_ON, method=method, times=99)
    asked = len(deployment.google.calls)
    deployment.declare(NEXT_COMMIT, config="ally-other")
    deployment.deploy("image", "services", "traffic", "gateway")
    pipeline = f"serviceAccount:{deployment.values['pipeline']}"
    account = f"iam/projects/ally-staging/serviceAccounts/{deployment.values['pipeline']}"
    policies = deployment.google.policies
    bindings = [
        *policies["cloudresourcemanager/projects/ally-staging"]["bindings"],
        *policies[account]["bindings"],
    ]
    roles = {each["role"] for each in bindings if pipeline in each["members"]}
    may = [PERMITTED[role] for role in roles & PERMITTED.keys()]
    for call in deployment.google.calls[asked:]:
        words = f"{call.service} {call.method} {call.path}"
        assert any(re.match(each, words) for each in [*may, ANYBODY]) or re.match(GOES_ON, words)
    for each in deployment.values["deployed"]:
        name = f"iam/projects/ally-staging/serviceAccounts/{each['account']}"
        (user,) = [
            each for each in policies[name]["bindings"] if each["role"].endswith("AccountUser")
        ]
        assert user["members"] == [pipeline]
