"""The stand-in for Google is Google in the eyes of the real gcloud, service by service."""

import json
import os
import re
import subprocess
import tarfile
from io import BytesIO
from pathlib import Path

import pytest
import yaml

from tests.support.google_cloud import GoogleCloud

# One process runs all that is for gcloud, and has learned it.
pytestmark = pytest.mark.xdist_group("gcloud")

ACCOUNT = "ally-patients@ally-staging.iam.gserviceaccount.com"
IMAGE = "europe-west2-docker.pkg.dev/ally-staging/ally/api"
LONDON = "--location=europe-west2"
EMAIL = "--type=email --channel-labels=email_address=a@b.c"
PAYS = "--billing-account=000000-111111-222222"
REGION = "--region=europe-west2"


@pytest.fixture
def google(google_cloud: GoogleCloud) -> GoogleCloud:
    """Google with all services enabled in the project that gcloud takes if it is not told."""
    google_cloud.environment["CLOUDSDK_CORE_PROJECT"] = "ally-staging"
    google_cloud.project("ally-staging").services |= {
        "apigateway",
        "artifactregistry",
        "billingbudgets",
        "cloudbuild",
        "compute",
        "firestore",
        "iam",
        "run",
        "secretmanager",
    }
    return google_cloud


def refused(google: GoogleCloud, command: str) -> str:
    """Return what gcloud says of a command that must fail."""
    done = google.gcloud(command)
    assert done.returncode != 0, command
    return done.stderr


def test_a_project_gains_services_accounts_roles_and_a_policy(google_cloud: GoogleCloud) -> None:
    google_cloud.environment["CLOUDSDK_CORE_PROJECT"] = "ally-staging"
    ask = google_cloud.ask
    assert ask("projects describe ally-staging")["projectNumber"] == "100000000001"
    unready = refused(google_cloud, "iam service-accounts list")
    assert "iam.googleapis.com has not been used in project" in unready
    ask("services enable iam.googleapis.com run.googleapis.com")
    enabled = {service["config"]["name"] for service in ask("services list --enabled")}
    assert {"iam.googleapis.com", "run.googleapis.com"} < enabled
    needed = refused(google_cloud, "services disable cloudtrace.googleapis.com")
    assert "is depended on by the following active service(s): cloudapis" in needed

    ask("iam service-accounts create ally-patients")
    assert "already exists" in refused(google_cloud, "iam service-accounts create ally-patients")
    assert [account["email"] for account in ask("iam service-accounts list")] == [ACCOUNT]
    ask("iam roles create allyReader --project=ally-staging --permissions=a.b.get")
    ask("iam roles update allyReader --project=ally-staging --add-permissions=a.b.list")
    role = ask("iam roles describe allyReader --project=ally-staging")
    assert role["includedPermissions"] == ["a.b.get", "a.b.list"]

    add = "projects add-iam-policy-binding ally-staging --role=roles/datastore.user"
    ask(f"{add} --member=serviceAccount:{ACCOUNT} --condition=None")
    condition = "'expression=resource.name.endsWith(\"/test\"),title=Test'"
    ask(f"{add} --member=serviceAccount:{ACCOUNT} --condition={condition}")
    stranger = ACCOUNT.replace("patients", "nobody")
    unknown = refused(google_cloud, f"{add} --member=serviceAccount:{stranger} --condition=None")
    assert "does not exist" in unknown
    policy = ask("projects get-iam-policy ally-staging")
    titles = [binding.get("condition", {}).get("title") for binding in policy["bindings"]]
    assert (policy["version"], titles) == (3, [None, "Test"])


def test_a_gcloud_that_is_loaded_already_says_and_does_what_gcloud_does(
    google: GoogleCloud, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("salt")
    for words in (
        "projects add-iam-policy-binding ally-staging --role=a --member=user:a@b.c --format=json",
        "secrets versions add pepper --data-file=file",
    ):
        said = []
        for path in (google.environment["PATH"], os.environ["PATH"]):
            done = subprocess.run(
                ["gcloud", *words.split()],
                env={**google.environment, "PATH": path},
                cwd=tmp_path,
                check=False,
                capture_output=True,
                text=True,
            )
            etag = re.compile(r"BwX\d+")
            said.append((done.returncode, etag.sub("", done.stdout), done.stderr))
        assert said[0] == said[1]
    assert google.writes[-1].body == google.writes[-2].body


@pytest.mark.parametrize("status", [403, 503])
def test_a_write_that_is_told_to_fail_ends_gcloud_with_the_message(
    google: GoogleCloud, status: int
) -> None:
    google.fail(status, "services:batchEnable", nth=2)
    enable = "services enable a.googleapis.com b.googleapis.com"
    google.ask(enable)
    assert "Told to fail: POST /v1/projects/ally-staging/services:batchEnable" in refused(
        google, enable
    )
    google.ask(enable)


def test_what_is_not_known_is_said_loudly_and_does_not_leave_the_machine(
    google: GoogleCloud,
) -> None:
    google.project("ally-staging").services.add("spanner")
    assert "does not know" in refused(google, "spanner instances list")
    assert google.unknown == ["GET spanner.googleapis.com/v1/projects/ally-staging/instances"]
    google.unknown.clear()


DASHBOARD: dict[str, object] = {"displayName": "Ally", "mosaicLayout": {"columns": 12}}
POLICY: dict[str, object] = {
    "displayName": "Errors",
    "combiner": "OR",
    "conditions": [
        {
            "displayName": "many",
            "conditionThreshold": {"filter": 'metric.type="a"', "comparison": "COMPARISON_GT"},
        }
    ],
}
# What creates one, what lists or describes it, and a part of what is then said.
ROUND_TRIPS: dict[str, tuple[str, str, dict[str, object]]] = {
    "address": (
        "compute addresses create ally --global",
        "compute addresses describe ally --global",
        {"status": "RESERVED", "networkTier": "PREMIUM"},
    ),
    "policy for TLS": (
        "compute ssl-policies create ally --profile=MODERN --min-tls-version=1.2 --global",
        "compute ssl-policies describe ally --global",
        {"profile": "MODERN", "minTlsVersion": "TLS_1_2"},
    ),
    "repository": (
        f"artifacts repositories create ally {LONDON} --repository-format=docker",
        f"artifacts repositories describe ally {LONDON}",
        {"format": "DOCKER", "registryUri": "europe-west2-docker.pkg.dev/ally-staging/ally"},
    ),
    "log bucket": (
        f"logging buckets create ally {LONDON} --retention-days=90",
        f"logging buckets describe ally {LONDON}",
        {"retentionDays": 90, "lifecycleState": "ACTIVE"},
    ),
    "dashboard": (
        "monitoring dashboards create --config-from-file={dashboard}",
        "monitoring dashboards list",
        DASHBOARD,
    ),
    "alert policy": (
        "alpha monitoring policies create --policy-from-file={policy}",
        "alpha monitoring policies list",
        {"displayName": "Errors", "enabled": True, "combiner": "OR"},
    ),
    "channel": (
        f"beta monitoring channels create --display-name=Ally {EMAIL}",
        "beta monitoring channels list",
        {"type": "email", "labels": {"email_address": "a@b.c"}},
    ),
    "budget": (
        f"billing budgets create {PAYS} --display-name=Ally --budget-amount=100GBP",
        f"billing budgets list {PAYS}",
        {"displayName": "Ally"},
    ),
}


@pytest.mark.parametrize("kind", ROUND_TRIPS)
def test_what_is_created_is_there(google: GoogleCloud, tmp_path: Path, kind: str) -> None:
    files = {
        "dashboard": {"displayName": "Ally", "mosaicLayout": {"columns": 12}},
        "policy": POLICY,
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    create, read, expected = ROUND_TRIPS[kind]
    google.ask(create.format(**{name: tmp_path / name for name in files}))
    found = google.ask(read)
    found = found[0] if isinstance(found, list) else found
    assert {name: found[name] for name in expected} == expected


def test_a_database_has_indexes_lives_of_documents_exemptions_and_backups(
    google: GoogleCloud,
) -> None:
    assert "was not found" in refused(google, "firestore databases describe --database=test")
    create = f"firestore databases create --database=test {LONDON} --delete-protection"
    google.ask(create)
    assert "already exists" in refused(google, create)
    google.ask("firestore databases update --database=test --enable-pitr")
    database = google.resources["firestore/projects/ally-staging/databases/test"]
    assert database["pointInTimeRecoveryEnablement"] == "POINT_IN_TIME_RECOVERY_ENABLED"
    assert database["deleteProtectionState"] == "DELETE_PROTECTION_ENABLED"
    assert "protection" in refused(google, "firestore databases delete --database=test")

    index = (
        "firestore indexes composite create --database=test --collection-group=documents --async"
        " --field-config=field-path=kind,order=ascending"
        " --field-config=field-path=tags,array-config=contains"
    )
    google.ask(index)
    assert "already exists" in refused(google, index)
    (found,) = google.ask("firestore indexes composite list --database=test")
    paths = [field["fieldPath"] for field in found["fields"]]
    assert (paths, found["state"]) == (["kind", "tags", "__name__"], "CREATING")

    google.ask(
        "firestore fields ttls update expires --collection-group=replays --enable-ttl --async"
        " --database=test"
    )
    (lives,) = google.ask("firestore fields ttls list --database=test")
    assert lives["name"].endswith("/collectionGroups/replays/fields/expires")
    google.ask(
        "firestore indexes fields update '*' --collection-group=documents --disable-indexes"
        " --async --database=test"
    )
    exempt = google.ask("firestore indexes fields list --database=test")[-1]
    assert exempt["name"].endswith("/collectionGroups/documents/fields/*")
    assert "indexes" not in exempt["indexConfig"]

    google.ask(
        "firestore backups schedules create --database=test --recurrence=daily --retention=7d"
    )
    (schedule,) = google.ask("firestore backups schedules list --database=test")
    assert schedule["retention"] == "604800s"


def test_a_regional_secret_is_served_in_its_region_alone(google: GoogleCloud) -> None:
    elsewhere = refused(google, f"secrets create pepper {LONDON}")
    assert "served at secretmanager.europe-west2.rep.googleapis.com alone" in elsewhere
    google.environment["CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER"] = (
        "https://secretmanager.europe-west2.rep.googleapis.com/"
    )
    google.ask(f"secrets create pepper {LONDON}")
    google.ask(f"secrets versions add pepper --data-file=- {LONDON}", stdin="salt")
    (version,) = google.ask(f"secrets versions list pepper {LONDON}")
    name = "projects/100000000001/locations/europe-west2/secrets/pepper/versions/1"
    assert (version["name"], version["state"]) == (name, "ENABLED")
    assert list(google.payloads.values()) == [b"salt"]
    reader = "--role=roles/secretmanager.secretAccessor --member=user:a@ally.example"
    policy = google.ask(f"secrets add-iam-policy-binding pepper {LONDON} {reader}")
    assert policy["bindings"][0]["members"] == ["user:a@ally.example"]


def test_a_service_keeps_its_revisions_and_its_traffic(google: GoogleCloud, tmp_path: Path) -> None:
    google.ask("iam service-accounts create ally-patients")
    google.images |= {f"{IMAGE}:1", f"{IMAGE}:2"}
    file = tmp_path / "service.yaml"

    def manifest(tag: str, traffic: list[dict[str, object]]) -> str:
        template = {
            "metadata": {"name": f"ally-patients-{tag}"},
            "spec": {"serviceAccountName": ACCOUNT, "containers": [{"image": f"{IMAGE}:{tag}"}]},
        }
        service = {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "metadata": {"name": "ally-patients"},
            "spec": {"template": template, "traffic": traffic},
        }
        file.write_text(yaml.safe_dump(service))
        return f"run services replace {file} {REGION}"

    serving = {"revisionName": "ally-patients-1", "percent": 100}
    google.ask(manifest("1", [serving]))
    google.ask(manifest("2", [serving, {"revisionName": "ally-patients-2", "tag": "next"}]))
    service = google.ask(f"run services describe ally-patients {REGION}")
    old, new = service["status"]["traffic"]
    assert (old["revisionName"], old["percent"]) == ("ally-patients-1", 100)
    assert new["url"].startswith("https://next---ally-patients-")
    google.ask(f"run services update-traffic ally-patients {REGION} --to-tags=next=100")
    (listed,) = google.ask("run services list")
    serving_all = [each for each in listed["status"]["traffic"] if each.get("percent") == 100]
    assert [each["revisionName"] for each in serving_all] == ["ally-patients-2"]

    assert "Image" in refused(google, manifest("3", [serving]))
    google.broken.add("ally-patients")
    google.images.add(f"{IMAGE}:4")
    assert "failed to start" in refused(google, manifest("4", [serving]))
    revisions = google.ask(f"run revisions list --service=ally-patients {REGION}")
    assert [each["metadata"]["name"][-1] for each in revisions] == ["4", "3", "2", "1"]
    invoker = "--role=roles/run.invoker --member=user:a@ally.example"
    google.ask(f"run services add-iam-policy-binding ally-patients {REGION} {invoker}")
    google.ask(f"run services delete ally-patients {REGION}")
    assert not any("ally-patients" in key for key in google.policies)


def test_a_gateway_serves_a_config_that_cannot_be_changed_nor_deleted(
    google: GoogleCloud, tmp_path: Path
) -> None:
    google.ask("iam service-accounts create ally-gateway")
    account = ACCOUNT.replace("patients", "gateway")
    document = tmp_path / "openapi.yaml"
    document.write_text("openapi: 3.1.0")
    google.ask("api-gateway apis create ally")
    create = (
        f"--api=ally --openapi-spec={document} --backend-auth-service-account={account} --async"
    )
    google.ask(f"api-gateway api-configs create one {create}")
    together = refused(google, f"api-gateway api-configs create two {create}")
    assert "unable to queue the operation" in together
    config = google.ask("api-gateway api-configs describe one --api=ally --view=FULL")
    assert config["openapiDocuments"][0]["document"]["path"] == "openapi.yaml"
    google.ask(f"api-gateway gateways create ally {LONDON} --api=ally --api-config=one")
    google.ask(f"api-gateway api-configs create two {create.removesuffix('--async')}")
    google.ask(f"api-gateway gateways update ally {LONDON} --api=ally --api-config=two")
    gateway = google.ask(f"api-gateway gateways describe ally {LONDON}")
    assert gateway["apiConfig"].endswith("/configs/two")
    assert gateway["defaultHostname"].endswith(".nw.gateway.dev")
    assert "must be deleted first" in refused(google, "api-gateway apis delete ally")
    used = refused(google, "api-gateway api-configs delete two --api=ally")
    assert "is used by" in used
    google.ask("api-gateway api-configs delete one --api=ally")


def test_logs_go_where_the_sink_says(google: GoogleCloud) -> None:
    kept = google.ask("logging buckets describe _Default --location=global")
    assert kept["retentionDays"] == 30
    bucket = "logging.googleapis.com/projects/ally-staging/locations/europe-west2/buckets/ally"
    move = f"logging sinks update _Default {bucket} --add-exclusion=name=calls,filter=a=b"
    assert "was not found" in refused(google, move)
    google.ask(f"logging buckets create ally {LONDON}")
    sink = google.ask(move)
    assert (sink["destination"], sink["exclusions"][0]["name"]) == (bucket, "calls")
    google.entries["ally"] = [{"logName": "projects/ally-staging/logs/a", "textPayload": "hello"}]
    read = f"logging read 'textPayload=\"hello\"' --bucket=ally {LONDON} --view=_AllLogs"
    assert google.ask(read) == google.entries["ally"]


def test_a_load_balancer_leads_to_the_gateway(google: GoogleCloud, tmp_path: Path) -> None:
    google.ask("compute addresses create ally --global")
    google.ask(
        f"beta compute network-endpoint-groups create ally {REGION}"
        " --network-endpoint-type=serverless"
        " --serverless-deployment-platform=apigateway.googleapis.com"
        " --serverless-deployment-resource=ally"
    )
    google.ask("compute ssl-certificates create ally --domains=api.ally.example --global")
    google.ask(
        "compute backend-services create ally --global --load-balancing-scheme=EXTERNAL_MANAGED"
        " --protocol=HTTPS --custom-request-header=X-Caller:{client_ip_address}"
        " --no-enable-logging"
    )
    google.ask(
        "compute backend-services add-backend ally --global --network-endpoint-group=ally"
        " --network-endpoint-group-region=europe-west2"
    )
    service = google.ask("compute backend-services describe ally --global")
    assert service["logConfig"] == {"enable": False}
    assert service["backends"][0]["group"].endswith(
        "regions/europe-west2/networkEndpointGroups/ally"
    )
    google.ask("compute backend-buckets create errors --gcs-bucket-name=errors")
    file = tmp_path / "map.yaml"
    errors = google.resources["compute/projects/ally-staging/global/backendBuckets/errors"]
    rules = [{"matchResponseCodes": ["4xx"], "path": "/error.json", "overrideResponseCode": 404}]
    policy = {"errorResponseRules": rules, "errorService": errors["selfLink"]}
    service_and_errors = {
        "name": "ally",
        "defaultService": service["selfLink"],
        "defaultCustomErrorResponsePolicy": policy,
    }
    file.write_text(yaml.safe_dump(service_and_errors))
    google.ask(f"compute url-maps import ally --source={file} --global")
    google.ask(f"compute url-maps import ally --source={file} --global")
    shown = google.ask("compute url-maps describe ally --global")
    assert shown["defaultCustomErrorResponsePolicy"] == policy
    proxy = "compute target-https-proxies create ally --url-map=ally --global --ssl-certificates="
    assert "was not found" in refused(google, proxy + "other")
    google.ask(proxy + "ally")
    rule = google.ask(
        "compute forwarding-rules create ally --global --target-https-proxy=ally --address=ally"
        " --ports=443 --load-balancing-scheme=EXTERNAL_MANAGED"
    )
    assert rule[0]["portRange"] == "443-443"
    assert "being used" in refused(google, "compute addresses delete ally --global")


def test_a_build_takes_the_source_and_leaves_an_image(google: GoogleCloud, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print()")
    config = tmp_path / "cloudbuild.yaml"
    config.write_text("steps: [{name: python, script: make check}]\n")
    google.ask(f"builds submit --config={config} --no-source {REGION} --suppress-logs")
    google.ask(f"storage buckets create gs://ally-sources {LONDON}")
    pack = (
        f"builds submit {tmp_path} --pack=image={IMAGE}:1 {REGION}"
        " --gcs-source-staging-dir=gs://ally-sources/source --suppress-logs"
    )
    assert "not found" in refused(google, pack)
    google.ask(f"artifacts repositories create ally {LONDON} --repository-format=docker")
    assert google.ask(pack)["status"] == "SUCCESS"
    assert f"{IMAGE}:1" in google.images
    sources = [data for name, data in google.payloads.items() if name.startswith("b/ally-sources/")]
    with tarfile.open(fileobj=BytesIO(sources[-1])) as archive:
        assert {"main.py", "cloudbuild.yaml"} <= set(archive.getnames())

    google.ask(f"storage cp {config} gs://ally-sources/errors/404.json")
    stored = google.ask("storage objects describe gs://ally-sources/errors/404.json")
    assert int(stored["size"]) == config.stat().st_size
    assert google.gcloud("storage cat gs://ally-sources/errors/404.json").stdout == (
        config.read_text()
    )
