"""Coming in by a mail, for tests: the codes that were written, and who got in."""

import html
import re

import httpx

from shared import codes
from shared.backends import OURS, Query
from shared.joining import Coded, Invitation, InvitationCode, SignUp
from shared.provision import open_store
from shared.service import Service
from tests.support.people import Person
from tests.support.serving import Backing, Server

PASSWORD = "seven green kettles whistle"
ORGANISATION = "Northfield Care"
_numbers = iter(range(1_000_000))


def address() -> str:
    """Return an address that nobody has used."""
    return f"jo{next(_numbers)}.marsh@northfield.example"


def code_for(backing: Backing, model: type[Coded], email: str) -> str:
    """Return the code that was written to an address last."""

    async def read(service: Service) -> str:
        query = Query("account", OURS, model.collection, limit=10_000)
        found = [each.data for each in await service.storage.query(query)]
        newest = max((each for each in found if each["email"] == email), key=_at)
        return codes.write(service.keyring.hash, model.purpose, newest["id"])

    return backing.run(read)


def invitation_code(backing: Backing, organisation: str, email: str) -> str:
    """Return the code of the invitation of an address."""

    async def read(service: Service) -> str:
        query = Query("account", organisation, Invitation.collection, limit=1000)
        found = [each.data for each in await service.storage.query(query)]
        (invitation,) = (each for each in found if each["email"] == email)
        return codes.write(service.keyring.hash, InvitationCode.purpose, invitation["code"])

    return backing.run(read)


def ends(backing: Backing, model: type[Coded], code: str) -> None:
    """Have the time of a code be over."""

    async def age(service: Service) -> None:
        at = service.now()
        store = open_store(service, "test", OURS, at=at, account=True)
        code_id = codes.read(service.keyring.hash, model.purpose, code)
        found = await store.get(model, str(code_id))
        store.put(found.model_copy(update={"until": at}))
        await store.commit()

    backing.run(age)


def _at(data: dict[str, str]) -> str:
    return data["createdAt"]


def signs_up(person: Person, email: str, organisation: str = ORGANISATION) -> httpx.Response:
    """Ask for an account."""
    page = person.get("/sign-up")
    return person.submit(page, name="Jo Marsh", organisation=organisation, email=email)


def joins(backing: Backing, server: Server, email: str = "") -> tuple[Person, httpx.Response]:
    """Sign up and confirm: return the newcomer, and the page that they see then."""
    person = Person(server)
    email = email or address()
    signs_up(person, email)
    code = code_for(backing, SignUp, email)
    page = person.submit(person.get("/confirm"), code=code, password=PASSWORD)
    return person, page


def shown_key(page: httpx.Response) -> str:
    """Return the key in the call that a page shows."""
    found = re.search(r"Authorization: (test_[0-9A-Za-z.]+)", html.unescape(page.text))
    assert found, page.text
    return found[1]
