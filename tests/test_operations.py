"""Operations: what Ally's staff do, who they are, and that it is remembered."""

import pytest

from tests.support.people import Person
from tests.support.serving import Partner, Server
from tests.support.staff import staff


@pytest.fixture
def officer(server: Server) -> Person:
    return staff(server)


def test_staff_find_an_organisation_by_the_beginning_of_its_name_or_by_its_id(
    officer: Person, partner: Partner
) -> None:
    partner.patch_organisation(displayName="Zebra Crossing Clinic")
    link = f'href="/organisations/{partner.organisation.id}"'
    for name in ("cross", "ZEBRA", partner.organisation.id):
        assert link in officer.get(f"/organisations?name={name}").text
    assert link not in officer.get("/organisations?name=bra").text


def test_each_page_of_operations_is_shown(officer: Person, partner: Partner) -> None:
    here = f"/organisations/{partner.organisation.id}"
    for path in (
        *("/queue", "/organisations", here, f"{here}/test/tasks", f"{here}/live/tasks"),
        *(f"{here}/test/tasks/new", "/live/windows", "/test/windows", "/live/coverage"),
        *("/test/coverage", "/jobs", "/actions"),
    ):
        assert officer.get(path).headers["content-type"].startswith("text/html")
