"""Joining: from an e-mail address to the first call, and nobody learns who else is there."""

from functions import demo
from shared.joining import InvitationCode, PasswordReset, SignUp
from tests.support.joining import (
    PASSWORD,
    address,
    code_for,
    ends,
    invitation_code,
    joins,
    shown_key,
    signs_up,
)
from tests.support.people import Person, signed_in, user_of
from tests.support.serving import PATIENT, Backing, Partner, Server


def test_who_signs_up_and_confirms_makes_a_call_with_the_key_that_is_shown(
    backing: Backing, server: Server
) -> None:
    _, page = joins(backing, server)
    made = server.send("POST", "/v1/patients", shown_key(page), json=PATIENT)
    assert made.status_code == 200
    tasks = server.send("GET", "/v1/tasks", shown_key(page)).json()["data"]
    assert tasks


def test_a_code_of_a_sign_up_is_taken_once(backing: Backing, server: Server) -> None:
    email = address()
    signs_up(Person(server), email)
    code = code_for(backing, SignUp, email)
    person = Person(server)
    person.submit(person.get("/confirm"), code=code, password=PASSWORD)
    page = person.submit(person.get("/confirm"), 400, code=code, password=PASSWORD)
    assert "no longer works" in page.text


def test_a_code_is_taken_until_its_time_is_over(partner: Partner) -> None:
    backing, person = partner.backing, Person(partner.server)
    newcomer, invited = address(), address()
    user = user_of(backing, partner.organisation.id)
    signs_up(person, newcomer)
    person.submit(person.get("/forgotten"), email=user.email)
    admin = signed_in(partner)
    admin.submit(admin.get("/team/invite"), email=invited, role="member")
    for model, path, code in (
        (SignUp, "/confirm", code_for(backing, SignUp, newcomer)),
        (PasswordReset, "/reset", code_for(backing, PasswordReset, user.email)),
        (
            InvitationCode,
            "/invitation",
            invitation_code(backing, partner.organisation.id, invited),
        ),
    ):
        ends(backing, model, code)
        typed = {"name": "Jo Marsh"} if model is InvitationCode else {}
        page = person.submit(person.get(path), 400, code=code, password=PASSWORD, **typed)
        assert "no longer works" in page.text


def test_a_newcomer_finds_an_administrator_of_the_demo_organisation_who_can_sign_in(
    backing: Backing, server: Server, partner: Partner
) -> None:
    def told() -> str:
        return backing.run(lambda service: demo.demo_password(service, partner.organisation.id))

    password = told()
    assert told() == password != ""
    person = Person(server)
    person.submit(person.get("/sign-in"), email=demo.EMAIL, password=password)
    page = person.get("/account")
    assert "Administrator" in page.text
    person.submit(page, current=password, password=PASSWORD)
    assert told() == ""
