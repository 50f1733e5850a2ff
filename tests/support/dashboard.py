"""What pages of the dashboard say, and what is put there for them to say."""

import re
from datetime import timedelta
from pathlib import Path

import httpx

from shared.provision import open_store
from shared.service import Service
from shared.sessions import COOKIE
from shared.users import Session
from tests.support.inprocess import InProcess
from tests.support.log_sink import push_of
from tests.support.people import Person
from tests.support.serving import Json, Partner

SECRET = re.compile(r"(?:test|live)_[0-9A-Za-z]{24}\.[0-9A-Za-z]{30}")
"""A secret key, as a page shows it."""


def text(page: httpx.Response) -> str:
    """Return what a page says, without its marks."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page.text))


def secret_of(page: httpx.Response) -> str:
    """Return the key that a page shows."""
    found: set[str] = set(SECRET.findall(page.text))
    assert len(found) == 1, found
    return found.pop()


def wrong(page: httpx.Response) -> dict[str, str]:
    """Return what a page says beside each field, by the field's name."""
    found = re.findall(r'<p class="error" id="f-([\w-]+)-error">([^<]+)</p>', page.text)
    return dict(found)


def older(page: httpx.Response) -> str:
    """Return the address of what a list goes on with."""
    (found,) = re.findall(r'rel="next" href="([^"]+)"', page.text)
    return str(found).replace("&amp;", "&")


def kept(partner: Partner, *lines: Json) -> list[str]:
    """Have requests be in the log, and return their ids."""
    api = InProcess(partner.backing, partner.key)
    assert set(api.push(push_of(line) for line in lines)) == {200}
    return [line["requestId"] for line in lines]


def listed(page: httpx.Response) -> list[str]:
    """Return the ids of the requests that a page lists, in its order."""
    return re.findall(r'<th scope="row"><a href="/\w+/requests/(req_\w+)"', page.text)


def written(partner: Partner) -> str:
    """Return all that was written to the log."""
    return Path(partner.backing.environment["ALLY_LOG"]).read_text()


def an_hour_later(partner: Partner, person: Person) -> Person:
    """Return who signed in an hour ago, at an instance that has not heard of them yet."""

    async def age(service: Service) -> None:
        store = open_store(service, "test", partner.organisation.id, at=service.now(), account=True)
        session_id = service.sessions.id_of(person.cookies[COOKIE])
        found = await store.get(Session, str(session_id))
        earlier = found.authenticatedAt - timedelta(hours=1)
        store.put(found.model_copy(update={"authenticatedAt": earlier}))
        await store.commit()

    partner.backing.run(age)
    late = Person(InProcess(partner.backing, partner.key))
    late.cookies = person.cookies
    return late
