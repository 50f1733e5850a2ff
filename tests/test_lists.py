"""Lists: pages by cursor in both directions, exact at their edges, and filters."""

from typing import Any

import pytest

from tests.support.serving import Json, Partner, problems


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": -1}, "limit"),
        ({"limit": "ten"}, "limit"),
        ({"limit": "1.0"}, "limit"),
        ({"limit": "1e1"}, "limit"),
        ({"limit": ["1", "2"]}, "limit"),
        ({"starting_after": "x"}, "starting_after"),
        ({"starting_after": "tsk_" + "0" * 22}, "starting_after"),
        ({"ending_before": "p_short"}, "ending_before"),
        ({"starting_after": "p_" + "0" * 22, "ending_before": "p_" + "0" * 22}, "ending_before"),
        ({"starting_before": "p_" + "0" * 22}, "starting_before"),
    ],
)
def test_a_wrong_page_is_refused(partner: Partner, params: Json, wrong: str) -> None:
    error = partner.get("/v1/patients", 400, **params)["error"]
    assert wrong in problems(error)


def test_has_more_is_right_at_the_edges_in_both_directions(partner: Partner) -> None:
    made = [partner.create_patient()["id"] for _ in range(5)][::-1]

    def page(**params: Any) -> tuple[list[int], bool]:
        listed = partner.get("/v1/patients", **params)
        assert (listed["object"], listed["url"]) == ("list", "/v1/patients")
        return [made.index(each["id"]) for each in listed["data"]], listed["has_more"]

    assert page() == ([0, 1, 2, 3, 4], False)
    assert page(limit=5) == ([0, 1, 2, 3, 4], False)
    assert page(limit=4) == ([0, 1, 2, 3], True)
    assert page(limit=2, starting_after=made[2]) == ([3, 4], False)
    assert page(limit=1, starting_after=made[2]) == ([3], True)
    assert page(starting_after=made[4]) == ([], False)
    assert page(limit=2, ending_before=made[2]) == ([0, 1], False)
    assert page(limit=1, ending_before=made[2]) == ([1], True)
    assert page(ending_before=made[0]) == ([], False)


def test_a_deleted_objects_id_still_says_where_to_go_on(partner: Partner) -> None:
    made = [partner.create_patient()["id"] for _ in range(4)][::-1]
    partner.call("DELETE", f"/v1/patients/{made[1]}")
    listed = partner.get("/v1/patients", starting_after=made[1])["data"]
    assert [each["id"] for each in listed] == made[2:]


def test_lists_are_filtered_by_their_fields(partner: Partner) -> None:
    first, second = (partner.create_patient(externalRef=name) for name in ("one", "two"))
    listed = partner.get("/v1/patients", externalRef="two")["data"]
    assert [each["id"] for each in listed] == [second["id"]]

    task = partner.task()
    windows = partner.windows(task)
    booked = [
        partner.post("/v1/appointments", partner.request(patient, task, window))
        for patient, window in ((first, windows[0]), (first, windows[1]), (second, windows[2]))
    ]
    partner.cancel(booked[0])

    def found(**filters: str) -> list[str]:
        return [each["id"] for each in partner.get("/v1/appointments", **filters)["data"]]

    assert found(patientId=first["id"]) == [booked[1]["id"], booked[0]["id"]]
    assert found(status="scheduled") == [booked[2]["id"], booked[1]["id"]]
    assert found(status="cancelled", patientId=first["id"]) == [booked[0]["id"]]
    assert found(patientId=second["id"], status="cancelled") == []
