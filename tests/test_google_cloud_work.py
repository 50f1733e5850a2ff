"""The stand-in for Google knows queues, schedules and topics, and refuses what Google refuses."""

import pytest

from tests.support.google_cloud import GoogleCloud

# One process runs all that is for gcloud, and has learned it.
pytestmark = pytest.mark.xdist_group("gcloud")

LONDON = "--location=europe-west2"
CALLER = "ally-caller@ally-staging.iam.gserviceaccount.com"
WORKER = "https://ally-worker-100000000001.europe-west2.run.app"
TOKEN = f"--oidc-service-account-email={CALLER} --oidc-token-audience={WORKER}"
PUSH = f"--push-auth-service-account={CALLER} --push-endpoint"


@pytest.fixture
def google(google_cloud: GoogleCloud) -> GoogleCloud:
    """Google with what carries work enabled, in the project that gcloud takes if it is not told."""
    google_cloud.environment["CLOUDSDK_CORE_PROJECT"] = "ally-staging"
    google_cloud.project("ally-staging").services |= {
        *("cloudscheduler", "cloudtasks", "iam", "pubsub")
    }
    return google_cloud


def refused(google: GoogleCloud, command: str) -> str:
    """Return what gcloud says of a command that must fail."""
    done = google.gcloud(command)
    assert done.returncode != 0, command
    return done.stderr


def test_a_queue_has_bounds_and_its_name_is_not_free_again(google: GoogleCloud) -> None:
    create = f"tasks queues create ally {LONDON}"
    assert "must be between" in refused(google, f"{create} --max-dispatches-per-second=501")
    assert "must be between" in refused(google, f"{create} --min-backoff=9s --max-backoff=2s")
    made = google.ask(f"{create} --max-attempts=5")
    assert made["retryConfig"]["maxAttempts"] == 5
    assert made["rateLimits"]["maxDispatchesPerSecond"] == 500
    assert "already exists" in refused(google, create)
    bind = f"tasks queues add-iam-policy-binding ally {LONDON} --role=roles/cloudtasks.enqueuer"
    assert "does not exist" in refused(google, f"{bind} --member=serviceAccount:{CALLER}")
    google.ask("iam service-accounts create ally-caller")
    google.ask(f"{bind} --member=serviceAccount:{CALLER}")
    google.ask(f"tasks queues delete ally {LONDON}")
    assert "existed" in refused(google, create)


def test_a_schedule_is_of_a_form_and_sends_tokens_of_accounts_that_there_are(
    google: GoogleCloud,
) -> None:
    create = f"scheduler jobs create http ally-sweep {LONDON} --uri={WORKER}/worker/sweep {TOKEN}"
    assert "was not found" in refused(google, f"{create} --schedule='* * * * *'")
    google.ask("iam service-accounts create ally-caller")
    assert "invalid" in refused(google, f"{create} --schedule='* * *'")
    assert "must be between" in refused(
        google, f"{create} --schedule='* * * * *' --attempt-deadline=10s"
    )
    made = google.ask(f"{create} --schedule='* * * * *' --headers=Content-Type=application/json")
    assert (made["state"], made["attemptDeadline"]) == ("ENABLED", "180s")
    assert set(made["httpTarget"]["headers"]) == {"User-Agent", "Content-Type"}
    plain = create.replace("https", "http", 1).replace("ally-sweep", "other", 1)
    assert "https addresses alone" in refused(google, f"{plain} --schedule='* * * * *'")
    google.ask(f"scheduler jobs delete ally-sweep {LONDON}")
    assert google.ask(f"scheduler jobs list {LONDON}") == []


def test_a_subscription_is_of_a_topic_and_ends_unless_it_is_told_not_to(
    google: GoogleCloud,
) -> None:
    create = "pubsub subscriptions create lines --topic=lines"
    assert "was not found" in refused(google, create)
    google.ask("pubsub topics create lines --message-storage-policy-allowed-regions=europe-west2")
    assert "was not found" in refused(google, f"{create} {PUSH}={WORKER}/worker/lines")
    google.ask("iam service-accounts create ally-caller")
    assert "https addresses alone" in refused(google, f"{create} {PUSH}=http://a.example/lines")
    google.ask(f"{create} {PUSH}={WORKER}/worker/lines")
    made = google.ask("pubsub subscriptions describe lines")
    assert made["expirationPolicy"] == {"ttl": "2678400s"}
    assert made["messageRetentionDuration"] == "604800s"
    google.ask("pubsub subscriptions update lines --expiration-period=never --ack-deadline=30")
    made = google.ask("pubsub subscriptions describe lines")
    assert (made["expirationPolicy"], made["ackDeadlineSeconds"]) == ({}, 30)
    assert made["pushConfig"]["oidcToken"]["serviceAccountEmail"] == CALLER
    google.ask("pubsub topics update lines --message-storage-policy-allowed-regions=us-east1")
    topic = google.ask("pubsub topics describe lines")
    assert topic["messageStoragePolicy"] == {"allowedPersistenceRegions": ["us-east1"]}


def test_a_service_acts_as_an_account_that_is_there_once_it_was_needed(google: GoogleCloud) -> None:
    google.ask("pubsub topics create lines")
    bind = "pubsub topics add-iam-policy-binding lines --role=roles/pubsub.publisher --member="
    logger = "serviceAccount:service-100000000001@gcp-sa-logging.iam.gserviceaccount.com"
    assert "does not exist" in refused(google, bind + logger)
    to = "pubsub.googleapis.com/projects/ally-staging/topics/lines"
    assert google.ask(f"logging sinks create lines {to}")["writerIdentity"] == logger
    google.ask(bind + logger)
    pusher = logger.replace("logging", "pubsub")
    assert "does not exist" in refused(google, bind + pusher)
    google.ask("beta services identity create --service=pubsub.googleapis.com")
    google.ask(bind + pusher)
