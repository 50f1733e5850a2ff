"""The search for patients' values in all that the suite's servers wrote: that it finds them."""

import asyncio
from pathlib import Path

from shared import clock, ids
from shared.backends import Ticket
from shared.backends.google.tasks import CloudTasks as Queue
from shared.backends.metrics import REQUESTS
from tests.support import leaks
from tests.support.cloud_tasks import ACCOUNT, QUEUE, CloudTasks
from tests.support.counted import point_of
from tests.support.serving import PATIENT, SEEDED, Partner


def test_a_value_of_a_patient_is_found_in_a_log_whatever_its_case(tmp_path: Path) -> None:
    log = tmp_path / "planted.txt"  # of no kind that the run itself searches
    log.write_text(f'{{"kind": "crash"}}\n{{"route": "/v1/{PATIENT["lastName"].upper()}"}}\n')
    (leak,) = leaks.search([log], SEEDED)
    assert (leak.value, leak.file) == (PATIENT["lastName"], log)


def test_what_was_witnessed_and_all_logs_are_searched(tmp_path: Path) -> None:
    leaks.witness("witnessed by a test")
    log = tmp_path / "server.log"
    log.write_text("printed by a server")
    found = list(leaks.search(leaks.written(tmp_path), ["witnessed by", "printed by"]))
    assert [leak.value for leak in found] == ["printed by", "witnessed by"]


def test_the_lines_of_requests_about_patients_are_among_what_is_searched(
    partner: Partner,
) -> None:
    partner.create_patient()
    log = Path(partner.backing.environment["ALLY_LOG"])
    assert log in leaks.written(log.parent)
    assert partner.organisation.id in log.read_text()


def test_the_labels_that_are_counted_under_are_among_what_is_searched(partner: Partner) -> None:
    planted = ids.scatter("planted")
    labels = (partner.organisation.id, "test", *(planted for _ in REQUESTS.labels[2:]))
    point = point_of(REQUESTS, labels, clock.now(), 1)
    partner.backing.run(lambda service: service.metrics.write(planted, [point]))
    files = leaks.written(Path(partner.backing.environment["ALLY_STATE"]))
    assert list(leaks.search(files, [planted]))


def test_what_is_queued_at_google_is_among_what_is_searched(tmp_path: Path) -> None:
    ticket = Ticket("test", ids.scatter("job"), 0, clock.now())

    async def enqueue() -> None:
        queue = Queue(QUEUE, worker="https://w.example", account=ACCOUNT, address=google.address)
        await queue.enqueue(ticket)
        await queue.close()

    google = CloudTasks()
    asyncio.run(enqueue())
    google.stop()
    assert list(leaks.search(leaks.written(tmp_path), [ticket.job]))
