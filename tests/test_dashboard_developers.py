"""Pages of how things are: the first one, requests, the audit trail, and of the organisation."""

import re
from datetime import timedelta

import httpx
import pytest

from shared import clock
from shared.appointments import AppointmentWindow
from shared.requests import FEW, hashed_key
from shared.service import Service
from shared.users import Role
from tests.support.dashboard import kept, listed, older, text, wrong
from tests.support.inprocess import InProcess
from tests.support.people import Person, signed_in
from tests.support.serving import Json, Partner
from tests.test_folding import line_of

# --- Requests ------------------------------------------------------------------------------------


def test_the_log_is_narrowed_by_its_address_and_shows_calls_before_visits(partner: Partner) -> None:
    person = signed_in(partner, "developer")
    patient, visit = "p_" + "1" * 22, "apt_" + "1" * 22
    many = [f"tsk_{number:022}" for number in range(FEW)]
    at = clock.now() - timedelta(hours=1)
    told: tuple[Json, ...] = (
        {"status": 400, "code": "parameter_invalid", "method": "POST"},
        {"status": 503, "code": "temporarily_unavailable"},
        {"objects": [visit, patient], "method": "POST"},
        {"objects": [patient, visit, *many]},
        {"principal": person.user.id, "objects": [patient], "route": "/{mode}/patients"},
        {"status": 404, "code": "resource_missing", "principal": person.user.id},
    )

    async def hashed(held: Service) -> str:
        return hashed_key(held.keyring, partner.organisation.id, "test", "A-17")

    told[2]["idempotencyKey"] = partner.backing.run(hashed)
    lines = [
        line_of(partner, at=at + timedelta(seconds=number), **facts)
        for number, facts in enumerate(told)
    ]
    bad, failed, made, wide, seen, missed = kept(partner, *lines)

    def shown(query: str, status: int = 200) -> list[str]:
        return [
            each for each in listed(person.get(f"/test/requests?{query}", status)) if each in found
        ]

    found = {bad, failed, made, wide, seen, missed}
    assert shown("") == [wide, made, failed, bad]
    assert shown("by=all") == [missed, seen, wide, made, failed, bad]
    assert shown("statusClass=4xx") == [bad]
    assert shown("statusClass=4xx&by=all") == [missed, bad]
    assert shown("statusClass=5xx") == [failed]
    assert shown("status=400&method=POST") == [bad]
    assert shown("code=resource_missing&by=all") == [missed]
    assert shown(f"object={patient}") == [seen, wide, made]
    assert shown(f"object={visit}") == shown("idempotencyKey=A-17") == [made]
    assert shown(f"principal={person.user.id}") == [missed, seen]
    assert shown(f"principal={partner.api_key.id}&method=POST") == [made, bad]
    today, before = clock.london_day(at), clock.london_day(at) - timedelta(days=1)
    assert shown(f"fromDate={today}") == [wide, made, failed, bad]
    assert shown(f"toDate={before}") == []
    page = person.get("/test/requests?limit=2&method=")
    assert listed(page)[:2] == [wide, made]
    assert "method" not in older(page)
    assert listed(person.get(older(page))) == [failed, bad]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("status=x", "status"),
        ("fromDate=yesterday", "fromDate"),
        ("toDate=9999-12-31", "toDate"),
        ("statusClass=4xx&object=p_1", "statusClass"),
        ("idempotencyKey=k&object=p_1", "idempotencyKey"),
        ("by=nobody", "by"),
    ],
)
def test_what_is_wrong_with_a_filter_stands_beside_it(
    partner: Partner, query: str, field: str
) -> None:
    page = signed_in(partner, "developer").get(f"/test/requests?{query}", 400)
    assert set(wrong(page)) == {field}
    assert listed(page) == []


def test_a_request_is_shown_with_what_its_code_means_and_where_its_objects_are(
    partner: Partner,
) -> None:
    patient = partner.create_patient()["id"]
    facts = {"route": "/v1/patients/{patient}", "objects": [patient]}
    overlap = {"status": 402, "code": "appointment_overlaps", "bytesIn": 9}
    (request,) = kept(partner, line_of(partner, **facts, **overlap, method="POST"))
    admin, developer = signed_in(partner), signed_in(partner, "developer")
    told = text(admin.get(f"/test/requests/{request}"))
    assert "appointment_overlaps" in told
    assert "The patient already has an appointment at that time." in told  # which, is not kept
    assert partner.api_key.name in told
    assert f"/v1/patients/{patient}" in told
    assert "$ALLY_KEY" in told
    assert f'href="/test/patients/{patient}"' in admin.get(f"/test/requests/{request}").text
    assert (
        f'href="/test/api_keys/{partner.api_key.id}"' in admin.get(f"/test/requests/{request}").text
    )
    for area in ("patients", "api_keys"):  # a developer's role includes neither
        assert f'href="/test/{area}/' not in developer.get(f"/test/requests/{request}").text
    developer.get(f"/test/requests/req_{'0' * 22}", 404)


def test_who_called_leads_to_their_page_or_to_all_that_they_asked_for(partner: Partner) -> None:
    """Only an administrator sees keys: to others a key is its id, here as on the usage page."""
    admin, developer = signed_in(partner), signed_in(partner, "developer")
    key = partner.with_key({"*": "read"}, name="Ward 7 server").api_key
    gone = f"usr_{'0' * 22}"
    callers = (key.id, admin.user.id, gone)
    kept(partner, *(line_of(partner, principal=each, objects=["p_x"]) for each in callers))
    asked = "/test/requests?by=all&amp;principal="
    seen = {who: who.get("/test/requests?by=all").text for who in (admin, developer)}
    assert f'<a href="/test/api_keys/{key.id}">Ward 7 server</a>' in seen[admin]
    assert f'<a href="/team/{admin.user.id}">{admin.user.name}</a>' in seen[admin]
    assert f'<a href="{asked}{gone}">Somebody who has left</a>' in seen[admin]
    assert f'<a href="{asked}{key.id}"><code>{key.id}</code></a>' in seen[developer]
    assert f'<a href="{asked}{admin.user.id}">{admin.user.name}</a>' in seen[developer]
    assert "Ward 7 server" not in seen[developer]


def test_who_looks_at_a_request_is_in_the_log_themselves(partner: Partner) -> None:
    (request,) = kept(partner, line_of(partner))
    person = signed_in(partner, "developer")
    person.get(f"/test/requests/{request}")
    (line,) = [line for line in partner.lines() if line["principal"] == person.user.id]
    assert (line["route"], line["mode"]) == ("/{mode}/requests/{request}", "test")


# --- The organisation ----------------------------------------------------------------------------


def test_an_administrator_changes_the_organisation_and_others_read_it(partner: Partner) -> None:
    admin = signed_in(partner)
    page = admin.submit(
        admin.get("/organisation"),
        displayName="Fenwick Care",
        messaging__supportEmail="help@example.org",
        frontEndOrigins="https://a.example.org\nhttps://b.example.org",
        endUserPermissions=["patients:read", "tasks:read"],
    )
    assert "The organisation is changed" in text(page)
    told = partner.get(f"/v1/organisations/{partner.organisation.id}")
    assert told["displayName"] == "Fenwick Care"
    assert told["messaging"]["supportEmail"] == "help@example.org"
    assert told["frontEndOrigins"] == ["https://a.example.org", "https://b.example.org"]
    assert set(told["endUserPermissions"]) == {"patients:read", "tasks:read"}
    admin.submit(admin.get("/organisation"), frontEndOrigins="", endUserPermissions=[])
    told = partner.get(f"/v1/organisations/{partner.organisation.id}")
    assert (told["frontEndOrigins"], told["endUserPermissions"]) == ([], [])
    others: tuple[Role, ...] = ("developer", "member")
    for role in others:
        page = signed_in(partner, role).get("/organisation")
        assert "Fenwick Care" in page.text
        assert 'name="displayName"' not in page.text


def test_a_new_name_of_an_active_organisation_waits_for_review(partner: Partner) -> None:
    name = partner.organisation.displayName
    partner.change_organisation(activation="active")
    admin = signed_in(partner)
    page = admin.submit(admin.get("/organisation"), displayName="Fenwick Care")
    assert "Patients read the new name once Ally has approved it" in text(page)
    told = partner.get(f"/v1/organisations/{partner.organisation.id}")
    assert (told["displayName"], told["displayNameUnderReview"]) == (name, "Fenwick Care")
    assert "A new name waits for review" in text(admin.get("/organisation"))


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"displayName": "x"}, "displayName"),
        ({"messaging__supportPhone": "12"}, "messaging-supportPhone"),
        ({"frontEndOrigins": "https://ok.example.org\nnonsense"}, "frontEndOrigins"),
    ],
)
def test_what_is_wrong_with_the_organisation_stands_beside_its_field(
    partner: Partner, sent: dict[str, str], field: str
) -> None:
    admin = signed_in(partner)
    page = admin.submit(admin.get("/organisation"), 400, **sent)
    assert set(wrong(page)) == {field}
    told = partner.get(f"/v1/organisations/{partner.organisation.id}")
    assert told["displayName"] == partner.organisation.displayName


# --- The audit trail and the first page ----------------------------------------------------------


def test_the_audit_trail_names_who_it_was_and_is_narrowed_by_its_address(partner: Partner) -> None:
    admin = signed_in(partner)
    one, two = "p_" + "1" * 22, "p_" + "2" * 22
    by_key, by_user, _ = kept(
        partner,
        line_of(partner, objects=[one]),
        line_of(partner, objects=[two], principal=admin.user.id, route="/{mode}/patients"),
        line_of(partner),
    )
    page = admin.get("/test/audit_events")
    assert [each for each in listed(page) if each in (by_key, by_user)] == [by_user, by_key]
    assert partner.api_key.name in text(page)
    assert admin.user.name in text(page)
    assert listed(admin.get(f"/test/audit_events?patientId={one}")) == [by_key]
    assert by_user in listed(admin.get(f"/test/audit_events?principal={admin.user.id}"))
    tomorrow = clock.london_day(clock.now()) + timedelta(days=1)
    assert listed(admin.get(f"/test/audit_events?fromDate={tomorrow}")) == []
    assert set(wrong(admin.get("/test/audit_events?patientId=Ada", 400))) == {"patientId"}


def test_the_first_page_knows_what_was_done_and_what_comes_next(partner: Partner) -> None:
    admin = signed_in(partner)
    first = admin.get("/test")
    assert steps(first) == (0, "Make your first call")
    assert "Quick start" in text(first)
    assert "in the last 24 hours" not in text(first)
    kept(partner, line_of(partner))
    later = admin.get("/test")
    assert steps(later) == (1, "Create a patient")
    assert "Quick start" not in text(later)
    assert "in the last 24 hours" in text(later)
    partner.create_patient()
    assert steps(admin.get("/test")) == (2, "Book an appointment")
    partner.book()
    assert steps(admin.get("/test")) == (3, "Activate live mode")
    partner.change_organisation(activation="under_review")
    assert steps(signed_in(partner).get("/test")) == (3, "Wait for our review")
    partner.change_organisation(activation="suspended")
    assert "Live mode is suspended" in text(signed_in(partner).get("/test"))
    assert "Live mode is suspended" not in text(signed_in(partner, "member").get("/test"))
    partner.change_organisation(activation="active")
    assert "What to do next" not in text(signed_in(partner).get("/test"))


def steps(page: httpx.Response) -> tuple[int, str]:
    """Return how many steps are done, and which is next."""
    (following,) = re.findall(r'<li class="next"><span><a href="[^"]+">([^<]+)', page.text)
    return page.text.count('<li class="done">'), following


def test_who_opens_live_mode_too_early_is_told_how_to_activate(partner: Partner) -> None:
    page = signed_in(partner).get("/live/requests", 403)
    assert "Live mode is not open" in text(page)
    assert 'class="button" href="/activation"' in page.text
    assert "/activation" not in signed_in(partner, "developer").get("/live", 403).text


def test_each_role_finds_its_own_on_the_first_page(partner: Partner) -> None:
    (error,) = kept(partner, line_of(partner, status=400, code="parameter_invalid"))
    roles: tuple[Role, ...] = ("developer", "member")
    seen = {role: signed_in(partner, role).get("/test").text for role in roles}
    assert error in seen["developer"]
    assert "in the last 24 hours" in seen["developer"]
    assert "Still to come today" not in seen["developer"]
    assert "Still to come today" in seen["member"]
    for hidden in (error, "/test/requests", "/test/usage", "/activation", "/test/api_keys"):
        assert hidden not in seen["member"], hidden
    for hidden in ("/test/patients", "/activation", "/test/api_keys"):
        assert hidden not in seen["developer"], hidden


def test_who_is_still_to_come_today_is_told_by_name_and_hour(partner: Partner) -> None:
    live = partner.live()
    booked = live.book({"id": live.live_window().id})
    person = signed_in(partner, "member")
    assert "No appointments are still to come today" in person.get("/live").text
    at = clock.now()
    moved = {**booked["window"], "startAt": at, "endAt": at + timedelta(hours=1)}
    live.change_appointment(booked["id"], window=AppointmentWindow.model_validate(moved))
    page = person.get("/live")
    assert f'href="/live/appointments/{booked["id"]}">Ada Loveworth' in page.text
    live.change_appointment(booked["id"], status="cancelled")
    assert "No appointments are still to come today" in person.get("/live").text


# --- What pages cost -----------------------------------------------------------------------------

COSTS = {
    "/test": (0, 6),
    "/test/requests": (1, 1),
    "/test/api_keys": (0, 1),
    "/test/api_keys/{key}": (1, 0),
    "/test/api_keys/new": (0, 0),
    "/organisation": (1, 0),
    "/test/audit_events": (1, 1),
}
"""Reads and queries of each page, once it is known who asks."""


@pytest.fixture
def known(partner: Partner) -> tuple[InProcess, Person]:
    kept(partner, line_of(partner, objects=["p_" + "1" * 22], status=404, code="resource_missing"))
    api = InProcess(partner.backing, partner.key)
    person = signed_in(partner)
    person.enter(api)
    person.get("/account")
    return api, person


def test_each_page_makes_the_counted_storage_operations(
    partner: Partner, known: tuple[InProcess, Person]
) -> None:
    api, person = known
    found = {}
    for path in COSTS:
        api.watched.forget()
        person.get(path.format(key=partner.api_key.id))
        found[path] = (len(api.watched.gets), len(api.watched.queries))
        assert api.watched.commits == []
    assert found == COSTS
