"""What a stranger can learn of who has an account: nothing, by no text and by no work that is done.

Work is counted, not timed: what the storage is asked, and how often argon2 is computed.
"""

from collections.abc import Callable

import argon2
import pytest

from shared import running
from shared.backends import OURS, Put, Query
from shared.jobs import Job
from shared.joining import SignUp
from shared.mail import Addressed, Mail
from shared.service import Service
from shared.users import User
from tests.support.instance import Instance
from tests.support.joining import PASSWORD, address
from tests.support.people import Person, user_of
from tests.support.serving import Backing, Partner

Visit = Callable[[Person, str], int]


def signs_in(person: Person, email: str) -> int:
    sent = {"email": email, "password": "not their password"}
    return person.post("/sign-in", sent).status_code


def forgets(person: Person, email: str) -> int:
    return person.post("/forgotten", {"email": email}).status_code


def signs_up(person: Person, email: str) -> int:
    sent = {"name": "Jo Marsh", "organisation": "Northfield Care", "email": email}
    return person.post("/sign-up", sent).status_code


def known(partner: Partner) -> User:
    email = address()

    async def keep(service: Service) -> str:
        return await service.passwords.keep(email, PASSWORD)

    kept = partner.backing.run(keep)
    return user_of(partner.backing, partner.organisation.id, email=email, passwordHash=kept)


@pytest.mark.parametrize("visit", [signs_in, forgets, signs_up])
def test_the_same_work_is_done_for_an_address_that_has_an_account_and_one_that_has_none(
    partner: Partner, visit: Visit, monkeypatch: pytest.MonkeyPatch
) -> None:
    computed: list[int] = []
    verify = argon2.PasswordHasher.verify

    def counted(self: argon2.PasswordHasher, kept: str, password: str) -> bool:
        computed.append(self.memory_cost)
        return verify(self, kept, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", counted)
    user = known(partner)
    instance = Instance(partner.backing)
    watched = instance.api.watched
    seen = []
    for email in (address(), user.email, address()):
        computed.clear()
        watched.forget()
        status = visit(Person(instance), email)
        puts = sorted(each.key.collection for each in watched.writes if isinstance(each, Put))
        asked = [query.collection for query, _ in watched.queries]
        seen.append((status, list(computed), list(watched.gets), asked, watched.commits[:], puts))
    assert seen[0] == seen[1] == seen[2]
    assert len(seen[0][1]) == (visit is signs_in)


def letters_of(backing: Backing, email: str) -> list[str]:
    """Do the jobs of whoever signed up with an address, and return what is written to it."""

    async def read(service: Service) -> list[str]:
        found = await service.storage.query(Query("account", OURS, SignUp.collection, 10_000))
        wishes = {each.key.id for each in found if each.data["email"] == email}
        jobs = await service.storage.query(Query("account", OURS, Job.collection, 10_000))
        for job in (Job.load(each.data) for each in jobs):
            if job.payload.get("id") in wishes:
                await running.run(service, "account", job.id)
        mails = await service.storage.query(Query("account", OURS, Mail.collection, 10_000))
        written = [
            Addressed.model_validate_json(
                service.keyring.unseal("mail", Mail.load(each.data).sealed)
            )
            for each in mails
        ]
        return [each.letter.subject for each in written if each.to == email]

    return backing.run(read)


def test_the_mail_alone_says_whether_an_address_has_an_account(partner: Partner) -> None:
    user, stranger = known(partner), address()
    instance = Instance(partner.backing)
    subjects = []
    for email in (user.email, stranger):
        signs_up(Person(instance), email)
        subjects.append(letters_of(partner.backing, email))
    assert subjects == [["You already have an Ally account"], ["Confirm your e-mail address"]]
