"""What tests of the pages of care have in common: the steps of a booking, and what a page says."""

import re
from datetime import date, datetime, timedelta

import httpx

from shared.clock import london_day
from shared.service import Service
from tests.support.inprocess import InProcess, _client
from tests.support.people import Person, forms, signed_in
from tests.support.serving import ADDRESS, PATIENT, Json, Partner

TYPED = {**PATIENT, **{f"address__{name}": text for name, text in ADDRESS.items()}}
"""What is typed into the form of a patient."""
NOTE = "<script>alert(1)</script>"


def shown(page: httpx.Response) -> str:
    """Return what a page's main part says, without its tags."""
    main = page.text.partition("<main")[2].partition("</main>")[0]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", main))


def links(page: httpx.Response, beginning: str) -> list[str]:
    """Return where a page's main part leads, of what begins so."""
    main = page.text.partition("<main")[2]
    found = re.findall(r'href="([^"]+)"', main)
    return [each.replace("&amp;", "&") for each in found if each.startswith(beginning)]


def press(person: Person, page: httpx.Response, path: str, **typed: str) -> httpx.Response:
    """Press a button that sends the form with a step's fields to another page than the form's."""
    (form,) = (each for each in forms(page) if "taskId" in each.names)
    return person.post(path, {**dict(form.fields), **typed})


def draft(person: Person, patient: Json, task: Json, **typed: str) -> httpx.Response:
    """Go through the steps of a new appointment as far as its windows."""
    where = person.get(f"/test/booking?patientId={patient['id']}&taskId={task['id']}")
    fields = {f"location__address__{name}": text for name, text in ADDRESS.items()}
    return person.submit(where, to="/test/booking/window", **{**fields, **typed})


def booked(person: Person, page: httpx.Response, window: Json, status: int = 200) -> httpx.Response:
    """Choose a window, check the appointment and make it."""
    check = person.submit(page, to="/test/booking/check", windowId=window["id"])
    return person.submit(check, status, to="/test/booking/confirm")


class Visitor:
    """A member of an organisation, and a key of it, in this process."""

    def __init__(self, partner: Partner) -> None:
        self.api = InProcess(partner.backing, partner.key)
        self._backing = partner.backing
        self._cookies = signed_in(partner, "member").cookies

    def open(self, path: str) -> httpx.Response:
        """Open a page."""
        cookies = "; ".join(f"{name}={text}" for name, text in self._cookies.items())
        return self._send(path, {"Host": "dashboard.localhost", "Cookie": cookies})

    def call(self, path: str) -> httpx.Response:
        """Call the API."""
        return self._send(path, {"Authorization": str(self.api.key)})

    def _send(self, path: str, headers: dict[str, str]) -> httpx.Response:
        async def act(_: Service) -> httpx.Response:
            with self.api._served():
                async with _client() as client:
                    return await client.get(path, headers=headers)

        return self._backing.run(act)


async def now_of(service: Service) -> datetime:
    """Return the moment of a service's clock."""
    return service.now()


async def today_of(service: Service) -> date:
    """Return the day in London."""
    return london_day(service.now())


def in_days(partner: Partner, number: int) -> date:
    """Return the day in London so many days from now."""
    return partner.backing.run(today_of) + timedelta(days=number)
