"""A campaign of hostile requests against a server, and what must hold of each and of all."""

import json
import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from shared import clock
from shared.backends import OURS, Document, Key, Query
from shared.catalogue import CATALOGUE
from shared.errors import PROBLEM
from shared.provision import ADMINISTRATOR
from shared.scheduling import Window
from shared.service import Service
from shared.settings import SPACES
from tests.support import conformity
from tests.support.hostility import DIGITS, SILENT, SPOKEN, Scene
from tests.support.serving import PATIENT, POSTCODE, REASON, Json, Partner, tomorrow
from tests.support.wire import Answer, Attempt, Line

COLLECTIONS = (
    *("organisations", "tasks", "patients", "appointments", "cancellations", "windows"),
    *("api_keys", "end_users", "quotas", "replays", "commits"),
)
WHOLE = 5000
"""More documents of one kind than a campaign ever makes."""
CHATTER = re.compile(
    r"WARNING:  (Invalid HTTP request received\.|Unsupported upgrade request\."
    r"|No supported WebSocket library detected\. .*)"
)
"""All that the server may print of requests."""
PAST = datetime(2026, 1, 1, tzinfo=UTC)

Contents = dict[Key, Any]


class Campaign:
    """Attacks in the name of one organisation, next to another one that must not notice."""

    def __init__(self, partner: Partner, other: Partner, secrets: Callable[[], int]) -> None:
        self.sent = 0
        self.statuses: Counter[int] = Counter()
        self.codes: Counter[str] = Counter()
        self.scene = _set_scene(partner, other)
        self._partner = partner
        self._owners = (partner.organisation.id, other.organisation.id)
        self._secrets = secrets
        self._line = Line(partner.server)
        self._log = Path(partner.backing.environment["ALLY_LOG"])
        self._output = partner.server.process.output
        self._begin(self._contents())

    def close(self) -> None:
        self._line.close()

    def _begin(self, contents: Contents) -> None:
        """Remember what there is, for `settle` to tell what has changed."""
        self._answered: dict[str, Answer] = {}
        self._methods: dict[str, str] = {}
        self._logged = self._log.stat().st_size
        self._printed = self._output.stat().st_size
        self._before = contents
        self._secrets_before = self._secrets()

    # --- One request -----------------------------------------------------------------------------

    def strike(self, attempt: Attempt) -> Answer:
        """Send a request that is HTTP: our door answers it, and as it promises to."""
        answer = self._line.send(attempt)
        assert not answer.below, "the server refused what is HTTP"
        headers = {name.lower(): value for name, value in answer.headers}
        path = unquote(attempt.target.partition(b"?")[0].decode("latin-1"))
        conformity.check(
            attempt.method, path, conformity.Answer(answer.status, headers, answer.body)
        )
        self._judge(answer, attempt.method)
        return answer

    def hurl(self, data: bytes) -> Answer:
        """Send what may be no HTTP, on a connection of its own: the server may answer too."""
        self._line.close()
        answer = self._line.exchange(data)
        self._line.close()
        if answer.below:
            self._count(answer, "(below the door)")
        else:
            self._judge(answer, "POST")
        return answer

    def leave(self, data: bytes) -> None:
        """Send the beginning of a request and hang up."""
        self._line.leave(data)
        self.sent += 1

    def _count(self, answer: Answer, code: str) -> None:
        self.sent += 1
        self.statuses[answer.status] += 1
        self.codes[code] += 1

    def _judge(self, answer: Answer, method: str) -> None:
        request_id = answer.header("request-id")
        code = ""
        assert answer.status < 500, answer.text
        assert request_id.startswith("req_"), answer.text
        if answer.status != 200:
            for mark in (SILENT, SILENT.lower(), SILENT.upper(), DIGITS):
                assert mark not in answer.text, f"{mark} is echoed: {answer.text[:2000]}"
            if method != "HEAD":
                code = _code(answer, request_id)
        self._count(answer, code)
        assert request_id not in self._answered
        self._answered[request_id] = answer
        self._methods[request_id] = method

    # --- What is left of many --------------------------------------------------------------------

    def settle(self) -> None:
        """Hold what is stored, logged and printed since the last time against the answers."""
        lines = self._lines()
        for request_id, answer in self._answered.items():
            assert lines[request_id]["status"] == answer.status
        accepted, objects = self._accepted(lines)
        before, after = self._before, self._contents()
        known = {**before, **after}
        changed = [key for key in known if before.get(key) != after.get(key)]
        for key in changed:
            names = {key.id, known[key].get("requestId")}
            if key not in after:  # a patient takes along what retries remember of them
                names |= set(known[key].get("objects", ()))
            assert names & (accepted | objects), f"{key} was changed, and nobody was told"
            assert key.owner in (self._owners[0], OURS), f"{key} is another's"
        made = [key for key in changed if key.collection == "api_keys" and key not in before]
        assert self._secrets() - self._secrets_before == len(made)
        self._begin(after)

    def _accepted(self, lines: Mapping[str, Json]) -> tuple[set[str], set[str]]:
        """Return the requests that may have stored something, and the objects that they named.

        A 402 with an Idempotency-Key stores the record of it, and no object.
        """
        accepted, objects = set(), set()
        for request_id, answer in self._answered.items():
            if self._methods[request_id] != "GET" and answer.status in (200, 402):
                accepted.add(request_id)
                objects |= set(lines[request_id]["objects"] if answer.status == 200 else ())
        return accepted, objects

    def _lines(self) -> dict[str, Json]:
        """Return the log's new lines of requests, once it is sure that they hold no mark."""
        with self._log.open("rb") as file:
            file.seek(self._logged)
            text = file.read().decode()
        with self._output.open("rb") as file:
            file.seek(self._printed)
            printed = file.read().decode()
        for mark in (SILENT, SPOKEN, DIGITS, self.scene.key[-30:]):
            assert mark.lower() not in text.lower()
            assert mark.lower() not in printed.lower()
        assert [line for line in printed.splitlines() if not CHATTER.fullmatch(line)] == []
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line for line in lines if line["kind"] != "request"] == []
        found = {line["requestId"]: line for line in lines}
        assert len(found) == len(lines)
        return found

    def _contents(self) -> Contents:
        """Return everything that the two organisations have stored, and everybody's windows."""

        async def read(service: Service) -> Contents:
            found: list[Document] = []
            for owner in self._owners:
                for space in SPACES:
                    for collection in COLLECTIONS:
                        query = Query(space, owner, collection, WHOLE)
                        documents = await service.storage.query(query)
                        assert len(documents) < WHOLE
                        found += documents
            found += await service.storage.query(Query("live", OURS, Window.collection, WHOLE))
            # That a key is in use is noted for whoever is let in, whatever becomes of the request.
            return {
                document.key: {**document.data, "lastUsedAt": None}
                for document in found
                if not document.key.id.startswith("use_")
            }

        return self._partner.backing.run(read)


def _code(answer: Answer, request_id: str) -> str:
    """Return the code of an error, once it is sure that it has the envelope."""
    kind = answer.header("content-type")
    told = answer.json()
    if kind == PROBLEM:
        error: Json = told
        assert (error["status"], error["error_type"]) == (
            answer.status,
            CATALOGUE[error["code"]].type,
        )
        assert error["detail"]
    else:
        assert kind == "application/json"
        (name,) = told
        assert name == "error"
        error = told[name]
        assert error["type"] == CATALOGUE[error["code"]].type
        assert error["message"]
    code: str = error["code"]
    assert answer.status == CATALOGUE[code].status
    # What is replayed is what was answered then, word for word.
    assert error["request_id"] == request_id or answer.header("idempotent-replayed") == "true"
    assert error["fix"]
    assert all(each["code"] in CATALOGUE for each in error.get("errors", ()))
    return code


def _set_scene(partner: Partner, other: Partner) -> Scene:
    """Make objects of two organisations and both modes, keys that open something, sound bodies."""
    live = partner.live().administrator()
    owners = (partner, other, live)
    task = partner.task()
    windows = partner.windows(task)
    spare = next(each for each in windows if each["remaining"] > 3)
    booked = [partner.book(spare), partner.book(spare)]
    partner.cancel(booked[1])
    theirs = other.book()
    keys = [
        partner,
        live,
        partner.with_key(ADMINISTRATOR, allowedCidrs=["203.0.113.7/32"]),
        partner.with_key({"*": "read"}),
        partner.with_key({}),
        partner.with_key(ADMINISTRATOR, expiresAt=PAST),
        partner.with_key(ADMINISTRATOR, revokedAt=PAST),
        partner.end_user("ada"),
        live.end_user("grace"),
    ]
    for each in keys:
        each.send("GET", "/v1/tasks")  # that a key is in use is noted once an hour
    patient = partner.create_patient()
    shared = {"note": f"{SILENT} is\nhere", "metadata": {"k": SILENT}, "externalRef": SILENT}
    request = partner.request(patient, task, spare, **shared)
    search = {"name": SILENT, "phone": PATIENT["phone"], "limit": 2, "externalRef": SILENT}
    listed: Json = {"limit": 3, "createdAt": {"gte": "2026-01-01", "lt": "2027-01-01"}}
    place = {"taskId": task["id"], "postcode": POSTCODE}
    change = {"phone": PATIENT["phone"], "location": request["location"], **shared}
    return Scene(
        ids={
            "organisation": [each.organisation.id for each in (partner, other)],
            "patient": [
                *(each["id"] for each in (patient, other.create_patient(), live.create_patient())),
                *(each["patientId"] for each in (*booked, theirs)),
            ],
            "task": [each.task()["id"] for each in owners],
            "appointment": [each["id"] for each in (*booked, theirs)],
            "api_key": [each.with_key({"*": "read"}).api_key.id for each in owners],
            "request": [each.send("GET", "/v1/tasks").headers["Request-Id"] for each in owners],
            "uid": ["ada"],
            "window": [
                *(each["id"] for each in windows[-3:]),
                *(spare["id"], theirs["windowId"], live.live_window(capacity=50).id),
            ],
        },
        keys=[each.key for each in keys],
        key=partner.key,
        bodies={
            "/v1/patients": {**PATIENT, **shared, "address": request["location"]["address"]},
            "/v1/patients/{patient}": {"lastName": SILENT, **shared},
            "/v1/patients/search": search,
            "/v1/appointments": request,
            "/v1/appointments/{appointment}": change,
            "/v1/appointments/{appointment}/reschedule": {"windowId": windows[-1]["id"]},
            "/v1/appointments/{appointment}/cancel": {**REASON, "note": SILENT},
            "/v1/organisations/{organisation}": {
                "displayName": SILENT,
                "messaging": {"signature": SILENT},
            },
            "/v1/api_keys": {
                "name": SILENT,
                "scopes": {"patients": "read"},
                "expiresAt": "2099-01-01",
                "allowedCidrs": ["203.0.113.0/24"],
                "type": "secret",
            },
            "/v1/api_keys/{api_key}": {"name": SILENT, "scopes": {"patients": "read"}},
            "/v1/api_keys/{api_key}/roll": {"overlap": "1h"},
        },
        queries={
            "/v1/patients": {**listed, "externalRef": SILENT, "filter": f'externalRef:"{SILENT}"'},
            "/v1/appointments": {
                **listed,
                "status": "scheduled",
                "patientId": patient["id"],
                "expand": ["data.patient"],
                "filter": f'patient.name~"{SILENT}"',
            },
            "/v1/tasks": {"limit": 2, "starting_after": task["id"]},
            "/v1/api_keys": listed,
            "/v1/organisations": {"limit": 1},
            "/v1/availability": {**place, "fromDate": tomorrow(), "limit": 3},
            "/v1/coverage": place,
            "/v1/usage": {
                "metric": "errors",
                "by": "code",
                "startAt": (clock.now() - timedelta(days=9)).date().isoformat(),
                "endAt": "2099-01-01",
                "resolution": "1d",
                "route": f"GET /{SILENT}",
                "status": 404,
                "keyId": partner.api_key.id,
            },
            "/v1/cancellation_reasons": {"limit": 2},
            "/v1/appointments/{appointment}": {"expand": ["patient", "task"]},
        },
    )
