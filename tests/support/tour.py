"""A tour of all pages of the portals: where each is, for an organisation that has one of each."""

import re
from collections.abc import Callable
from functools import cached_property
from typing import Any

from functions import discover_portals
from shared import ids
from shared.portals import Portal
from shared.routes import PUBLIC, Route
from tests.support.people import Person, signed_in
from tests.support.serving import Partner
from tests.support.staff import staff
from tests.support.waiting import until

PLACEHOLDER = re.compile(r"{(\w+)}")
FILES = ("/assets/{name}", "/{mode}/usage/tables/{figure}")
"""What is read and is no page."""
IN_LIVE = ("/{mode}/windows",)
"""What has something to show in live mode alone."""


def pages(portal: Portal) -> list[Route]:
    """Return the routes of a portal that are looked at."""
    return [
        route for route in portal.routes if route.method == "GET" and route.template not in FILES
    ]


PAGES = [(portal.name, route.template) for portal in discover_portals() for route in pages(portal)]
"""The portal and the template of every page."""


class Tour:
    """Somebody who may see every page, of an organisation that has something on each."""

    def __init__(self, partner: Partner) -> None:
        self.partner = partner
        self.user: dict[str, Any] = {}
        """What the administrator is called, where that matters."""
        self._found: dict[str, str] = {}

    @cached_property
    def administrator(self) -> Person:
        """An administrator who has just signed in with a second factor."""
        return signed_in(self.partner, **self.user)

    @cached_property
    def staff(self) -> Person:
        """A member of Ally's staff."""
        return staff(self.partner.server)

    def visitor(self, portal: str, template: str) -> Person:
        """Return who looks at a page."""
        public = any(
            route.permission == PUBLIC
            for each in discover_portals()
            if each.name == portal
            for route in each.routes
            if route.template == template
        )
        if public:
            return Person(self.partner.server, portal)
        return self.staff if portal == "operations" else self.administrator

    def path(self, template: str) -> str:
        """Return where a page is that is described by a template."""
        if template in IN_LIVE:
            self.partner.live_window(days_ahead=0, hour=23)
            template = template.replace("{mode}", "live")
        return PLACEHOLDER.sub(lambda found: self._named(found[1]), template)

    def _named(self, noun: str) -> str:
        if noun not in self._found:
            make = self._makers.get(noun)
            assert make is not None, f"say here which {noun} there is to look at"
            self._found[noun] = make()
        return self._found[noun]

    @property
    def _makers(self) -> dict[str, Callable[[], str]]:
        """What makes or finds what a path names."""
        return {
            "mode": lambda: "test",
            "step": lambda: "task",
            "patient": lambda: str(self.partner.create_patient(lastName="W" * 100)["id"]),
            "appointment": lambda: str(self.partner.book()["id"]),
            "task": lambda: str(self.partner.task()["id"]),
            "request": lambda: str(self.partner.logged_request()["id"]),
            "api_key": lambda: self.partner.api_key.id,
            "user": lambda: self.administrator.user.id,
            "organisation": lambda: self.partner.organisation.id,
            "mail": self._mail,
        }

    def _mail(self) -> str:
        """Make somebody ask for a mail, and return the name of the first that the mailbox lists."""
        person = Person(self.partner.server)
        # Each tour of a server by an address of its own: one is sent three mails at most at once.
        email = f"{ids.scatter('nobody')}@example.org".lower()
        person.submit(person.get("/forgotten"), email=email)
        mailbox = Person(self.partner.server, "mailbox")

        def mails() -> list[str]:
            return re.findall(r'href="/mails/([^"]+)"', mailbox.get("/").text)

        until(mails, "no mail comes")
        return mails()[0]
