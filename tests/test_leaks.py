"""The search for patients' values in all that the suite's servers wrote: that it finds them."""

from pathlib import Path

from tests.support import leaks
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
