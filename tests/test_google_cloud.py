"""The stand-in for Google is one in the eyes of the real gcloud, command by command."""

import pytest

from tests.support.google_cloud import GoogleCloud

PROJECT = "--project=ally-staging"
ACCOUNT = "ally-patients@ally-staging.iam.gserviceaccount.com"


def test_a_project_gains_services_accounts_roles_and_a_policy(google_cloud: GoogleCloud) -> None:
    ask = google_cloud.ask
    assert ask("projects", "describe", "ally-staging")["projectNumber"] == "100000000001"
    refused = google_cloud.gcloud("iam", "service-accounts", "list", PROJECT)
    assert refused.returncode != 0
    assert "iam.googleapis.com has not been used in project" in refused.stderr
    ask("services", "enable", "iam.googleapis.com", "run.googleapis.com", PROJECT)
    enabled = ask("services", "list", "--enabled", PROJECT)
    assert {"iam.googleapis.com", "run.googleapis.com"} < {
        each["config"]["name"] for each in enabled
    }

    ask("iam", "service-accounts", "create", "ally-patients", PROJECT)
    assert [each["email"] for each in ask("iam", "service-accounts", "list", PROJECT)] == [ACCOUNT]
    ask("iam", "roles", "create", "allyReader", "--permissions=a.b.get", PROJECT)
    ask("iam", "roles", "update", "allyReader", "--permissions=a.b.get,a.b.list", PROJECT)
    role = ask("iam", "roles", "describe", "allyReader", PROJECT)
    assert role["includedPermissions"] == ["a.b.get", "a.b.list"]

    add = ["projects", "add-iam-policy-binding", "ally-staging", "--role=roles/datastore.user"]
    ask(*add, f"--member=serviceAccount:{ACCOUNT}", "--condition=None")
    condition = 'expression=resource.name.endsWith("/test"),title=Test'
    ask(*add, f"--member=serviceAccount:{ACCOUNT}", f"--condition={condition}")
    stranger = "serviceAccount:ally-nobody@ally-staging.iam.gserviceaccount.com"
    unknown = google_cloud.gcloud(*add, f"--member={stranger}", "--condition=None")
    assert "does not exist" in unknown.stderr
    policy = ask("projects", "get-iam-policy", "ally-staging")
    assert policy["version"] == 3
    assert [binding.get("condition", {}).get("title") for binding in policy["bindings"]] == [
        None,
        "Test",
    ]


@pytest.mark.parametrize("status", [403, 503])
def test_a_write_that_is_told_to_fail_ends_gcloud_with_the_message(
    google_cloud: GoogleCloud, status: int
) -> None:
    google_cloud.fail(status, "services:batchEnable", nth=2)
    enable = ["services", "enable", "a.googleapis.com", "b.googleapis.com", PROJECT]
    assert google_cloud.gcloud(*enable).returncode == 0
    failed = google_cloud.gcloud(*enable)
    assert failed.returncode != 0
    assert "Told to fail: POST /v1/projects/ally-staging/services:batchEnable" in failed.stderr
    assert google_cloud.gcloud(*enable).returncode == 0


def test_what_is_not_known_is_said_loudly(google_cloud: GoogleCloud) -> None:
    failed = google_cloud.gcloud("pubsub", "topics", "list", PROJECT)
    assert "pubsub.googleapis.com has not been used" in failed.stderr
    google_cloud.project("ally-staging").services.add("pubsub")
    failed = google_cloud.gcloud("pubsub", "topics", "list", PROJECT)
    assert failed.returncode != 0
    assert google_cloud.unknown == ["GET pubsub.googleapis.com/v1/projects/ally-staging/topics"]
    google_cloud.unknown.clear()
