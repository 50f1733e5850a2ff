"""Pages of appointments: made step by step, narrowed, moved and cancelled."""

import re

from playwright.sync_api import Page

from tests.support.axe import broken
from tests.support.browser import Browser
from tests.support.care import NOTE, TYPED, booked, draft, in_days, links, press, shown
from tests.support.people import forms, signed_in
from tests.support.serving import ADDRESS, OUTSIDE, Partner
from tests.test_docs import once


def test_an_appointment_is_made_step_by_step(partner: Partner) -> None:
    person = signed_in(partner, "member")
    start = person.get("/test/booking")
    (new,) = links(start, "/test/patients/new")
    page = person.submit(person.get(new), to="/test/patients?next=/test/booking", **TYPED)
    assert "What is to be done for Ada Loveworth?" in shown(page)
    task = partner.task()
    (way,) = (each for each in links(page, "/test/booking?") if task["id"] in each)
    where = person.get(way)
    assert f'value="{ADDRESS["line1"]}"' in where.text
    windows = person.submit(where, to="/test/booking/window", note=NOTE, externalRef="R-9")
    offered = partner.windows(task)
    made = booked(person, windows, offered[0])
    assert "The appointment is booked." in shown(made)
    kept = partner.get(f"/v1/appointments/{made.url.path.rpartition('/')[2]}")
    assert kept["window"]["id"] == offered[0]["id"]
    assert (kept["note"], kept["externalRef"]) == (NOTE, "R-9")
    for text in ("Venepuncture for Ada Loveworth", "Scheduled", "Created", "The window begins"):
        assert text in shown(made)
    assert NOTE not in made.text


def test_a_second_press_makes_no_second_appointment(partner: Partner) -> None:
    person = signed_in(partner, "member")
    task = partner.task()
    page = draft(person, partner.create_patient(), task)
    window = partner.windows(task)[0]
    check = person.submit(page, to="/test/booking/check", windowId=window["id"])
    first, second = (person.submit(check, to="/test/booking/confirm") for _ in range(2))
    assert first.url.path == second.url.path
    assert len(partner.get("/v1/appointments")["data"]) == 1


def test_a_window_that_is_taken_meanwhile_leads_back_to_the_windows(partner: Partner) -> None:
    person = signed_in(partner, "member")
    task = partner.task()
    offered = partner.windows(task)
    window = min(offered, key=lambda each: int(each["remaining"]))
    page = draft(person, partner.create_patient(), task, note="Ring twice")
    check = person.submit(page, to="/test/booking/check", windowId=window["id"])
    for _ in range(window["remaining"]):
        partner.book(window)
    page = person.submit(check, 400, to="/test/booking/confirm")
    assert "This window has no place left, or has begun." in shown(page)
    assert window["id"] not in page.text
    other = next(each for each in offered if each["id"] != window["id"])
    made = booked(person, page, other)
    assert "Ring twice" in shown(made)


def test_going_back_keeps_what_was_typed(partner: Partner) -> None:
    person = signed_in(partner, "member")
    task = partner.task()
    page = draft(
        person, partner.create_patient(), task, note="Two steps", location__address__line2="7"
    )
    back = press(person, page, "/test/booking/place")
    assert "Two steps" in back.text
    assert 'value="7"' in back.text
    later = press(person, page, "/test/booking/window", fromDate=str(in_days(partner, 10)))
    assert f"{in_days(partner, 10):%a %-d %b}" in shown(later)
    assert "Two steps" in later.text
    assert person.get("/test/booking/window").url.path == "/test/booking"


def test_what_is_wrong_with_an_appointment_is_said_at_the_step_that_mends_it(
    partner: Partner,
) -> None:
    person = signed_in(partner, "member")
    task, patient = partner.task(), partner.create_patient()
    place = person.get(f"/test/booking?patientId={patient['id']}&taskId={task['id']}")
    page = person.submit(place, 400, to="/test/booking/window", phone="1")
    assert "Where is the visit?" in shown(page)
    fields = {f"location__address__{name}": text for name, text in ADDRESS.items()}
    outside = {**fields, "location__address__postcode": OUTSIDE}
    page = person.submit(place, 400, to="/test/booking/window", **outside)
    assert "Ally does not serve this postcode yet." in shown(page)
    page = draft(person, patient, task)
    page = person.submit(page, 400, to="/test/booking/check")
    assert "Choose a window." in shown(page)
    window = next(each for each in partner.windows(task) if each["remaining"] > 1)
    booked(person, page, window)
    page = person.submit(
        draft(person, patient, task), 400, to="/test/booking/check", windowId=window["id"]
    )
    assert "has another appointment at that time" in shown(page)


def test_an_appointment_is_changed_as_long_as_its_visit_has_not_begun(partner: Partner) -> None:
    person = signed_in(partner, "member")
    appointment = partner.book()
    here = f"/test/appointments/{appointment['id']}"
    edit = person.get(f"{here}/edit")
    typed = {"note": NOTE, "externalRef": "R-9", "location__address__line2": "Flat 2"}
    page = person.submit(edit, to=f"{here}/edit", **typed)
    assert "Flat 2" in shown(page)
    assert "Last changed" in shown(page)
    changed = partner.get(f"/v1{here[5:]}")
    assert changed["location"]["address"]["line2"] == "Flat 2"
    assert (changed["note"], changed["window"]) == (NOTE, appointment["window"])
    outside = {"location__address__postcode": OUTSIDE}
    page = person.submit(edit, 400, to=f"{here}/edit", **outside)
    assert "This form was sent before with something else in it" in shown(page)
    page = person.submit(person.get(f"{here}/edit"), 400, to=f"{here}/edit", **outside)
    assert "Ally does not serve this postcode yet." in shown(page)

    partner.change_appointment(appointment["id"], status="completed")
    edit = person.get(f"{here}/edit")
    assert "phone" not in set().union(*(each.names for each in forms(edit)))
    person.submit(edit, to=f"{here}/edit", externalRef="R-10")
    assert partner.get(f"/v1{here[5:]}")["externalRef"] == "R-10"


def test_an_appointment_is_moved_and_cancelled_once(partner: Partner) -> None:
    person = signed_in(partner, "member")
    appointment = partner.book()
    here = f"/test/appointments/{appointment['id']}"
    offered = partner.windows(partner.task())
    page = person.submit(
        person.get(f"{here}/reschedule"), to=f"{here}/reschedule", windowId=offered[-1]["id"]
    )
    assert "to another window" in shown(page)
    assert partner.get(f"/v1{here[5:]}")["window"]["id"] == offered[-1]["id"]
    person.submit(person.get(f"{here}/reschedule"), 400, to=f"{here}/reschedule")

    ask = person.get(f"{here}/cancel")
    assert re.search("The patient was not there. Expected to be charged.", shown(ask))
    assert re.search("The practitioner could not come. Not charged.", shown(ask))
    page = person.submit(ask, 400, to=f"{here}/cancel", reasonCode="other")
    assert "Who cancels: Fill this in." in shown(page)
    chosen = {"reasonCode": "patient_not_present", "cancellingEntity": "patient", "note": "Alas"}
    page = person.submit(ask, to=f"{here}/cancel", **chosen)
    for text in ("Cancelled by the patient", "The patient was not there.", "Alas", "charged"):
        assert text in shown(page)
    assert links(page, f"{here}/") == [f"{here}/edit"]
    again = person.post(f"{here}/cancel", {**dict(forms(ask)[-1].fields), "_once": "", **chosen})
    assert again.status_code == 409
    for way in ("cancel", "reschedule"):
        assert "It cannot be" in shown(person.get(f"{here}/{way}"))


def test_appointments_are_narrowed_by_what_they_are(partner: Partner) -> None:
    person = signed_in(partner, "member")
    windows = partner.windows(partner.task())
    first, second = partner.book(windows[0]), partner.book(windows[1])
    partner.cancel(first)
    other = next(each for each in partner.get("/v1/tasks")["data"] if each["id"] != first["taskId"])
    for query, expected in (
        ("", [second, first]),
        ("status=cancelled", [first]),
        (f"taskId={first['taskId']}", [second, first]),
        (f"taskId={other['id']}", []),
        (f"patientId={second['patientId']}", [second]),
        ("externalRef=none", []),
    ):
        page = person.get(f"/test/appointments?{query}")
        found = [each.rpartition("/")[2] for each in links(page, "/test/appointments/apt_")]
        assert found == [each["id"] for each in expected], query


@once
def test_an_appointment_is_made_with_the_keyboard_alone(partner: Partner, browser: Browser) -> None:
    person = signed_in(partner, "member")
    task = partner.task()
    patient = partner.create_patient(address=ADDRESS)

    def act(page: Page) -> list[str]:
        wrong: list[str] = []
        for step in ("Where is the visit?", "When?", "Check the details", "Timeline"):
            page.get_by_role("heading", name=step).wait_for()
            wrong += broken(page, step)
            if step == "When?":
                page.get_by_role("radio").first.focus()
                page.keyboard.press("Space")
            elif step != "Timeline":
                page.locator("main form button").first.focus()
            page.keyboard.press("Enter")
        return wrong

    path = f"/test/booking?patientId={patient['id']}&taskId={task['id']}"
    assert browser.visit(f"{person.url}{path}", act, cookies=person.cookies) == []
    assert len(partner.get("/v1/appointments")["data"]) == 1
