"""From a patient to an appointment, and what may come later, with the generated Python client.

It prints as JSON what it read, in the same words as flow.ts beside it.
"""

import json
import os
from datetime import UTC, date, datetime, timedelta

import ally_generated as ally
from ally_generated.exceptions import ApiException


def connect(url: str) -> ally.ApiClient:
    configuration = ally.Configuration(host=url, ssl_ca_cert=os.environ["ALLY_CA"])
    configuration.api_key["apiKey"] = os.environ["ALLY_KEY"]
    return ally.ApiClient(configuration)


client = connect(os.environ["ALLY_URL"])
patients = ally.PatientsApi(client)
tasks = ally.TasksApi(client)
availability = ally.AvailabilityApi(client)
appointments = ally.AppointmentsApi(client)
told: dict[str, object] = {}

# Create a patient, safely even where the answer is lost.
address = ally.AddressInput(line1="17 Quillon Row", city="London", postcode="SW1A 1AA")
wanted = ally.PatientInput(
    first_name="Grace",
    last_name="Hopper",
    phone="+447400123456",
    email="grace@example.com",
    date_of_birth=date(1985, 12, 10),
    note="The bell is broken.",
    address=address,
    metadata={"ward": "7B"},
)
patient = patients.create_patient(wanted, idempotency_key="grace-1")
again = patients.create_patient(wanted, idempotency_key="grace-1")
told["patient"] = {
    "id": patient.id,
    "same": again.id == patient.id,
    "born": patient.date_of_birth.isoformat(),
    "postcode": patient.address.postcode,
    "metadata": patient.metadata,
}

# Change it: what is null is unset, what is left out stays.
changed = patients.update_patient(
    patient.id,
    patient_changes=ally.PatientChanges(note=None, metadata={"ward": None, "bed": "3"}),
)
told["changed"] = {"note": changed.note, "email": changed.email, "metadata": changed.metadata}

# Choose a task and a window, and create an appointment.
task = next(each for each in tasks.list_tasks().data if each.name == "Venepuncture")
tomorrow = datetime.now(UTC).date() + timedelta(days=1)
window = availability.list_availability(task.id, address.postcode, from_date=tomorrow).data[0]
appointment = appointments.create_appointment(
    ally.AppointmentInput(
        patient_id=patient.id,
        task_id=task.id,
        window_id=window.id,
        phone=patient.phone,
        location=ally.LocationInput(address=address),
        metadata={"order": "A-17"},
    )
)
full = appointments.get_appointment(appointment.id, expand=["patient", "task"])
told["appointment"] = {
    "id": full.id,
    "status": full.status,
    "postcode": full.location.address.postcode,
    "inWindow": full.window.start_at == window.start_at,
    "patient": full.patient.last_name,
    "task": full.task.name,
    "data": full.data,
}

# Page through a list, and narrow it.
pages, last = [], None
while True:
    page = patients.list_patients(limit=2, starting_after=last)
    pages.append([each.id for each in page.data])
    if not page.has_more:
        break
    last = page.data[-1].id
told["pages"] = pages
older = patients.list_patients(created_at_lt=patient.created_at.isoformat())
told["older"] = [each.id for each in older.data]

# What is wrong with a request, and what the world refuses.
nowhere = address.model_copy(update={"postcode": "NOWHERE"})
try:
    patients.create_patient(wanted.model_copy(update={"address": nowhere, "chi": "12"}))
except ApiException as refused:
    error = refused.data.error
    told["wrong"] = {
        "status": refused.status,
        "type": error.type,
        "code": error.code,
        "errors": [{"param": each.param, "code": each.code} for each in error.errors],
        "requestId": error.request_id == refused.headers["Request-Id"],
    }
cancellation = ally.CancellationInput(cancelling_entity="patient", reason_code="other")
cancelled = appointments.cancel_appointment(appointment.id, cancellation)
told["cancelled"] = {"reason": cancelled.reason_code, "by": cancelled.cancelling_entity}
try:
    appointments.cancel_appointment(appointment.id, cancellation)
except ApiException as refused:
    told["refused"] = {"status": refused.status, "code": refused.data.error.code}

# What this client was made too early to know.
later = ally.AppointmentsApi(connect(os.environ["ALLY_LATER_URL"]))
paused = later.get_appointment(os.environ["ALLY_PAUSED"], expand=["patient"])
told["later"] = {"status": paused.status, "patient": paused.patient.id}
try:
    later.get_appointment("apt_" + "0" * 22)
except ApiException as refused:
    error = refused.data.error
    told["laterRefused"] = {"status": refused.status, "type": error.type, "code": error.code}

print(json.dumps(told))
