"""Accounts where several instances serve: what one changed counts on the others, and in time."""

from collections.abc import Sequence
from datetime import datetime

from shared.backends import Key, UnavailableError, Write
from shared.joining import SignUp, by_code, prepare
from shared.provision import open_store
from shared.service import Service
from shared.sessions import COOKIE
from shared.settings import LONGEST_BELIEF
from shared.throttles import SIGN_INS
from tests.support.inprocess import Watched
from tests.support.instance import Instance
from tests.support.joining import PASSWORD, address, code_for, shown_key, signs_up
from tests.support.people import Person, begin_session, user_of
from tests.support.serving import PATIENT, Backing, Partner


def enters(instance: Instance, token: str) -> Person:
    person = Person(instance)
    person.cookies[COOKIE] = token
    return person


def test_a_session_that_is_ended_elsewhere_stops_within_fifteen_seconds(partner: Partner) -> None:
    user = user_of(partner.backing, partner.organisation.id)
    token, other = (begin_session(partner.backing, user) for _ in range(2))
    here, there = Instance(partner.backing), Instance(partner.backing)
    person = enters(here, token)
    assert person.ask("GET", "/account").status_code == 200
    boss = enters(there, other)
    boss.submit(boss.get("/account"), to="/account/sessions/end-others")
    here.api.elapsed += LONGEST_BELIEF
    assert person.ask("GET", "/account").status_code == 303


def test_another_role_counts_within_fifteen_seconds_on_every_instance(partner: Partner) -> None:
    backing, organisation = partner.backing, partner.organisation.id
    boss, user = user_of(backing, organisation), user_of(backing, organisation)
    here, there = Instance(backing), Instance(backing)
    person = enters(here, begin_session(backing, user))
    assert person.ask("GET", "/team").status_code == 200
    administrator = enters(there, begin_session(backing, boss))
    page = administrator.get(f"/team/{user.id}")
    administrator.submit(page, to=f"/team/{user.id}/role", role="member")
    here.api.elapsed += LONGEST_BELIEF
    assert person.ask("GET", "/team").status_code == 403


def test_tries_on_several_instances_are_counted_together(partner: Partner) -> None:
    instances = [Instance(partner.backing) for _ in range(3)]
    sent = {"email": address(), "password": "not their password"}
    statuses = [
        Person(instances[number % 3]).post("/sign-in", sent).status_code
        for number in range(SIGN_INS[0].most + 2)
    ]
    assert statuses == [400] * SIGN_INS[0].most + [429] * 2


def test_tries_that_were_too_many_are_forgotten_after_their_time(partner: Partner) -> None:
    instance = Instance(partner.backing)
    sent = {"email": address(), "password": "not their password"}
    for _ in range(SIGN_INS[0].most):
        Person(instance).post("/sign-in", sent)
    assert Person(instance).post("/sign-in", sent).status_code == 429
    instance.api.at = partner.backing.run(_now) + SIGN_INS[0].within
    assert Person(instance).post("/sign-in", sent).status_code == 400


async def _now(service: Service) -> datetime:
    return service.now()


# --- Signing up over two spaces ------------------------------------------------------------------


def test_a_sign_up_that_was_cut_short_is_healed_by_confirming_again(backing: Backing) -> None:
    instance = Instance(backing)
    email = address()
    signs_up(Person(instance), email)
    code = code_for(backing, SignUp, email)

    async def half(service: Service) -> None:
        store = open_store(service, "test", "ally", at=service.now(), account=True)
        wish = await by_code(store, service.keyring, SignUp, code)
        assert wish is not None
        await service.keyring.issue("test", wish.organisation, wish.key)  # and then it crashed
        await prepare(service, wish)  # and this crashed right after

    backing.run(half)
    person = Person(instance)
    page = person.submit(person.get("/confirm"), code=code, password=PASSWORD)
    instance.api.key = shown_key(page)
    assert instance.api.call("POST", "/v1/patients", json=PATIENT)
    names = [each["name"] for each in instance.api.call("GET", "/v1/tasks")["data"]]
    assert len(names) == len(set(names)) > 0


def test_who_confirms_where_the_storage_fails_can_do_so_once_it_works(backing: Backing) -> None:
    instance = Instance(backing)
    email = address()
    person = Person(instance)
    signs_up(person, email)
    sent = {"code": code_for(backing, SignUp, email), "password": PASSWORD}
    instance.api.watched.failing = {"commit": UnavailableError("not now")}
    assert person.post("/confirm", sent).status_code == 503
    instance.api.watched.failing = {}
    assert person.post("/confirm", sent).status_code == 303
    assert person.post("/confirm", sent).status_code == 400


def test_nobody_takes_what_another_request_did_for_what_their_own_did(backing: Backing) -> None:
    """The document that tells whether a commit took effect is one that no other makes."""
    slow, fast = Instance(backing), Instance(backing)
    email = address()
    signs_up(Person(slow), email)
    sent = {"code": code_for(backing, SignUp, email), "password": PASSWORD}
    markers: list[Key] = []

    async def lose(writes: Sequence[Write], marker: Key) -> None:
        if any(write.key.collection == "logins" for write in writes):
            markers.append(marker)
            raise UnavailableError("lost")
        await Watched.commit(slow.api.watched, writes, marker)

    slow.api.watched.commit = lose  # type: ignore[method-assign]  # of this one instance
    assert Person(slow).post("/confirm", sent).status_code == 503
    assert Person(fast).post("/confirm", sent).status_code == 303
    assert backing.run(lambda service: service.storage.get(markers)) == [None]
