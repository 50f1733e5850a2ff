"""What carries work to the worker, as `make deploy` leaves it: in London, in one name, no wider."""

import json

import pytest

from tests.support.deployment import Deployment

# One process does it all: the deployment is made once.
pytestmark = [pytest.mark.xdist_group("gcloud"), pytest.mark.timeout(3600)]


def test_the_worker_is_asked_in_one_name_from_three_sides(made: Deployment) -> None:
    """Tasks, schedules and lines: each with a token for the worker, and for it alone."""
    place = "projects/ally-staging/locations/europe-west2"
    worker = made.values["worker"]
    token = {"serviceAccountEmail": made.values["caller"], "audience": worker}
    google = made.google.resources
    queue = google[f"cloudtasks/{place}/queues/ally"]["httpTarget"]["uriOverride"]
    assert f"https://{queue['host']}{queue['pathOverride']['path']}" == f"{worker}/worker/jobs"
    assert queue["uriOverrideEnforceMode"] == "ALWAYS"
    for job, path in (("ally-sweep", "sweep"), ("ally-roll-up", "roll_up")):
        target = google[f"cloudscheduler/{place}/jobs/{job}"]["httpTarget"]
        assert target["uri"] == f"{worker}/worker/{path}"
        assert target["oidcToken"] == token
    subscription = google["pubsub/projects/ally-staging/subscriptions/ally-lines"]
    assert subscription["pushConfig"] == {
        "pushEndpoint": f"{worker}/worker/lines",
        "oidcToken": token,
    }
    assert subscription["expirationPolicy"] == {}  # never, also if nobody calls for a month


def test_who_may_enqueue_may_do_nothing_else_in_the_name_of_the_caller(made: Deployment) -> None:
    place = "projects/ally-staging/locations/europe-west2"
    functions = [f"serviceAccount:{each['account']}" for each in made.values["enqueuers"]]
    assert functions
    assert made.google.policies[f"cloudtasks/{place}/queues/ally"]["bindings"] == [
        {"role": "roles/cloudtasks.enqueuer", "members": functions}
    ]
    caller = f"iam/projects/ally-staging/serviceAccounts/{made.values['caller']}"
    pusher = "serviceAccount:service-100000000001@gcp-sa-pubsub.iam.gserviceaccount.com"
    assert made.google.policies[caller]["bindings"] == [
        {"role": "roles/iam.serviceAccountUser", "members": functions},
        {"role": "roles/iam.serviceAccountTokenCreator", "members": [pusher]},
    ]
    assert not any(
        made.values["caller"] in json.dumps(policy) and not name.startswith("run/")
        for name, policy in made.google.policies.items()
    )


def test_what_work_comes_by_is_mended(deployment: Deployment) -> None:
    google = deployment.google
    place = "projects/ally-staging/locations/europe-west2"
    subscription = google.resources["pubsub/projects/ally-staging/subscriptions/ally-lines"]
    subscription["pushConfig"]["pushEndpoint"] = "https://elsewhere.example/lines"
    google.resources[f"cloudscheduler/{place}/jobs/ally-sweep"]["schedule"] = "0 * * * *"
    queue = google.resources[f"cloudtasks/{place}/queues/ally"]
    queue["httpTarget"]["uriOverride"]["pathOverride"]["path"] = "/worker/lines"
    topic = "pubsub/projects/ally-staging/topics/ally-lines"
    alone = google.policies[topic]["bindings"]
    forger = {"role": "roles/pubsub.publisher", "members": ["user:forger@ally.example"]}
    google.policies[topic] = {**google.policies[topic], "bindings": [*alone, forger]}
    run = deployment.deploy("work")
    assert [change.step.name for change in run.changes] == [
        "The queue of jobs",
        "The sweep, every minute",
        "What sends lines to the worker",
        "Nobody but Cloud Logging may send lines",
    ]
    assert google.policies[topic]["bindings"] == alone
    assert deployment.deploy("work").changes == []
