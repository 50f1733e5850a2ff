"""Link headers (RFC 8288): to the next page and the one before it, and to nothing else."""

from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from tests.support.serving import POSTCODE, Json, Partner

HOST = "https://api.ally.example"
MADE = 7


def relations(answer: httpx.Response) -> dict[str, str]:
    """Return where an answer links to, by relation, without the host that each must have."""
    found = {}
    for relation, link in answer.links.items():
        assert link["url"].startswith(f"{HOST}/v1/"), link
        found[str(relation)] = link["url"].removeprefix(HOST)
    return found


def ids_of(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [each["id"] for each in answer.json()["data"]]


def follow(partner: Partner, answer: httpx.Response, relation: str) -> list[list[str]]:
    """Return the pages from an answer's on, as far as its links of one relation lead."""
    pages = [ids_of(answer)]
    while (onward := relations(answer).get(relation)) is not None:
        answer = partner.send("GET", onward)
        pages.append(ids_of(answer))
    return pages


def by_cursors(partner: Partner, path: str, **params: Any) -> list[list[str]]:
    pages = []
    while True:
        listed = partner.get(path, **params)
        pages.append([each["id"] for each in listed["data"]])
        if not listed["has_more"]:
            return pages
        params["starting_after"] = pages[-1][-1]


@pytest.fixture
def made(partner: Partner) -> list[str]:
    return [partner.create_patient(externalRef="a")["id"] for _ in range(MADE)][::-1]


@pytest.mark.parametrize("limit", [1, 2, 3, MADE - 1, MADE, MADE + 1])
def test_links_lead_to_the_end_and_back_by_the_same_pages(
    partner: Partner, made: list[str], limit: int
) -> None:
    first = partner.send("GET", "/v1/patients", params={"limit": limit})
    pages = follow(partner, first, "next")
    assert pages == by_cursors(partner, "/v1/patients", limit=limit)
    assert pages == [made[begin : begin + limit] for begin in range(0, MADE, limit)]
    last = first
    for _ in pages[1:]:
        last = partner.send("GET", relations(last)["next"])
    assert follow(partner, last, "prev") == pages[::-1]


def test_a_link_is_there_exactly_where_something_is_beyond(
    partner: Partner, made: list[str]
) -> None:
    def linked(**params: Any) -> dict[str, str]:
        answer = partner.send("GET", "/v1/patients", params=params)
        cursors = {}
        for relation, url in relations(answer).items():
            query = dict(parse_qsl(urlsplit(url).query))
            query.pop("limit", None)
            ((name, cursor),) = query.items()
            cursors[relation] = f"{name} {made.index(cursor)}"
        return cursors

    newest, oldest = made[0], made[-1]
    assert linked() == {}
    assert linked(limit=MADE) == {}
    assert linked(limit=MADE - 1) == {"next": f"starting_after {MADE - 2}"}
    assert linked(limit=2) == {"next": "starting_after 1"}
    assert linked(limit=2, starting_after=made[1]) == {
        "next": "starting_after 3",
        "prev": "ending_before 2",
    }
    assert linked(limit=2, starting_after=made[4]) == {"prev": "ending_before 5"}
    assert linked(limit=2, starting_after=made[3]) == {
        "next": "starting_after 5",
        "prev": "ending_before 4",
    }
    assert linked(starting_after=oldest) == {}
    assert linked(ending_before=newest) == {}
    assert linked(limit=2, ending_before=made[2]) == {"next": "starting_after 1"}
    assert linked(limit=2, ending_before=made[3]) == {
        "next": "starting_after 2",
        "prev": "ending_before 1",
    }


@pytest.mark.parametrize("empty", ["starting_after", "ending_before"])
def test_an_empty_cursor_is_none(partner: Partner, made: list[str], empty: str) -> None:
    answer = partner.send("GET", "/v1/patients", params={"limit": 2, empty: ""})
    assert relations(answer) == {"next": f"/v1/patients?limit=2&starting_after={made[1]}"}


def test_an_empty_list_links_to_nothing(partner: Partner) -> None:
    assert relations(partner.send("GET", "/v1/patients")) == {}


@pytest.mark.parametrize(
    "params",
    [
        {"externalRef": "Zoë & Söhne = 100% <\"'\\+;#/?>, \U0001f9ea"},
        {"filter": 'externalRef:"Zoë \\"x\\"" and createdAt>"2020-01-01T00:00:00+00:00"'},
        {"createdAt[gte]": "2020-01-01T00:00:00+00:00", "externalRef": "a+b c"},
        {"externalRef": "a", "expand": ""},
    ],
)
def test_links_keep_what_was_asked_for(partner: Partner, params: Json) -> None:
    reference = params.get("externalRef", 'Zoë "x"')
    wanted = [partner.create_patient(externalRef=reference)["id"] for _ in range(5)][::-1]
    partner.create_patient(externalRef="other")
    first = partner.send("GET", "/v1/patients", params={**params, "limit": 2})
    assert follow(partner, first, "next") == [wanted[:2], wanted[2:4], wanted[4:]]
    second = partner.send("GET", relations(first)["next"])
    assert follow(partner, second, "prev") == [wanted[2:4], wanted[:2]]
    for url in relations(second).values():
        assert url.isascii()
        query = dict(parse_qsl(urlsplit(url).query, keep_blank_values=True))
        assert len(set(query) & {"starting_after", "ending_before"}) == 1
        assert {name: query[name] for name in params} == params


def test_every_list_links_its_pages(partner: Partner) -> None:
    places: list[tuple[str, Json]] = [
        ("/v1/tasks", {}),
        ("/v1/cancellation_reasons", {}),
        ("/v1/availability", {"taskId": partner.task()["id"], "postcode": POSTCODE, "limit": 9}),
    ]
    for path, params in places:
        query = {"limit": 3, **params}
        first = partner.send("GET", path, params=query)
        pages = follow(partner, first, "next")
        assert len(pages) > 1
        assert pages == by_cursors(partner, path, **query)
        second = partner.send("GET", relations(first)["next"])
        assert follow(partner, second, "prev") == pages[1::-1]


def test_one_object_and_a_refusal_link_to_nothing(partner: Partner, made: list[str]) -> None:
    for path in (f"/v1/patients/{made[0]}", "/v1/patients?limit=0", "/v1/nothing"):
        assert "Link" not in partner.send("GET", path).headers
