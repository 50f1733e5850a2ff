"""Expansions: an object in full in the place of its id alone, for who may see it."""

from typing import Any

import pytest

from shared.appointments import Appointment
from shared.backends import Delete, Key
from tests.support.inprocess import InProcess
from tests.support.serving import REASON, Json, Partner, problems

NOBODY = "p_" + "0" * 22


class Scene:
    """An appointment, its patient and task, and its paths."""

    def __init__(self, partner: Partner) -> None:
        self.partner = partner
        self.task = partner.task()
        self.windows = partner.windows(self.task)
        self.patient = partner.create_patient()
        self.booked = self.book(self.patient, 0)
        self.path = f"/v1/appointments/{self.booked['id']}"

    def request(self, patient: Json, place: int) -> Json:
        return self.partner.request(patient, self.task, self.windows[place])

    def book(self, patient: Json, place: int) -> Json:
        return self.partner.post("/v1/appointments", self.request(patient, place))

    def now(self, patient: Json) -> Json:
        """Return a patient as they are read by themselves."""
        return self.partner.get(f"/v1/patients/{patient['id']}")


@pytest.fixture
def scene(partner: Partner) -> Scene:
    return Scene(partner)


def without(shown: Json, *names: str) -> Json:
    return {name: value for name, value in shown.items() if name not in names}


def test_an_object_is_shown_in_full_only_where_that_is_asked_for(scene: Scene) -> None:
    plain = scene.partner.get(scene.path)
    assert plain["patientId"] == scene.patient["id"]
    assert {"patient", "task"}.isdisjoint(plain)
    shown = scene.partner.get(scene.path, **{"expand[]": "patient"})
    assert shown == {**plain, "patient": scene.now(scene.patient)}
    assert "bookings" not in shown["patient"]
    for params in (
        {"expand[]": ["task", "patient"]},
        {"expand[0]": "patient", "expand[1]": "task"},
    ):
        both = scene.partner.get(scene.path, **params)
        assert both == {**shown, "task": scene.task}
    assert scene.partner.get(scene.path, expand="patient") == shown


def test_every_answer_that_is_an_appointment_can_be_expanded(scene: Scene) -> None:
    another = scene.partner.create_patient()
    expand = {"expand": ["patient"]}
    made = scene.partner.post("/v1/appointments", {**scene.request(another, 1), **expand})
    changed = scene.partner.post(scene.path, {"note": "x", **expand})
    patched = scene.partner.call("PATCH", scene.path, json={"note": "y", **expand})
    moved = scene.partner.post(
        f"{scene.path}/reschedule", {"windowId": scene.windows[2]["id"], **expand}
    )
    by_form = scene.partner.call("POST", scene.path, data={"note": "z", "expand[]": "patient"})
    by_url = scene.partner.post(f"{scene.path}?expand[]=patient", {"note": "z"})
    assert made["patient"] == scene.now(another)
    patient = scene.now(scene.patient)
    answers = [changed, patched, moved, by_form, by_url]
    assert [each["patient"] for each in answers] == [patient] * 5
    assert [each["note"] for each in answers] == ["x", "y", "y", "z", "z"]
    assert moved["windowId"] == scene.windows[2]["id"]


def test_the_members_of_a_list_are_expanded_each_with_its_own(scene: Scene) -> None:
    other = scene.partner.create_patient(firstName="Mary")
    second, third = scene.book(other, 1), scene.book(scene.patient, 2)
    listed = scene.partner.get("/v1/appointments", **{"expand[]": "data.patient", "limit": 2})
    assert [each["id"] for each in listed["data"]] == [third["id"], second["id"]]
    shown = [each["patient"] for each in listed["data"]]
    assert shown == [scene.now(scene.patient), scene.now(other)]
    assert listed["has_more"] is True
    answer = scene.partner.send("GET", "/v1/appointments?limit=1&expand[]=data.patient")
    following = answer.links["next"]["url"].removeprefix("https://api.ally.example")
    assert scene.partner.call("GET", following)["data"][0]["patient"] == scene.now(other)


def test_a_cancellation_shows_the_appointment_as_it_left_it_and_its_patient(scene: Scene) -> None:
    paths = ["appointment.patient", "appointment.task"]
    made = scene.partner.post(f"{scene.path}/cancel", {**REASON, "expand": paths})
    appointment = made["appointment"]
    assert (appointment["status"], appointment["canCancel"]) == ("cancelled", False)
    assert (appointment["patient"], appointment["task"]) == (scene.now(scene.patient), scene.task)
    assert without(appointment, "patient", "task") == scene.partner.get(scene.path)
    read = scene.partner.get(f"{scene.path}/cancellation", **{"expand[]": paths})
    assert read == made
    alone = scene.partner.get(f"{scene.path}/cancellation", **{"expand[]": "appointment"})
    assert "patient" not in alone["appointment"]


@pytest.mark.parametrize(
    ("path", "expand", "told"),
    [
        ("{}", "Zanzibar", "knows only patient, task here"),
        ("{}", "patientId", "knows only patient, task here"),
        ("{}", "__class__", "knows only patient, task here"),
        ("{}", "patient.", "is not possible here"),
        ("{}", ".patient", "knows only patient, task here"),
        ("{}", "data.patient", "knows only patient, task here"),
        ("{}", "patient.Zanzibar", "is not possible here"),
        ("{}", "patient.a.b.c", "is not possible here"),
        ("{}", "patient.a.b.c.d", "can go at most 4 levels deep"),
        ("{}/cancellation", "patient", "knows only appointment here"),
        ("{}/cancellation", "appointment.Zanzibar", "knows only patient, task here"),
        ("/v1/appointments", "patient", "begins with data. in a list, such as data.patient"),
        ("/v1/appointments", "data", None),
        ("/v1/appointments", "data.data", "knows only patient, task here"),
        ("/v1/appointments", "data.a.b.c.d", "can go at most 4 levels deep"),
        ("/v1/patients", "data.appointments", "is not possible here"),
        ("/v1/coverage?postcode=SW1A1AA", "task", "is not possible here"),
    ],
)
def test_what_cannot_be_expanded_is_refused_by_the_name_of_the_parameter(
    scene: Scene, path: str, expand: str, told: str | None
) -> None:
    url = path.format(scene.path)
    url = f"{url}{'&' if '?' in url else '?'}expand[]={expand}"
    if told is None:
        assert scene.partner.call("GET", url) == scene.partner.get(path)
        return
    error = scene.partner.call("GET", url, 400)["error"]
    assert problems(error) == {"expand": "parameter_invalid"}
    assert told in error["message"]
    assert "Zanzibar" not in str(error)


def test_all_that_cannot_be_expanded_is_told_with_all_else_that_is_wrong(scene: Scene) -> None:
    query = "limit=0&expand[]=patient&expand[]=data.nothing&expand[]=data.patient"
    error = scene.partner.call("GET", f"/v1/appointments?{query}", 400)["error"]
    assert [each["param"] for each in error["errors"]] == ["limit", "expand", "expand"]
    assert "data." in error["errors"][1]["message"]
    assert "patient, task" in error["errors"][2]["message"]


def test_expand_is_a_bounded_array_of_texts_given_in_one_place(scene: Scene) -> None:
    wrong: list[Any] = [{"a": "patient"}, ["patient"] * 21, [["patient"]], [1], "x" * 256, [None]]
    for expand in wrong:
        error = scene.partner.post(scene.path, {"note": "x", "expand": expand}, 400)["error"]
        assert all(name.startswith("expand") for name in problems(error)), expand
    body = {"note": "x", "expand": ["patient"]}
    error = scene.partner.post(f"{scene.path}?expand[]=task", body, 400)["error"]
    assert problems(error) == {"expand": "parameter_unknown"}
    assert scene.partner.get(scene.path)["note"] is None
    error = scene.partner.post(scene.path, {"note": "x", "expand": "Zanzibar"}, 400)["error"]
    assert problems(error) == {"expand": "parameter_invalid"}
    assert scene.partner.get(scene.path)["note"] is None


@pytest.mark.parametrize(
    ("method", "path", "expand"),
    [
        ("GET", "{}", "patient"),
        ("GET", "/v1/appointments", "data.patient"),
        ("GET", "{}/cancellation", "appointment.patient"),
        ("POST", "{}", "patient"),
        ("POST", "{}/cancel", "appointment.patient"),
    ],
)
def test_without_its_permission_an_object_is_not_shown_and_nothing_is_done(
    scene: Scene, method: str, path: str, expand: str
) -> None:
    limited = scene.partner.with_key({"appointments": "write", "tasks": "read"})
    before = scene.partner.documents(), scene.partner.get(scene.path)
    body = {"json": {**(REASON if path.endswith("cancel") else {"note": "x"}), "expand": expand}}
    asked: Json = {"params": {"expand[]": expand}} if method == "GET" else body
    headers = {"Idempotency-Key": "k"}
    refused = limited.call(method, path.format(scene.path), 403, headers=headers, **asked)
    assert refused["error"]["code"] == "permission_missing"
    assert "patients:read" in refused["error"]["message"] + refused["error"]["fix"]
    assert (scene.partner.documents(), scene.partner.get(scene.path)) == before
    assert limited.get(scene.path, **{"expand[]": "task"})["task"] == scene.task


def test_the_permission_for_what_is_expanded_is_checked_before_a_replay(scene: Scene) -> None:
    body = {"note": "x", "expand": ["patient"]}
    headers = {"Idempotency-Key": "k"}
    scene.partner.post(scene.path, body, headers=headers)
    limited = scene.partner.with_key({"appointments": "write"})
    assert limited.post(scene.path, body, 403, headers=headers)["error"]["code"] == (
        "permission_missing"
    )


def test_a_patient_who_was_deleted_is_null_where_they_would_be_shown(scene: Scene) -> None:
    scene.partner.post(f"{scene.path}/cancel", REASON)
    scene.book(scene.partner.create_patient(), 1)
    scene.partner.call("DELETE", f"/v1/patients/{scene.patient['id']}")
    shown = scene.partner.get(scene.path, **{"expand[]": ["patient", "task"]})
    assert (shown["patientId"], shown["patient"]) == (scene.patient["id"], None)
    assert shown["task"] == scene.task
    listed = scene.partner.get("/v1/appointments", **{"expand[]": "data.patient"})["data"]
    assert [each["patient"] is None for each in listed] == [False, True]
    cancelled = scene.partner.get(
        f"{scene.path}/cancellation", **{"expand[]": "appointment.patient"}
    )
    assert cancelled["appointment"]["patient"] is None


def test_an_id_of_another_organisation_or_mode_shows_nothing(scene: Scene, other: Partner) -> None:
    live = scene.partner.live()
    strangers = [other.create_patient()["id"], live.create_patient()["id"], NOBODY, "p_x"]
    stored = Appointment.model_validate(scene.booked)
    for place, stranger in enumerate(strangers):
        made = stored.model_copy(update={"id": f"apt_{place}{'0' * 21}", "patientId": stranger})
        scene.partner.backing.keep("test", scene.partner.organisation.id, [made])
        shown = scene.partner.get(f"/v1/appointments/{made.id}", **{"expand[]": "patient"})
        assert (shown["patientId"], shown["patient"]) == (stranger, None)
    listed = scene.partner.get("/v1/appointments", **{"expand[]": "data.patient"})["data"]
    assert [each["patient"] is not None for each in listed] == [True, *[False] * len(strangers)]


def test_each_kind_costs_one_read_however_many_members_there_are(scene: Scene) -> None:
    patients = [scene.partner.create_patient() for _ in range(3)]
    booked = [scene.book(patient, place) for place, patient in enumerate(patients, start=1)]
    scene.book(scene.patient, 4)
    api = InProcess(scene.partner.backing, scene.partner.key)
    api.call("GET", "/v1/organisations")
    watched = api.watched

    def cost(method: str, path: str, *expand: str, **body: Any) -> list[int]:
        watched.forget()
        if method == "GET":
            api.call(method, path, params={"expand[]": expand})
        else:
            api.call(method, path, json={**body, "expand": list(expand)})
        assert len(watched.queries) == (path == "/v1/appointments")
        return list(watched.gets)

    assert cost("GET", "/v1/appointments") == []
    assert cost("GET", "/v1/appointments", "data.patient") == [4]
    assert cost("GET", "/v1/appointments", "data.patient", "data.task") == [4, 1]
    assert cost("GET", "/v1/appointments", "data.patient", "data.patient") == [4]
    assert cost("GET", f"/v1/appointments/{booked[0]['id']}", "patient", "task") == [1, 1, 1]
    path = f"/v1/appointments/{booked[0]['id']}/cancel"
    # What the cancellation reads and changes, the appointment and its patient, is not read again.
    assert cost("POST", path, "appointment.patient", **REASON) == [1, 2]
    path = f"/v1/appointments/{booked[0]['id']}/cancellation"
    assert cost("GET", path, "appointment", "appointment.patient") == [1, 1, 1]


def test_a_retry_gets_the_expanded_answer_again_and_another_expansion_is_another_request(
    scene: Scene,
) -> None:
    headers = {"Idempotency-Key": "k"}
    body = {**scene.request(scene.partner.create_patient(), 1), "expand": ["patient"]}
    first = scene.partner.send("POST", "/v1/appointments", json=body, headers=headers)
    assert first.json()["patient"]["firstName"] == "Ada"
    changed = {"firstName": "Mary"}
    scene.partner.post(f"/v1/patients/{first.json()['patientId']}", changed)
    again = scene.partner.send("POST", "/v1/appointments", json=body, headers=headers)
    assert (again.status_code, again.content) == (200, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    for expand in (["task"], [], ["patient", "task"]):
        error = scene.partner.post(
            "/v1/appointments", {**body, "expand": expand}, 400, headers=headers
        )["error"]
        assert error["code"] == "idempotency_key_reused"


def test_what_retries_remember_of_a_patient_or_their_appointments_goes_with_the_patient(
    scene: Scene,
) -> None:
    scene.partner.post(f"{scene.path}/cancel", REASON)

    def replays() -> int:
        return sum(kind == "replays" for kind, _ in scene.partner.documents())

    plain, expanded = {"externalRef": "x"}, {"externalRef": "y", "expand": ["patient"]}
    scene.partner.post(scene.path, plain, headers={"Idempotency-Key": "plain"})
    scene.partner.post(scene.path, expanded, headers={"Idempotency-Key": "expanded"})
    assert replays() == 2
    scene.partner.call("DELETE", f"/v1/patients/{scene.patient['id']}")
    assert replays() == 0
    again = scene.partner.send(
        "POST", scene.path, json=expanded, headers={"Idempotency-Key": "expanded"}
    )
    assert again.json()["patient"] is None
    assert "Idempotent-Replayed" not in again.headers


def test_a_patient_who_is_deleted_meanwhile_is_in_no_memory_of_an_expanded_answer(
    scene: Scene,
) -> None:
    scene.partner.post(f"{scene.path}/cancel", REASON)
    place = Key("test", scene.partner.organisation.id, "patients", scene.patient["id"])
    (found,) = scene.partner.backing.run(lambda service: service.storage.get([place]))
    assert found is not None
    api = InProcess(scene.partner.backing, scene.partner.key)
    api.call("GET", "/v1/organisations")  # the key is known from here on
    api.watched.rival = [Delete(place, found.version)]
    body = {"externalRef": "x", "expand": ["patient"]}
    options: Json = {"json": body, "headers": {"Idempotency-Key": "k"}}
    for _ in range(2):
        shown = api.call("POST", scene.path, **options)
        assert (shown["externalRef"], shown["patient"]) == ("x", None)
    assert not api.watched.rival


def test_the_line_of_a_request_names_what_was_expanded(scene: Scene) -> None:
    other = scene.partner.create_patient()
    second = scene.book(other, 1)
    mine, apt = scene.patient["id"], scene.booked["id"]
    wanted: list[tuple[str, str, Json, list[str]]] = [
        ("GET", scene.path, {"params": {"expand[]": "patient"}}, [apt, mine]),
        ("GET", scene.path, {}, [apt, mine]),
        (
            *("GET", "/v1/appointments", {"params": {"expand[]": ["data.patient", "data.task"]}}),
            [second["id"], other["id"], apt, mine, scene.task["id"]],
        ),
        ("POST", scene.path, {"json": {"note": "x", "expand": ["patient"]}}, [apt, mine]),
    ]
    sent = [scene.partner.send(method, path, **options) for method, path, options, _ in wanted]
    lines = {line["requestId"]: line.get("objects") for line in scene.partner.lines()}
    assert [lines[each.headers["Request-Id"]] for each in sent] == [each[3] for each in wanted]
