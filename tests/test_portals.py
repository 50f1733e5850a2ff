"""The door of portals: what every page keeps, whichever it is."""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared import service as held
from shared.api import application
from shared.limits import Limiter
from shared.provision import create_organisation, open_store
from shared.service import Service
from shared.sessions import COOKIE
from shared.settings import Mode
from shared.users import IDLE, LONGEST, Role, User
from tests.support.lines import lines_in
from tests.support.people import Person, begin_session, forms, signed_in, user_of
from tests.support.portal_of_tests import Thing, portal
from tests.support.serving import Backing, Partner, Server


class InTheProcess(Server):
    """The portal of tests in this process, at a time and with settings of the test's choice."""

    def __init__(self, backing: Backing) -> None:
        self.backing = backing
        self.application = application([], [portal])
        self.later = timedelta()
        self.counted: list[str] = []
        """The organisations whose use of the API was counted."""
        self._limiter: Limiter | None = None

    def limit(self, quota: int) -> None:
        """Let users ask for so many pages an hour from now on."""

        async def make(service: Service) -> Limiter:
            keys: dict[Mode, int] = {"test": quota, "live": quota}
            return Limiter(service.storage, keys, end_user=quota, seconds=3600)

        self._limiter = self.backing.run(make)

    def portal(self, name: str) -> str:
        return self.backing.run(_dashboard)

    def open(self, method: str, path: str, **options: Any) -> httpx.Response:
        async def act(service: Service) -> httpx.Response:
            chosen = replace(
                service,
                now=lambda: service.now() + self.later,
                limiter=self._limiter or service.limiter,
            )
            held.use(chosen)
            try:
                transport = httpx.ASGITransport(self.application)
                url = service.settings.dashboard_url
                async with httpx.AsyncClient(transport=transport, base_url=url) as client:
                    return await client.request(method, path, **options)
            finally:
                self.counted += [labels[0] for _, labels in service.meter._counted]
                held.use(None)

        return self.backing.run(act)


async def _dashboard(service: Service) -> str:
    return service.settings.dashboard_url


@pytest.fixture
def place(backing: Backing) -> InTheProcess:
    return InTheProcess(backing)


def enter(place: InTheProcess, role: Role = "administrator", **options: Any) -> Person:
    """Return a new user of a new organisation who has just signed in at the portal of tests."""
    organisation, _ = place.backing.run(lambda service: create_organisation(service, "Test Health"))
    person = Person(place)
    user = user_of(place.backing, organisation.id, role)
    person.cookies[COOKIE] = begin_session(place.backing, user, **options)
    person.user = user
    return person


def things(place: InTheProcess, person: Person) -> list[Thing]:
    """Return the things that somebody's organisation has."""

    async def read(service: Service) -> list[Thing]:
        store = open_store(service, "test", person.user.organisation, at=service.now())
        return await store.select(Thing, [], limit=10)

    return place.backing.run(read)


# --- Coming in -----------------------------------------------------------------------------------


def test_who_has_not_signed_in_is_led_to_the_entrance_and_from_there_back(
    place: InTheProcess,
) -> None:
    answer = Person(place).ask("GET", "/test/things?a=1")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Ftest%2Fthings%3Fa%3D1"
    assert "/test/things?a=1" in Person(place).get(answer.headers["location"]).text


def test_who_sends_a_form_too_late_is_told_that_it_was_not_done(place: InTheProcess) -> None:
    answer = Person(place).post("/test/things", {"name": "Anna"})
    assert answer.headers["location"] == "/sign-in?next=%2Ftest%2Fthings&said=not_sent"
    assert "was not done" in Person(place).get(answer.headers["location"]).text


@pytest.mark.parametrize(
    "elsewhere",
    [
        *("https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example"),
        *("/%09/evil.example", "/test/things\nx", "javascript:alert(1)", "/nowhere/at/all", "x"),
        *("/open", "///evil.example", "///evil.example/things", "/test/../../evil", ""),
        *("//evil.example/test/things", "https://evil.example/test/things"),
        *("//[", "https://[", "//\u2100.example"),
    ],
)
def test_the_way_on_leads_to_no_page_but_one_of_the_portal(
    place: InTheProcess, elsewhere: str
) -> None:
    page = Person(place).ask("GET", "/sign-in", params={"next": elsewhere})
    assert page.status_code == 200
    assert "<p>/</p>" in page.text


def test_a_session_lasts_until_nothing_was_asked_for_long_or_the_day_is_over(
    place: InTheProcess,
) -> None:
    person = enter(place)
    for _ in range(int(LONGEST / IDLE * 2) - 1):
        place.later += IDLE / 2
        place.backing.run(_forget)
        assert person.ask("GET", "/").status_code == 200
    place.later += IDLE / 2
    assert person.ask("GET", "/").status_code == 303
    place.later = timedelta()
    idle = enter(place)
    place.later = IDLE
    assert idle.ask("GET", "/").status_code == 303


async def _forget(service: Service) -> None:
    service.sessions._known.clear()


def test_what_somebody_makes_up_is_no_session_and_costs_no_look_up(place: InTheProcess) -> None:
    person = enter(place)
    token = person.cookies[COOKIE]

    async def look_ups(service: Service) -> list[object]:
        storage, service.sessions._storage = service.sessions._storage, _Broken()
        try:
            made_up = (
                token[:-1] + ("0" if token[-1] != "0" else "1"),
                "a" * 43 + token[43:],
                "x",
                "",
                ".",
                token + "x",
                "é",
            )
            return [await service.sessions.find(each, "test", service.now()) for each in made_up]
        finally:
            service.sessions._storage = storage

    assert place.backing.run(look_ups) == [None] * 7


class _Broken:
    """A storage that may not be asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the storage was asked to {name}")


def test_a_page_asks_the_storage_nothing_to_know_who_looks_at_it(place: InTheProcess) -> None:
    person = enter(place)
    person.get("/")

    async def look_up(service: Service) -> object:
        storage, service.sessions._storage = service.sessions._storage, _Broken()
        try:
            return await service.sessions.find(person.cookies[COOKIE], "test", service.now())
        finally:
            service.sessions._storage = storage

    assert place.backing.run(look_up) is not None


@pytest.mark.parametrize(
    ("role", "path", "status"),
    [
        ("developer", "/test/things", 403),
        ("member", "/test/things", 200),
        ("administrator", "/test/things", 200),
    ],
)
def test_a_page_is_for_whom_the_role_includes_it(
    place: InTheProcess, role: Role, path: str, status: int
) -> None:
    page = enter(place, role).get(path, status)
    assert ("Your role does not include this" in page.text) == (status == 403)


def test_live_pages_are_for_organisations_that_are_active(place: InTheProcess) -> None:
    assert "Live mode is not open" in enter(place).get("/live/things", 403).text


def test_live_pages_ask_for_a_second_factor_first(partner: Partner) -> None:
    partner.change_organisation(activation="active")
    place = InTheProcess(partner.backing)
    user = user_of(partner.backing, partner.organisation.id)
    for second_factor, status in ((False, 303), (True, 200)):
        person = Person(place)
        token = begin_session(partner.backing, user, second_factor=second_factor)
        person.cookies[COOKIE] = token
        answer = person.ask("GET", "/live/things")
        assert answer.status_code == status
        assert person.ask("GET", "/test/things").status_code == 200
    assert answer.headers.get("location") is None


def test_a_page_for_who_has_just_signed_in_asks_others_to_do_so_again(place: InTheProcess) -> None:
    person = enter(place)
    assert "You are here" in person.get("/fresh").text
    place.later = timedelta(minutes=6)
    answer = person.ask("GET", "/fresh")
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in/again?next=%2Ffresh")


def test_there_is_no_third_mode(place: InTheProcess) -> None:
    assert enter(place).get("/prod/things", 404)


# --- Forms ---------------------------------------------------------------------------------------


def test_a_form_makes_something_and_leads_to_its_page_with_a_notice(place: InTheProcess) -> None:
    person = enter(place)
    page = person.submit(person.get("/test/things"), name="Anna")
    assert "<p>Anna</p>" in page.text
    assert "The thing was made." in page.text


def test_a_notice_is_one_of_ours_whatever_the_address_says(place: InTheProcess) -> None:
    page = enter(place).get("/?said=<b>Your key has leaked</b>")
    assert "leaked" not in page.text


def test_a_form_with_a_mistake_says_so_beside_the_field_and_changes_nothing(
    place: InTheProcess,
) -> None:
    person = enter(place)
    page = person.submit(person.get("/test/things"), 400, name="A")
    assert "Write at least 2 characters." in page.text
    (form,) = (each for each in forms(page) if "name" in each.names)
    assert ("name", "A") in form.fields
    assert 'aria-invalid="true"' in page.text
    assert 'aria-describedby="f-name-hint f-name-error"' in page.text


def test_a_form_that_is_sent_twice_takes_effect_once(place: InTheProcess) -> None:
    person = enter(place)
    page = person.get("/test/things")
    (form,) = (each for each in forms(page) if "name" in each.names)
    sent: dict[str, str | list[str]] = {**dict(form.fields), "name": "Anna"}
    first, second = (person.post("/test/things", sent) for _ in range(2))
    assert first.status_code == second.status_code == 303
    assert (
        first.headers["location"].partition("?")[0] == second.headers["location"].partition("?")[0]
    )
    assert person.post("/test/things", {**sent, "name": "Bert"}).status_code == 400


def test_nobody_uses_up_the_form_of_a_colleague(place: InTheProcess) -> None:
    one = enter(place)
    two = Person(place)
    two.user = user_of(place.backing, one.user.organisation)
    two.cookies[COOKIE] = begin_session(place.backing, two.user)
    for person in (one, two):
        (form,) = (each for each in forms(person.get("/test/things")) if "name" in each.names)
        sent = {**dict(form.fields), "_once": "the same", "name": "Anna"}
        assert person.post("/test/things", sent).status_code == 303
    assert len(things(place, one)) == 2


def test_a_page_that_shows_a_secret_shows_it_once(place: InTheProcess) -> None:
    person = enter(place)
    tokens = {
        name: text for name, text in forms(person.get("/test/things"))[0].fields if name[0] == "_"
    }
    assert "shown once" in person.post("/test/secrets", tokens).text
    again = person.post("/test/secrets", tokens)
    assert again.status_code == 409
    assert "shown once" not in again.text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://localhost:8443"},
        {"Origin": "http://dashboard.localhost:8443"},
        {"Origin": "https://dashboard.localhost:8443.evil.example"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "same-origin"},
    ],
    ids=lambda headers: " ".join(headers.values()),
)
@pytest.mark.parametrize("path", ["/test/things", "/open"])
def test_a_form_of_a_page_elsewhere_is_refused_and_changes_nothing(
    place: InTheProcess, path: str, headers: dict[str, str]
) -> None:
    person = enter(place)
    (form,) = (each for each in forms(person.get("/test/things")) if "name" in each.names)
    answer = person.post(path, {**dict(form.fields), "name": "Anna"}, headers=headers)
    assert answer.status_code == 403
    assert "This form was not sent from its page" in answer.text


def test_a_form_of_which_nothing_says_where_it_comes_from_is_refused(place: InTheProcess) -> None:
    person = enter(place)
    (form,) = (each for each in forms(person.get("/test/things")) if "name" in each.names)
    kind = {"Content-Type": "application/x-www-form-urlencoded", "Host": person.host}
    cookie = {"Cookie": f"{COOKIE}={person.cookies[COOKIE]}"}
    body = "&".join(f"{name}={text}" for name, text in form.fields) + "Anna"
    for site, status in (("cross-site", 403), ("same-site", 403), ("", 403), ("same-origin", 303)):
        headers = {**kind, **cookie, **({"Sec-Fetch-Site": site} if site else {})}
        assert (
            place.open("POST", "/test/things", content=body, headers=headers).status_code == status
        )


def test_a_form_needs_the_token_of_the_session_that_sends_it(place: InTheProcess) -> None:
    person, other = enter(place), enter(place)
    (theirs,) = (each for each in forms(other.get("/test/things")) if "name" in each.names)
    for sent in (
        {"name": "Anna"},
        {**dict(theirs.fields), "name": "Anna"},
        {"_csrf": "", "name": "A"},
    ):
        assert person.post("/test/things", sent).status_code == 403


def test_only_forms_change_anything(place: InTheProcess) -> None:
    person = enter(place)
    for method in ("PUT", "PATCH", "DELETE"):
        assert person.ask(method, "/test/things").status_code == 405
    person.get("/test/changing", 500)
    assert things(place, person) == []


def test_what_is_refused_after_all_changes_nothing(place: InTheProcess) -> None:
    person = enter(place)
    (form,) = (each for each in forms(person.get("/test/things")) if "name" in each.names)
    assert person.post("/test/changing", dict(form.fields)).status_code == 400
    assert things(place, person) == []


def test_what_of_an_account_is_changed_is_changed_there(place: InTheProcess) -> None:
    person = enter(place)
    (form,) = (each for each in forms(person.get("/test/things")) if "name" in each.names)
    assert person.post("/name", {**dict(form.fields), "name": "Nia"}).status_code == 303

    async def read(service: Service) -> str:
        store = open_store(
            service, "test", person.user.organisation, at=service.now(), account=True
        )
        return (await store.get(User, person.user.id)).name

    assert place.backing.run(read) == "Nia"


# --- Answers -------------------------------------------------------------------------------------


def test_every_answer_keeps_pages_apart_from_other_pages(place: InTheProcess) -> None:
    person = enter(place)
    answers = [
        person.ask("GET", path)
        for path in ("/", "/nowhere", "/test/crash", "/test/things", "/assets/portal.css")
    ]
    answers.append(Person(place).ask("GET", "/"))
    answers.append(person.post("/test/things", {}))
    assert [each.status_code for each in answers] == [200, 404, 500, 200, 200, 303, 403]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "form-action 'self'" in policy
        assert "unsafe" not in policy
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["x-robots-tag"] == "noindex, nofollow"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert answer.headers["request-id"].startswith("req_")
        assert "access-control-allow-origin" not in answer.headers
        if "assets" not in str(answer.url):
            assert answer.headers["cache-control"] == "no-store"


def test_a_cookie_is_for_this_host_alone_and_for_no_script(place: InTheProcess) -> None:
    answer = enter(place).ask("GET", "/test/things")
    (cookie,) = answer.headers.get_list("set-cookie")
    assert cookie == "__Host-mode=test; Path=/; Secure; HttpOnly; SameSite=Lax"


def test_what_people_type_is_shown_as_it_was_typed_and_never_run(place: InTheProcess) -> None:
    typed = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    person = enter(place)
    stored = person.submit(person.get("/test/things"), name=typed)
    shown = person.submit(person.get("/test/things"), 400, name=typed * 5)
    for page in (stored, shown):
        assert "<script>alert" not in page.text
        assert "<img src=x" not in page.text
        assert "&lt;script&gt;alert(1)" in page.text


@pytest.mark.parametrize("path", ["/test/crash", "/test/unmakeable"])
def test_a_page_that_fails_says_so_with_its_request_and_tells_no_more(
    place: InTheProcess, path: str
) -> None:
    page = enter(place).get(path, 500)
    assert page.headers["request-id"] in page.text
    assert "data in it" not in page.text


def test_support_is_one_click_away_with_the_request_filled_in(place: InTheProcess) -> None:
    page = enter(place).get("/")
    wanted = f"mailto:support@ally.example?subject=Ally%20request%20{page.headers['request-id']}"
    assert wanted in page.text


def test_each_request_leaves_a_line_that_names_the_user_and_counts_as_no_use_of_the_api(
    place: InTheProcess,
) -> None:
    person = enter(place)
    made = person.submit(person.get("/test/things"), name="Anna-Sophie")
    log = Path(place.backing.environment["ALLY_LOG"])
    theirs = [line for line in lines_in(log) if line.get("principal") == person.user.id]
    assert [(line["method"], line["route"], line["status"]) for line in theirs] == [
        ("GET", "/{mode}/things", 200),
        ("POST", "/{mode}/things", 303),
        ("GET", "/{mode}/things/{thing}", 200),
    ]
    assert theirs[1]["objects"] == theirs[2]["objects"] != []
    assert "Anna-Sophie" not in log.read_text()
    assert made.headers["request-id"] == theirs[2]["requestId"]

    assert person.user.organisation not in place.counted


def test_a_user_asks_for_no_more_pages_than_the_quota(place: InTheProcess) -> None:
    person = enter(place)

    place.limit(3)
    statuses = [person.ask("GET", "/").status_code for _ in range(5)]
    assert statuses == [200, 200, 200, 429, 429]


# --- Beside the API ------------------------------------------------------------------------------


def test_the_dashboard_and_the_api_share_no_host(partner: Partner) -> None:
    person = signed_in(partner)
    assert person.get("/test").headers["content-type"].startswith("text/html")
    api = partner.server.open(
        "GET", "/test", headers={"Cookie": f"{COOKIE}={person.cookies[COOKIE]}"}
    )
    assert (api.status_code, api.headers["content-type"]) == (404, "application/json")
    keyed = person.ask("GET", "/v1/patients", headers={"Authorization": partner.key})
    assert keyed.status_code == 404
