"""A backing (where documents and keys are), servers that run on it, and partners that call them."""

import asyncio
import json
import ssl
import sys
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from http.cookiejar import CookieJar, DefaultCookiePolicy
from pathlib import Path
from typing import Any, TypeVar

import httpx

from shared import clock, ids
from shared.appointments import Appointment
from shared.backends import OURS, ConflictError, Query
from shared.cancelling import Cancellation
from shared.clock import LONDON, london_day
from shared.issuing import EVERYTHING
from shared.keys import Access, ApiKey
from shared.models import Record
from shared.organisations import Organisation
from shared.provision import (
    ADMINISTRATOR,
    connect_tenant,
    create_key,
    create_organisation,
    keep,
    load_coverage,
    open_store,
)
from shared.requests import LoggedRequest, RequestLine
from shared.scheduling import Window
from shared.service import Service, open_service
from shared.settings import Mode, load
from shared.store import Ref
from shared.tasks import standard_tasks
from tests.support.conformity import conforming
from tests.support.id_tokens import claims, signer
from tests.support.lines import lines_in
from tests.support.processes import ROOT, Process, free_port

T = TypeVar("T")
Json = dict[str, Any]

POSTCODE = "SW1A 1AA"
AREA = "central-london"
OUTSIDE = "KW17 2AA"
PREFIXES = {
    "organisation": "org",
    "patient": "p",
    "task": "tsk",
    "appointment": "apt",
    "api_key": "key",
    "window": "win",
    "request": "req",
}
"""What ids begin with, by the noun that stands in paths."""
TEXTS = {"uid": "ada"}
"""What else stands in paths: names that are not ours, and of which any text is one."""
ADDRESS = {"line1": "17 Quillon Row", "city": "London", "postcode": POSTCODE}
PATIENT: Json = {
    "firstName": "Ada",
    "lastName": "Loveworth",
    "phone": "+447400123456",
    "email": "ada@example.com",
    "dateOfBirth": "1985-12-10",
}
SEEDED = (*(PATIENT[name] for name in ("lastName", "phone", "email")), str(ADDRESS["line1"]))
"""What no log, label, URL or error may have: values of patients that nothing else contains."""
REASON: Json = {"cancellingEntity": "patient", "reasonCode": "other"}


class Backing:
    """Where servers keep what they know, and a way for a test to put something there first."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)
        self._runner = asyncio.Runner()
        self._service: Service | None = None
        self._tenants: dict[tuple[str, Mode], str] = {}
        areas = json.loads((ROOT / "infra" / "coverage.json").read_text())
        try:
            self.run(lambda service: load_coverage(service, "test", areas))
            self.run(lambda service: load_coverage(service, "live", areas))
        except BaseException:
            self.close()
            raise

    def run(self, action: Callable[[Service], Awaitable[T]]) -> T:
        """Do something with the backing's own service, in its own event loop."""

        async def act() -> T:
            if self._service is None:
                self._service = await open_service(load(self.environment))
            return await action(self._service)

        return self._runner.run(act())

    def close(self) -> None:
        if self._service is not None:
            self._runner.run(self._service.close())
        self._runner.close()

    def keep(self, mode: Mode, organisation: str, records: Iterable[Any]) -> None:
        """Store records as an organisation's, or as everybody's where their kind is shared."""
        kept = list(records)
        self.run(lambda service: keep(service, mode, organisation, kept, service.now()))

    def tenant(self, organisation: str, mode: Mode) -> str:
        """Return an organisation's tenant, connected when it is first asked for."""
        if (organisation, mode) not in self._tenants:
            tenant = f"tenant-{len(self._tenants)}-{organisation[-8:]}"
            self.run(lambda service: connect_tenant(service, mode, organisation, tenant))
            self._tenants[organisation, mode] = tenant
        return self._tenants[organisation, mode]

    def sign(self, said: Json) -> str:
        """Sign an ID token: with the local backend's own key, or else with that of the tests."""
        own = self.run(lambda service: service.end_users._tokens.issue(said))
        return own or signer().sign(said)

    def partner(self, server: "Server", name: str = "Test Health") -> "Partner":
        """Make an organisation and a client that calls as it, in test mode."""
        organisation, key = self.run(lambda service: create_organisation(service, name))
        return Partner(self, server, organisation, "test", key)


PORTALS = ("dashboard", "operations")


class Server:
    """The whole API in a process of its own, as `make run` starts it."""

    program = "functions"

    def __init__(self, backing: Backing, folder: Path, **environment: str) -> None:
        self.backing = backing
        self.folder = folder
        self.port, self.http_port = free_port(), free_port()
        self.url = f"https://localhost:{self.port}"
        self._http: httpx.Client | None = None
        pages = {f"ALLY_{name.upper()}_URL": self.portal(name) for name in PORTALS}
        self._environment = {
            **backing.environment,
            **pages,
            "ALLY_STATE": str(folder),
            **environment,
        }
        self.start()

    def portal(self, name: str) -> str:
        """Return where a portal is found."""
        return f"https://{name}.localhost:{self.port}"

    def start(self) -> None:
        self.process = Process(
            [
                *(sys.executable, "-W", "error", "-m", self.program, "--quiet"),
                *("--port", str(self.port), "--http-port", str(self.http_port)),
            ],
            self.folder / "server.log",
            self._environment,
        )
        self.process.wait_until(self._answers, "The server")

    def _answers(self) -> bool:
        try:
            return "Request-Id" in httpx.get(f"{self.url}/v1", verify=self.tls()).headers
        except (httpx.HTTPError, OSError):
            return False

    def tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=self.certificate)

    def send(self, method: str, path: str, key: object = None, **options: Any) -> httpx.Response:
        """Send one request, with a key or without, over connections that are kept."""
        headers = {**options.pop("headers", {})}
        if key is not None:
            headers["Authorization"] = str(key)
        return conforming(self._client().request(method, path, headers=headers, **options))

    def open(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request of a browser, whose answer is a page."""
        return self._client().request(method, path, **options)

    def _client(self) -> httpx.Client:
        """Return the client of all who call: it keeps connections, and nobody's cookies."""
        if self._http is None:
            nobodys = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
            self._http = httpx.Client(
                base_url=self.url, verify=self.tls(), timeout=30, cookies=nobodys
            )
        return self._http

    def stop(self) -> int:
        self.close()
        return self.process.stop()

    def close(self) -> None:
        if self._http is not None:
            self._http.close()
            self._http = None

    @property
    def certificate(self) -> Path:
        return self.folder / "localhost-ca.pem"


@dataclass
class Partner:
    """An organisation in one mode, and what it can do over HTTPS."""

    backing: Backing
    server: Server
    organisation: Organisation
    mode: Mode
    api_key: ApiKey
    token: str = ""

    @property
    def key(self) -> str:
        """The key as it is sent, or the token of an end user."""
        return self.token or str(self.api_key.secret)

    @property
    def tenant(self) -> str:
        """The tenant of the organisation's end users in this mode, connected."""
        return self.backing.tenant(self.organisation.id, self.mode)

    def end_user(self, uid: str, **said: Any) -> "Partner":
        """Return an end user of the organisation's front end, who has just signed in."""
        return replace(self, token=self.backing.sign(claims(self.tenant, uid, self.mode, **said)))

    def with_key(self, scopes: Mapping[str, Access], **fields: Any) -> "Partner":
        """Return the same partner with another key of this mode."""
        key = self.backing.run(
            lambda service: create_key(service, self.mode, self.organisation.id, scopes, **fields)
        )
        return replace(self, api_key=key)

    def administrator(self) -> "Partner":
        """Return the same partner with a key that manages keys too."""
        return self.with_key(ADMINISTRATOR)

    def live(self) -> "Partner":
        """Return the same organisation in live mode, activated, with tasks of its own there."""
        self.change_organisation(activation="active")
        key = self.backing.run(
            lambda service: create_key(service, "live", self.organisation.id, EVERYTHING)
        )
        now = self.backing.run(_now)
        tasks = [
            task.model_copy(update={"livemode": True, "id": ids.mint("tsk", now)})
            for task in standard_tasks(now)
        ]
        self.backing.keep("live", self.organisation.id, tasks)
        return replace(self, mode="live", api_key=key)

    def change_organisation(self, **changes: Any) -> None:
        """Change the organisation as Operations would."""
        self._change(Organisation, self.organisation.id, changes, account=True)

    def patch_organisation(self, **changes: Any) -> Json:
        """Change the organisation as the partner does."""
        return self.call("PATCH", f"/v1/organisations/{self.organisation.id}", json=changes)

    def change_appointment(self, appointment_id: str, **changes: Any) -> None:
        """Change an appointment as Operations would."""
        self._change(Appointment, appointment_id, changes)

    def forget_patient_of_cancellation(self, cancellation: str) -> None:
        """Store a cancellation as they were before they kept their patient."""
        self._change(Cancellation, cancellation, {"patientId": None})

    def _change(
        self, model: type[Record], record_id: str, changes: Json, *, account: bool = False
    ) -> None:
        async def change(service: Service) -> None:
            store = open_store(
                service, self.mode, self.organisation.id, at=service.now(), account=account
            )
            found = await store.get(model, record_id)
            store.put(found.model_copy(update=changes))
            await store.commit()

        self.backing.run(change)

    # --- Calls -----------------------------------------------------------------------------------

    def send(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Make a call and return the answer as it came."""
        return self.server.send(method, path, self.key, **options)

    def call(self, method: str, path: str, status: int = 200, **options: Any) -> Json:
        """Make a call, insist on the status of the answer, and return its JSON."""
        answer = self.send(method, path, **options)
        assert answer.status_code == status, answer.text
        body: Json = answer.json()
        return body

    def get(self, path: str, status: int = 200, /, **params: Any) -> Json:
        return self.call("GET", path, status, params=params)

    def post(self, path: str, body: Json | None = None, status: int = 200, **options: Any) -> Json:
        return self.call("POST", path, status, json=body or {}, **options)

    def create_patient(self, **fields: Any) -> Json:
        return self.post("/v1/patients", {**PATIENT, **fields})

    def task(self, name: str = "Venepuncture") -> Json:
        (task,) = (each for each in self.get("/v1/tasks")["data"] if each["name"] == name)
        found: Json = task
        return found

    def inactive_task(self) -> Json:
        """Return a task that can no longer be requested."""
        now = self.backing.run(_now)
        task = next(standard_tasks(now)).model_copy(
            update={"livemode": self.mode == "live", "active": False, "name": "Old"}
        )
        self.backing.keep(self.mode, self.organisation.id, [task])
        return {"id": task.id}

    def windows(self, task: Json) -> list[Json]:
        """Return every open window from tomorrow on: none of them begins during a test."""
        query = {"taskId": task["id"], "postcode": POSTCODE, "limit": 100, "fromDate": tomorrow()}
        return list(self.everything("/v1/availability", **query))

    def everything(self, path: str, **params: Any) -> Iterator[Json]:
        """Yield all objects of a list, page by page."""
        while True:
            page = self.get(path, **params)
            yield from page["data"]
            if not page["has_more"]:
                return
            params["starting_after"] = page["data"][-1]["id"]

    def cancel(self, appointment: Json, status: int = 200) -> Json:
        """Cancel an appointment for the patient."""
        return self.post(f"/v1/appointments/{appointment['id']}/cancel", REASON, status)

    def lines(self, kind: str = "request") -> list[Json]:
        """Return what the log has of requests, or of another kind, on any server of the backing."""
        return lines_in(Path(self.backing.environment["ALLY_LOG"]), kind)

    def request(self, patient: Json, task: Json, window: Json, **fields: Any) -> Json:
        """Return the body that requests an appointment."""
        return {
            "patientId": patient["id"],
            "taskId": task["id"],
            "windowId": window["id"],
            "phone": PATIENT["phone"],
            "location": {"address": ADDRESS},
            **fields,
        }

    def book(self, window: Json | None = None) -> Json:
        """Book an appointment for a new patient, in a given window or the first that is open."""
        task = self.task()
        chosen = window or self.windows(task)[0]
        return self.post("/v1/appointments", self.request(self.create_patient(), task, chosen))

    def logged_request(self) -> Json:
        """Make a request and return the copy of its line, which is there without waiting for it."""
        answer = self.send("GET", "/v1/tasks")
        (line,) = (
            each for each in self.lines() if each["requestId"] == answer.headers["Request-Id"]
        )
        request = LoggedRequest.of(RequestLine.model_validate(line))
        with suppress(ConflictError):  # what follows the log was faster, and kept the same
            self.backing.keep(self.mode, self.organisation.id, [request])
        return request.model_dump(mode="json")

    # --- What is stored --------------------------------------------------------------------------

    def stored_window(self, window_id: str) -> Window | None:
        """Return a window as the store has it."""

        async def read(service: Service) -> Window | None:
            store = open_store(service, self.mode, self.organisation.id, at=service.now())
            (window,) = await store.find(Ref(Window, window_id))
            return window

        return self.backing.run(read)

    def stored(self, model: type[Record]) -> dict[str, Json]:
        """Return what the organisation has of a kind in its mode, by id."""

        async def read(service: Service) -> dict[str, Json]:
            query = Query(self.mode, self.organisation.id, model.collection, limit=10_000)
            return {each.key.id: each.data for each in await service.storage.query(query)}

        return self.backing.run(read)

    def documents(self) -> set[tuple[str, str]]:
        """Return what the organisation has stored in its mode: each collection and id."""

        async def read(service: Service) -> set[tuple[str, str]]:
            found = set()
            for collection in (
                *("patients", "appointments", "cancellations"),
                *("tasks", "windows", "replays", "commits"),
            ):
                query = Query(self.mode, self.organisation.id, collection, limit=1000)
                documents = await service.storage.query(query)
                found |= {
                    (collection, document.key.id)
                    for document in documents
                    if not document.key.id.startswith("use_")  # that a key is in use
                }
            return found

        return self.backing.run(read)

    def live_window(
        self, days_ahead: int = 2, hour: int = 9, capacity: int = 5, **fields: Any
    ) -> Window:
        """Store a window for everybody in live mode, as Operations would."""
        day = self.backing.run(_now).astimezone(LONDON).date() + timedelta(days=days_ahead)
        start = london(day, hour)
        window = Window(
            **{
                "id": ids.mint("win", start),
                "area": AREA,
                "startAt": start,
                "endAt": start + timedelta(hours=2),
                "capacity": capacity,
                **fields,
            }
        )
        self.backing.keep("live", OURS, [window])
        return window


async def _now(service: Service) -> datetime:
    return service.now()


def problems(error: Json) -> dict[str, str]:
    """Return the code of each wrong parameter that an error names."""
    return {each["param"]: each["code"] for each in error["errors"]}


def tomorrow() -> str:
    return (london_day(clock.now()) + timedelta(days=1)).isoformat()


def london(day: date, hour: int) -> datetime:
    """Return the moment of an hour of the clock in London."""
    return datetime.combine(day, time(hour), LONDON)


def unique_project() -> str:
    """Return the name of a project that is empty in the emulator."""
    return f"ally-{uuid.uuid4().hex[:12]}"
