"""What the door accepts, what it refuses, and what it says when it does."""

import base64
import json
from typing import Any

import pytest

from tests.support.serving import ADDRESS, OUTSIDE, PATIENT, Json, Partner, problems

SECRET_VALUE = "Zanzibar-Value"


def refuse(partner: Partner, **options: Any) -> Json:
    """Send a creation that must be refused with 400, changing nothing; return the error."""
    answer = partner.send("POST", "/v1/patients", **options)
    assert answer.status_code == 400, answer.text
    error: Json = answer.json()["error"]
    assert error["request_id"] == answer.headers["Request-Id"]
    assert SECRET_VALUE not in answer.text
    assert partner.get("/v1/patients")["data"] == []
    return error


# --- Keys ----------------------------------------------------------------------------------------


def test_a_key_is_accepted_bare_as_bearer_and_as_basic(partner: Partner) -> None:
    key = str(partner.key)
    basic = base64.b64encode(f"{key}:".encode()).decode()
    for value in (key, f"Bearer {key}", f"bearer  {key}", f"Basic {basic}", f"basic {basic}"):
        answer = partner.server.send("GET", "/v1/tasks", headers={"Authorization": value})
        assert answer.status_code == 200, value


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("", "key_missing"),
        ("Bearer", "key_missing"),
        ("nonsense", "key_malformed"),
        ("test_short.x", "key_malformed"),
        ("prod_" + "0" * 24 + "." + "0" * 30, "key_malformed"),
        ("Basic !!!", "key_malformed"),
        ("Basic \u00e9", "key_malformed"),
        ("test_" + "0" * 24 + "." + "0" * 30, "key_invalid"),
        ("Bearer live_" + "0" * 24 + "." + "0" * 30, "key_invalid"),
    ],
)
def test_a_401_tells_missing_malformed_and_invalid_apart(
    partner: Partner, value: str, code: str
) -> None:
    headers = {"Authorization": value.encode("latin-1")}
    answer = partner.server.send("GET", "/v1/tasks", headers=headers)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    error = answer.json()["error"]
    assert (error["type"], error["code"]) == ("authentication_error", code)
    assert error["fix"]
    assert value == "" or value.rpartition(" ")[2] not in answer.text


def test_a_key_of_the_other_mode_is_another_key(partner: Partner) -> None:
    swapped = str(partner.key).replace("test_", "live_")
    answer = partner.server.send("GET", "/v1/tasks", swapped)
    assert answer.json()["error"]["code"] == "key_invalid"


def test_a_forwarded_authorization_gains_nothing_where_no_gateway_stands(partner: Partner) -> None:
    headers = {"X-Forwarded-Authorization": str(partner.key)}
    assert partner.server.send("GET", "/v1/tasks", headers=headers).status_code == 401


# --- Bodies --------------------------------------------------------------------------------------


def test_json_that_is_declared_as_a_form_is_told_so(partner: Partner) -> None:
    body = json.dumps({**PATIENT, "note": SECRET_VALUE})
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    error = refuse(partner, content=body, headers=form)
    assert error["code"] == "body_is_json"
    assert "Content-Type: application/json" in error["fix"]


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/xml", "multipart/form-data; boundary=x"]
)
def test_another_content_type_is_refused(partner: Partner, kind: str) -> None:
    error = refuse(partner, content=SECRET_VALUE, headers={"Content-Type": kind})
    assert error["code"] == "content_type_unsupported"


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b'["a"]'),
        ("application/json", b'"text"'),
        ("application/json", b'{"a": NaN}'),
        ("application/json", b"\xff\xfe"),
        ("application/json", b'{"a":' * 2000),
        ("application/json", b'{"a":{"b":{"c":{"d":{"e":{"f":1}}}}}}'),
        ("application/json", b'{"a":[' + b"1," * 1001 + b"1]}"),
        ("application/x-www-form-urlencoded", b"a[b][c][d][e][f]=1"),
        ("application/x-www-form-urlencoded", b"a[b=1"),
        ("application/x-www-form-urlencoded", b"a]b=1"),
        ("application/x-www-form-urlencoded", b"=1"),
        ("application/x-www-form-urlencoded", b"note=%FF"),
        ("application/x-www-form-urlencoded", b"note=1&note[a]=2"),
        ("application/x-www-form-urlencoded", b"note[a]=1&note=2"),
        ("application/x-www-form-urlencoded", b"note[]=1&note[a]=2"),
        ("application/x-www-form-urlencoded", b"a=1&" * 1001),
    ],
)
def test_a_body_that_cannot_be_read_is_refused(partner: Partner, kind: str, body: bytes) -> None:
    error = refuse(partner, content=body, headers={"Content-Type": kind})
    assert error["code"] == "body_malformed"


def test_a_body_that_is_too_large_is_refused(partner: Partner) -> None:
    answer = partner.send("POST", "/v1/patients", data={"note": "x" * 300_000})
    assert answer.status_code == 413
    assert answer.json()["error"]["code"] == "body_too_large"


def test_a_get_and_a_delete_take_no_body(partner: Partner) -> None:
    patient = partner.create_patient()
    for method in ("GET", "DELETE"):
        answer = partner.send(method, f"/v1/patients/{patient['id']}", json={"a": 1})
        assert answer.json()["error"]["code"] == "body_unexpected"
    partner.get(f"/v1/patients/{patient['id']}")


def test_forms_and_json_mean_the_same(partner: Partner) -> None:
    form = {
        **PATIENT,
        "note": "50% & more = \u00e9t\u00e9\nsecond line",
        **{f"address[{name}]": value for name, value in ADDRESS.items()},
        "metadata[ward]": "7",
        "metadata[0]": "zero",
    }
    body = {
        **PATIENT,
        "note": form["note"],
        "address": ADDRESS,
        "metadata": {"ward": "7", "0": "zero"},
    }
    made = [
        partner.call("POST", "/v1/patients", data=form),
        partner.call("POST", "/v1/patients", json=body),
    ]
    own = {"id", "createdAt", "updatedAt"}
    first, second = (
        {name: value for name, value in each.items() if name not in own} for each in made
    )
    assert first == second
    assert first["note"] == form["note"]
    assert first["metadata"] == {"ward": "7", "0": "zero"}


# --- Parameters ----------------------------------------------------------------------------------


def test_all_wrong_parameters_are_named_at_once(partner: Partner) -> None:
    error = refuse(
        partner,
        data={
            "firstName": "A",
            "phone": SECRET_VALUE,
            "email": SECRET_VALUE,
            "dateOfBirth": "10/12/1985",
            "nhsNumber": "9990000019",
            "sex": SECRET_VALUE,
            "address[postcode]": SECRET_VALUE,
            "address[line1]": "1 Street",
            "adress[city]": SECRET_VALUE,
        },
    )
    assert problems(error) == {
        "firstName": "parameter_invalid",
        "lastName": "parameter_missing",
        "phone": "parameter_invalid",
        "email": "parameter_invalid",
        "dateOfBirth": "parameter_invalid",
        "nhsNumber": "parameter_invalid",
        "sex": "parameter_invalid",
        "address[postcode]": "parameter_invalid",
        "address[city]": "parameter_missing",
        "adress": "parameter_unknown",
    }
    assert error["param"] == error["errors"][0]["param"]
    assert error["code"] == error["errors"][0]["code"]
    assert all(each["message"] and each["fix"] for each in error["errors"])
    (unknown,) = (each for each in error["errors"] if each["param"] == "adress")
    assert "address" in unknown["fix"]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("firstName", "x" * 101),
        ("firstName", "Ada\nLoveworth"),
        ("firstName", "   "),
        ("phone", "07700900123"),
        ("phone", "+44 7700 900123"),
        ("phone", "+4477009001234567"),
        ("phone", "+999123456789"),
        ("email", "ada@"),
        ("email", "ada@localhost"),
        ("dateOfBirth", "2999-01-01"),
        ("dateOfBirth", "1850-01-01"),
        ("dateOfBirth", "1985-02-30"),
        ("dateOfBirth", "498009600"),
        ("nhsNumber", "1234567890"),
        ("nhsNumber", "999000001"),
        ("chi", "9434765919"),
        ("hsc", "9434765919"),
        ("note", "x" * 1001),
        ("note", "bell\x07"),
        ("lastName", "turned\u202earound"),
        ("externalRef", "x" * 256),
        ("sex", "F"),
    ],
)
def test_a_wrong_value_is_refused_and_not_repeated(partner: Partner, name: str, value: str) -> None:
    error = refuse(partner, json={**PATIENT, name: value})
    assert problems(error) == {name: "parameter_invalid"}
    assert len(value.strip()) < 4 or value not in json.dumps(error, ensure_ascii=False)


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("nhsNumber", "999 000 0018", "9990000018"),
        ("nhsNumber", "943-476-5919", "9434765919"),
        ("email", "Ada@EXAMPLE.com", "Ada@example.com"),
        ("firstName", "  Zo\u00eb  ", "Zo\u00eb"),
        ("note", "one\ntwo\tthree", "one\ntwo\tthree"),
        ("note", "as a\r\nbrowser sends it", "as a\nbrowser sends it"),
        (
            "lastName",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
            "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",
        ),
        ("lastName", "O\u2019Brien-\u0141uk", "O\u2019Brien-\u0141uk"),
        ("phone", "+447700900123", "+447700900123"),
        ("sex", "female", "female"),
    ],
)
def test_a_right_value_is_kept_in_its_normal_form(
    partner: Partner, name: str, value: str, kept: str
) -> None:
    assert partner.create_patient(**{name: value})[name] == kept


def test_a_postcode_is_kept_in_its_normal_form(partner: Partner) -> None:
    made = partner.create_patient(address={**ADDRESS, "postcode": "sw1a1aa"})
    assert made["address"]["postcode"] == "SW1A 1AA"


@pytest.mark.parametrize("value", [0, 86400.0, 498009600, True, [1985, 12, 10], "1985-12-10T00:00"])
def test_a_date_is_a_text_in_json_too(partner: Partner, value: Any) -> None:
    error = refuse(partner, json={**PATIENT, "dateOfBirth": value})
    assert problems(error) == {"dateOfBirth": "parameter_invalid"}


@pytest.mark.parametrize(("number", "field"), [("3200000007", "hsc"), ("0101011237", "chi")])
def test_another_countrys_number_is_sent_to_its_own_field(
    partner: Partner, number: str, field: str
) -> None:
    error = refuse(partner, json={**PATIENT, "nhsNumber": number})
    assert f"send it as {field}" in error["message"]
    assert partner.create_patient(**{field: number})[field] == number


@pytest.mark.parametrize(
    ("field", "value"),
    [("address", [ADDRESS]), ("address", "1 Street"), ("firstName", ["Ada"]), ("note", {"a": "b"})],
)
def test_an_array_or_an_object_in_the_wrong_place_is_refused(
    partner: Partner, field: str, value: Any
) -> None:
    error = refuse(partner, json={**PATIENT, field: value})
    assert problems(error) == {field: "parameter_invalid"}


def test_a_value_that_is_given_twice_is_refused(partner: Partner) -> None:
    error = refuse(partner, data={**PATIENT, "note": ["one", "two"]})
    assert problems(error) == {"note": "parameter_invalid"}


def test_the_nearest_name_is_near_in_any_case_and_may_be_that_of_every_route(
    partner: Partner,
) -> None:
    sent = {"NOTE": "x", "nhs_number": "x", "address[POSTCODE]": "x", "expnd[]": "x"}
    error = refuse(partner, data={**PATIENT, **sent})
    fixes = {each["param"]: each["fix"] for each in error["errors"]}
    for param, meant in (
        ("NOTE", "note"),
        ("nhs_number", "nhsNumber"),
        ("address[POSTCODE]", "address[postcode]"),
        ("expnd", "expand"),
    ):
        assert fixes[param] == f"Did you mean {meant}?"


def test_a_name_that_does_not_look_like_one_is_not_repeated(partner: Partner) -> None:
    error = refuse(partner, data={**PATIENT, f"<{SECRET_VALUE}>": "x"})
    (unknown,) = error["errors"]
    assert unknown["code"] == "parameter_unknown"
    assert "param" not in unknown


def test_an_optional_field_is_unset_and_a_required_one_cannot_be(partner: Partner) -> None:
    patient = partner.create_patient(title="Dr", address=ADDRESS)
    path = f"/v1/patients/{patient['id']}"
    changed = partner.call("POST", path, data={"title": "", "address": ""})
    assert (changed["title"], changed["address"]) == (None, None)
    assert partner.post(path, {"externalRef": None})["externalRef"] is None
    error = partner.call("POST", path, 400, data={"lastName": ""})["error"]
    assert problems(error) == {"lastName": "parameter_missing"}


def test_an_address_is_replaced_as_a_whole(partner: Partner) -> None:
    patient = partner.create_patient(address={**ADDRESS, "accessNotes": "Ring twice"})
    path = f"/v1/patients/{patient['id']}"
    error = partner.post(path, {"address": {"postcode": OUTSIDE}}, 400)["error"]
    assert problems(error) == {
        "address[line1]": "parameter_missing",
        "address[city]": "parameter_missing",
    }
    moved = partner.post(path, {"address": {**ADDRESS, "line1": "1 New Street"}})
    assert moved["address"]["line1"] == "1 New Street"
    assert moved["address"]["accessNotes"] is None


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ({"k" * 41: "v"}, "parameter_invalid"),
        ({"k": "v" * 501}, "parameter_invalid"),
        ({f"k{n}": "v" for n in range(51)}, "parameter_invalid"),
        ({"k[": "v"}, "parameter_invalid"),
        ({"k\x00": "v"}, "parameter_invalid"),
        ({"k": "v\x00"}, "parameter_invalid"),
        ({"k": {"nested": "v"}}, "metadata_nested"),
        ({"k": ["v"]}, "metadata_nested"),
        ("text", "parameter_invalid"),
    ],
)
def test_metadata_that_is_too_large_or_nested_is_refused(
    partner: Partner, metadata: Any, code: str
) -> None:
    error = refuse(partner, json={**PATIENT, "metadata": metadata})
    assert {each["code"] for each in error["errors"]} == {code}
    assert all(each["param"].startswith("metadata") for each in error["errors"])


def test_a_key_of_metadata_that_is_wrong_is_told_what_keys_may_be(partner: Partner) -> None:
    for key in ("k" * 41, "\u00e9" * 41, "a[b]", ""):
        error = refuse(partner, json={**PATIENT, "metadata": {key: "v"}})
        assert "takes keys of 1 to 40 characters, without brackets" in error["message"]
        assert key not in error["message"] or not key
    long = refuse(partner, json={**PATIENT, "metadata": {"\u00e9": "v" * 501}})
    assert long["message"] == "metadata has a value that must have at most 500 characters."
    assert problems(long) == {"metadata": "parameter_invalid"}


def test_metadata_may_have_any_printable_key(partner: Partner) -> None:
    odd = {
        "__proto__": "a",
        "__x__": "b",
        "\\__y__": "c",
        "a.b": "d",
        "`": "e",
        "\u00e9 \u0416": "f",
    }
    patient = partner.create_patient(metadata=odd)
    assert partner.get(f"/v1/patients/{patient['id']}")["metadata"] == odd


def test_metadata_can_be_replaced_in_one_update(partner: Partner) -> None:
    patient = partner.create_patient(metadata={f"old{n}": "v" for n in range(50)})
    changes = {**{f"old{n}": "" for n in range(50)}, **{f"new{n}": "v" for n in range(10)}}
    changed = partner.post(f"/v1/patients/{patient['id']}", {"metadata": changes})
    assert changed["metadata"] == {f"new{n}": "v" for n in range(10)}


def test_metadata_can_be_removed_as_a_whole(partner: Partner) -> None:
    patient = partner.create_patient(metadata={"ward": "7", "bed": "2"})
    path = f"/v1/patients/{patient['id']}"
    assert partner.call("POST", path, data={"metadata[ward]": ""})["metadata"] == {"bed": "2"}
    assert partner.call("POST", path, data={"metadata": ""})["metadata"] == {}


def test_metadata_that_is_white_space_alone_is_empty_and_so_removed(partner: Partner) -> None:
    patient = partner.create_patient(metadata={"ward": "7", "bed": " "})
    assert patient["metadata"] == {"ward": "7"}
    changed = partner.post(f"/v1/patients/{patient['id']}", {"metadata": {"ward": " "}})
    assert changed["metadata"] == {}


def test_old_and_new_metadata_together_keep_the_limit(partner: Partner) -> None:
    patient = partner.create_patient(metadata={f"old{n}": "v" for n in range(40)})
    more = {f"new{n}": "v" for n in range(11)}
    error = partner.post(f"/v1/patients/{patient['id']}", {"metadata": more}, 400)["error"]
    assert problems(error) == {"metadata": "parameter_invalid"}
    assert len(partner.get(f"/v1/patients/{patient['id']}")["metadata"]) == 40


# --- Appointments --------------------------------------------------------------------------------


def test_kinds_of_scheduling_that_are_not_enabled_are_refused_by_name(partner: Partner) -> None:
    task = partner.task()
    request = partner.request(partner.create_patient(), task, partner.windows(task)[0])
    refused = {
        "documents_not_enabled": {**request, "documentIds": ["doc_1"]},
        "planned_scheduling_not_enabled": {**request, "planFrom": "2027-01-01"},
        "patient_led_scheduling_not_enabled": {**request, "windowId": None},
    }
    for code, body in refused.items():
        assert partner.post("/v1/appointments", body, 403)["error"]["code"] == code
    assert partner.get("/v1/appointments")["data"] == []


@pytest.mark.parametrize("param", ["patientId", "taskId", "windowId"])
@pytest.mark.parametrize("kind", ["missing", "malformed", "another's"])
def test_an_object_that_is_not_the_callers_cannot_be_booked(
    partner: Partner, other: Partner, param: str, kind: str
) -> None:
    task = partner.task()
    request = partner.request(partner.create_patient(), task, partner.windows(task)[0])
    theirs = other.task()
    others = other.request(other.create_patient(), theirs, other.windows(theirs)[0])
    prefix = request[param].partition("_")[0]
    wrong = {"missing": f"{prefix}_{'0' * 22}", "malformed": "../x", "another's": others[param]}
    error = partner.post("/v1/appointments", {**request, param: wrong[kind]}, 404)["error"]
    assert (error["code"], error["param"]) == ("resource_missing", param)
    assert partner.get("/v1/appointments")["data"] == []


def test_an_array_index_that_is_absurd_is_refused(partner: Partner) -> None:
    answer = partner.send("POST", "/v1/appointments", data={f"documentIds[{'9' * 4400}]": "x"})
    assert answer.status_code == 400


def test_a_cancellation_is_found_by_its_appointment_alone(partner: Partner) -> None:
    booked = partner.book()
    cancelled = partner.cancel(booked)
    suffix = booked["id"].removeprefix("apt_")
    for wrong in (suffix, f"p_{suffix}", cancelled["id"], f"apt_apt_{suffix}"):
        partner.get(f"/v1/appointments/{wrong}/cancellation", 404)


def test_a_cancellation_needs_who_and_a_known_reason(partner: Partner) -> None:
    booked = partner.book()
    body = {"cancellingEntity": "nobody", "reasonCode": "because"}
    error = partner.post(f"/v1/appointments/{booked['id']}/cancel", body, 400)["error"]
    assert set(problems(error)) == {"cancellingEntity", "reasonCode"}
    assert partner.get(f"/v1/appointments/{booked['id']}")["status"] == "scheduled"


# --- Live mode -----------------------------------------------------------------------------------


def test_live_mode_refuses_what_is_only_for_tests(partner: Partner) -> None:
    live = partner.live()
    body = {**PATIENT, "phone": "+447700900123", "nhsNumber": "9990000018"}
    error = live.post("/v1/patients", body, 400)["error"]
    assert set(problems(error)) == {"phone", "nhsNumber"}
    assert live.create_patient(nhsNumber="9434765919")["livemode"] is True


def test_test_mode_warns_of_a_number_that_may_be_a_real_patients(partner: Partner) -> None:
    answer = partner.send("POST", "/v1/patients", json={**PATIENT, "nhsNumber": "9434765919"})
    assert answer.status_code == 200
    assert "999" in answer.headers["Ally-Warning"]
    safe = partner.send("POST", "/v1/patients", json={**PATIENT, "nhsNumber": "9990000018"})
    assert "Ally-Warning" not in safe.headers
