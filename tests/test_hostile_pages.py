"""Hostile pages: whatever somebody who was let in sends to which page, nothing fails of it."""

import json
import os
import random
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from functions import discover_portals
from shared.models import Model
from shared.portals import Portal
from shared.routes import Route
from tests.conftest import BACKENDS
from tests.support.inprocess import InProcess
from tests.support.people import Person, forms, signed_in
from tests.support.scale import SEED
from tests.support.serving import Json, Partner
from tests.support.staff import staff
from tests.support.tour import FILES, Tour

SHARE = int(os.environ.get("ALLY_HOSTILE", "400")) // len(BACKENDS)
"""Requests that each backend is sent."""
MISSING = {"window": "win_0", "invitation": "inv_0"}
"""What the pages of a tour do not name."""
WITH_FORM = {"dashboard": "/account", "operations": "/test/coverage"}
"""A page of each portal that has a form."""
ENDING = ("/sign-out", "/sign-in/again")
"""What would end the attacker's own session."""
TEXTS = [
    *("", "x", "w" * 300, "é", "\0", "\r\nX: y", "\u202e", "\ufeff", "😀", "²", "१२३४५६", "=1+1"),
    *("[", "//[", "http://[", "//\u2100.example", "..", "a/b", "a/b/c/d", "__x__", "a[b", "0" * 64),
    *("0", "-1", "9" * 20, "1e999", "true", "null", "1d", "90d", "GET /v1/patients", "end-users"),
    *("0001-01-01", "9999-12-31", "2389-12-31T23:59:59-23:59", "1970-01-01T00:00:00+23:59"),
    *('createdAt>="2389-12-31"', "0.0.0.0/0\n::/0", "ü@bücher.example", "K7QD-M3XP-9V2B-T6WN"),
    *("route", "status", "test", "live", "account", "app", "approve", "write", "administrator"),
]
TREES: list[Any] = [
    *(None, True, 0, -1, 1.5, 1e308, [], {}, [[]], [{}], {"a": 1}, {"0": "x"}, ["x", 1, None]),
    *({"*": "write"}, {"a": {"b": []}}),
]
SEGMENTS = ["a%2Fb", "..", "%00", "%ff", "%0d%0aX:y", "x" * 1500, "new", "live"]
PORTALS = [portal for portal in discover_portals() if portal.name in WITH_FORM]
ROUTES = [
    (portal, route)
    for portal in PORTALS
    for route in portal.routes
    if route.template not in (*FILES, *ENDING)
]


class Attack:
    """Sends to pages what chance makes up, as an administrator and as a member of staff."""

    def __init__(self, partner: Partner) -> None:
        self.chance = random.Random(SEED)
        self._partner = partner
        self._instance = InProcess(partner.backing, partner.key)
        self._tour = Tour(partner)
        self._people: dict[str, tuple[Person, str]] = {}
        self._known = [partner.create_patient()["id"], partner.book()["id"], partner.api_key.id]

    def _person(self, portal: Portal) -> tuple[Person, str]:
        """Return somebody who has been let in, and what their forms are known by."""
        if portal.name not in self._people:
            partner = self._partner
            person = signed_in(partner) if portal.name == "dashboard" else staff(partner.server)
            person.enter(self._instance, portal.name)
            page = person.get(WITH_FORM[portal.name])
            fields = next(each.fields for each in forms(page) if "_csrf" in each.names)
            self._people[portal.name] = person, dict(fields)["_csrf"]
        return self._people[portal.name]

    def send(self, portal: Portal, route: Route) -> str:
        """Send something, and return what was sent if it failed."""
        person, csrf = self._person(portal)
        path = re.sub(r"{(\w+)}", lambda found: self._segment(found[1]), route.template)
        query = dict(self._typed([*route.query.model_fields, "next", "said"], 0.3))
        path += f"?{urlencode(query)}" if query else ""
        sent: Json = {}
        if route.method == "GET":
            answer = person.ask(self.chance.choice(["GET", "HEAD"]), path)
        elif self.chance.random() < 0.5:
            sent = {"_csrf": csrf, **dict(self._typed(_names(route.body), 0.8))}
            answer = person.post(path, sent)
        else:
            trees = {name: self.chance.choice(TREES) for name in route.body.model_fields}
            sent = {**trees, **dict(self._typed([*trees, "_once"], 0.5)), "_csrf": csrf}
            answer = person.ask("POST", path, json=sent)
        if answer.headers.get("location", "").startswith("/sign-in"):
            del self._people[portal.name]
        return f"{path} {json.dumps(sent)}" if answer.status_code >= 500 else ""

    def _typed(self, names: list[str], often: float) -> Iterator[tuple[str, str]]:
        for name in names:
            if self.chance.random() < often:
                yield name, self.chance.choice(TEXTS + self._known)

    def _segment(self, noun: str) -> str:
        if self.chance.random() < 0.15:
            return self.chance.choice(SEGMENTS)
        if noun == "mode":
            return self.chance.choice(["test", "live"])
        return MISSING.get(noun) or self._tour.path(f"{{{noun}}}")


def _names(model: type[Model]) -> list[str]:
    """Return what a form of a model may be sent with, and brackets that it knows nothing of."""
    return [f"{name}{inner}" for name in model.model_fields for inner in ("", "[]", "[0]", "[x]")]


@pytest.mark.timeout(3600)
def test_no_page_fails_of_what_is_sent_to_it(partner: Partner) -> None:
    partner.live()
    attack = Attack(partner)
    sent = (attack.send(*attack.chance.choice(ROUTES)) for _ in range(SHARE))
    assert [each for each in sent if each] == [], SEED
