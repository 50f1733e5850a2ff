"""Signing in: who knows the password, and has the second factor; and nobody learns who is here."""

import base64
import html
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from argon2 import PasswordHasher
from cryptography.hazmat.primitives.hashes import SHA1
from cryptography.hazmat.primitives.twofactor.totp import TOTP

from shared.backends import Key, Write
from shared.joining import PasswordReset
from shared.passwords import HashedPasswords
from shared.provision import open_store
from shared.service import Service
from shared.sessions import COOKIE
from shared.throttles import SECOND_FACTORS, SIGN_INS
from shared.users import User
from tests.support.inprocess import InProcess
from tests.support.joining import PASSWORD, address, code_for
from tests.support.people import Person, begin_session, end_session, signed_in, user_of
from tests.support.serving import Backing, Partner


def has_password(partner: Partner) -> User:
    """Make a user who can sign in."""
    email = address()

    async def keep(service: Service) -> str:
        return await service.passwords.keep(email, PASSWORD)

    kept = partner.backing.run(keep)
    return user_of(partner.backing, partner.organisation.id, email=email, passwordHash=kept)


def signs_in(
    person: Person, email: str, password: str = PASSWORD, status: int = 200, path: str = "/sign-in"
) -> httpx.Response:
    return person.submit(person.get(path), status, email=email, password=password)


def stored(backing: Backing, user: User) -> User:
    async def read(service: Service) -> User:
        store = open_store(service, "test", user.organisation, at=service.now(), account=True)
        return await store.get(User, user.id)

    return backing.run(read)


class Changing(HashedPasswords):
    """Passwords of which one is changed elsewhere while it is checked."""

    def __init__(self, service: Service, user: User) -> None:
        super().__init__(service.keyring.hash)
        self._service, self._user = service, user

    async def check(self, email: str, password: str, kept: str | None) -> bool:
        right = await super().check(email, password, kept)
        if right:
            service, user = self._service, self._user
            organisation, at = user.organisation, service.now()
            store = open_store(service, "test", organisation, at=at, account=True)
            found = await store.get(User, user.id)
            another = await self.keep(email, "brown kettles whistle too")
            store.put(found.model_copy(update={"passwordHash": another}))
            await store.commit()
        return right


class App:
    """An authenticator app, whose clock the test sets."""

    def __init__(self, page: httpx.Response) -> None:
        found = re.search(r"<code>((?:[A-Z2-7]{4} ?){8})</code>", html.unescape(page.text))
        assert found, page.text
        secret = base64.b32decode(found[1].replace(" ", ""))
        self._shown = TOTP(secret, 6, SHA1(), 30)  # noqa: S303 - what all apps do

    def code(self, backing: Backing, later: int = 0) -> str:
        """Return what it shows, so many steps of half a minute later."""

        async def now(service: Service) -> float:
            return service.now().timestamp()

        return self._shown.generate(int(backing.run(now)) + 30 * later).decode()


def sets_up_app(person: Person, backing: Backing) -> tuple[App, list[str]]:
    """Set up an authenticator app: return it, and the recovery codes."""
    page = person.get("/account/second-factor")
    app = App(page)
    shown = person.submit(page, to="/account/second-factor/app", code=app.code(backing))
    codes = re.findall(r"\b[0-9A-Z]{5}-[0-9A-Z]{5}\b", shown.text)
    assert len(codes) == 10, shown.text
    return app, codes


# --- Passwords -----------------------------------------------------------------------------------


def test_who_knows_the_password_signs_in_and_goes_on_where_they_wanted_to(partner: Partner) -> None:
    user = has_password(partner)
    person = Person(partner.server)
    page = signs_in(person, user.email.upper(), path="/account")
    assert page.url.path == "/account"
    assert user.email in page.text


def test_a_wrong_password_and_an_unknown_address_get_the_same_page(partner: Partner) -> None:
    user = has_password(partner)
    seen = []
    for email, password in ((user.email, "not their password"), (address(), PASSWORD)):
        page = signs_in(Person(partner.server), email, password, 400)
        seen.append(re.sub(r"req_\w+", "", page.text.replace(email, "")))
    assert seen[0] == seen[1]
    assert "The e-mail address or the password is not right." in seen[0]


def test_no_page_repeats_a_password(partner: Partner) -> None:
    page = signs_in(Person(partner.server), address(), "a password of nobody", 400)
    assert "a password of nobody" not in page.text


def test_a_password_that_was_kept_with_less_work_is_kept_anew(partner: Partner) -> None:
    user = has_password(partner)

    async def weaken(service: Service) -> None:
        prepared = service.keyring.hash(f"password {PASSWORD}")
        weak = PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(prepared)
        store = open_store(service, "test", user.organisation, at=service.now(), account=True)
        found = await store.get(User, user.id)
        store.put(found.model_copy(update={"passwordHash": weak}))
        await store.commit()

    partner.backing.run(weaken)
    signs_in(Person(partner.server), user.email)
    kept = stored(partner.backing, user).passwordHash
    assert kept is not None
    assert "$m=19456,t=2,p=1$" in kept
    signs_in(Person(partner.server), user.email)


# --- Too many tries ------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [True, False], ids=["known", "unknown"])
def test_too_many_passwords_of_one_address_are_refused_even_the_right_one(
    partner: Partner, known: bool
) -> None:
    email = has_password(partner).email if known else address()
    person = Person(partner.server)
    for _ in range(SIGN_INS[0].most):
        signs_in(person, email, "not their password", 400)
    page = signs_in(person, email, PASSWORD, 429)
    assert "Try again in 15 minutes." in page.text


def test_tries_at_one_time_are_not_more_than_tries_one_after_the_other(partner: Partner) -> None:
    user = has_password(partner)
    sent = {"email": user.email, "password": "not their password"}
    people = [Person(partner.server) for _ in range(SIGN_INS[0].most + 6)]
    with ThreadPoolExecutor(len(people)) as threads:
        answers = list(threads.map(lambda each: each.post("/sign-in", sent), people))
    statuses = [each.status_code for each in answers]
    assert statuses.count(400) == SIGN_INS[0].most
    assert set(statuses) == {400, 429}


# --- Sessions ------------------------------------------------------------------------------------


def test_a_sign_in_makes_a_session_of_its_own_and_ends_the_one_before(partner: Partner) -> None:
    user = has_password(partner)
    person = Person(partner.server)
    signs_in(person, user.email)
    first = person.cookies[COOKIE]
    page = person.ask("GET", "/sign-in/again")
    person.submit(page, password=PASSWORD)
    assert person.cookies[COOKIE] != first
    thief = Person(partner.server)
    thief.cookies[COOKIE] = first
    assert thief.ask("GET", "/account").headers["location"].startswith("/sign-in")


def test_a_token_that_somebody_else_chose_is_nobodys_session(partner: Partner) -> None:
    user = has_password(partner)
    person = Person(partner.server)

    async def make(service: Service) -> str:
        return service.sessions.make_token()

    chosen = partner.backing.run(make)
    person.cookies[COOKIE] = chosen
    signs_in(person, user.email)
    assert person.cookies[COOKIE] != chosen
    attacker = Person(partner.server)
    attacker.cookies[COOKIE] = chosen
    assert attacker.ask("GET", "/account").status_code == 303


def test_the_cookie_of_a_session_is_for_this_host_alone_and_for_no_script(partner: Partner) -> None:
    user = has_password(partner)
    answer = Person(partner.server).post("/sign-in", {"email": user.email, "password": PASSWORD})
    cookies = answer.headers.get_list("set-cookie")
    assert cookies[0].startswith(f"{COOKIE}=")
    for cookie in cookies:
        assert cookie.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax")


def test_who_signs_out_has_no_session_any_more(partner: Partner) -> None:
    user = has_password(partner)
    person = Person(partner.server)
    page = signs_in(person, user.email)
    token = person.cookies[COOKIE]
    person.submit(page, to="/sign-out")
    assert COOKIE not in person.cookies
    person.cookies[COOKIE] = token
    assert person.ask("GET", "/account").status_code == 303


def test_sessions_are_listed_by_browser_and_can_be_ended(partner: Partner) -> None:
    user = has_password(partner)
    people = [Person(partner.server) for _ in range(3)]
    firefox = {"User-Agent": "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0"}
    for person in people:
        sent = {"email": user.email, "password": PASSWORD}
        person.post("/sign-in", sent, headers=firefox)
    page = people[0].get("/account")
    assert page.text.count("Firefox on Windows</th>") == 2
    assert "this one" in page.text
    left = people[0].submit(page, to="/account/sessions/end")
    assert left.text.count("Firefox on Windows</th>") == 1
    people[0].submit(left, to="/account/sessions/end-others")
    statuses = [person.ask("GET", "/account").status_code for person in people]
    assert statuses == [200, 303, 303]


def test_nobody_ends_the_session_of_somebody_else(partner: Partner) -> None:
    theirs, mine = signed_in(partner), signed_in(partner)

    async def find(service: Service) -> str:
        return str(service.sessions.id_of(theirs.cookies[COOKIE]))

    page = mine.get("/account")
    csrf = re.search(r'name="_csrf" value="(\w+)"', page.text)
    assert csrf
    session = partner.backing.run(find)
    mine.post("/account/sessions/end", {"_csrf": csrf[1], "session": session})
    assert theirs.ask("GET", "/account").status_code == 200


# --- Second factors ------------------------------------------------------------------------------


def test_who_has_a_second_factor_sees_nothing_before_it_is_shown(partner: Partner) -> None:
    user = has_password(partner)
    backing = partner.backing
    first = Person(partner.server)
    signs_in(first, user.email)
    app, _ = sets_up_app(first, backing)
    person = Person(partner.server)
    page = signs_in(person, user.email)
    assert page.url.path == "/sign-in/second-factor"
    for path in ("/", "/test", "/account", "/account/second-factor"):
        led = person.ask("GET", path).headers["location"]
        assert led.startswith("/sign-in/second-factor"), path
    before = person.cookies[COOKIE]
    person.submit(page, 400, code="000000")
    person.submit(page, code=app.code(backing, later=1))
    assert person.get("/account").status_code == 200
    assert person.cookies[COOKIE] != before


def test_a_code_of_an_app_is_taken_once(partner: Partner) -> None:
    user = has_password(partner)
    first = Person(partner.server)
    signs_in(first, user.email)
    app, _ = sets_up_app(first, partner.backing)
    code = app.code(partner.backing, later=1)
    people = [Person(partner.server) for _ in range(3)]
    for person in people:
        signs_in(person, user.email)
    with ThreadPoolExecutor(3) as threads:
        sent = {"code": code}
        answers = list(threads.map(lambda each: each.post("/sign-in/second-factor", sent), people))
    assert sorted(each.status_code for each in answers) == [303, 400, 400]


def test_a_recovery_code_is_taken_once_and_new_ones_end_the_old(partner: Partner) -> None:
    user = has_password(partner)
    first = Person(partner.server)
    signs_in(first, user.email)
    _, codes = sets_up_app(first, partner.backing)

    def shows(code: str, status: int) -> Person:
        person = Person(partner.server)
        page = signs_in(person, user.email)
        person.submit(page, status, code=code)
        return person

    person = shows(codes[0].lower().replace("-", " "), 200)
    shows(codes[0], 400)
    page = person.get("/account/second-factor")
    assert "9 of your recovery codes are left" in page.text
    person.submit(page, to="/account/second-factor/codes")
    shows(codes[1], 400)


def test_too_many_second_factors_are_refused_even_the_right_one(partner: Partner) -> None:
    user = has_password(partner)
    first = Person(partner.server)
    signs_in(first, user.email)
    app, _ = sets_up_app(first, partner.backing)
    person = Person(partner.server)
    page = signs_in(person, user.email)
    for _ in range(SECOND_FACTORS[0].most):
        page = person.submit(page, 400, code="000000")
    person.submit(page, 429, code=app.code(partner.backing, later=1))


def test_live_data_is_for_who_has_shown_a_second_factor(partner: Partner) -> None:
    partner.live()
    user = has_password(partner)
    person = Person(partner.server)
    signs_in(person, user.email)
    assert person.get("/live").url.path == "/account/second-factor"
    sets_up_app(person, partner.backing)
    assert person.get("/live").url.path == "/live"


def test_the_last_second_factor_takes_the_recovery_codes_with_it(partner: Partner) -> None:
    user = has_password(partner)
    person = Person(partner.server)
    signs_in(person, user.email)
    sets_up_app(person, partner.backing)
    page = person.get("/account/second-factor")
    person.submit(page, to="/account/second-factor/remove")
    assert stored(partner.backing, user).factors.recoveryCodes == []
    assert signs_in(Person(partner.server), user.email).url.path == "/test"


def test_second_factors_are_changed_by_who_has_just_signed_in_alone(partner: Partner) -> None:
    user = has_password(partner)
    person = Person(partner.server)
    person.cookies[COOKIE] = begin_session(
        partner.backing, user, second_factor=False, ago=timedelta(minutes=6)
    )
    page = person.get("/account/second-factor")
    assert page.url.path == "/sign-in/again"
    person.submit(page, 400, password="not their password")
    assert person.submit(page, password=PASSWORD).url.path == "/account/second-factor"


def test_a_session_that_was_ended_elsewhere_gets_no_second_factor(partner: Partner) -> None:
    """It is believed for some seconds; what it would begin outlives them."""
    person = signed_in(partner, second_factor=False)
    person.enter(InProcess(partner.backing, partner.key))
    page = person.get("/account/second-factor")
    before = person.cookies[COOKIE]
    end_session(partner.backing, person)
    code = App(page).code(partner.backing)
    person.submit(page, 404, to="/account/second-factor/app", code=code)
    assert person.cookies[COOKIE] == before
    assert not stored(partner.backing, person.user).second_factor


def test_who_removes_a_second_factor_is_signed_out_everywhere_else(partner: Partner) -> None:
    """Who has the phone that was lost may have signed in with it."""
    user = has_password(partner)
    person, finder = Person(partner.server), Person(partner.server)
    signs_in(person, user.email)
    app, _ = sets_up_app(person, partner.backing)
    finder.submit(signs_in(finder, user.email), code=app.code(partner.backing, later=1))
    page = person.get("/account/second-factor")
    person.submit(page, to="/account/second-factor/remove")
    assert [each.ask("GET", "/account").status_code for each in (person, finder)] == [200, 303]


# --- Passwords that change -----------------------------------------------------------------------


def test_another_password_ends_all_other_sessions(partner: Partner) -> None:
    user = has_password(partner)
    person, elsewhere = Person(partner.server), Person(partner.server)
    signs_in(elsewhere, user.email)
    signs_in(person, user.email)
    page = person.get("/account")
    person.submit(page, 400, current="not it", password="brown kettles whistle too")
    refused = person.submit(page, 400, current=PASSWORD, password="password12345")
    assert "among the first that would be guessed" in refused.text
    person.submit(page, current=PASSWORD, password="brown kettles whistle too")
    assert person.ask("GET", "/account").status_code == 200
    assert elsewhere.ask("GET", "/account").status_code == 303
    signs_in(Person(partner.server), user.email, PASSWORD, 400)
    signs_in(Person(partner.server), user.email, "brown kettles whistle too")


@pytest.mark.parametrize("path", ["/sign-in", "/sign-in/again"])
def test_a_password_that_is_changed_while_it_is_checked_opens_no_session(
    partner: Partner, path: str
) -> None:
    user = has_password(partner)
    person = Person(partner.server)
    signs_in(person, user.email)
    if path == "/sign-in":
        person.cookies.clear()
    api = InProcess(partner.backing, partner.key)
    person.enter(api)
    page = person.get(path)
    api._service = replace(api._service, passwords=Changing(api._service, user))
    typed = {"email": user.email} if path == "/sign-in" else {}
    person.submit(page, 400, password=PASSWORD, **typed)


def test_who_forgot_the_password_chooses_another_and_keeps_the_second_factor(
    partner: Partner,
) -> None:
    user = has_password(partner)
    elsewhere = Person(partner.server)
    signs_in(elsewhere, user.email)
    sets_up_app(elsewhere, partner.backing)
    person = Person(partner.server)
    for _ in range(2):
        asked = person.submit(person.get("/forgotten"), email=user.email)
        assert asked.url.path == "/mail"
    code = code_for(partner.backing, PasswordReset, user.email)
    page = person.submit(person.get("/reset"), code=code, password="brown kettles whistle too")
    assert page.url.path == "/sign-in/second-factor"
    assert elsewhere.ask("GET", "/account").status_code == 303
    again = Person(partner.server)
    again.submit(again.get("/reset"), 400, code=code, password="red kettles whistle as well")
    signs_in(Person(partner.server), user.email, PASSWORD, 400)


def test_an_address_that_only_folds_to_another_is_not_the_same(partner: Partner) -> None:
    """`straße.example` is somebody else's domain, whose mail must open no account."""
    own = address()
    theirs, alike = (own.replace("north", each) for each in ("strasse", "straße"))
    user_of(partner.backing, partner.organisation.id, email=theirs)
    person = Person(partner.server)
    person.submit(person.get("/forgotten"), email=alike)
    code = code_for(partner.backing, PasswordReset, alike)
    person.submit(person.get("/reset"), 400, code=code, password="brown kettles whistle too")


def test_who_signs_in_at_the_moment_of_a_reset_is_signed_out_by_it(partner: Partner) -> None:
    user = has_password(partner)
    thief, owner = Person(partner.server), Person(partner.server)
    owner.submit(owner.get("/forgotten"), email=user.email)
    code = code_for(partner.backing, PasswordReset, user.email)
    # What signing in writes is held back until the reset is about to be committed.
    slow, server = (InProcess(partner.backing, partner.key) for _ in range(2))
    held: list[Write] = []

    async def hold(writes: Sequence[Write], marker: Key) -> None:
        held.extend(each for each in writes if each.key.collection in ("sessions", "users"))

    slow.watched.commit = hold  # type: ignore[method-assign]  # of this one instance
    thief.enter(slow)
    sent = {"email": user.email, "password": PASSWORD}
    assert thief.post("/sign-in", sent).status_code == 303
    owner.enter(server)
    # The new session first: a rival's first write marks its commit.
    server.watched.rival = sorted(held, key=lambda each: each.key.collection)
    answer = owner.post("/reset", {"code": code, "password": "brown kettles whistle too"})
    assert not server.watched.rival
    assert len(answer.headers.get_list("location")) == 1
    cookies = [each.partition("=")[0] for each in answer.headers.get_list("set-cookie")]
    assert len(set(cookies)) == len(cookies)
    thief.enter(partner.server)
    assert thief.ask("GET", "/account").status_code == 303


def test_who_asks_for_a_new_password_learns_not_who_is_here(partner: Partner) -> None:
    user = has_password(partner)
    seen = []
    for email in (user.email, address()):
        person = Person(partner.server)
        page = person.submit(person.get("/forgotten"), email=email)
        seen.append(re.sub(r"req_\w+", "", page.text))
    assert seen[0] == seen[1]
