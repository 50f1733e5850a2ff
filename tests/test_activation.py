"""Activation: how an organisation goes live, in the dashboard and with Operations' approval."""

import asyncio
from dataclasses import replace
from typing import Any

import httpx
import pytest

from shared import issuing
from shared.activation import LiveStart, open_live
from shared.callers import UserCaller
from shared.errors import ApiError
from shared.keys import ApiKey
from shared.provision import open_store
from shared.service import Service
from shared.sessions import COOKIE
from shared.tasks import Task
from tests.support.inprocess import InProcess
from tests.support.people import Person, signed_in
from tests.support.post import mailed
from tests.support.serving import Json, Partner, Server
from tests.support.staff import staff

ANSWERS: dict[str, dict[str, Any]] = {
    "contact": {"contactMobile": "07400 123456"},
    "type": {"organisationType": "company"},
    "name": {"displayName": "Ward Seven"},
    "legal": {
        "legalName": "Ward Seven Limited",
        "companyNumber": "1234567",
        "vatNumber": "gb 980 7806 84",
    },
    "address": {"line1": "10 Example Street", "city": "London", "postcode": "sw1a1aa"},
}
SUBMIT, WITHDRAW = "/activation/submit", "/activation/withdraw"


@pytest.fixture
def person(partner: Partner) -> Person:
    return signed_in(partner)


@pytest.fixture
def officer(server: Server) -> Person:
    return staff(server)


def fill_in(person: Person, **changed: dict[str, Any]) -> httpx.Response:
    """Fill in all steps, and return the page on which it can be sent."""
    page = person.get("/activation/contact")
    for step, said in {**ANSWERS, **changed}.items():
        assert page.url.path == f"/activation/{step}"
        page = person.submit(page, **said)
    assert page.url.path == "/activation"
    return page


def submit(person: Person) -> httpx.Response:
    return person.submit(fill_in(person), to=SUBMIT)


def state(partner: Partner) -> str:
    (organisation,) = partner.get("/v1/organisations")["data"]
    return str(organisation["activation"])


def decide(
    officer: Person, partner: Partner, decision: str, status: int = 200, **typed: str
) -> httpx.Response:
    """Decide on an organisation by the form of its page."""
    here = f"/organisations/{partner.organisation.id}"
    return officer.submit(
        officer.get(here), status, to=f"{here}/decision", decision=decision, **typed
    )


# --- The form ------------------------------------------------------------------------------------


def test_each_step_is_saved_by_itself_and_leads_to_the_next(
    partner: Partner, person: Person
) -> None:
    assert state(partner) == "not_started"
    page = person.submit(person.get("/activation/contact"), contactMobile="07400 123456")
    assert page.url.path == "/activation/type"
    assert "+447400123456" in person.get("/activation").text
    assert state(partner) == "begun"
    assert SUBMIT not in person.get("/activation").text


def test_what_was_saved_is_shown_again_as_the_registers_write_it(person: Person) -> None:
    page = fill_in(person).text
    for text in ("01234567", "GB980780684", "SW1A 1AA", "Ward Seven Limited", "+447400123456"):
        assert text in page
    assert 'value="01234567"' in person.get("/activation/legal").text


def test_a_wrong_answer_is_explained_beside_its_field_and_nothing_is_saved(
    partner: Partner, person: Person
) -> None:
    typed = {**ANSWERS["legal"], "vatNumber": "GB09999999", "companyNumber": "x"}
    page = person.submit(person.get("/activation/legal"), 400, **typed)
    assert "Must have 9 digits after the country code" in page.text
    assert "Must be a number of Companies House" in page.text
    assert 'value="GB09999999"' in page.text
    assert state(partner) == "not_started"


@pytest.mark.parametrize(
    ("kind", "step", "typed", "field"),
    [
        ("company", "legal", {"legalName": "Ward Seven"}, "companyNumber"),
        ("charity", "legal", {"legalName": "Ward Seven"}, "charityNumber"),
        ("other", "type", {"organisationType": "other"}, "otherType"),
    ],
)
def test_each_type_of_organisation_is_asked_for_what_its_register_has(
    person: Person, kind: str, step: str, typed: dict[str, str], field: str
) -> None:
    if kind != "other":
        person.submit(person.get("/activation/type"), organisationType=kind)
    page = person.submit(person.get(f"/activation/{step}"), 400, **typed)
    assert f'id="f-{field}-error">Fill this in.' in page.text


@pytest.mark.parametrize("kind", ["trust", "public_body", "business"])
def test_a_body_without_company_number_or_vat_number_can_be_sent(
    partner: Partner, person: Person, kind: str
) -> None:
    page = fill_in(person, type={"organisationType": kind}, legal={"legalName": "A Trust"})
    person.submit(page, to=SUBMIT)
    assert state(partner) == "under_review"


def test_what_is_incomplete_is_not_sent_however_it_is_asked(
    partner: Partner, person: Person
) -> None:
    page = fill_in(person)
    other = signed_in(partner)
    other.submit(other.get("/activation/type"), organisationType="charity")
    assert "Nothing was changed" in person.submit(page, to=SUBMIT).text
    assert state(partner) == "begun"


def test_what_is_under_review_changes_only_when_it_is_taken_back(
    partner: Partner, person: Person
) -> None:
    early = person.get("/activation/contact")
    submit(person)
    assert state(partner) == "under_review"
    assert "Nothing was changed" in person.submit(early, contactMobile="07400 654321").text
    assert "+447400123456" in person.get("/activation").text
    person.submit(person.get("/activation"), to=WITHDRAW)
    assert state(partner) == "begun"
    person.submit(person.get("/activation/contact"), contactMobile="07400 654321")
    assert "+447400654321" in person.get("/activation").text


@pytest.mark.parametrize("role", ["developer", "member"])
def test_only_administrators_see_or_change_the_activation(partner: Partner, role: Any) -> None:
    other = signed_in(partner, role)
    other.get("/activation", 403)
    other.get("/activation/contact", 403)


def test_a_name_that_changes_under_review_is_reviewed_by_itself(
    partner: Partner, person: Person, officer: Person
) -> None:
    submit(person)
    changed = partner.patch_organisation(displayName="Something Else")
    assert (changed["displayName"], changed["displayNameUnderReview"]) == (
        "Ward Seven",
        "Something Else",
    )
    decide(officer, partner, "approve")
    (organisation,) = partner.get("/v1/organisations")["data"]
    assert organisation["displayName"] == "Ward Seven"


def test_the_name_that_was_asked_for_last_is_the_one_that_holds(
    partner: Partner, person: Person
) -> None:
    submit(person)
    partner.patch_organisation(displayName="Something Else")
    person.submit(person.get("/activation"), to=WITHDRAW)
    person.submit(person.get("/activation/name"), displayName="Ward Eight")
    (organisation,) = partner.get("/v1/organisations")["data"]
    assert (organisation["displayName"], organisation["displayNameUnderReview"]) == (
        "Ward Eight",
        None,
    )


# --- The decisions -------------------------------------------------------------------------------


def in_live(partner: Partner) -> Partner:
    """Return the organisation in live mode as it is."""
    return replace(partner, mode="live")


def approved(partner: Partner, officer: Person, person: Person) -> Partner:
    submit(person)
    decide(officer, partner, "approve")
    return in_live(partner)


def test_an_approval_makes_live_tasks_of_the_active_test_tasks_and_a_key_that_nobody_has_seen(
    partner: Partner, officer: Person
) -> None:
    partner.inactive_task()
    person = signed_in(partner)
    submit(person)
    assert f'href="/organisations/{partner.organisation.id}"' in officer.get("/queue").text
    assert in_live(partner).stored(ApiKey) == {}
    decide(officer, partner, "approve")
    assert state(partner) == "active"
    assert f'href="/organisations/{partner.organisation.id}"' not in officer.get("/queue").text
    tasks = in_live(partner).stored(Task).values()
    copied = {each["name"]: each["steps"] for each in partner.get("/v1/tasks")["data"]}
    copied.pop("Old")
    assert len(tasks) == len(copied)
    assert all(without_nulls(copied[each["name"]]) == each["steps"] for each in tasks)
    (key,) = in_live(partner).stored(ApiKey).values()
    assert key["unrevealed"] is True
    assert key["maskedKey"].endswith(".…")
    ((subject, text),) = mailed(partner.backing, person.user.email)
    assert subject == "Ward Seven is active"
    assert "live mode is open" in text


def without_nulls(steps: list[Json]) -> list[Json]:
    """Return steps as they are stored."""
    return [
        {name: each for name, each in step.items() if each is not None or name == "coding"}
        for step in steps
    ]


def test_what_an_approval_makes_is_there_once_however_often_it_begins(
    partner: Partner, officer: Person, person: Person
) -> None:
    organisation = partner.organisation.id

    async def both(service: Service) -> None:
        await asyncio.gather(*(open_live(service, organisation) for _ in range(4)))

    partner.backing.run(both)
    before = {model: in_live(partner).stored(model) for model in (Task, ApiKey, LiveStart)}
    assert all(before.values())
    assert state(partner) == "not_started"
    approved(partner, officer, person)
    assert {model: in_live(partner).stored(model) for model in before} == before


async def who(service: Service, person: Person) -> UserCaller:
    """Return the caller whom a signed-in person is."""
    found = await service.sessions.find(person.cookies[COOKIE], "live", service.now())
    assert found is not None
    return found


def test_a_live_key_is_revealed_once_and_then_works(
    partner: Partner, officer: Person, person: Person
) -> None:
    live = approved(partner, officer, person)
    (key_id,) = live.stored(ApiKey)

    async def reveal(service: Service) -> ApiKey:
        store = open_store(service, "live", partner.organisation.id, at=service.now())
        key = await issuing.reveal_live(store, service.keyring, await who(service, person), key_id)
        await store.commit()
        return key

    key = partner.backing.run(reveal)
    assert key.secret
    holder = replace(live, api_key=key)
    assert len(holder.get("/v1/tasks")["data"]) == 4
    assert holder.get("/v1/organisations")["data"][0]["livemode"] is True
    with pytest.raises(ApiError, match="secret_not_revealable"):
        partner.backing.run(reveal)


def test_a_key_whose_secret_was_made_but_not_kept_is_no_key_and_can_be_rolled(
    partner: Partner, officer: Person, person: Person
) -> None:
    """The process died between the two."""
    live = approved(partner, officer, person)
    (key_id,) = live.stored(ApiKey)
    organisation = partner.organisation.id
    secret = partner.backing.run(
        lambda service: service.keyring.issue("live", organisation, key_id)
    )
    refused = partner.server.send("GET", "/v1/tasks", secret)
    assert refused.json()["error"]["code"] == "key_invalid"

    async def reveal(service: Service) -> None:
        store = open_store(service, "live", organisation, at=service.now())
        await issuing.reveal_live(store, service.keyring, await who(service, person), key_id)

    with pytest.raises(ApiError, match="secret_not_revealable"):
        partner.backing.run(reveal)
    admin = live.administrator()
    assert admin.get(f"/v1/api_keys/{key_id}")["status"] == "unrevealed"
    rolled = replace(live, api_key=ApiKey.load(admin.post(f"/v1/api_keys/{key_id}/roll")))
    assert rolled.get("/v1/tasks")["data"]


def test_a_rejection_tells_why_and_what_was_corrected_can_be_sent_again(
    partner: Partner, officer: Person
) -> None:
    person = signed_in(partner)
    submit(person)
    decide(officer, partner, "reject", 400)
    assert state(partner) == "under_review"
    decide(officer, partner, "reject", reason="The number is another company's.")
    assert state(partner) == "rejected"
    assert "The number is another company&#39;s." in person.get("/activation").text
    assert in_live(partner).stored(ApiKey) == {}
    ((subject, text),) = mailed(partner.backing, person.user.email)
    assert subject == "Ward Seven was not activated"
    assert "The number is another company's." in text
    person.submit(
        person.get("/activation/legal"), **{**ANSWERS["legal"], "companyNumber": "7654321"}
    )
    assert state(partner) == "rejected"
    person.submit(person.get("/activation"), to=SUBMIT)
    assert state(partner) == "under_review"


def test_what_was_sent_anew_is_not_decided_on_by_whoever_saw_what_was_sent_before(
    partner: Partner, officer: Person, person: Person
) -> None:
    submit(person)
    here = f"/organisations/{partner.organisation.id}"
    seen = officer.get(here)
    person.submit(person.get("/activation"), to=WITHDRAW)
    person.submit(person.get("/activation"), to=SUBMIT)
    answer = officer.submit(seen, to=f"{here}/decision", decision="approve")
    assert "Nothing was changed" in answer.text
    assert state(partner) == "under_review"
    assert in_live(partner).stored(Task) == {}  # those of test mode may change until it is approved


@pytest.mark.parametrize("decision", ["approve", "reject", "resume", "suspend"])
def test_what_is_not_possible_as_things_stand_changes_nothing(
    partner: Partner, officer: Person, person: Person, decision: str
) -> None:
    submit(person)
    here = f"/organisations/{partner.organisation.id}"
    page = officer.get(here)
    person.submit(person.get("/activation"), to=WITHDRAW)
    sent = {"decision": decision, "reason": "Because."}
    answer = officer.submit(page, to=f"{here}/decision", **sent)
    assert "Nothing was changed" in answer.text
    assert state(partner) == "begun"


def test_the_live_keys_of_a_suspended_organisation_stop_within_15_seconds_until_it_is_resumed(
    partner: Partner, officer: Person
) -> None:
    person = signed_in(partner)
    live = approved(partner, officer, person).with_key({"*": "write"})
    api = InProcess(partner.backing, live.key)
    api.call("GET", "/v1/tasks")
    decide(officer, partner, "suspend", reason="An invoice was not paid.")
    api.elapsed += 15
    refused = api.call("GET", "/v1/tasks", 403)["error"]
    assert refused["code"] == "organisation_not_activated"
    assert "suspended" in refused["message"]
    assert partner.get("/v1/tasks")["data"]  # test mode is as it was
    assert "An invoice was not paid." in person.get("/activation").text
    decide(officer, partner, "resume")
    api.elapsed += 15
    api.call("GET", "/v1/tasks")


@pytest.mark.parametrize(
    ("decision", "name"), [("approve", "Ward Eight"), ("reject", "Ward Seven")]
)
def test_a_changed_display_name_is_read_by_patients_once_operations_approve_it(
    partner: Partner, officer: Person, decision: str, name: str
) -> None:
    person = signed_in(partner)
    approved(partner, officer, person)
    partner.patch_organisation(displayName="Ward Eight")
    here = f"/organisations/{partner.organisation.id}"
    assert f'href="{here}"' in officer.get("/queue").text
    why = {"reason": "It is somebody else's."} if decision == "reject" else {}
    officer.submit(officer.get(here), to=f"{here}/name", decision=decision, **why)
    (organisation,) = partner.get("/v1/organisations")["data"]
    assert (organisation["displayName"], organisation["displayNameUnderReview"]) == (name, None)
    assert f'href="{here}"' not in officer.get("/queue").text
    wanted = {"approve": "Your display name was approved"}.get(
        decision, "Your display name was not approved"
    )
    assert wanted in {subject for subject, _ in mailed(partner.backing, person.user.email, 2)}


def test_a_display_name_is_not_approved_by_who_saw_another(
    partner: Partner, officer: Person, person: Person
) -> None:
    approved(partner, officer, person)
    partner.patch_organisation(displayName="Ward Eight")
    here = f"/organisations/{partner.organisation.id}"
    page = officer.get(here)
    partner.patch_organisation(displayName="Ward Nine")
    officer.submit(page, to=f"{here}/name", decision="approve")
    (organisation,) = partner.get("/v1/organisations")["data"]
    assert organisation["displayName"] == "Ward Seven"
    assert organisation["displayNameUnderReview"] == "Ward Nine"
