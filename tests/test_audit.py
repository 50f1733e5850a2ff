"""What is written down of each request: who, what, to which objects, and no content."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from shared.backends import ConflictError, Key, UnavailableError, Write
from tests.support.inprocess import InProcess
from tests.support.serving import PATIENT, Json, Partner

SECRET_VALUE = "Zanzibar-Value"


def lines_of(partner: Partner) -> dict[str, Json]:
    return {line["requestId"]: line for line in partner.lines()}


def test_a_replay_is_audited_like_the_request_that_it_repeats(partner: Partner) -> None:
    headers = {"Idempotency-Key": "k"}
    sent = [partner.send("POST", "/v1/patients", json=PATIENT, headers=headers) for _ in range(2)]
    lines = lines_of(partner)
    first, again = (lines[answer.headers["Request-Id"]] for answer in sent)
    assert first["objects"] == again["objects"] == [sent[0].json()["id"]]

    task = partner.task()
    full = next(each for each in partner.windows(task) if each["remaining"] == 1)
    partner.post("/v1/appointments", partner.request(partner.create_patient(), task, full))
    late = partner.request(partner.create_patient(), task, full)
    sent = [
        partner.send("POST", "/v1/appointments", json=late, headers={"Idempotency-Key": "l"})
        for _ in range(2)
    ]
    lines = lines_of(partner)
    codes = [lines[answer.headers["Request-Id"]]["code"] for answer in sent]
    assert codes == ["window_unavailable", "window_unavailable"]


def test_what_may_have_been_changed_is_audited_and_what_was_not_is_not(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A patient who was made by a commit whose answer was lost, and one whom nobody made."""
    api = InProcess(partner.backing, partner.key, lock_timeout=0.1)
    api.call("GET", "/v1/tasks")
    storage = api.watched.storage

    async def lose(writes: Sequence[Write], marker: Key) -> None:
        await storage.commit(writes, marker)
        raise UnavailableError("the answer was lost")

    monkeypatch.setattr(api.watched, "commit", lose)
    unknown = api.send("POST", "/v1/patients", json=PATIENT)
    monkeypatch.undo()
    api.fail("commit", ConflictError("somebody is always faster"))
    refused = api.send("POST", "/v1/patients", json=PATIENT)
    assert (unknown.status_code, refused.status_code) == (503, 409)
    lines = lines_of(partner)
    (made,) = [each["id"] for each in partner.everything("/v1/patients")]
    assert lines[unknown.headers["Request-Id"]]["objects"] == [made]
    assert lines[refused.headers["Request-Id"]]["objects"] == []


def test_a_list_is_audited_for_what_it_shows(partner: Partner) -> None:
    for _ in range(3):
        partner.create_patient()
    answer = partner.send("GET", "/v1/patients", params={"limit": 2})
    shown = [each["id"] for each in answer.json()["data"]]
    assert lines_of(partner)[answer.headers["Request-Id"]]["objects"] == shown


def test_each_request_leaves_one_line_with_its_objects_and_no_content(partner: Partner) -> None:
    log = Path(partner.backing.environment["ALLY_LOG"])
    values = {"firstName": "Quetzalcoatl", "note": SECRET_VALUE, "email": "quetzal@example.com"}
    created = partner.send("POST", "/v1/patients", json={**PATIENT, **values})
    patient = created.json()["id"]
    listed = partner.send("GET", "/v1/patients", params={"externalRef": SECRET_VALUE})
    read = partner.send("GET", f"/v1/patients/{patient}")
    refused = partner.send("POST", "/v1/patients", json={**PATIENT, "sex": SECRET_VALUE})
    text = log.read_text()
    for value in (*values.values(), partner.key, partner.key[-30:]):
        assert value not in text
    lines = lines_of(partner)
    expected = [
        (created, "POST", "/v1/patients", 200, [patient], ""),
        (listed, "GET", "/v1/patients", 200, [], ""),
        (read, "GET", "/v1/patients/{patient}", 200, [patient], ""),
        (refused, "POST", "/v1/patients", 400, [], "parameter_invalid"),
    ]
    for answer, method, route, status, objects, code in expected:
        line = lines[answer.headers["Request-Id"]]
        assert (line["method"], line["route"], line["status"]) == (method, route, status)
        assert (line["objects"], line["code"]) == (objects, code)
        assert (line["organisation"], line["mode"]) == (partner.organisation.id, "test")
        assert line["principal"] == partner.api_key.id
