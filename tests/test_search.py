"""Seeking patients: by the beginnings of names, and by what does not belong in a URL."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.serving import Json, Partner, problems

SEARCH = "/v1/patients/search"


def ids_of(listed: Json) -> list[str]:
    return [each["id"] for each in listed["data"]]


def found(partner: Partner, **params: Any) -> list[str]:
    return ids_of(partner.get("/v1/patients", **params))


# --- Names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "last", "finds", "misses"),
    [
        (
            "Zoë",
            "Ångström",
            ["zoe", "ZOË", "z", "ang", "Zoe Angstrom", "Ångström Zoë"],
            ["oe", "zoea"],
        ),
        (
            "Anne-Marie",
            "O'Brien",
            ["o\u2019b", "OBRIEN", "marie", "anne marie", "anne-m"],
            ["brien"],
        ),
        (
            "Mary  Jane",
            "van der Berg",
            ["berg", "van d", "jane van", "der berg mary"],
            ["mary van"],
        ),
        ("Łukasz", "Sørensen", ["lukasz", "Łuk", "sorensen", "lukasz s"], ["ukasz"]),
        ("Иван", "Петров", ["иван", "ПЕТ", "петров и"], ["етров"]),
        ("Ali", "1st", ["1", "1st"], ["st"]),
        ("Wolfeschlegelsteinhausen", "Bergerdorff", ["Wolfeschlegelsteinhausen"], ["hausen"]),
        ("Jo", "A B C D E F G H", ["g", "a b c d e f g h"], ["x"]),
    ],
)
def test_a_name_is_found_by_the_beginnings_of_its_words(
    partner: Partner, first: str, last: str, finds: list[str], misses: list[str]
) -> None:
    partner.create_patient(firstName="Quentin", lastName="Unrelated")
    patient = partner.create_patient(firstName=first, lastName=last)["id"]
    for sought in finds:
        assert found(partner, filter=f'name~"{sought}"') == [patient], sought
        assert ids_of(partner.post(SEARCH, {"name": sought})) == [patient], sought
    for sought in misses:
        assert found(partner, filter=f'name~"{sought}"') == [], sought
        assert ids_of(partner.post(SEARCH, {"name": sought})) == [], sought


def test_a_name_can_be_asked_for_as_a_whole(partner: Partner) -> None:
    whole = partner.create_patient(firstName="Anne", lastName="O'Brien")["id"]
    longer = partner.create_patient(firstName="Anne", lastName="O'Brien-Smith")["id"]
    assert found(partner, filter='name:"anne obrien"') == [whole]
    assert found(partner, filter='name~"anne obrien"') == [longer, whole]
    assert found(partner, filter='name:"obrien anne"') == []
    assert found(partner, filter='name~"=anne"') == [longer, whole]


def test_after_a_new_name_the_old_one_finds_nobody(partner: Partner) -> None:
    patient = partner.create_patient(firstName="Mary", lastName="Shelley")["id"]
    partner.post(f"/v1/patients/{patient}", {"lastName": "Godwin"})
    assert found(partner, filter='name~"shelley"') == []
    assert found(partner, filter='name~"mary g"') == [patient]
    partner.post(f"/v1/patients/{patient}", {"note": "x"})
    assert found(partner, filter='name~"godwin"') == [patient]
    partner.call("DELETE", f"/v1/patients/{patient}")
    assert found(partner, filter='name~"godwin"') == []


def test_a_name_finds_nobody_of_another_organisation_or_mode(
    partner: Partner, other: Partner
) -> None:
    other.create_patient()
    partner.live().create_patient()
    mine = partner.create_patient()["id"]
    assert found(partner, filter='name~"ada"') == [mine]


# --- Personal data -------------------------------------------------------------------------------


def test_in_live_mode_personal_data_is_sought_by_the_search_and_never_in_a_url(
    partner: Partner,
) -> None:
    live = partner.live()
    patient = live.create_patient(externalRef="A-17")["id"]
    for path, text, field in [
        ("/v1/patients", 'name~"ada"', "name"),
        ("/v1/patients", 'externalRef:"A-17" and name:"Ada Loveworth"', "name"),
        ("/v1/appointments", 'patient.name~"ada"', "patient.name"),
    ]:
        error = live.get(path, 400, filter=text)["error"]
        assert (error["code"], error["param"]) == ("filter_personal", "filter")
        assert field in error["message"]
        told = {name: text for name, text in error.items() if not name.startswith("request")}
        assert "ada" not in json.dumps(told).lower()
        assert SEARCH in error["fix"]
        partner.get(path, filter=text)  # test mode has no real patients
    assert found(live, filter='externalRef:"A-17"') == [patient]
    assert ids_of(live.post(SEARCH, {"name": "ada"})) == [patient]
    assert ids_of(live.post(SEARCH, {"filter": 'name~"love" and externalRef:"A-17"'})) == [patient]


SOUGHT = {
    "name": "augusta k",
    "phone": "+447400123999",
    "email": "augusta@Example.org",
    "dateOfBirth": "1990-02-03",
    "nhsNumber": "999 000 0018",
    "externalRef": "B-1",
    "filter": 'externalRef:"B-1"',
}


@pytest.mark.parametrize("field", SOUGHT)
def test_the_search_finds_by_each_field(partner: Partner, field: str) -> None:
    partner.create_patient()
    facts = {name: value for name, value in SOUGHT.items() if name not in ("name", "filter")}
    patient = partner.create_patient(**{**facts, "firstName": "Augusta", "lastName": "King"})["id"]
    assert ids_of(partner.post(SEARCH, {field: SOUGHT[field]})) == [patient]
    form = partner.call("POST", SEARCH, data={field: SOUGHT[field], "createdAt[gte]": "2020-01-01"})
    assert ids_of(form) == [patient]
    assert (form["object"], form["url"], form["has_more"]) == ("list", SEARCH, False)
    assert ids_of(partner.post(SEARCH, SOUGHT)) == [patient]
    assert ids_of(partner.post(SEARCH, {**SOUGHT, "email": "ada@example.com"})) == []


@pytest.mark.parametrize(
    ("field", "number", "another"),
    [("chi", "0101010028", "0101010036"), ("hsc", "3200000007", "3200000015")],
)
def test_the_search_finds_by_the_numbers_of_other_nations(
    partner: Partner, field: str, number: str, another: str
) -> None:
    patient = partner.create_patient(**{field: number})["id"]
    partner.create_patient(**{field: another})
    assert ids_of(partner.post(SEARCH, {field: number})) == [patient]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ({"name": "?"}, "name"),
        ({"name": "ß" * 24}, "name"),
        ({"name": "x" * 25}, "name"),
        ({"name": ["a", "b"]}, "name"),
        ({"phone": "12"}, "phone"),
        ({"email": "nobody"}, "email"),
        ({"dateOfBirth": "01/02/1990"}, "dateOfBirth"),
        ({"nhsNumber": "123"}, "nhsNumber"),
        ({"firstName": "Ada"}, "firstName"),
        ({"limit": 0}, "limit"),
        ({"starting_after": "x"}, "starting_after"),
        ({"createdAt": {"gte": "x"}}, "createdAt[gte]"),
        ({"filter": 'name~"a"', "name": "b"}, "filter"),
    ],
)
def test_a_wrong_search_is_refused_by_its_name(partner: Partner, body: Json, wrong: str) -> None:
    assert list(problems(partner.post(SEARCH, body, 400)["error"])) == [wrong]


def test_a_search_goes_on_from_a_cursor_in_both_directions(partner: Partner) -> None:
    made = [partner.create_patient()["id"] for _ in range(5)][::-1]
    partner.create_patient(lastName="Byron")

    def page(**body: Any) -> tuple[list[int], bool]:
        listed = partner.post(SEARCH, {"name": "loveworth", **body})
        return [made.index(each) for each in ids_of(listed)], listed["has_more"]

    assert page() == ([0, 1, 2, 3, 4], False)
    assert page(limit=2) == ([0, 1], True)
    assert page(limit=2, starting_after=made[1]) == ([2, 3], True)
    assert page(limit=2, starting_after=made[3]) == ([4], False)
    assert page(limit=2, ending_before=made[3]) == ([1, 2], True)
    assert page(limit=2, ending_before=made[1]) == ([0], False)
    # A link would have to carry what was sought.
    assert (
        "Link" not in partner.send("POST", SEARCH, json={"name": "loveworth", "limit": 2}).headers
    )


def test_a_search_is_a_read_that_leaves_no_trace_of_what_was_sought(partner: Partner) -> None:
    patient = partner.create_patient(firstName="Quetzalcoatl", email="quetzal@example.com")["id"]
    before = partner.documents()
    reader = partner.with_key({"patients": "read"})
    body = {"name": "quetzal", "email": "quetzal@example.com"}
    headers = {"Idempotency-Key": "k"}
    answers = [reader.send("POST", SEARCH, json=body, headers=headers) for _ in range(2)]
    for answer in answers:
        assert ids_of(answer.json()) == [patient]
        assert "Idempotent-Replayed" not in answer.headers
    partner.create_patient(firstName="Quetzalina", email="quetzal@example.com")
    assert len(ids_of(reader.post(SEARCH, body, headers=headers))) == 2
    assert {kind for kind, _ in partner.documents() - before} == {"patients"}

    log = Path(partner.backing.environment["ALLY_LOG"]).read_text()
    assert "quetzal" not in log.lower()
    lines = {line["requestId"]: line for line in partner.lines()}
    line = lines[answers[0].headers["Request-Id"]]
    assert (line["method"], line["route"]) == ("POST", SEARCH)
    assert line["objects"] == [patient]

    stranger = partner.with_key({"appointments": "write"})
    assert stranger.post(SEARCH, body, 403)["error"]["code"] == "permission_missing"
