"""Releasing the next commit: who is asked before and after it serves, and every way back."""

import subprocess

import pytest

from infra.checking import rolled_back
from infra.gcloud import ENVIRONMENT
from tests.support.deployment import (
    NEXT_COMMIT,
    Deployment,
    failing_at,
    functions_answer,
)
from tests.support.google_cloud.wire import Answer, Call

# One process does it all: the deployment is made once.
pytestmark = [pytest.mark.xdist_group("gcloud"), pytest.mark.timeout(3600)]


@pytest.fixture
def released(deployment: Deployment) -> Deployment:
    """With revisions of the next commit that were asked, and have no traffic yet."""
    deployment.release()
    return deployment


def test_a_revision_that_does_not_start_gets_no_traffic_and_can_be_deployed_again(
    deployment: Deployment,
) -> None:
    served = deployment.serving("ally-docs")
    deployment.declare(NEXT_COMMIT)
    deployment.google.images.add(deployment.values["image"])
    deployment.google.broken.add("ally-docs")
    assert "failed to start" in deployment.refused("services", "traffic")
    assert deployment.serving("ally-docs") == served
    deployment.google.broken.clear()
    deployment.deploy("services", "traffic")
    assert deployment.serving("ally-docs") != served


def test_a_new_revision_is_asked_before_it_gets_traffic(deployment: Deployment) -> None:
    served = {name: deployment.serving(name) for name in ("ally-docs", "ally-api-keys")}
    deployment.declare(NEXT_COMMIT)
    deployment.google.site = failing_at(r"candidate---ally-docs-")
    message = deployment.refused("image", "services", "traffic", "gateway")
    assert "Smoke test: docs at https://candidate---ally-docs-" in message
    assert "answered 500 internal_error" in message
    assert {name: deployment.serving(name) for name in served} == served

    deployment.google.site = failing_at("nowhere")
    deployment.deploy("image", "services", "traffic", "gateway")
    assert all(deployment.serving(name) != before for name, before in served.items())


def test_a_wrong_answer_to_partners_gives_traffic_back_to_what_served_before(
    released: Deployment,
) -> None:
    served = {name: released.serving(name) for name in ("ally-docs", "ally-api-keys")}
    released.google.site = failing_at(r"\.gateway\.dev")
    message = released.refused("traffic", "gateway")
    assert "Rolled back; the revisions before serve again." in message
    assert {name: released.serving(name) for name in served} == served


def test_a_wrong_page_gives_the_gateway_its_config_back(released: Deployment) -> None:
    """And so does a wrong answer to partners, of whom it is known first."""
    gateway = "apigateway/projects/ally-staging/locations/europe-west2/gateways/ally"
    used = released.google.resources[gateway]["apiConfig"]
    released.declare(NEXT_COMMIT, config="ally-other")
    released.google.site = failing_at(r"^dashboard\.")
    assert "Rolled back" in released.refused("traffic", "gateway")
    # First the ways in, then what they lead to.
    told = [line.split()[1] for line in released.said if line.endswith(" again")]
    assert told == ["gateway", *("is" for _ in released.values["functions"])]
    assert released.google.resources[gateway]["apiConfig"] == used

    released.google.site = functions_answer
    released.deploy("traffic", "gateway")
    assert released.google.resources[gateway]["apiConfig"].endswith("/configs/ally-other")


def test_what_cannot_be_asked_gives_traffic_back_too(released: Deployment) -> None:
    served = released.serving("ally-docs")
    # The first that reads the key asks revisions, the second partners' way.
    released.google.fail(403, "smoke-key", method="GET", nth=2)
    message = released.refused("services", "traffic", "gateway")
    assert "Rolled back; the revisions before serve again." in message
    assert released.serving("ally-docs") == served


def test_a_person_can_roll_back_and_deploy_again(released: Deployment) -> None:
    served = released.serving("ally-docs")
    assert any("no revision before" in line for line in rolled_back(released.values))
    released.deploy("traffic")
    newer = released.serving("ally-docs")
    assert f"ally-docs is served by {served} again" in list(rolled_back(released.values))
    assert released.serving("ally-docs") == served
    released.deploy("traffic")
    assert released.serving("ally-docs") == newer


def test_a_revision_that_somebody_made_by_hand_gets_no_traffic_unasked(
    released: Deployment,
) -> None:
    served = released.serving("ally-docs")
    traffic = released.service("ally-docs")["status"]["traffic"]
    traffic[:] = [each for each in traffic if "tag" not in each]
    message = released.refused("services", "traffic")
    assert "was made by hand and never asked: it has no tag candidate." in message
    assert released.serving("ally-docs") == served


def test_the_smoke_key_is_shown_to_functions_and_to_nobody_else(deployment: Deployment) -> None:
    key = "test_" + "a" * 24 + "." + "b" * 30
    secrets = {**deployment.google.environment, **ENVIRONMENT}
    subprocess.run(
        [
            *("gcloud", "secrets", "create", "smoke-key", "--location=europe-west2"),
            *("--data-file=-", "--project=ally-staging"),
        ],
        env=secrets,
        input=key.encode(),
        check=True,
    )
    asked = []

    def site(call: Call) -> Answer:
        asked.append(call)
        if call.path.startswith("/worker") or call.host.endswith(".ally.example"):
            return functions_answer(call)
        return Answer({"object": "list"}, 200, {"Request-Id": "req_0"})

    deployment.google.site = site
    deployment.deploy("services", "gateway")
    direct = [call for call in asked if call.host.endswith(".run.app")]
    shown = {
        (call.path == "/worker/jobs", call.headers["X-Forwarded-Authorization"]) for call in direct
    }
    assert shown == {(False, key), (True, None)}  # the worker takes no key
    assert all(call.headers["Authorization"].startswith("Bearer ey") for call in direct)
    through = [call for call in asked if call.host.endswith(".gateway.dev")]
    assert {call.headers["Authorization"] for call in through} == {key}
    pages = [call for call in asked if call.host.endswith(".ally.example")]
    assert [call.host.partition(".")[0] for call in pages] == ["dashboard", "operations"]
    assert not any(key in value for call in pages for value in call.headers.values())
    assert not any(key in line for line in deployment.said)
