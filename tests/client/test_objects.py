"""Answers as typed objects, also those of a later version of the API."""

import json
from collections.abc import Iterator
from dataclasses import FrozenInstanceError
from datetime import UTC, date, datetime
from typing import Any

import httpx
import pytest

from ally import Ally
from tests.support.client import ADA, HOME, client_of
from tests.support.serving import Json, Partner

KEY = "test_" + "0" * 24 + "." + "0" * 30


@pytest.fixture
def ally(partner: Partner) -> Iterator[Ally]:
    with client_of(partner) as client:
        yield client


def answering(body: Json) -> Ally:
    """Return a client whose API gives one answer."""
    return Ally(KEY, transport=httpx.MockTransport(lambda _: httpx.Response(200, json=body)))


def test_what_a_later_version_adds_is_kept_and_what_it_names_anew_is_text(
    partner: Partner,
) -> None:
    known = partner.create_patient(address=dict(HOME))
    later = {**known, "sex": "unheard_of", "pets": [{"name": "Rex"}]}
    later["address"] = {**known["address"], "floor": 3}
    patient = answering(later).patients.get(known["id"])
    assert patient.sex == "unheard_of"
    assert patient.extra == {"pets": [{"name": "Rex"}]}
    assert patient.address is not None
    assert patient.address.extra == {"floor": 3}


def test_what_an_earlier_version_left_out_is_none(partner: Partner) -> None:
    known = partner.book()
    for name in ("note", "estimatedTimeOfArrival", "data"):
        del known[name]
    appointment = answering(known).appointments.get(known["id"])
    assert (appointment.note, appointment.estimatedTimeOfArrival) == (None, None)
    assert (appointment.data, appointment.patient, appointment.task) == (None, None, None)


def test_times_are_aware_and_days_are_dates(ally: Ally, partner: Partner) -> None:
    booked = ally.appointments.get(partner.book()["id"])
    assert booked.window is not None
    assert booked.window.startAt.tzinfo is UTC
    assert booked.window.timezone == "Europe/London"
    assert ally.patients.get(booked.patientId).dateOfBirth == date(1985, 12, 10)


def test_an_object_cannot_be_changed_by_mistake(ally: Ally) -> None:
    patient: Any = ally.patients.create(**ADA)
    with pytest.raises(FrozenInstanceError):
        patient.note = "x"
    with pytest.raises((AttributeError, TypeError)):
        patient.colour = "red"


def test_moments_and_days_are_sent_as_python_has_them() -> None:
    sent: list[httpx.Request] = []

    def note(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"object": "list", "has_more": False, "data": []})

    at = datetime(2026, 11, 22, 9, 30, tzinfo=UTC)
    with Ally(KEY, transport=httpx.MockTransport(note)) as ally:
        ally.patients.list(createdAt={"gte": at, "lt": date(2026, 12, 1)}, limit=7)
        ally.patients.search(dateOfBirth=date(1985, 12, 10), createdAt={"gt": at})
    assert dict(sent[0].url.params) == {
        "createdAt[gte]": "2026-11-22T09:30:00+00:00",
        "createdAt[lt]": "2026-12-01",
        "limit": "7",
    }
    assert json.loads(sent[1].content) == {
        "dateOfBirth": "1985-12-10",
        "createdAt": {"gt": "2026-11-22T09:30:00+00:00"},
    }
