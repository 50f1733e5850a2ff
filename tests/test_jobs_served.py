"""Jobs over HTTPS: made by a request, done by the server itself or by a worker."""

import itertools
import uuid
from collections.abc import Iterator

import pytest

from shared.jobs import FailedJob
from shared.store import MOST_FORGOTTEN, Replay
from tests.conftest import BACKENDS, environment_of
from tests.support.attended import Attended
from tests.support.lines import lines_in
from tests.support.notes import Count, Note
from tests.support.serving import Json, Partner
from tests.support.waiting import until

google = pytest.mark.parametrize("attended", ["google"], indirect=True)


@pytest.fixture(scope="module", params=BACKENDS)
def attended(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Attended]:
    folder = tmp_path_factory.mktemp("attended")
    running = Attended(environment_of(request, folder), folder)
    yield running
    running.stop()


@pytest.fixture
def partner(attended: Attended) -> Partner:
    return attended.backing.partner(attended.server)


def counts(partner: Partner) -> list[tuple[int, int]]:
    found = partner.stored(Count)
    return [(each["first"], each["second"]) for each in found.values()]


def write(partner: Partner, key: str = "", status: int = 200) -> Json:
    headers = {"Idempotency-Key": key or uuid.uuid4().hex}
    return partner.post("/notes", {"text": "x"}, status, headers=headers)


def test_erasing_a_patient_takes_away_all_that_retries_remember_of_them(partner: Partner) -> None:
    """However much that is: it may be more than one commit, or two, can take away."""
    patient, other = partner.create_patient()["id"], partner.create_patient()["id"]
    named = [patient] * (2 * MOST_FORGOTTEN + 1) + [other]
    replays = [
        Replay(id=f"{number:05}", fingerprint="x", requestId="req_x", objects=[each])
        for number, each in enumerate(named)
    ]
    for first in range(0, len(replays), MOST_FORGOTTEN):
        some = replays[first : first + MOST_FORGOTTEN]
        partner.backing.keep("test", partner.organisation.id, some)
    partner.call("DELETE", f"/v1/patients/{patient}")
    until(lambda: len(partner.stored(Replay)) == 1)
    (left,) = partner.stored(Replay).values()
    assert left["objects"] == [other]


def test_a_job_is_done_after_the_answer_of_its_request(partner: Partner) -> None:
    made = write(partner)
    until(lambda: counts(partner) == [(1, 1)])
    assert list(partner.stored(Note)) == [made["id"]]


def test_neither_the_line_nor_the_replay_of_a_request_names_its_job(partner: Partner) -> None:
    made = write(partner)
    (replay,) = partner.stored(Replay).values()
    assert replay["objects"] == [made["id"]]
    (line,) = (
        each
        for each in partner.lines()
        if each.get("route") == "/notes" and each["organisation"] == partner.organisation.id
    )
    assert line["objects"] == [made["id"]]


@google
def test_a_request_that_is_repeated_or_refused_queues_nothing(
    attended: Attended, partner: Partner
) -> None:
    assert attended.tasks is not None
    until(lambda: not attended.jobs())
    before = len(attended.tasks.tasks)
    for _ in range(3):
        write(partner, "same")
    partner.post("/notes", {"texts": "x"}, 400)
    until(lambda: counts(partner) == [(1, 1)])
    assert len(attended.tasks.tasks) - before == 2  # a note has two jobs


@google
def test_where_the_queue_is_down_requests_succeed_and_a_sweep_finds_their_jobs(
    attended: Attended, partner: Partner
) -> None:
    assert attended.tasks is not None
    until(lambda: not attended.jobs())
    attended.tasks.acts = itertools.repeat("refuse")
    made = write(partner)
    (job,) = attended.jobs()
    (line,) = (each for each in partner.lines("job") if each["result"] == "not_queued")
    assert (line["severity"], line["jobs"]) == ("WARNING", [job.key.id])
    assert line["type"] in ("UnavailableError", "TimeoutError")
    attended.tasks.acts = itertools.repeat("take")
    assert attended.sweep() == {"overdue": 0, "oldestSeconds": 0, "failed": 0}
    attended.let_time_pass()
    swept = attended.sweep()
    assert (swept["overdue"], swept["failed"]) == (1, 0)
    assert swept["oldestSeconds"] >= 60
    until(lambda: counts(partner) == [(1, 1)])
    assert list(partner.stored(Count)) == [made["id"]]
    assert attended.jobs() == attended.jobs(FailedJob) == []


@google
def test_a_sweep_is_told_of_in_a_line_of_the_worker(attended: Attended) -> None:
    assert attended.worker is not None
    attended.sweep()
    (line, *_) = lines_in(attended.worker.log, "sweep")
    assert {"overdue", "oldestSeconds", "failed"} < line.keys()


@google
@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        {},
        {"space": "test"},
        {"space": "nowhere", "id": "job_" + "0" * 22},
        {"space": "test", "id": "../x"},
    ],
    ids=repr,
)
def test_the_worker_refuses_what_names_no_job(attended: Attended, body: object) -> None:
    assert attended.worker is not None
    for path in ("/worker/jobs", "/worker/failed_jobs"):
        answer = attended.worker.ask(path, body)
        assert answer.status_code == 400
        assert answer.json()["error"]["code"]


@google
def test_the_worker_says_of_a_job_that_there_is_none(attended: Attended) -> None:
    assert attended.worker is not None
    nobody = {"space": "live", "id": "job_" + "0" * 22}
    for path in ("/worker/jobs", "/worker/failed_jobs"):
        answer = attended.worker.ask(path, nobody)
        assert (answer.status_code, answer.json()) == (200, {"outcome": "gone"})


def test_no_partner_reaches_what_the_worker_serves(partner: Partner) -> None:
    for path in ("/worker/jobs", "/worker/sweep", "/worker/failed_jobs"):
        partner.post(path, {}, 404)
