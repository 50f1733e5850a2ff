"""Clients that a generator makes of our document: built, and used as a partner would."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from tests.support.document import DOCUMENT
from tests.support.faulty import Faulty, Passes
from tests.support.generators import Client
from tests.support.later import later
from tests.support.serving import POSTCODE, Backing, Json, Partner, Server

# What differs between the backends does not between two clients of one API.
pytestmark = pytest.mark.parametrize(
    ("backing", "flow"),
    [("local", "python"), ("google", "python"), ("local", "typescript")],
    indirect=True,
)


@dataclass
class Flow:
    """What a program told that used a generated client, and the partner whose key it had."""

    client: Client
    told: Json
    partner: Partner
    earlier: list[str]
    """The ids of patients who were there before."""
    paused: Json
    """An appointment in a status that the document does not know."""


@pytest.fixture(scope="module")
def flow(
    request: pytest.FixtureRequest,
    backing: Backing,
    server: Server,
    generated: Callable[[str], Client],
) -> Flow:
    """The one run of the program in a language, from a patient to a cancelled appointment."""
    client = generated(request.param)
    partner = backing.partner(server)
    paused = partner.book()
    partner.change_appointment(paused["id"], status="paused")
    earlier = [paused["patientId"], *(partner.create_patient()["id"] for _ in range(3))]
    with Faulty([Passes(changed=later)], server) as relay:
        told = client.flow(
            ALLY_URL=server.url,
            ALLY_KEY=partner.key,
            ALLY_CA=str(server.certificate),
            NODE_EXTRA_CA_CERTS=str(server.certificate),
            ALLY_LATER_URL=relay.url,
            ALLY_PAUSED=paused["id"],
        )
    return Flow(client, told, partner, earlier, paused)


def test_a_generated_client_creates_a_patient_with_an_address_once_in_two_tries(flow: Flow) -> None:
    told = flow.told["patient"]
    assert told["same"]
    stored = flow.partner.get(f"/v1/patients/{told['id']}")
    assert told["born"] == stored["dateOfBirth"] == "1985-12-10"
    assert told["postcode"] == stored["address"]["postcode"] == POSTCODE
    assert told["metadata"] == {"ward": "7B"}


def test_a_generated_client_unsets_what_it_sends_as_null_and_leaves_the_rest(flow: Flow) -> None:
    stored = flow.partner.get(f"/v1/patients/{flow.told['patient']['id']}")
    expected = {"note": None, "email": "grace@example.com", "metadata": {"bed": "3"}}
    assert flow.told["changed"] == expected
    assert {name: stored[name] for name in expected} == expected


def test_a_generated_client_books_a_window_at_a_place_and_expands_what_it_reads(flow: Flow) -> None:
    told = flow.told["appointment"]
    stored = flow.partner.get(f"/v1/appointments/{told['id']}")
    assert stored["patientId"] == flow.told["patient"]["id"]
    assert stored["metadata"] == {"order": "A-17"}
    assert told == {
        "id": stored["id"],
        "status": "scheduled",
        "postcode": stored["location"]["address"]["postcode"],
        "inWindow": True,
        "patient": "Hopper",
        "task": "Venepuncture",
        "data": None,
    }


def test_a_generated_client_pages_through_a_list_and_narrows_it(flow: Flow) -> None:
    newest_first = [flow.told["patient"]["id"], *reversed(flow.earlier)]
    assert flow.told["pages"] == [newest_first[:2], newest_first[2:4], newest_first[4:]]
    assert flow.told["older"] == newest_first[1:]


def test_a_generated_client_reads_all_that_was_wrong_with_a_request(flow: Flow) -> None:
    assert flow.told["wrong"] == {
        "status": 400,
        "type": "invalid_request_error",
        "code": "parameter_invalid",
        "errors": [
            {"param": "chi", "code": "parameter_invalid"},
            {"param": "address[postcode]", "code": "parameter_invalid"},
        ],
        "requestId": True,
    }


def test_a_generated_client_cancels_once_and_reads_why_not_twice(flow: Flow) -> None:
    assert flow.told["cancelled"] == {"reason": "other", "by": "patient"}
    assert flow.told["refused"] == {"status": 402, "code": "appointment_already_cancelled"}
    stored = flow.partner.get(f"/v1/appointments/{flow.told['appointment']['id']}")
    assert stored["status"] == "cancelled"


def test_a_generated_client_reads_a_status_and_members_that_it_does_not_know(flow: Flow) -> None:
    known = DOCUMENT["components"]["schemas"]["Appointment"]["properties"]["status"]
    assert "paused" not in known["x-extensible-enum"]
    assert flow.told["later"] == {"status": "paused", "patient": flow.paused["patientId"]}


def test_a_generated_client_reads_an_error_that_it_does_not_know(flow: Flow) -> None:
    expected = {"status": 404, "type": "later_error", "code": "refused_later"}
    assert flow.told["laterRefused"] == expected


def test_a_generated_client_has_the_names_of_the_document_and_none_of_its_own(flow: Flow) -> None:
    operations = {
        operation["operationId"]
        for methods in DOCUMENT["paths"].values()
        for operation in methods.values()
    }
    assert flow.client.models == DOCUMENT["components"]["schemas"].keys()
    assert operations <= flow.client.methods
