"""Programs of two organisations in two modes, run in process on a clock that the test sets."""

import json
import re
import secrets
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

from shared import ids
from shared.backends import OURS
from shared.issuing import draw
from shared.organisations import Organisation
from shared.provision import ADMINISTRATOR, keep
from shared.scheduling import Window
from shared.service import Service
from shared.settings import Mode
from shared.tasks import Task, standard_tasks
from tests.support.inprocess import InProcess
from tests.support.log_sink import push_of, taken
from tests.support.serving import ADDRESS, PATIENT, PREFIXES, REASON, Backing, Json

Who = Literal["observer", "sibling", "stranger", "far stranger", "ada", "grace"]
"""The observer; its organisation in the other mode; another organisation, in either mode; and two
end users of the observer's front end, where there is one."""
PLACES: Mapping[bool, tuple[str, str]] = {
    True: ("central-london", "SW1A 1AA"),
    False: ("manchester", "M1 1AE"),
}
"""Where each one's patients live. In live mode windows are everybody's, and in test mode all of an
organisation, and each shows how many places remain, by design; so those who are not to see each
other live in different areas."""

_BEGINNING = datetime(2027, 3, 1, 9, tzinfo=UTC)
_APART = timedelta(days=22)
"""More than the horizon of windows: no world sees the windows of another."""
_ID = re.compile(r"(?:\b|(?<=%22))(?:org|p|tsk|apt|can|key|win|rsn|req|aud)_[0-9A-Za-z]{22}\b")
"""An id, be it in quotes that a URL escapes."""
_HASH = re.compile(r'"idempotencyKey":"[0-9a-f]{16}"')
"""What the log of requests says by the secret of a backing."""
LOGS = ("/v1/requests", "/v1/audit_events")
"""Lists of what was asked before."""
_SECRET = re.compile(r"\b(?:test|live)_[0-9A-Za-z]{24}\.(?:[0-9A-Za-z]{30}|…[0-9A-Za-z]{4})")


class Wish(NamedTuple):
    """A request, as it would be sent."""

    method: str
    path: str
    params: Json = {}
    body: Json | None = None


class Seen(NamedTuple):
    """What a caller sees of an answer, and what it cost: the class of its time."""

    status: int
    headers: list[tuple[str, str]]
    body: str
    verbs: dict[str, list[Any]]


@dataclass
class Actor:
    """One organisation in one mode, as far as a program knows it."""

    who: Who
    organisation: Organisation
    mode: Mode
    tasks: Sequence[Task]
    key: str = ""
    ids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    @property
    def area(self) -> str:
        return PLACES[self.who in ("observer", "sibling", "ada")][0]

    @property
    def postcode(self) -> str:
        return PLACES[self.who in ("observer", "sibling", "ada")][1]

    @property
    def location(self) -> Json:
        return {"address": {**ADDRESS, "postcode": self.postcode}}

    def learn(self, wish: Wish, answer: Json) -> None:
        """Remember the objects that an answer shows: those made, and the windows on offer."""
        offered = wish.path == "/v1/availability"
        made = wish.method == "POST" and "id" in answer
        for each in answer["data"] if offered else [answer] * made:
            known = self.ids[each["object"]]
            if each["id"] not in known:
                known.append(each["id"])


class Setting:
    """The organisations, tasks and windows that two worlds have in common, under equal ids."""

    _made = 0

    def __init__(self, mode: Mode) -> None:
        self.at = _BEGINNING + _APART * Setting._made
        Setting._made += 1
        self.mode = mode
        self.organisations = [
            Organisation.new(
                at=self.at - timedelta(days=age),
                livemode=False,
                displayName=name,
                activation="active",
            )
            for age, name in enumerate(("Our Health", "Their Health"))
        ]
        other: Mode = "live" if mode == "test" else "test"
        self.modes: dict[Who, Mode] = {
            "observer": mode,
            "sibling": other,
            "stranger": mode,
            "far stranger": other,
        }
        self.tasks = {
            who: [
                task.model_copy(
                    update={
                        "livemode": chosen == "live",
                        "id": ids.mint("tsk", self.at + timedelta(seconds=4 * place + number)),
                    }
                )
                for place, task in enumerate(standard_tasks(self.at))
            ]
            for number, (who, chosen) in enumerate(self.modes.items())
        }
        self.windows = [
            Window(
                id=ids.mint("win", start),
                area=area,
                startAt=start,
                endAt=start + timedelta(hours=2),
                capacity=2,
            )
            for area, _ in PLACES.values()
            for start in (self.at + timedelta(days=1, hours=hour) for hour in range(4))
        ]

    def organisation(self, who: Who) -> Organisation:
        return self.organisations[0 if who in ("observer", "sibling") else 1]


class World:
    """A setting on a backing, and what everybody does in it."""

    def __init__(self, backing: Backing, setting: Setting, **settings: Any) -> None:
        self.setting = setting
        self._api = InProcess(backing, "", **settings)
        self._log = Path(backing.environment["ALLY_LOG"])
        self._folded = self._log.stat().st_size
        self.actors = {
            who: Actor(who, setting.organisation(who), mode, setting.tasks[who])
            for who, mode in setting.modes.items()
        }
        for actor in self.actors.values():
            actor.ids["task"] = [task.id for task in actor.tasks]
            actor.ids["organisation"] = [actor.organisation.id]
        backing.run(self._provide)

    async def _provide(self, service: Service) -> None:
        at = self.setting.at
        for organisation in self.setting.organisations:
            await keep(service, "test", organisation.id, [organisation], at, account=True)
        await keep(service, "live", OURS, self.setting.windows, at)
        for number, actor in enumerate(self.actors.values()):
            owner = actor.organisation.id
            await keep(service, actor.mode, owner, actor.tasks, at)
            made = at + timedelta(seconds=number)
            key = await draw(
                service.keyring, actor.mode, owner, made, name="First", scopes=dict(ADMINISTRATOR)
            )
            await keep(service, actor.mode, owner, [key], made)
            actor.key = str(key.secret)

    def fold(self) -> None:
        """Let what was asked before come to the logs of requests, as it does within seconds.

        Each took the same time there, for clocks are no part of a program.
        """
        with self._log.open("rb") as file:
            file.seek(self._folded)
            written = file.read()
        self._folded += len(written)
        lines = [line for line in map(json.loads, written.splitlines()) if taken(line)]
        messages = [push_of({**line, "milliseconds": 1.0}) for line in lines]
        assert set(self._api.push(messages)) <= {200}

    def act(self, who: Who, wish: Wish, seconds: float, replay_key: str | None = None) -> Seen:
        """Send a request at a moment after the beginning, and tell what its sender sees."""
        actor, api = self.actors[who], self._api
        api.at = self.setting.at + timedelta(hours=1, seconds=seconds)
        api.elapsed = seconds
        api.watched.forget()
        api.secrets.reads = 0
        api.key = actor.key
        answer = api.send(
            wish.method,
            wish.path,
            params=wish.params,
            json=wish.body,
            headers={} if replay_key is None else {"Idempotency-Key": replay_key},
        )
        actor.ids["request"].append(answer.headers["Request-Id"])
        if answer.status_code == 200:
            actor.learn(wish, answer.json())
        verbs: dict[str, list[Any]] = {
            "gets": list(api.watched.gets),
            "queries": [(query.collection, count) for query, count in api.watched.queries],
            "commits": list(api.watched.commits),
            "secrets": [api.secrets.reads],
        }
        return Seen(answer.status_code, list(answer.headers.items()), answer.text, verbs)


class Blind:
    """Puts names of no meaning for ids and secrets: the same for the same, in their order."""

    def __init__(self) -> None:
        self._names: dict[str, str] = {}

    def text(self, text: str) -> str:
        plain = _HASH.sub('"(a hash)"', _SECRET.sub("(a key)", text))
        return _ID.sub(self._name, plain)

    def _name(self, found: re.Match[str]) -> str:
        prefix = found[0].partition("_")[0]
        return self._names.setdefault(found[0], f"{prefix}_{len(self._names)}")

    def seen(self, seen: Seen) -> Seen:
        headers = [(name, self.text(value)) for name, value in seen.headers]
        return seen._replace(headers=headers, body=self.text(seen.body))


def twin(object_id: str) -> str:
    """Return the id of nothing, with the same place in the order: only its end is another."""
    end = "".join(secrets.choice(ids.ALPHABET) for _ in range(7))
    return object_id[: -len(end)] + end


# --- What can be done ----------------------------------------------------------------------------


class Step(NamedTuple):
    """One act of a program; `n` and `m` choose among what there is."""

    who: Who
    deed: str
    n: int
    m: int
    replay_key: str | None


class Picker:
    """Chooses ids for a step: the actor's own, or such as belong to someone else.

    Those of others are kept in order, so that a world where the others never were can be asked for
    ids of nothing in their places.
    """

    def __init__(self, world: World, actor: Actor, others: list[str] | None) -> None:
        self.actor = actor
        self.used: list[str] = []
        self._world = world
        self._others = others

    def own(self, noun: str, number: int) -> str:
        known = self.actor.ids[noun]
        if not known or number % 5 == 4:
            return self.others(noun, number)
        return known[number % len(known)]

    def others(self, noun: str, number: int) -> str:
        if self._others is not None:
            chosen = self._others[len(self.used)]
        else:
            actors = [each for each in self._world.actors.values() if each is not self.actor]
            # An organisation is one in both modes, and so are live windows for all.
            if noun in ("organisation", "window"):
                ours = self.actor.organisation.id
                live = noun == "window" and self.actor.mode == "live"
                actors = [a for a in actors if a.organisation.id != ours and not live]
            known = [each for actor in actors for each in actor.ids[noun]]
            chosen = known[number % len(known)] if known else self.nothing(noun)
        self.used.append(chosen)
        return chosen

    def nothing(self, noun: str) -> str:
        """Return an id of a kind that is nobody's."""
        return ids.place(PREFIXES[noun], self._world.setting.at, "0" * ids.TAIL_LENGTH)


NAMES = ("Ada", "Adele", "Grace")


def wish_of(step: Step, pick: Picker) -> Wish:
    """Return the request of a step."""
    return DEEDS[step.deed](pick, step.n, step.m)


def _of(pick: Picker, noun: str, number: int) -> str:
    return f"/v1/{noun}s/{pick.own(noun, number)}"


def _page(pick: Picker, noun: str, n: int, m: int) -> Json:
    name = (None, None, "starting_after", "ending_before")[n % 4]
    return {"limit": m % 3 + 1, **({} if name is None else {name: pick.own(noun, m)})}


def _patients(pick: Picker, n: int, m: int) -> Wish:
    filters: list[Json] = [
        {"externalRef": f"r{m % 3}"},
        {"filter": f'externalRef:"r{m % 3}" and createdAt>="2027-01-01"'},
        {"createdAt[gt]": "2027-01-01"},
        {},
    ]
    return Wish("GET", "/v1/patients", {**_page(pick, "patient", n, m), **filters[m % 4]})


def _appointments(pick: Picker, n: int, m: int) -> Wish:
    patient = pick.own("patient", n)
    named: Json = {"filter": 'patient.name~"ad"'}
    filters: list[Json] = [
        {"status": "scheduled"},
        {"patientId": patient},
        {"filter": f'patient.id:"{patient}"', "expand[]": "data.patient"},
        named if pick.actor.mode == "test" else {"externalRef": "r1"},
    ]
    return Wish("GET", "/v1/appointments", {**_page(pick, "appointment", n, m), **filters[m % 4]})


def _search(_: Picker, n: int, m: int) -> Wish:
    sought = ({"name": "ad"}, {"phone": PATIENT["phone"]}, {"externalRef": "r1"})[n % 3]
    return Wish("POST", "/v1/patients/search", body={**sought, "limit": m % 3 + 1})


def _create(_: Picker, n: int, m: int) -> Wish:
    about = {"firstName": NAMES[n % 3], "externalRef": f"r{m % 3}", "note": f"n{n}"}
    return Wish("POST", "/v1/patients", body={**PATIENT, **about})


def _book(pick: Picker, n: int, m: int) -> Wish:
    named = {
        "patientId": pick.own("patient", n),
        "taskId": pick.own("task", m),
        "windowId": pick.own("window", n + m),
    }
    details = {"phone": PATIENT["phone"], "location": pick.actor.location}
    return Wish("POST", "/v1/appointments", body={**named, **details, "externalRef": f"r{m % 3}"})


def _with_key(pick: Picker, n: int, verb: str) -> Wish:
    return Wish("POST", f"{_of(pick, 'api_key', n)}/{verb}", body={})


def _place(pick: Picker, n: int) -> Json:
    return {"taskId": pick.own("task", n), "postcode": pick.actor.postcode}


def _requests(pick: Picker, n: int, m: int) -> Wish:
    filters: list[Json] = [
        {"principal": pick.own("api_key", n)},
        {"statusClass": "4xx", "method": "GET"},
        {"filter": 'route:"/v1/patients/{patient}"', "status": 200},
        {},
    ]
    return Wish("GET", "/v1/requests", {**_page(pick, "request", n, m), **filters[m % 4]})


def _audit_events(pick: Picker, n: int, m: int) -> Wish:
    page = _page(pick, "request", n, m)
    cursors = {name: f"{each}".replace("req_", "aud_") for name, each in page.items()}
    filters: list[Json] = [
        {"patientId": pick.own("patient", m)},
        {"principal": pick.own("api_key", n)},
        {},
    ]
    return Wish("GET", "/v1/audit_events", {**cursors, **filters[m % 3]})


DEEDS: Mapping[str, Callable[[Picker, int, int], Wish]] = {
    "create a patient": _create,
    "read a patient": lambda pick, n, _: Wish("GET", _of(pick, "patient", n)),
    "update a patient": lambda pick, n, m: Wish(
        "POST", _of(pick, "patient", n), body={"note": f"n{m}", "metadata": {"k": f"{m}"}}
    ),
    "delete a patient": lambda pick, n, _: Wish("DELETE", _of(pick, "patient", n)),
    "list patients": _patients,
    "search patients": _search,
    "read a task": lambda pick, n, _: Wish("GET", _of(pick, "task", n)),
    "list tasks": lambda pick, n, m: Wish("GET", "/v1/tasks", _page(pick, "task", n, m)),
    "see what is available": lambda pick, n, m: Wish(
        "GET", "/v1/availability", {**_place(pick, n), "limit": m % 4 + 1}
    ),
    "see what is covered": lambda pick, n, _: Wish("GET", "/v1/coverage", _place(pick, n)),
    "book": _book,
    "book again": _book,
    "read an appointment": lambda pick, n, m: Wish(
        "GET", _of(pick, "appointment", n), {"expand[]": ("patient", "task")[m % 2]}
    ),
    "update an appointment": lambda pick, n, m: Wish(
        "PATCH", _of(pick, "appointment", n), body={"note": f"n{m}"}
    ),
    "reschedule": lambda pick, n, m: Wish(
        "POST",
        f"{_of(pick, 'appointment', n)}/reschedule",
        body={"windowId": pick.own("window", m)},
    ),
    "cancel": lambda pick, n, _: Wish("POST", f"{_of(pick, 'appointment', n)}/cancel", body=REASON),
    "read a cancellation": lambda pick, n, _: Wish(
        "GET", f"{_of(pick, 'appointment', n)}/cancellation", {"expand[]": "appointment"}
    ),
    "list appointments": _appointments,
    "create a key": lambda _, n, m: Wish("POST", "/v1/api_keys", body={"name": NAMES[(n + m) % 3]}),
    "read a key": lambda pick, n, _: Wish("GET", _of(pick, "api_key", n)),
    "list keys": lambda pick, n, m: Wish("GET", "/v1/api_keys", _page(pick, "api_key", n, m)),
    "update a key": lambda pick, n, m: Wish(
        "POST", _of(pick, "api_key", n), body={"name": NAMES[m % 3]}
    ),
    "roll a key": lambda pick, n, _: _with_key(pick, n, "roll"),
    "revoke a key": lambda pick, n, _: _with_key(pick, n, "revoke"),
    "reveal a key": lambda pick, n, _: _with_key(pick, n, "reveal"),
    "read an organisation": lambda pick, n, _: Wish("GET", _of(pick, "organisation", n)),
    "read a request": lambda pick, n, _: Wish("GET", _of(pick, "request", n)),
    "list requests": _requests,
    "list audit events": _audit_events,
    "list organisations": lambda pick, n, m: Wish(
        "GET", "/v1/organisations", _page(pick, "organisation", n, m)
    ),
    "update an organisation": lambda pick, n, m: Wish(
        "POST", _of(pick, "organisation", n), body={"messaging": {"signature": f"s{m}"}}
    ),
}
PRELUDE = ("create a patient", "create a patient", "see what is available", "book", "create a key")
"""What everybody does first, so that there is something of each kind."""
