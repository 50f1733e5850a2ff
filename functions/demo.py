"""What a newcomer finds at the first start: a certificate, an organisation, a key, five calls."""

import json
import shlex
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import trustme

from shared.pages import ListQuery
from shared.patients import Address, Patient
from shared.provision import create_organisation, keep, load_coverage
from shared.scheduling import AvailabilityQuery, OpenWindow, find_windows
from shared.service import Service
from shared.store import Store
from shared.tasks import Task

COVERAGE = Path(__file__).parent.parent / "infra" / "coverage.json"
KEY_SECRET = "demo-test-key"  # noqa: S105 - the name under which it is kept
DAYS_AHEAD = 3
POSTCODE = "SW1A 1AA"
ADDRESS = Address(line1="10 Example Street", city="London", postcode=POSTCODE)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of the local server's certificate: the authority to trust, the chain, the key."""

    authority: Path
    chain: Path
    key: Path


def certificate(state: Path) -> Certificate:
    """Return the certificate for localhost, made at the first start."""
    files = Certificate(
        state / "localhost-ca.pem", state / "localhost.pem", state / "localhost.key"
    )
    if not files.key.exists():
        authority = trustme.CA(organization_name="Ally API on this machine")
        server = authority.issue_cert("localhost", "127.0.0.1", "::1")
        authority.cert_pem.write_to_path(str(files.authority))
        files.chain.write_bytes(b"".join(pem.bytes() for pem in server.cert_chain_pems))
        files.key.touch(0o600)
        server.private_key_pem.write_to_path(str(files.key))
    return files


async def first_calls(service: Service, url: str, files: Certificate) -> str:
    """Return the text that is shown at every start: the key, the certificate, five curl commands.

    Each command works by itself when it is pasted: the ids in it are real.
    """
    key = await _demo_key(service)
    caller = await service.keyring.authenticate(key)
    store = Store(
        service.storage,
        mode="test",
        organisation=caller.organisation,
        now=service.now(),
        request_id="start",
    )
    task = (await store.page(Task, ListQuery())).data[-1]
    patient = await _demo_patient(service, store, caller.organisation)
    window = await _free_window(service, store, caller.organisation, task, patient)
    calls = {
        "Your organisation": ["/v1/organisations"],
        "Create a patient": [
            "/v1/patients",
            *_form(
                firstName="Grace",
                lastName="Hopper",
                phone="+447700900456",
                email="grace@example.com",
                dateOfBirth="1966-12-09",
            ),
        ],
        "List the tasks": ["/v1/tasks"],
        "Check availability": [
            "/v1/availability",
            "--get",
            *_form(taskId=task.id, postcode=POSTCODE),
        ],
        f"Create an appointment for {patient.firstName} {patient.lastName} on"
        f" {window.startAt:%A %d %B}": [
            "/v1/appointments",
            *_form(
                patientId=patient.id,
                taskId=task.id,
                windowId=window.id,
                phone=patient.phone,
                **{
                    "location[address][line1]": ADDRESS.line1,
                    "location[address][city]": ADDRESS.city,
                    "location[address][postcode]": ADDRESS.postcode,
                },
            ),
        ],
    }
    trust = shlex.quote(_shown(files.authority))
    lines = ["", f"Test key:     {key}", f"Certificate:  {_shown(files.authority)}", ""]
    for title, (path, *options) in calls.items():
        lines += [
            f"# {title}",
            f"curl --cacert {trust} -H 'Authorization: {key}' \\",
            *(f"  {option} \\" for option in options),
            f"  {url}{path}",
            "",
        ]
    return "\n".join(lines)


async def _demo_key(service: Service) -> str:
    """Return the demo organisation's test key; make both, and coverage, at the first start."""
    kept = await service.secrets.read(KEY_SECRET)
    if kept is not None:
        return kept.decode()
    await load_coverage(service, "test", json.loads(COVERAGE.read_text()))
    _, key = await create_organisation(service, "Demo Health")
    await service.secrets.write(KEY_SECRET, str(key).encode())
    return str(key)


async def _demo_patient(service: Service, store: Store, organisation: str) -> Patient:
    """Return the newest patient, or make one where there is none."""
    page = await store.page(Patient, ListQuery(limit=1))
    if page.data:
        return page.data[0]
    patient = Patient.new(
        at=service.now(),
        livemode=False,
        firstName="Ada",
        lastName="Lovelace",
        phone="+447700900123",
        email="ada@example.com",
        dateOfBirth=date(1985, 12, 10),
        address=ADDRESS,
    )
    await keep(service, "test", organisation, [patient], service.now())
    return patient


async def _free_window(
    service: Service, store: Store, organisation: str, task: Task, patient: Patient
) -> OpenWindow:
    """Return a window some days ahead in which the patient is not expected elsewhere."""
    now = service.now()
    query = AvailabilityQuery(
        limit=100,
        taskId=task.id,
        postcode=POSTCODE,
        fromDate=(now + timedelta(days=DAYS_AHEAD)).date(),
    )
    page = await find_windows(store, "test", organisation, query, now)
    taken = {booking.startAt for booking in patient.bookings.values()}
    return next(window for window in page.data if window.startAt not in taken)


def _form(**fields: str) -> list[str]:
    return [f"--data-urlencode {shlex.quote(f'{name}={value}')}" for name, value in fields.items()]


def _shown(path: Path) -> str:
    """Return a path as it is shortest from here."""
    absolute = path.resolve()
    here = Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
