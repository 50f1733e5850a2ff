"""What a page costs beside the call of the API that lists the same, on the local backend."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

from shared import ids
from shared.appointments import Appointment, AppointmentWindow, Location
from shared.models import Record
from shared.pages import ListQuery
from shared.patients import Address, Patient
from shared.provision import create_organisation, keep, open_store
from shared.service import Service
from shared.sessions import COOKIE
from shared.tasks import Task
from tests.bench.functions import Function, a_patient, request_bytes
from tests.bench.measure import Pair
from tests.bench.requests import local_environment, serving
from tests.support.people import begin_session, user_of
from tests.support.serving import ADDRESS, PATIENT, Backing

ROWS = 50


@contextmanager
def a_page(folder: Path) -> Iterator[Pair]:
    """Show a page of fifty appointments, each of a patient of its own, and list them."""
    environment = local_environment(folder)
    key, token = _members(environment)
    listing = request_bytes("GET", f"/v1/appointments?limit={ROWS}", key)
    showing = request_bytes("GET", f"/test/appointments?limit={ROWS}", "-")
    showing = showing.replace(b"\r\n\r\n", f"\r\nCookie: {COOKIE}={token}\r\n\r\n".encode())
    with (
        closing(Function.ours("dashboard", folder, environment)) as dashboard,
        closing(Function.ours("appointments", folder, environment)) as api,
    ):
        assert len(json.loads(api.answer(listing))["data"]) == ROWS
        assert dashboard.answer(showing).count(PATIENT["lastName"].encode()) == ROWS
        yield serving(dashboard, showing), serving(api, listing)


def _members(environment: dict[str, str]) -> tuple[str, str]:
    """Make an organisation with appointments; return a key and what a member's cookie holds."""

    async def make(service: Service) -> tuple[str, str]:
        organisation, key = await create_organisation(service, "Bench")
        at = service.now()
        store = open_store(service, "test", organisation.id, at=at)
        task = (await store.page(Task, ListQuery())).data[0]
        made: list[Record] = []
        for number in range(ROWS):
            moment = at - timedelta(seconds=number)
            patient = a_patient().model_copy(update={"id": ids.mint(Patient.prefix, moment)})
            start = at + timedelta(days=1, hours=number)
            window = AppointmentWindow(
                id=ids.mint("win", start), startAt=start, endAt=start + timedelta(hours=2)
            )
            appointment = Appointment.new(
                at=moment,
                livemode=False,
                status="scheduled",
                patientId=patient.id,
                taskId=task.id,
                phone=patient.phone,
                location=Location(address=Address(**ADDRESS)),
                windowId=window.id,
                window=window,
            )
            made += [patient, appointment]
        await keep(service, "test", organisation.id, made, at)
        return str(key.secret), organisation.id

    with closing(Backing(environment)) as backing:
        key, organisation = backing.run(make)
        return key, begin_session(backing, user_of(backing, organisation, "member"))
