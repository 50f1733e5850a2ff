"""What a newcomer finds at the first start: an organisation, its dashboard, a key, five calls."""

import contextlib
import json
import shlex
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import trustme
from cryptography import x509

from shared import codes
from shared.callers import KeyCaller
from shared.clock import london_day
from shared.errors import ApiError
from shared.pages import ListQuery
from shared.patients import Address, Patient
from shared.provision import (
    ADMINISTRATOR,
    connect_tenant,
    create_key,
    create_organisation,
    keep,
    load_coverage,
    open_store,
)
from shared.scheduling import AvailabilityQuery, OpenWindow, find_windows
from shared.service import Service
from shared.settings import AUTHORITY
from shared.staff import local_key
from shared.store import Ref
from shared.tasks import Task
from shared.users import Login, User, login_id

COVERAGE = Path(__file__).parent.parent / "infra" / "coverage.json"
KEY_FILE = "test-key"
ADMINISTRATOR_FILE = "demo-password"
EMAIL = "demo@ally.example"
"""Who administers the demo organisation, so that a newcomer sees its dashboard at once."""
DAYS_AHEAD = 3
NAMES = ("localhost", *(f"{name}.localhost" for name in ("dashboard", "operations", "mailbox")))
"""What the API and the pages are called on this machine. Each browser knows that they are here."""
POSTCODE = "SW1A 1AA"
ADDRESS = Address(line1="10 Example Street", city="London", postcode=POSTCODE)


@dataclass(frozen=True, slots=True)
class Certificate:
    """Files of the local server's certificate: the authority to trust, the chain, the key."""

    authority: Path
    chain: Path
    key: Path


def certificate(state: Path) -> Certificate:
    """Return the certificate for this machine's names, made at the first start.

    The key is moved into its place last, so that a start that was cut short is made up for. One
    that lacks a name, of an earlier version, is made anew.
    """
    files = Certificate(state / AUTHORITY, state / "localhost.pem", state / "localhost.key")
    whole = all(file.exists() for file in (files.authority, files.chain, files.key))
    if not whole or not _covers(files.chain):
        authority = trustme.CA(organization_name="Ally API on this machine")
        server = authority.issue_cert(*NAMES, "127.0.0.1", "::1")
        authority.cert_pem.write_to_path(str(files.authority))
        files.chain.write_bytes(b"".join(pem.bytes() for pem in server.cert_chain_pems))
        draft = files.key.with_suffix(".new")
        draft.touch(0o600)
        server.private_key_pem.write_to_path(str(draft))
        draft.replace(files.key)
    return files


def _covers(chain: Path) -> bool:
    """Tell whether a certificate that an earlier start made is for all names of today."""
    try:
        made = x509.load_pem_x509_certificate(chain.read_bytes())
    except ValueError:  # cut short
        return False
    names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return set(NAMES) <= set(names.get_values_for_type(x509.DNSName))


class Demo:
    """The demo organisation in test mode, and the key that calls as it."""

    def __init__(self, service: Service, caller: KeyCaller, key: str) -> None:
        self.service = service
        self.caller = caller
        self.key = key
        self.store = open_store(service, caller.mode, caller.organisation, at=service.now())

    def key_stands(self) -> bool:
        """Tell whether the key has neither ended nor been replaced."""
        key = self.caller.key
        return key.standing(self.store.now) == "active" and not key.replacedBy

    async def tasks(self) -> list[Task]:
        """Return the organisation's tasks, the oldest last."""
        return (await self.store.page(Task, ListQuery())).data

    async def patient(self) -> Patient:
        """Return the newest patient, or make one where there is none."""
        page = await self.store.page(Patient, ListQuery(limit=1))
        if page.data:
            return page.data[0]
        patient = Patient.new(
            at=self.store.now,
            livemode=False,
            firstName="Ada",
            lastName="Lovelace",
            phone="+447700900123",
            email="ada@example.com",
            dateOfBirth=date(1985, 12, 10),
            address=ADDRESS,
        )
        store = self.store
        await keep(self.service, store.mode, store.organisation, [patient], store.now)
        return patient

    async def free_window(self, task: Task, patient: Patient) -> OpenWindow:
        """Return a window some days ahead in which the patient is not expected elsewhere."""
        first = london_day(self.store.now) + timedelta(days=DAYS_AHEAD)
        query = AvailabilityQuery(limit=100, taskId=task.id, postcode=POSTCODE, fromDate=first)
        page = await find_windows(self.store, query)
        taken = {booking.startAt for booking in patient.bookings.values()}
        return next((each for each in page.data if each.startAt not in taken), page.data[0])


async def open_demo(service: Service) -> Demo:
    """Return the demo organisation; the first start makes it, its key, and coverage.

    A start that finds the key without the organisation, or the other way round, is a first one too.
    Where the key was rolled, revoked or has expired, the organisation gets another one.
    """
    state = Path(service.settings.state)
    demo = await _reopened(service, kept(state / KEY_FILE))
    if demo is None:
        await load_coverage(service, "test", json.loads(COVERAGE.read_text()))
        organisation, made = await create_organisation(service, "Demo Health", ADMINISTRATOR)
        tenant = f"demo-health-{organisation.id[-5:].lower()}"
        await connect_tenant(service, "test", organisation.id, tenant)
    elif demo.key_stands():
        return demo
    else:
        made = await create_key(
            service, "test", demo.store.organisation, ADMINISTRATOR, "Another key"
        )
    key = str(made.secret)
    write_down(state / KEY_FILE, key)
    return Demo(service, await service.keyring.authenticate(key), key)


async def _reopened(service: Service, key: str) -> Demo | None:
    """Return the demo organisation of a key, if the key is of this state and it is complete."""
    with contextlib.suppress(ApiError):
        demo = Demo(service, await service.keyring.authenticate(key), key)
        if await demo.tasks():
            return demo
    return None


async def demo_password(service: Service, organisation: str) -> str:
    """Return the password of the demo organisation's administrator, whom the first start makes.

    Nothing, where they have chosen another since.
    """
    file = Path(service.settings.state) / ADMINISTRATOR_FILE
    store = open_store(service, "test", organisation, at=service.now(), account=True)
    login_ref = Ref(Login, login_id(service.keyring.hash, EMAIL))
    (login,) = await store.find(login_ref)
    if login is not None:
        (user,) = await store.find(Ref(User, login.user))
        hashed = None if user is None else user.passwordHash
        return kept(file) if await service.passwords.check(EMAIL, kept(file), hashed) else ""
    password = kept(file) or "-".join(codes.random_text(5) for _ in range(4)).lower()
    write_down(file, password)
    user = User.new(
        at=store.now,
        organisation=organisation,
        email=EMAIL,
        name="Demo Administrator",
        role="administrator",
        passwordHash=await service.passwords.keep(EMAIL, password),
    )
    store.insert(user)
    store.insert(Login(id=login_ref.id, organisation=organisation, user=user.id))
    await store.commit()
    return password


def kept(file: Path) -> str:
    """Return what an earlier start kept for the next, or nothing."""
    return file.read_text().strip() if file.exists() else ""


def write_down(file: Path, text: str) -> None:
    """Keep something for later starts, for its owner alone."""
    draft = file.with_name(f"{file.name}.new")
    draft.touch(0o600)
    draft.write_text(f"{text}\n")
    draft.replace(file)


async def first_calls(service: Service, url: str, files: Certificate) -> str:
    """Return the text that is shown at every start: the key, the certificate, five curl commands.

    Each command works by itself when it is pasted: the ids in it are real.
    """
    demo = await open_demo(service)
    task = (await demo.tasks())[-1]
    patient = await demo.patient()
    window = await demo.free_window(task, patient)
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
    state = Path(service.settings.state)
    password = await demo_password(service, demo.store.organisation)
    lines = [
        "",
        f"Dashboard:    {service.settings.dashboard_url}",
        f"  sign in as  {EMAIL}, {password or 'with the password that you chose'}",
        f"Operations:   {service.settings.operations_url}",
        f"  sign in by  {local_key(state)}",
        f"Mailbox:      {service.settings.mailbox_url}",
        f"Test key:     {demo.key}",
        f"Certificate:  {_shown(files.authority)}",
        f"Request log:  {_shown(Path(service.settings.log))}",
        f"Explained:    {url}/docs",
        "",
    ]
    for title, (path, *options) in calls.items():
        lines += [
            f"# {title}",
            f"curl --cacert {trust} -H 'Authorization: {demo.key}' \\",
            *(f"  {option} \\" for option in options),
            f"  {url}{path}",
            "",
        ]
    return "\n".join(lines)


def _form(**fields: str) -> list[str]:
    return [f"--data-urlencode {shlex.quote(f'{name}={value}')}" for name, value in fields.items()]


def _shown(path: Path) -> str:
    """Return a path as it is shortest from here."""
    absolute = path.resolve()
    here = Path.cwd()
    return str(absolute.relative_to(here) if absolute.is_relative_to(here) else absolute)
