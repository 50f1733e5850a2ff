"""What an organisation can change of itself."""

import pytest

from tests.support.serving import Json, Partner, problems


def path(partner: Partner) -> str:
    return f"/v1/organisations/{partner.organisation.id}"


def test_an_organisation_changes_its_name_and_how_its_patients_are_written_to(
    partner: Partner,
) -> None:
    messaging = {"supportPhone": "+442079460000", "signature": "Your ward", "supportEmail": None}
    wanted: Json = {"displayName": "Ward Seven", "messaging": messaging}
    changed = partner.post(path(partner), wanted)
    assert (changed["displayName"], changed["messaging"]) == ("Ward Seven", messaging)
    assert partner.get(path(partner)) == changed
    assert partner.post(path(partner), {"messaging": ""})["messaging"] is None


def test_a_new_name_of_an_active_organisation_waits_for_review(partner: Partner) -> None:
    live = partner.live()  # which activates it
    changed = live.post(path(live), {"displayName": "Ward Seven"})
    assert changed["displayName"] == partner.organisation.displayName
    assert changed["displayNameUnderReview"] == "Ward Seven"
    assert changed["livemode"] is True
    assert live.send("GET", "/v1/tasks").status_code == 200  # what is live stays live
    assert partner.get(path(partner)) == {**changed, "livemode": False}


def test_a_name_that_waits_for_review_is_taken_back_by_asking_for_the_one_there_is(
    partner: Partner,
) -> None:
    live = partner.live()
    live.post(path(live), {"displayName": "Ward Seven"})
    waiting = live.post(path(live), {"messaging": {"signature": "Your ward"}})
    assert waiting["displayNameUnderReview"] == "Ward Seven"
    name = partner.organisation.displayName
    assert live.post(path(live), {"displayName": name})["displayNameUnderReview"] is None


@pytest.mark.parametrize(
    ("sent", "wrong"),
    [
        ({"displayName": "x"}, "displayName"),
        ({"displayName": "x" * 41}, "displayName"),
        ({"displayName": "two\nlines"}, "displayName"),
        ({"displayName": ""}, "displayName"),
        ({"messaging": {"supportPhone": "0207"}}, "messaging[supportPhone]"),
        ({"messaging": {"supportEmail": "x"}}, "messaging[supportEmail]"),
        ({"activation": "active"}, "activation"),
        ({"cancellationNoticeHours": "0"}, "cancellationNoticeHours"),
    ],
)
def test_a_wrong_change_or_one_that_is_operations_is_refused(
    partner: Partner, sent: Json, wrong: str
) -> None:
    before = partner.get(path(partner))
    assert wrong in problems(partner.post(path(partner), sent, 400)["error"])
    assert partner.get(path(partner)) == before


def test_a_retry_of_a_change_is_the_same_change(partner: Partner) -> None:
    key = {"Idempotency-Key": "k"}
    first = partner.post(path(partner), {"displayName": "One"}, headers=key)
    partner.post(path(partner), {"displayName": "Two"})
    assert partner.post(path(partner), {"displayName": "One"}, headers=key) == first
    assert partner.get(path(partner))["displayName"] == "Two"
