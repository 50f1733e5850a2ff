"""Patients: found, shown, made, changed and deleted."""

from typing import Annotated, Any

from pydantic import BeforeValidator

from functions.dashboard.listing import ChangesQuery, tasks_of
from functions.dashboard.portal import portal
from shared.appointments import AppointmentQuery, find_appointments
from shared.errors import ApiError
from shared.fields import MetadataKey, MetadataText
from shared.models import Changes, Model
from shared.pages import Page
from shared.patients import (
    AddressIn,
    Patient,
    PatientChanges,
    PatientIn,
    PatientQuery,
    PatientSearch,
    erase,
)
from shared.portals import Form, View, Visit
from shared.visits import NEXT, page_for

FEW = 5
"""The appointments that a patient's own page shows."""
ROOM = 2
"""The places of a form for facts that there are not yet."""


class PatientListing(ChangesQuery, PatientQuery):
    """Patients as the page is asked for them."""


class Fact(Model):
    """A fact of the partner's own that there is not yet."""

    name: MetadataKey | None = None
    value: MetadataText | None = None


def _typed(address: Any) -> Any:
    """Take an address of which nothing was typed for none."""
    return address if not isinstance(address, dict) or any(address.values()) else None


class PatientForm(PatientChanges):
    """A patient as somebody types one."""

    address: Annotated[AddressIn | None, BeforeValidator(_typed)] = None
    added: list[Fact] | None = None


@portal.get("/{mode}/patients", permission="patients:read")
async def index(visit: Visit, query: Form[PatientListing]) -> View:
    """List patients, newest first."""
    page = await page_for(query, lambda asked: visit.store.page(Patient, asked))
    status = 400 if query.errors else 200
    return visit.page("patients/list.html", title="Patients", status=status, form=query, page=page)


@portal.get("/{mode}/patients/search", permission="patients:read")
async def search_form(visit: Visit) -> View:
    """Lead to the list, where the search begins: what was sought is in no address."""
    return visit.redirect(f"/{visit.mode}/patients")


@portal.post("/{mode}/patients/search", permission="patients:read")
async def search(visit: Visit, body: Form[PatientSearch]) -> View:
    """Find patients by what does not belong in an address."""
    page, status = await find(visit, body)
    return visit.page(
        "patients/found.html", title="Patients found", status=status, sought=body, page=page
    )


async def find(visit: Visit, body: Form[PatientSearch]) -> tuple[Page[Patient], int]:
    """Return a page of the patients whom somebody seeks, and the status that tells of it."""
    page = await page_for(body, lambda asked: visit.store.page(Patient, asked))
    return page, 400 if body.errors else 200


@portal.get("/{mode}/patients/new", permission="patients:write")
async def new(visit: Visit) -> View:
    """Ask what is known of a new patient."""
    return _ask(visit, "patients/new.html", "New patient")


@portal.post("/{mode}/patients", permission="patients:write")
async def create(visit: Visit, body: Form[PatientForm]) -> View:
    """Make a patient, and go on to where one was wanted."""
    if body.value is not None:
        values = {name: getattr(body.value, name) for name in PatientForm.model_fields}
        with body.blaming():
            made = Patient.of(visit.store, PatientIn.model_validate(_gathered(values)))
            visit.store.insert(made)
            if NEXT in visit.parameters:
                joint = "&" if "?" in visit.next else "?"
                return visit.redirect(f"{visit.next}{joint}patientId={made.id}", "patient_created")
            return visit.redirect(f"/{visit.mode}/patients/{made.id}", "patient_created")
    return _ask(visit, "patients/new.html", "New patient", form=body, status=400)


@portal.get("/{mode}/patients/{patient}", permission="patients:read")
async def show(visit: Visit, patient: str) -> View:
    """Show a patient, and their newest appointments."""
    found = await visit.store.get(Patient, patient)
    query = AppointmentQuery(patientId=found.id, limit=FEW)
    page = await find_appointments(visit.store, visit.caller, query)
    tasks = {task.id: task for task in await tasks_of(visit.store)} if page.data else {}
    return visit.page(
        "patients/show.html",
        title=f"{found.firstName} {found.lastName}",
        patient=found,
        page=page,
        tasks=tasks,
    )


@portal.get("/{mode}/patients/{patient}/edit", permission="patients:write")
async def edit(visit: Visit, patient: str) -> View:
    """Ask what is to be changed of a patient."""
    found = await visit.store.get(Patient, patient)
    return _ask(visit, "patients/edit.html", "Edit patient", patient=found)


@portal.post("/{mode}/patients/{patient}/edit", permission="patients:write")
async def change(visit: Visit, patient: str, body: Form[Changes[PatientForm]]) -> View:
    """Change a patient."""
    found = await visit.store.get(Patient, patient)
    if body.value is not None:
        _gathered(body.value.values)
        with body.blaming():
            visit.store.put(body.value.apply(found, visit.now))
            return visit.redirect(f"/{visit.mode}/patients/{found.id}", "patient_changed")
    return _ask(visit, "patients/edit.html", "Edit patient", patient=found, form=body, status=400)


@portal.get("/{mode}/patients/{patient}/delete", permission="patients:write")
async def ask_delete(visit: Visit, patient: str) -> View:
    """Ask whether a patient is really to be deleted, or say why they cannot be."""
    found = await visit.store.get(Patient, patient)
    try:
        found.check_deletable(visit.now)
    except ApiError as refusal:
        return _confirm(visit, found, expected=refusal.facts["id"])
    return _confirm(visit, found)


@portal.post("/{mode}/patients/{patient}/delete", permission="patients:write")
async def delete(visit: Visit, patient: str) -> View:
    """Delete a patient who is expected nowhere."""
    try:
        await erase(visit.store, patient)
    except ApiError as refusal:
        if refusal.code != "patient_has_appointments":
            raise
        found = await visit.store.get(Patient, patient)
        return _confirm(visit, found, expected=refusal.facts["id"], status=409)
    return visit.redirect(f"/{visit.mode}/patients", "patient_deleted")


def _ask(visit: Visit, template: str, title: str, **values: Any) -> View:
    shown = {"form": None, "patient": None, "room": ROOM, **values}
    return visit.page(template, title=title, **shown)


def _confirm(visit: Visit, patient: Patient, status: int = 200, expected: object = None) -> View:
    return visit.page(
        "patients/delete.html",
        title="Delete patient",
        status=status,
        patient=patient,
        expected=expected,
    )


def _gathered(values: dict[str, Any]) -> dict[str, Any]:
    """Put the facts that were added beside those that there are."""
    added = {fact.name: fact.value for fact in values.pop("added", None) or () if fact.name}
    if added:
        values["metadata"] = {**(values.get("metadata") or {}), **added}
    return values
