"""What is logged is our own line and nothing that has the address of a request in it."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from google.api_core.exceptions import PermissionDenied
from grpc import StatusCode

from infra.canary import CALLS, CanaryError, Sent, look
from infra.steps import HERE
from shared.audit import Log
from shared.backends import UnavailableError
from tests.support.google_cloud import GoogleCloud
from tests.support.serving import Json, Partner
from tests.support.staff import staff

WORD = "canary7d1f0c"
ADDRESS = f"https://api.ally.example/v1/{WORD}?word={WORD}"
HOSTS = {"api": "api.ally.example", "dashboard": "dashboard.ally.example"}
PROJECT = "projects/ally-staging"
DECLARED = yaml.safe_load((HERE / "logs.yaml").read_text())
SINKS = {each["bucket"]: each["filter"] for each in DECLARED["log_sinks"]}
"""What each bucket gets."""
SENT = DECLARED["lines"]
"""What the request log is sent."""
COUNTS = {
    path.stem: yaml.safe_load(path.read_text())["filter"]
    for path in sorted((HERE / "monitoring" / "counts").glob("*.yaml"))
}


def entry(log: str, resource: str, **held: Any) -> Json:
    """Return an entry as Google documents it, of a request that has the word in its address."""
    return {"logName": f"{PROJECT}/logs/{log}", "resource": {"type": resource}, **held}


PLATFORM = [
    entry(
        "run.googleapis.com%2Frequests",
        "cloud_run_revision",
        httpRequest={"requestMethod": "GET", "requestUrl": ADDRESS, "status": 404},
    ),
    entry(
        "apigateway.googleapis.com%2Frequests",
        "apigateway.googleapis.com/Gateway",
        httpRequest={"requestMethod": "GET", "requestUrl": ADDRESS},
        jsonPayload={"backendRequest": {"path": f"/v1/{WORD}", "hostname": "x.run.app:443"}},
    ),
    entry(
        "ally-0abc.apigateway.ally-staging.cloud.goog%2Fendpoints_log",
        "api",
        jsonPayload={"url": f"/v1/{WORD}?word={WORD}", "http_method": "GET"},
    ),
    entry(
        "requests",
        "http_load_balancer",
        httpRequest={"requestUrl": ADDRESS, "status": 404},
        jsonPayload={"statusDetails": "response_sent_by_backend"},
    ),
    entry(
        "cloudtasks.googleapis.com%2Ftask_operations_log",
        "cloud_tasks_queue",
        jsonPayload={"attemptResponseLog": {"targetAddress": ADDRESS}},
    ),
    entry(
        "cloudscheduler.googleapis.com%2Fexecutions",
        "cloud_scheduler_job",
        jsonPayload={"url": ADDRESS},
    ),
    entry("something.googleapis.com%2Finvented_later", "something", textPayload=ADDRESS),
]
"""What the platform writes of such a request by itself."""


def kept(written: Json, condition: str) -> bool:
    """Say whether an entry passes a filter: of the language, what our filters use."""
    alternatives = re.compile(r'([\w.]+=)\("([^()"]*)" OR "([^()"]*)"\)')
    condition = alternatives.sub(r'(\1"\2" OR \1"\3")', condition)
    word = re.compile(r'[()]|AND|OR|NOT|log_id\("[^"]*"\)|[\w.]+(?:!?=|:)"[^"]*"')
    assert not word.sub("", condition).strip(), "nothing of the filter is left out"
    python = [
        _term(each, written) if '"' in each else each.lower() for each in word.findall(condition)
    ]
    return bool(eval(" ".join(python)))  # noqa: S307 - of nothing but and, or, not, True, False


def _term(word: str, written: Json) -> str:
    if word.startswith("log_id"):
        named = written["logName"].partition("/logs/")[2].replace("%2F", "/")
        return str(named == word.split('"')[1])
    (found_in,) = re.finditer(r'([\w.]+?)(!?=|:)"(.*)"', word)
    path, sign, value = found_in.groups()
    found: Any = written
    for name in path.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if found is None:
        return "False"
    holds = value in found if sign == ":" else found == value
    return str(holds != (sign == "!="))


def ours(line: Json) -> Json:
    """Return a line of ours as Cloud Run makes an entry of it."""
    return entry("run.googleapis.com%2Fstdout", "cloud_run_revision", jsonPayload=line)


@pytest.mark.parametrize("written", PLATFORM, ids=lambda each: each["logName"])
def test_no_bucket_keeps_an_entry_with_an_address(written: Json) -> None:
    assert WORD in json.dumps(written)
    assert [bucket for bucket, condition in SINKS.items() if kept(written, condition)] == []


def test_each_of_our_lines_is_kept_once_and_has_no_address_in_it(partner: Partner) -> None:
    """That of a known caller in the audit, any other where operators look."""
    marked = {"params": {"word": WORD}, "headers": {"X-Canary": WORD, "Referer": ADDRESS}}
    known = [
        partner.send("GET", f"/v1/patients/{WORD}", **marked),
        partner.send("POST", f"/v1/end_users/{WORD}/revoke", **marked),
    ]
    unknown = [
        partner.send("GET", f"/v1/{WORD}", **marked),
        partner.server.send("GET", f"/v1/patients/{WORD}", **marked),
    ]
    lines = {line["requestId"]: line for line in partner.lines()}
    for answers, bucket in ((known, "ally-audit"), (unknown, "ally")):
        for answer in answers:
            line = ours(lines[answer.headers["Request-Id"]])
            assert WORD not in json.dumps(line)
            assert [name for name, each in SINKS.items() if kept(line, each)] == [bucket]


@pytest.mark.parametrize(
    "written",
    [
        ours({"kind": "crash", "severity": "ERROR", "type": "KeyError", "where": []}),
        ours({"kind": "job", "severity": "WARNING", "result": "not_queued", "jobs": ["job_0"]}),
        ours({"kind": "sweep", "overdue": 0, "oldestSeconds": 0, "failed": 0}),
        ours({"kind": "metering", "severity": "WARNING", "type": "UnavailableError"}),
        ours({"kind": "request", "organisation": "-", "route": "/worker/lines", "code": "x"}),
        entry("run.googleapis.com%2Fstderr", "cloud_run_revision", textPayload="Traceback"),
        entry("run.googleapis.com%2Fvarlog%2Fsystem", "cloud_run_revision", textPayload="exit(1)"),
    ],
    ids=["crash", "not queued", "sweep", "metering", "line refused", "stderr", "system"],
)
def test_what_operators_need_is_kept_where_they_look(written: Json) -> None:
    assert [bucket for bucket, each in SINKS.items() if kept(written, each)] == ["ally"]


def test_what_a_job_did_to_whom_is_kept_with_the_audit() -> None:
    written = ours({"kind": "job", "result": "done", "organisation": "org_1", "objects": ["p_1"]})
    assert [bucket for bucket, each in SINKS.items() if kept(written, each)] == ["ally-audit"]


def test_that_the_worker_took_a_line_is_kept_nowhere() -> None:
    """Else each line would leave another one."""
    written = ours({"kind": "request", "organisation": "-", "route": "/worker/lines", "code": ""})
    assert [bucket for bucket, each in SINKS.items() if kept(written, each)] == []


def test_the_request_log_is_sent_lines_of_known_callers_and_nothing_else(partner: Partner) -> None:
    for path, key in (("/v1/tasks", "known"), ("/v1/patients/p_1", "known"), ("/v1/tasks", "")):
        answer = (partner if key else partner.server).send("GET", path)
        lines = {line.get("requestId"): line for line in partner.lines()}
        line = ours(lines[answer.headers["Request-Id"]])
        assert kept(line, SENT) == bool(key) == kept(line, SINKS["ally-audit"])
    for other in ({"kind": "job", "organisation": "org_1"}, {"kind": "crash"}):
        assert not kept(ours(other), SENT)
    assert not any(kept(each, SENT) for each in PLATFORM)


def test_what_staff_do_is_kept_with_the_audit_and_is_no_organisations_request(
    partner: Partner,
) -> None:
    """The worker would take such a line for one that was lost."""
    answer = staff(partner.server).get("/queue")
    lines = {line.get("requestId"): line for line in partner.lines()}
    line = ours(lines[answer.headers["Request-Id"]])
    assert [bucket for bucket, each in SINKS.items() if kept(line, each)] == ["ally-audit"]
    assert not kept(line, SENT)


# --- What is counted of them ---------------------------------------------------------------------


def counted(written: Json) -> list[str]:
    """Return the counts that an entry is one of."""
    return [name for name, condition in COUNTS.items() if kept(written, condition)]


def test_a_refusal_is_counted_by_its_code(partner: Partner) -> None:
    answers = [partner.send("GET", path) for path in ("/v1/patients/p_1", "/v1/tasks")]
    lines = {line["requestId"]: line for line in partner.lines()}
    refused, served = (ours(lines[answer.headers["Request-Id"]]) for answer in answers)
    assert (counted(refused), refused["jsonPayload"]["code"]) == (
        ["ally_refusals"],
        "resource_missing",
    )
    assert counted(served) == []


@pytest.mark.parametrize(
    ("said", "counts"),
    [
        (PermissionDenied.__name__, ["ally_denied"]),  # as Secret Manager's is told
        (StatusCode.PERMISSION_DENIED.name, ["ally_denied"]),  # as Firestore's
        (StatusCode.UNAVAILABLE.name, []),
    ],
)
def test_a_crash_for_want_of_a_permission_is_counted(
    tmp_path: Path, said: str, counts: list[str]
) -> None:
    Log(str(tmp_path / "log")).crash(datetime.now(UTC), "req_1", UnavailableError(said))
    assert counted(ours(json.loads((tmp_path / "log").read_text()))) == counts


@pytest.mark.parametrize(
    ("written", "counts"),
    [
        (ours({"kind": "job", "result": "failed", "name": "forget"}), ["ally_jobs"]),
        (ours({"kind": "sweep", "overdue": 3}), ["ally_overdue", "ally_sweeps"]),
        (ours({"kind": "metering", "type": "UnavailableError"}), ["ally_usage_gaps"]),
        (ours({"kind": "usage_gap", "days": 1}), ["ally_usage_gaps"]),
        (ours({"kind": "line", "result": "unread"}), ["ally_usage_gaps"]),
        (
            {**PLATFORM[5], "severity": "ERROR"},
            ["ally_schedule_failures"],
        ),
        (PLATFORM[5], []),
    ],
)
def test_what_happens_after_an_answer_is_counted(written: Json, counts: list[str]) -> None:
    assert counted(written) == counts


def test_a_request_for_which_there_was_no_instance_is_counted_and_not_kept() -> None:
    said = "The request was aborted because there was no available instance."
    written = {**PLATFORM[0], "textPayload": said}
    assert counted(written) == ["ally_no_instance"]
    assert counted(PLATFORM[0]) == []
    assert not any(kept(written, each) for each in SINKS.values())


# --- The canary ----------------------------------------------------------------------------------


@pytest.fixture
def looking(
    google_cloud: GoogleCloud, monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[Sent, str], dict[str, list[Json]]]], list[str]]:
    """Runs the canary where each call is logged as a test says."""
    for name, value in google_cloud.environment.items():
        monkeypatch.setenv(name, value)

    def run(logged: Callable[[Sent, str], dict[str, list[Json]]]) -> list[str]:
        def send(sent: Sent) -> str:
            request_id = f"req_{len(google_cloud.entries.get('ally', ()))}"
            for bucket, entries in logged(sent, request_id).items():
                google_cloud.entries.setdefault(bucket, []).extend(entries)
            return request_id

        return list(look("ally-staging", HOSTS, send, lambda _: None, looks=2))

    return run


def test_the_canary_lives_where_only_our_own_lines_are_kept(looking: Any) -> None:
    told = looking(lambda _, request_id: {"ally": [ours({"requestId": request_id})]})
    assert len(told) == len(CALLS) + 1
    assert re.search(r"^canary\w+ is in none of 2 log buckets$", told[-1])


def test_the_canary_says_what_keeps_which_part_of_a_request(looking: Any) -> None:
    def logged(sent: Sent, request_id: str) -> dict[str, list[Json]]:
        request = {"requestUrl": sent.url}
        held = entry("run.googleapis.com%2Frequests", "cloud_run_revision", httpRequest=request)
        return {"ally": [ours({"requestId": request_id})], "_Default": [held]}

    with pytest.raises(CanaryError) as told:
        looking(logged)
    assert str(told.value).startswith("Addresses are logged:")
    assert str(told.value).count("_Default (global):") == len(CALLS)
    assert "run.googleapis.com%2Frequests keeps the path, the query" in str(told.value)


def test_the_canary_proves_nothing_where_our_own_lines_do_not_come(looking: Any) -> None:
    with pytest.raises(CanaryError, match="would prove nothing"):
        looking(lambda _, __: {})
