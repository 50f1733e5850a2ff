"""What lists are asked for: the language of `filter`, and ranges of times."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from shared.filters import LONGEST_VALUE
from tests.support.inprocess import InProcess
from tests.support.serving import PATIENT, REASON, Json, Partner, problems

NOW = datetime(2027, 3, 1, 9, tzinfo=UTC)


def ids_of(listed: Json) -> list[str]:
    return [each["id"] for each in listed["data"]]


def found(partner: Partner, path: str = "/v1/patients", **params: Any) -> list[str]:
    return ids_of(partner.get(path, **params))


def message(partner: Partner, text: str, path: str = "/v1/patients") -> str:
    """Return what a wrong filter is told."""
    error = partner.get(path, 400, filter=text)["error"]
    assert problems(error) == {"filter": "parameter_invalid"}
    told: str = error["message"]
    return told


# --- The language --------------------------------------------------------------------------------


class Times(InProcess):
    """A caller with three patients, created an hour apart, the oldest updated last."""

    def __init__(self, partner: Partner) -> None:
        super().__init__(partner.backing, partner.key)
        self.made: list[str] = []
        for hour in range(3):
            self.at = NOW + timedelta(hours=hour)
            self.made.insert(0, self.call("POST", "/v1/patients", json=PATIENT)["id"])
        self.at = NOW + timedelta(hours=9)
        self.call("POST", f"/v1/patients/{self.made[2]}", json={"note": "x"})

    def places(self, **params: str) -> list[int]:
        """Return the places of what is found, the newest being 0."""
        return [
            self.made.index(each)
            for each in ids_of(self.call("GET", "/v1/patients", params=params))
        ]


@pytest.mark.parametrize(
    ("operator", "name", "created", "updated"),
    [
        (">", "gt", [0], [0, 2]),
        (">=", "gte", [0, 1], [0, 1, 2]),
        ("<", "lt", [2], []),
        ("<=", "lte", [1, 2], [1]),
        (":", None, [1], [1]),
    ],
)
def test_every_comparison_of_times_holds(
    partner: Partner, operator: str, name: str | None, created: list[int], updated: list[int]
) -> None:
    times = Times(partner)
    moment = "2027-03-01T10:00:00Z"
    assert times.places(filter=f'createdAt{operator}"{moment}"') == created
    assert times.places(filter=f' createdAt {operator} "{moment}" ') == created
    assert times.places(filter=f'updatedAt{operator}"{moment}"') == updated
    if name is not None:
        assert times.places(**{f"createdAt[{name}]": moment}) == created


def test_a_moment_may_have_an_offset_or_be_a_day(partner: Partner) -> None:
    times = Times(partner)
    assert times.places(**{"createdAt[gte]": "2027-03-01T11:00:00+01:00"}) == [0, 1]
    assert times.places(**{"createdAt[gte]": "2027-03-01", "createdAt[lt]": "2027-03-02"}) == [
        *(0, 1, 2)
    ]
    assert times.places(filter='createdAt<"2027-03-01"') == []
    assert times.places(filter='updatedAt>"2027-03-01T10:00Z" and updatedAt<"2027-03-02"') == [0, 2]


@pytest.mark.parametrize(
    ("params", "wrong"),
    [
        ({"createdAt[gte]": "yesterday"}, "createdAt[gte]"),
        ({"createdAt[gte]": "2026-02-30"}, "createdAt[gte]"),
        ({"createdAt[lt]": "1969-12-31"}, "createdAt[lt]"),
        ({"createdAt[lte]": "2390-01-01"}, "createdAt[lte]"),
        ({"createdAt[gt]": "2026-11-22T09:30:00.1234567Z"}, "createdAt[gt]"),
        ({"createdAt[after]": "2026-11-22"}, "createdAt[after]"),
        ({"createdAt": "2026-11-22"}, "createdAt"),
        ({"createdAt[gte][]": "2026-11-22"}, "createdAt[gte]"),
        ({"createdAt[gte]": "2026-11-22T09:30"}, "createdAt[gte]"),
        ({"updatedAt[gte]": "2026-11-22"}, "updatedAt"),
    ],
)
def test_a_wrong_range_is_refused_by_its_name(partner: Partner, params: Json, wrong: str) -> None:
    assert list(problems(partner.get("/v1/patients", 400, **params)["error"])) == [wrong]


REFERENCES = [
    "A-17",
    'say "aye"',
    "back\\slash",
    "\\",
    'x" and externalRef:"A-17',
    "this and that",
    "Zoë & 100% = <+>",
]


@pytest.mark.parametrize("reference", REFERENCES)
def test_whatever_stands_in_quotes_is_the_value(partner: Partner, reference: str) -> None:
    partner.create_patient(externalRef="A-17x")
    patient = partner.create_patient(externalRef=reference)["id"]
    quoted = reference.replace("\\", "\\\\").replace('"', '\\"')
    assert found(partner, filter=f'externalRef:"{quoted}"') == [patient]
    assert found(partner, filter=f'externalRef:"{quoted}" and createdAt>"2000-01-01"') == [patient]
    assert found(partner, externalRef=reference) == [patient]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("externalRef", "must be terms such as"),
        ('externalRef:"Zanzibar', "must be terms such as"),
        ("externalRef:Zanzibar", "must be terms such as"),
        ("externalRef:'Zanzibar'", "must be terms such as"),
        ('externalRef="Zanzibar"', "must be terms such as"),
        ('externalRef!:"Zanzibar"', "must be terms such as"),
        ('externalRef:"Zanzibar\\n"', "must be terms such as"),
        ('externalRef:"Zanzibar" and', "must have its terms joined by and"),
        ('externalRef:"Zanzibar" and ', "must have its terms joined by and"),
        ('externalRef:"Zanzibar"and externalRef:"x"', "must have its terms joined by and"),
        ('externalRef:"Zanzibar" AND externalRef:"x"', "must have its terms joined by and"),
        ('externalRef:"Zanzibar" or externalRef:"x"', "must have its terms joined by and"),
        ('externalRef:"Zanzibar" externalRef:"x"', "must have its terms joined by and"),
        ('externalRef:"x" and and externalRef:"Zanzibar"', "must be terms such as"),
        (
            'Zanzibar:"x"',
            "names a field that is not one of createdAt, updatedAt, externalRef, name",
        ),
        ('phone:"Zanzibar"', "names a field that is not one of createdAt, updatedAt, externalRef"),
        ('externalRef~"Zanzibar"', "compares externalRef by one of :"),
        ('externalRef>"Zanzibar"', "compares externalRef by one of :"),
        ('name>="Zanzibar"', "compares name by one of : ~"),
        ('createdAt~"2027"', "compares createdAt by one of > >= < <= :"),
        ('createdAt>"Zanzibar"', "has a value of createdAt that must be a moment"),
        ('updatedAt>""', "has a value of updatedAt that must be a moment"),
        ('name~"?!"', "seeks name by 1 to 24 letters or digits"),
        ('name:""', "seeks name by 1 to 24 letters or digits"),
        ('name~"Zanzibar Zanzibar Zanzibar"', "seeks name by 1 to 24 letters or digits"),
        ('name~"Zan" and name~"zibar"', "can seek by the beginnings of words once"),
        (f'externalRef:"{"Z" * 256}"', "compares externalRef with more than 255 characters"),
        (f'externalRef:"{"Z" * 1000}"', "must have at most 1000 characters"),
    ],
)
def test_a_wrong_filter_is_told_what_is_wrong_without_its_values(
    partner: Partner, text: str, told: str
) -> None:
    said = message(partner, text)
    assert told in said
    assert "Zan" not in said
    assert "ZZ" not in said


def test_a_filter_that_could_be_read_in_many_ways_is_refused_at_once(partner: Partner) -> None:
    """A pattern that goes back over what it read would not end before the test is ended."""
    api = InProcess(partner.backing, partner.key)
    for text in ("a" * 990, 'name:"' + "\\\\" * 490, " " * 990 + "x", 'name:"x"' + " " * 900 + "x"):
        answer = api.send("GET", "/v1/patients", params={"filter": text})
        assert answer.status_code == 400


def test_the_longest_value_that_a_field_can_have_can_be_filtered_by(partner: Partner) -> None:
    long = "é" * LONGEST_VALUE
    patient = partner.create_patient(externalRef=long)["id"]
    assert found(partner, filter=f'externalRef:"{long}"') == [patient]


def test_terms_and_parameters_must_all_hold(partner: Partner) -> None:
    kept = partner.create_patient(externalRef="a", firstName="Mary")["id"]
    partner.create_patient(externalRef="b", firstName="Mary")
    partner.create_patient(externalRef="a")
    assert found(partner, externalRef="a", filter='name~"mary"') == [kept]
    assert found(partner, filter='externalRef:"a" and name~"mary" and createdAt>"2020-01-01"') == [
        kept
    ]
    assert found(partner, externalRef="a", filter='externalRef:"b"') == []
    assert found(partner, filter='externalRef:"a" and externalRef:"b"') == []


def walk(partner: Partner, url: str) -> Iterator[tuple[list[str], bool]]:
    """Yield the pages that a URL and the links to the next ones lead to."""
    following: str | None = url
    while following:
        answer = partner.send("GET", following)
        assert answer.status_code == 200, answer.text
        yield ids_of(answer.json()), answer.json()["has_more"]
        following = (
            answer.links.get("next", {}).get("url", "").removeprefix("https://api.ally.example")
        )


def test_filters_survive_over_pages_by_cursor_and_by_link(partner: Partner) -> None:
    reference = 'Zoë & "100%" = <+>'
    made: list[str] = []
    for n in range(7):
        partner.create_patient(externalRef="other")
        name = "Zoë" if n % 3 else "Ada"
        made.insert(0, partner.create_patient(externalRef=reference, firstName=name)["id"])
    wanted = [each for n, each in enumerate(made[::-1]) if n % 3][::-1]
    quoted = reference.replace('"', '\\"')
    params = {
        "filter": f'externalRef:"{quoted}" and name~"zoé" and updatedAt>"2020-01-01"',
        "createdAt[gte]": "2020-01-01T00:00:00+00:00",
        "limit": 3,
    }
    assert [each["id"] for each in partner.everything("/v1/patients", **params)] == wanted
    first = partner.send("GET", "/v1/patients", params=params)
    pages = list(walk(partner, first.request.url.raw_path.decode()))
    assert pages == [(wanted[:3], True), (wanted[3:], False)]
    query = parse_qs(urlsplit(first.links["next"]["url"]).query)
    assert query["filter"] == [params["filter"]]
    assert query["createdAt[gte]"] == ["2020-01-01T00:00:00+00:00"]


@pytest.mark.parametrize("path", ["/v1/tasks", "/v1/organisations", "/v1/api_keys"])
def test_every_list_of_objects_is_filtered_by_times(partner: Partner, path: str) -> None:
    keeper = partner.administrator()
    everything = found(keeper, path)
    assert everything
    for field in ("createdAt", "updatedAt"):
        assert found(keeper, path, filter=f'{field}>"2020-01-01"') == everything
        assert found(keeper, path, filter=f'{field}<"2020-01-01"') == []
        assert (
            found(keeper, path, filter=f'{field}<"2020-01-01"', ending_before=everything[0]) == []
        )
    assert "names a field" in message(keeper, 'externalRef:"x"', path)


# --- Appointments --------------------------------------------------------------------------------


def test_appointments_are_filtered_by_their_patients_and_their_state(partner: Partner) -> None:
    task = partner.task()
    windows = partner.windows(task)
    zoe = partner.create_patient(firstName="Zoë")
    mary = partner.create_patient(firstName="Mary", lastName="Zola")
    partner.create_patient(firstName="Zora")  # has no appointment
    first, second, third = (
        partner.post("/v1/appointments", partner.request(patient, task, window, externalRef=ref))[
            "id"
        ]
        for patient, window, ref in zip((zoe, mary, zoe), windows, ("a", "b", "b"), strict=False)
    )
    partner.post(f"/v1/appointments/{first}/cancel", REASON)

    def having(text: str, **params: str) -> list[str]:
        return found(partner, "/v1/appointments", filter=text, **params)

    assert having('patient.name~"z"') == [third, second, first]
    assert having('patient.name~"zo" and status:"scheduled"') == [third, second]
    assert having('patient.name:"mary zola"') == [second]
    assert having('patient.name~"nobody"') == []
    assert having('patient.name~"zo" and externalRef:"b"', patientId=zoe["id"]) == [third]
    assert having('patient.name~"zo"', starting_after=third) == [second, first]
    assert having('patient.name~"zo"', ending_before=first) == [third, second]
    assert having(f'patient.id:"{zoe["id"]}"') == [third, first]
    assert having('externalRef:"b"') == [third, second]
    assert having('status:"cancelled"') == [first]
    assert having('status:"lost"') == []
    assert having('updatedAt>"2020-01-01" and patient.name~"zo"', status="cancelled") == [first]

    for text in ('patient.name~"z"', 'patient.name~"nobody"'):
        params = {"filter": text, "starting_after": "apt_short"}
        error = partner.get("/v1/appointments", 400, **params)["error"]
        assert list(problems(error)) == ["starting_after"]
    assert "compares patient.id by one of :" in message(
        partner, 'patient.id~"p_"', "/v1/appointments"
    )


def test_a_name_is_sought_by_who_may_see_patients_alone(partner: Partner) -> None:
    blind = partner.with_key({"appointments": "read"})
    for text in ('patient.name~"z"', 'patient.name~"nobody"'):
        error = blind.get("/v1/appointments", 403, filter=text)["error"]
        assert error["code"] == "permission_missing"
    blind.get("/v1/appointments", filter='patient.id:"x"')


def test_a_name_that_too_many_patients_have_is_refused_for_appointments(partner: Partner) -> None:
    api = InProcess(partner.backing, partner.key)
    for _ in range(30):
        api.call("POST", "/v1/patients", json=PATIENT)
    booked = partner.book()
    for sought, status in (("loveworth", 400), ("x", 200)):
        params = {"filter": f'patient.name~"{sought}"'}
        api.call("GET", "/v1/appointments", status, params=params)
    told = message(partner, 'patient.name~"ada"', "/v1/appointments")
    assert "finds more than 30 patients by their name" in told
    api.call("DELETE", f"/v1/patients/{found(partner)[-1]}")
    assert found(partner, "/v1/appointments", filter='patient.name~"ada"') == [booked["id"]]
