"""Operations: what Ally's staff do, who they are, and that it is remembered."""

import re
import time
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from functions.operations.portal import portal
from shared.backends import OURS, Query
from shared.clock import london_day, now
from shared.service import Service
from shared.settings import Mode, Space
from shared.staff import StaffAction
from tests.support.id_tokens import signer
from tests.support.inprocess import InProcess
from tests.support.people import Person, signed_in
from tests.support.serving import AREA, Backing, Partner, Server
from tests.support.staff import HEADER, assertion, failed_job, name_of, staff

CLINICAL = {
    "steps__0__kind": "clinical",
    "steps__0__name": "Take the sample",
    "steps__0__code": "28520004",
    "steps__0__display": "Venipuncture for blood test",
}


@pytest.fixture
def officer(server: Server) -> Person:
    return staff(server)


def done(backing: Backing, space: Space) -> dict[str, dict[str, Any]]:
    """Return what staff did in a space, by id."""

    async def read(service: Service) -> dict[str, dict[str, Any]]:
        query = Query(space, OURS, StaffAction.collection, limit=10_000)
        return {each.key.id: each.data for each in await service.storage.query(query)}

    return backing.run(read)


def page_of(partner: Partner) -> str:
    return f"/organisations/{partner.organisation.id}"


# --- Who they are --------------------------------------------------------------------------------


def templates() -> Iterable[tuple[str, str]]:
    for route in portal.routes:
        if route.permission != "public":
            yield route.method, route.template


@pytest.mark.parametrize(("method", "template"), list(templates()))
def test_nobody_else_sees_or_does_anything(
    partner: Partner, server: Server, method: str, template: str
) -> None:
    path = (
        template.replace("{organisation}", partner.organisation.id)
        .replace("{mode}", "live")
        .replace("{task}", "tsk_" + "0" * 22)
        .replace("{window}", "win_" + "0" * 22)
    )
    user = signed_in(partner)
    stranger = Person(server, "operations")
    stranger.cookies = {**user.cookies, "__Host-staff": f"{int(time.time())}.{'0' * 64}"}
    answer = stranger.ask(method, path, headers={"Authorization": partner.key})
    assert answer.status_code == 303
    assert answer.headers["location"].startswith("/sign-in")


def other_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def wrong_assertions() -> dict[str, Any]:
    past = int(time.time()) - 3600
    return {
        "of another audience": lambda: assertion(aud="/projects/1/apps/other"),
        "of another issuer": lambda: assertion(iss="https://accounts.google.com"),
        "that has ended": lambda: assertion(iat=past, exp=past + 600),
        "of the time to come": lambda: assertion(iat=past + 7200, exp=past + 9000),
        "that names nobody": lambda: assertion(email=None),
        "without an end": lambda: assertion(exp=None),
        "by another key": lambda: assertion(key=other_key()),
        "by another algorithm": lambda: signer().sign({"email": "x@ally.example"}),
        "that is none": lambda: "x",
    }


@pytest.mark.parametrize("which", list(wrong_assertions()))
def test_staff_come_with_the_word_of_the_proxy_and_no_other(
    backing: Backing, server: Server, which: str
) -> None:
    person = Person(server, "operations")
    person.headers[HEADER] = wrong_assertions()[which]()
    assert person.ask("GET", "/queue").status_code == 303
    local = backing.environment["ALLY_BACKEND"] == "local"
    assert person.ask("GET", "/sign-in").status_code == (200 if local else 403)
    person.headers[HEADER] = assertion()
    assert person.ask("GET", "/queue").status_code == (303 if local else 200)


def test_a_wrong_key_of_this_machine_lets_nobody_in(backing: Backing, server: Server) -> None:
    person = Person(server, "operations")
    local = backing.environment["ALLY_BACKEND"] == "local"
    answer = person.post("/sign-in", {"key": "x" * 32})
    assert answer.status_code == (400 if local else 404)
    assert person.cookies == {}


@pytest.mark.parametrize(
    "begun",
    ["9" * 5000, "", "-1", "1e9", "9" * 12],
    ids=["long", "none", "minus", "float", "future"],
)
def test_a_cookie_that_is_made_up_lets_nobody_in(
    partner: Partner, server: Server, begun: str
) -> None:
    person = Person(server, "operations")
    person.enter(InProcess(partner.backing, ""), "operations")
    person.cookies = {"__Host-staff": f"{begun}.{'0' * 64}"}
    answer = person.ask("GET", "/queue")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in?next=%2Fqueue")


def test_who_signs_out_is_let_in_no_more(backing: Backing, server: Server) -> None:
    if backing.environment["ALLY_BACKEND"] == "google":
        return  # who somebody is, the proxy says with each request
    person = staff(server)
    page = person.get("/queue")
    assert person.cookies
    person.submit(page, to="/sign-out")
    assert person.ask("GET", "/queue").headers["location"].startswith("/sign-in")


# --- What they see -------------------------------------------------------------------------------


def test_staff_find_an_organisation_by_the_beginning_of_its_name_or_by_its_id(
    officer: Person, partner: Partner
) -> None:
    partner.patch_organisation(displayName="Zebra Crossing Clinic")
    link = f'href="{page_of(partner)}"'
    for name in ("cross", "ZEBRA"):
        assert link in officer.get(f"/organisations?name={name}").text
    assert link in officer.get(f"/organisations?id={partner.organisation.id}").text
    assert link not in officer.get("/organisations?name=bra").text


def test_each_page_of_operations_is_shown(officer: Person, partner: Partner) -> None:
    task = partner.task()["id"]
    here = page_of(partner)
    for path in (
        *("/queue", "/organisations", here, f"{here}/test/tasks", f"{here}/live/tasks"),
        *(f"{here}/test/tasks/new", f"{here}/test/tasks/{task}", "/live/windows", "/test/windows"),
        *("/live/coverage", "/test/coverage", "/jobs", "/actions"),
    ):
        assert "<h1>" in officer.get(path).text
    assert "Not filled in yet: Mobile number, Type, Legal name," in officer.get(here).text
    nobody = "/organisations/org_" + "0" * 22
    for path in (nobody, f"{nobody}/test/tasks", f"{nobody}/test/tasks/new"):
        officer.get(path, 404)
    officer.get(f"{here}/test/tasks/tsk_{'0' * 22}", 404)


# --- What they do --------------------------------------------------------------------------------


def test_what_is_done_is_remembered_with_who_and_why_and_in_the_log(
    officer: Person, partner: Partner
) -> None:
    partner.change_organisation(activation="active")
    before = done(partner.backing, "account").keys()
    here = page_of(partner)
    officer.submit(officer.get(here), to=f"{here}/decision", decision="suspend", reason="No rent.")
    after = done(partner.backing, "account")
    (made,) = (after[name] for name in after.keys() - before)
    assert made["action"] == "activation.suspend"
    assert (made["staff"], made["reason"]) == (name_of(officer), "No rent.")
    assert made["organisation"] == partner.organisation.id
    lines = [line for line in partner.lines() if line["requestId"] == made["requestId"]]
    assert [(line["principal"], line["status"]) for line in lines] == [(name_of(officer), 303)]
    name = partner.organisation.displayName
    for path in (here, f"/actions?organisation={partner.organisation.id}"):
        page = officer.get(path).text
        assert "No rent." in page
        assert f'<a href="{here}">{name}</a><small class="below">{here.rpartition("/")[2]}' in page


def test_the_line_of_a_page_names_what_staff_saw_on_it(officer: Person, partner: Partner) -> None:
    task = partner.task()["id"]
    page = officer.get(f"{page_of(partner)}/test/tasks/{task}")
    (line,) = (line for line in partner.lines() if line["requestId"] == page.headers["request-id"])
    assert task in line["objects"]


def test_a_refused_action_is_not_remembered(officer: Person, partner: Partner) -> None:
    here = page_of(partner)
    page = officer.get(here)
    before = done(partner.backing, "account")
    sent: Any = {"decision": "suspend", "reason": "x"}
    token = {"_csrf": form_field(page, "_csrf"), "_once": "a"}
    assert officer.post(f"{here}/decision", {**token, **sent}).headers["location"] == (
        f"{here}?said=changed"
    )
    assert done(partner.backing, "account") == before


def form_field(page: httpx.Response, name: str) -> str:
    return page.text.partition(f'name="{name}" value="')[2].partition('"')[0]


@pytest.mark.parametrize("mode", ["test", "live"])
def test_staff_design_tasks_with_an_organisation(
    officer: Person, partner: Partner, mode: Mode
) -> None:
    caller = partner.live() if mode == "live" else partner
    tasks = f"{page_of(partner)}/{mode}/tasks"
    typed = {"name": "Two samples", "description": "Take two.", "durationMinutes": "40"}
    officer.submit(officer.get(f"{tasks}/new"), **typed, **CLINICAL)
    task = caller.task("Two samples")
    assert (task["durationMinutes"], task["active"]) == (40, True)
    (step,) = task["steps"]
    assert step["coding"]["code"] == "28520004"
    page = officer.get(f"{tasks}/{task['id']}")
    added = {"steps__1__kind": "administrative", "steps__1__name": "Courier it"}
    officer.submit(page, durationMinutes="45", active=[], **added)
    changed = caller.get(f"/v1/tasks/{task['id']}")
    assert (changed["durationMinutes"], changed["active"]) == (45, False)
    assert [each["name"] for each in changed["steps"]] == ["Take the sample", "Courier it"]
    made = [each for each in done(partner.backing, mode).values() if each["subject"] == task["id"]]
    assert sorted(each["action"] for each in made) == ["task.create", "task.update"]


def test_nobody_makes_a_task_for_an_organisation_that_is_not_there(
    officer: Person, partner: Partner
) -> None:
    page = officer.get(f"{page_of(partner)}/test/tasks/new")
    nobody = "org_" + "0" * 22
    sent: Any = {"_csrf": form_field(page, "_csrf"), "name": "Lost", "description": "x"}
    before = done(partner.backing, "test").keys()
    answer = officer.post(
        f"/organisations/{nobody}/test/tasks/new", {**sent, "durationMinutes": "5"}
    )
    assert answer.status_code == 404
    assert done(partner.backing, "test").keys() == before


def test_a_form_of_staff_that_is_sent_twice_takes_effect_once(
    officer: Person, partner: Partner
) -> None:
    form = officer.get(f"{page_of(partner)}/test/tasks/new")
    typed = {"name": "Once", "description": "Take one.", "durationMinutes": "40", **CLINICAL}
    for _ in range(2):
        assert "Done." in officer.submit(form, **typed).text
    assert [each["name"] for each in partner.get("/v1/tasks")["data"]].count("Once") == 1


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ({"steps__0__code": "28520005"}, "Must be the code of a concept of SNOMED CT"),
        ({"steps__0__code": ""}, "Must have the code and the usual name"),
        ({"steps__0__name": ""}, "a task has at least one step"),
        ({"durationMinutes": "1"}, "Must be at least 5"),
        ({"name": ""}, "Fill this in."),
    ],
)
def test_a_task_that_is_wrong_is_shown_again_as_it_was_typed(
    officer: Person, partner: Partner, typed: dict[str, str], problem: str
) -> None:
    path = f"{page_of(partner)}/test/tasks/new"
    right = {"name": "Two samples", "description": "Take two.", "durationMinutes": "40"}
    page = officer.submit(officer.get(path), 400, **{**right, **CLINICAL, **typed})
    assert problem in page.text
    assert "Take two." in page.text
    assert len(partner.get("/v1/tasks")["data"]) == 4


def test_a_window_that_staff_open_is_offered_in_live_mode_with_its_places(
    officer: Person, partner: Partner
) -> None:
    live = partner.live()
    day = london_day(now()) + timedelta(days=3)
    typed = {"area": AREA, "day": str(day), "begins": "06:15", "ends": "07:45", "capacity": "3"}
    page = officer.submit(officer.get("/live/windows"), to="/live/windows", **typed)
    (window,) = (each for each in live.windows(live.task()) if each["remaining"] == 3)
    assert window["id"] in page.text
    page = officer.submit(page, to=f"/live/windows/{window['id']}", capacity="7")
    stored = live.stored_window(window["id"])
    assert stored is not None
    assert stored.capacity == 7
    acts = done(partner.backing, "live").values()
    subjects = sorted(each["action"] for each in acts if each["subject"] == window["id"])
    assert subjects == ["window.create", "window.update"]
    officer.submit(page, to=f"/live/windows/{window['id']}", capacity="0")


def test_a_window_is_for_several_procedures_however_they_are_typed(
    officer: Person, partner: Partner
) -> None:
    live = partner.live()
    day = london_day(now()) + timedelta(days=4)
    typed = {"area": AREA, "day": str(day), "begins": "06:15", "ends": "07:45", "capacity": "1"}
    page = officer.submit(
        officer.get("/live/windows"),
        to="/live/windows",
        procedures="28520004, 182531007\n30549001",
        **typed,
    )
    assert "28520004, 182531007, 30549001" in page.text
    (opened,) = re.findall(r'action="/live/windows/(win_\w+)"', page.text)
    stored = live.stored_window(opened)
    assert stored is not None
    assert stored.procedures == ["28520004", "182531007", "30549001"]
    for capacity, status in (("x", 400), ("51", 400), ("0", 200)):
        page = officer.submit(page, status, to=f"/live/windows/{opened}", capacity=capacity)
    assert "Places:" not in page.text


@pytest.mark.parametrize(
    ("typed", "problem"),
    [
        ({"ends": "06:00"}, "Must be after the beginning"),
        ({"day": "2020-01-01"}, "Must not be in the past"),
        ({"capacity": "51"}, "Must be at most 50"),
        ({"begins": "25:00"}, "Must be a time of the day, such as 09:00"),
        ({"procedures": "12"}, "must be the code of a concept of SNOMED CT"),
    ],
)
def test_a_window_that_cannot_be_is_not_opened(
    officer: Person, typed: dict[str, str], problem: str
) -> None:
    day = london_day(now()) + timedelta(days=3)
    right = {"area": AREA, "day": str(day), "begins": "08:00", "ends": "10:00", "capacity": "3"}
    page = officer.submit(
        officer.get("/live/windows"), 400, to="/live/windows", **{**right, **typed}
    )
    assert problem in page.text


def test_postcodes_are_served_and_served_no_more(officer: Person, partner: Partner) -> None:
    asked = {"postcode": "ZE1 0AA"}
    assert partner.get("/v1/coverage", **asked)["covered"] is False
    typed = {"area": "shetland", "codes": "ze1, ZE2"}
    page = officer.submit(officer.get("/test/coverage"), to="/test/coverage", **typed)
    rows = re.findall(r'<th scope="row">(\w+)</th>\s*<td[^>]*><a[^>]*>shetland<', page.text)
    assert rows == ["ZE1", "ZE2"]
    assert partner.get("/v1/coverage", **asked)["covered"] is True
    for code in ("ZE1", "ZE2"):
        page = officer.submit(page, to="/test/coverage/remove", code=code)
    assert "shetland" not in page.text
    assert partner.get("/v1/coverage", **asked)["covered"] is False
    wrong = officer.submit(page, 400, to="/test/coverage", area="shetland", codes="ze1 1aa 1")
    assert "Must be first halves of postcodes" in wrong.text


def test_a_tenant_is_connected_to_one_organisation(officer: Person, partner: Partner) -> None:
    tenant = f"tenant-of-{partner.organisation.id[-8:]}"
    here = page_of(partner)
    officer.submit(officer.get(here), to=f"{here}/tenant", mode="live", tenant=tenant)
    found = partner.get("/v1/organisations")["data"][0]["firebaseTenants"]
    assert found == {"test": None, "live": tenant}
    page = officer.submit(officer.get(here), 400, to=f"{here}/tenant", mode="live", tenant=tenant)
    assert "that no organisation has yet" in page.text


def test_a_job_that_failed_for_good_is_tried_again(officer: Person, partner: Partner) -> None:
    backing, organisation = partner.backing, partner.organisation.id

    async def fail(service: Service) -> str:
        failed = failed_job(service.now(), organisation=organisation)
        await service.storage.commit([failed], failed.key)
        return failed.key.id

    job = backing.run(fail)
    partner.patch_organisation(displayName="Zebra Crossing Clinic")
    page = officer.get("/jobs")
    assert job in page.text
    assert f'<a href="{page_of(partner)}">Zebra Crossing Clinic</a>' in page.text
    sent: Any = {"space": "test", "job": job, "_csrf": form_field(page, "_csrf")}
    assert officer.post("/jobs", sent).headers["location"] == "/jobs?said=revived"
    assert officer.post("/jobs", sent).headers["location"] == "/jobs?said=changed"
    assert job not in officer.get("/jobs").text
    made = [each for each in done(backing, "test").values() if each["subject"] == job]
    assert [each["action"] for each in made] == ["job.revive"]
