"""Patients: the people who receive care."""

import functions_framework.aio

from shared import Api, Call, Changes, Deleted, Page, Request, Response
from shared.patients import (
    Patient,
    PatientChanges,
    PatientIn,
    PatientQuery,
    PatientSearch,
    erase,
)

api = Api("patients", audience="partner")


@api.post("/v1/patients", permission="patients:write", end_user="patients:create")
async def create(call: Call, body: PatientIn) -> Patient:
    """Create a patient."""
    return call.store.insert(Patient.of(call.store, body))


@api.get("/v1/patients", permission="patients:read", end_user="patients:read")
async def index(call: Call, query: PatientQuery) -> Page[Patient]:
    """List patients, newest first."""
    return await call.store.page(Patient, query)


@api.post("/v1/patients/search", permission="patients:read", end_user="patients:read")
async def search(call: Call, body: PatientSearch) -> Page[Patient]:
    """Find patients by what does not belong in a URL, newest first.

    It is a list like any other, but its parameters are sent in the body.
    """
    return await call.store.page(Patient, body)


@api.get("/v1/patients/{patient}", permission="patients:read", end_user="patients:read")
async def get(call: Call, patient: str) -> Patient:
    """Return a patient."""
    return await call.store.get(Patient, patient)


@api.update("/v1/patients/{patient}", permission="patients:write", end_user="patients:update")
async def update(call: Call, patient: str, body: Changes[PatientChanges]) -> Patient:
    """Change a patient.

    What is left out stays as it is, what is sent empty is unset. An address is replaced as a whole;
    metadata is merged.
    """
    found = await call.store.get(Patient, patient)
    return call.store.put(body.apply(found, call.now))


@api.delete(
    "/v1/patients/{patient}",
    permission="patients:write",
    end_user="patients:delete",
    refuses=("patient_has_appointments",),
)
async def delete(call: Call, patient: str) -> Deleted:
    """Delete a patient who has no appointment to come.

    What is remembered of requests that named the patient, for retries, is deleted too.
    """
    found = await erase(call.store, patient)
    return Deleted(id=found.id, object=found.object)


@functions_framework.aio.http
async def patients(request: Request) -> Response:
    """Serve /v1/patients."""
    return await api(request)
