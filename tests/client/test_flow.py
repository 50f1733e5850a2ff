"""Our client walks the flow: a patient, a task, a window, an appointment, its cancellation."""

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta

import pytest

from ally import Ally
from tests.support.client import ADA, ANNE, HOME, async_client_of, client_of
from tests.support.serving import OUTSIDE, POSTCODE, Partner, tomorrow


@pytest.fixture
def ally(partner: Partner) -> Iterator[Ally]:
    with client_of(partner.administrator()) as client:
        yield client


def test_usage_has_steps_of_numbers(ally: Ally) -> None:
    usage = ally.usage.get(metric="requests", by="route", period="1h")
    assert (usage.object, usage.by, usage.resolution) == ("usage", "route", "1m")
    assert usage.endAt - usage.startAt == timedelta(hours=1)
    assert usage.asOf < usage.endAt
    (whole,) = ally.usage.get(metric="latency", startAt=usage.startAt).series
    assert 60 <= len(whole.points) <= 62  # a minute may have begun meanwhile


def test_the_flow_with_nested_bodies(ally: Ally) -> None:
    patient = ally.patients.create(**ADA, address=HOME, metadata={"ward": "7"})
    assert (patient.object, patient.livemode) == ("patient", False)
    assert patient.dateOfBirth == date(1985, 12, 10)
    assert patient.address is not None
    assert (patient.address.postcode, patient.address.line2) == (POSTCODE, None)
    assert abs(datetime.now(UTC) - patient.createdAt) < timedelta(minutes=5)

    changed = ally.patients.update(patient.id, note="Knock loudly", metadata={"bed": "2"})
    assert (changed.note, changed.metadata) == ("Knock loudly", {"ward": "7", "bed": "2"})
    assert changed.address == patient.address
    unset = ally.patients.update(patient.id, note=None, metadata={"ward": None})
    assert (unset.note, unset.metadata) == (None, {"bed": "2"})

    assert ally.coverage.get(postcode=POSTCODE).covered is True
    assert ally.coverage.get(postcode=OUTSIDE).covered is False
    task = next(each for each in ally.tasks.list() if each.name == "Venepuncture")
    coding = ally.tasks.get(task.id).steps[0].coding
    assert coding is not None
    assert coding.code == "28520004"
    first, second = ally.availability.list(
        taskId=task.id, postcode=POSTCODE, fromDate=tomorrow(), limit=2
    ).data

    booked = ally.appointments.create(
        patientId=patient.id,
        taskId=task.id,
        windowId=first.id,
        phone=patient.phone,
        location={"address": patient.address},
        expand=["patient", "task"],
    )
    assert (booked.status, booked.canReschedule, booked.canCancel) == ("scheduled", True, True)
    assert booked.location.address == patient.address
    assert booked.window is not None
    assert (booked.window.startAt, booked.window.endAt) == (first.startAt, first.endAt)
    assert (booked.patient, booked.task) == (unset, task)

    (listed,) = ally.appointments.list(patientId=patient.id, expand=["data.patient"]).data
    assert listed.patient == unset
    assert ally.appointments.get(booked.id).patient is None
    assert ally.appointments.update(booked.id, note="Side door").note == "Side door"
    moved = ally.appointments.reschedule(booked.id, windowId=second.id)
    assert moved.windowId == second.id

    reason = next(each for each in ally.cancellation_reasons.list() if each.charge == "never")
    cancelled = ally.appointments.cancel(
        booked.id, cancellingEntity="organisation", reasonCode=reason.code, note="The van broke"
    )
    assert (cancelled.appointmentId, cancelled.chargeable) == (booked.id, False)
    shown = ally.appointments.cancellation(booked.id, expand=["appointment.patient"])
    assert shown.appointment is not None
    assert (shown.appointment.status, shown.appointment.patient) == ("cancelled", unset)
    assert ally.patients.delete(patient.id).deleted is True


def test_lists_are_narrowed_by_what_is_sent_in_brackets_and_patients_sought_in_a_body(
    ally: Ally,
) -> None:
    before = ally.patients.create(**ADA, externalRef="A-1")
    after = ally.patients.create(**ANNE, externalRef="A-2")
    since = ally.patients.list(createdAt={"gt": before.createdAt})
    assert since.data == [after]
    assert ally.patients.list(filter='externalRef:"A-1"').data == [before]
    assert ally.patients.search(name="byr", createdAt={"gte": before.createdAt}).data == [after]
    assert list(ally.patients.search(email="ada@example.com", limit=1)) == [after, before]


def test_the_organisation_changes_itself(ally: Ally, partner: Partner) -> None:
    (own,) = ally.organisations.list()
    assert own == ally.organisations.get(partner.organisation.id)
    named = ally.organisations.update(
        own.id, displayName="Ada's", messaging={"supportPhone": "+447400123456"}
    )
    assert named.messaging is not None
    assert (named.displayName, named.messaging.supportPhone) == ("Ada's", "+447400123456")


def test_keys_live_from_making_to_revoking(ally: Ally, partner: Partner) -> None:
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    made = ally.api_keys.create(name="Reader", scopes={"patients": "read"}, expiresAt=ends)
    assert made.secret is not None
    assert made.expiresAt == ends
    assert ally.patients.list(key=made.secret).data == []
    assert ally.api_keys.update(made.id, name="Ward 7").name == "Ward 7"
    assert ally.api_keys.reveal(made.id).secret == made.secret
    rolled = ally.api_keys.roll(made.id, overlap="1h")
    assert (rolled.replaces, ally.api_keys.get(made.id).replacedBy) == (made.id, rolled.id)
    assert ally.api_keys.revoke(rolled.id).status == "revoked"
    assert {made.id, rolled.id} <= {each.id for each in ally.api_keys.list()}


def test_the_flow_awaited(partner: Partner) -> None:
    async def flow() -> None:
        async with async_client_of(partner) as ally:
            patient, task, _ = await asyncio.gather(
                ally.patients.create(**ADA),
                anext(aiter(ally.tasks.list())),
                ally.coverage.get(postcode=POSTCODE),
            )
            windows = await ally.availability.list(
                taskId=task.id, postcode=POSTCODE, fromDate=tomorrow()
            )
            booked = await ally.appointments.create(
                patientId=patient.id,
                taskId=task.id,
                windowId=windows.data[0].id,
                phone=patient.phone,
                location={"address": HOME},
                expand=["patient"],
            )
            assert booked.patient == patient
            assert [each.id async for each in ally.appointments.list()] == [booked.id]
            reason = await anext(aiter(ally.cancellation_reasons.list()))
            await ally.appointments.cancel(
                booked.id, cancellingEntity="patient", reasonCode=reason.code
            )
            assert (await ally.appointments.get(booked.id)).status == "cancelled"

    asyncio.run(flow())


def test_an_end_user_owns_patients_and_is_revoked(ally: Ally) -> None:
    owned = ally.patients.create(**ADA, endUserId="ada-1")
    ally.patients.create(**ANNE)
    assert ally.patients.list(endUserId="ada-1").data == [owned]
    revoked = ally.end_users.revoke("ada-1")
    assert (revoked.endUserId, revoked.object) == ("ada-1", "end_user")


@pytest.mark.parametrize("backing", ["local"], indirect=True)
def test_a_local_api_makes_the_token_of_an_end_user(ally: Ally, partner: Partner) -> None:
    assert partner.tenant
    made = ally.test_helpers.create_end_user_token(endUserId="ada-1")
    assert made.token is not None
    assert made.token not in repr(made)


def test_threads_share_a_client(ally: Ally) -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: ally.patients.create(**ADA), range(24)))
    assert {each.id for each in ally.patients.list(limit=7)} == {each.id for each in made}
    assert len({each.id for each in made}) == 24
