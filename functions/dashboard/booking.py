"""A new appointment, step by step: patient, task, place, window, check.

Of what was chosen, ids alone stand in addresses; whatever is personal is carried from step to step
in the fields of forms. The check rehearses the booking itself, so what is wrong with it is known
before it is asked for.
"""

from typing import Any
from urllib.parse import urlencode

from functions.dashboard.days import OurDay
from functions.dashboard.listing import tasks_of
from functions.dashboard.patients import find
from functions.dashboard.portal import portal
from functions.dashboard.windows import find_days
from shared.appointments import POSTCODE, AppointmentIn, book
from shared.errors import ApiError
from shared.fields import Line
from shared.forms import fields_of
from shared.models import Model
from shared.pages import ListQuery, Page
from shared.patients import Patient, PatientSearch
from shared.portals import Form, View, Visit
from shared.store import Ref
from shared.tasks import Task

NEWEST = 10
"""The patients who are offered before any are sought."""
PATIENT, TASK, PLACE, WINDOW, CHECK = range(1, 6)
"""The steps."""


class Chosen(Model):
    """What was chosen so far, by ids alone."""

    patientId: Line | None = None
    taskId: Line | None = None
    windowId: Line | None = None


class Draft(AppointmentIn):
    """An appointment whose window is being chosen, from a day on."""

    fromDate: OurDay | None = None


@portal.get("/{mode}/booking", permission="appointments:write")
async def begin(visit: Visit, query: Chosen) -> View:
    """Ask for what is not chosen yet: the patient, the task, the place."""
    if query.patientId is None:
        page = await visit.store.page(Patient, ListQuery(limit=NEWEST))
        return _offer(visit, query, page)
    if query.taskId is None:
        patient = await visit.store.get(Patient, query.patientId, "patientId")
        tasks = [task for task in await tasks_of(visit.store) if task.active]
        return _page(visit, TASK, chosen=query, patient=patient, tasks=tasks)
    return await _place(visit, query)


@portal.post("/{mode}/booking/patient", permission="appointments:write")
async def seek(visit: Visit, query: Chosen, body: Form[PatientSearch]) -> View:
    """Find the patient by what does not belong in an address."""
    page, status = await find(visit, body)
    return _offer(visit, query, page, body, status)


@portal.post("/{mode}/booking/place", permission="appointments:write")
async def back(visit: Visit, body: Form[Draft]) -> View:
    """Show the place again, as it was typed."""
    return await _place(visit, _chosen(body), Form(body.sent, None))


@portal.post("/{mode}/booking/window", permission="appointments:write")
async def choose(visit: Visit, body: Form[Draft]) -> View:
    """Show the windows for what was typed, a week at a time."""
    if body.value is None:
        return await _place(visit, _chosen(body), body, 400)
    return await _windows(visit, body.value, body)


@portal.post("/{mode}/booking/check", permission="appointments:write")
async def check(visit: Visit, body: Form[AppointmentIn]) -> View:
    """Show all of the appointment before it is made."""
    if body.value is None:
        return await _place(visit, _chosen(body), body, 400)
    draft = body.value
    try:
        made = await book(visit.store, draft)
    except ApiError as refusal:
        return await _again(visit, draft, body, refusal)
    visit.store.discard()  # it was a rehearsal
    patient, task = await _known(visit, draft.patientId, draft.taskId)
    return _page(
        visit, CHECK, patient=patient, task=task, appointment=made, kept=list(fields_of(body.sent))
    )


@portal.post("/{mode}/booking/confirm", permission="appointments:write")
async def confirm(visit: Visit, body: Form[AppointmentIn]) -> View:
    """Make the appointment. A window that was taken meanwhile leads back to the windows."""
    if body.value is None:
        return await _place(visit, _chosen(body), body, 400)
    draft = body.value
    try:
        made = await book(visit.store, draft)
    except ApiError as refusal:
        return await _again(visit, draft, body, refusal)
    return visit.redirect(f"/{visit.mode}/appointments/{made.id}", "appointment_created")


async def anew(visit: Visit) -> View:
    """Lead to the beginning, for what was typed into a later step is in no address."""
    return visit.redirect(f"/{visit.mode}/booking")


for step in ("patient", "place", "window", "check", "confirm"):
    portal.get(f"/{{mode}}/booking/{step}", permission="appointments:write")(anew)


def _offer(
    visit: Visit,
    chosen: Chosen,
    page: Page[Patient],
    sought: Form[PatientSearch] | None = None,
    status: int = 200,
) -> View:
    """Show the patients who can be chosen."""
    ids = chosen.model_dump(exclude={"patientId"}, exclude_none=True)
    return _page(visit, PATIENT, status, ids=urlencode(ids), page=page, sought=sought)


async def _place(
    visit: Visit, chosen: Chosen, form: Form[Any] | None = None, status: int = 200
) -> View:
    """Ask where the visit is, whom to call, and what else there is to say."""
    patient, task = await _known(visit, chosen.patientId or "", chosen.taskId or "")
    return _page(visit, PLACE, status, chosen=chosen, patient=patient, task=task, form=form)


async def _windows(visit: Visit, draft: AppointmentIn, form: Form[Any], status: int = 200) -> View:
    """Show the windows for what was typed."""
    patient, task = await _known(visit, draft.patientId, draft.taskId)
    postcode = draft.location.address.postcode
    first = draft.fromDate if isinstance(draft, Draft) else None
    try:
        days = await find_days(visit.store, task.id, postcode, first)
    except ApiError as refusal:
        if refusal.param == "postcode":
            refusal.param = POSTCODE
        return await _again(visit, draft, form, refusal)
    kept = [pair for pair in fields_of(form.sent) if pair[0] not in ("windowId", "fromDate")]
    return _page(
        visit,
        WINDOW,
        status,
        patient=patient,
        task=task,
        form=form,
        days=days,
        kept=kept,
        postcode=postcode,
    )


async def _again(visit: Visit, draft: AppointmentIn, form: Form[Any], refusal: ApiError) -> View:
    """Lead back to the step at which something can be done about a refusal."""
    visit.store.discard()
    form.blame(refusal)
    if refusal.param == "windowId":
        if draft.windowId is None:
            form.errors["windowId"] = "Choose a window."
        return await _windows(visit, draft, form, 400)
    return await _place(visit, _chosen(form), form, 400)


async def _known(visit: Visit, patient_id: str, task_id: str) -> tuple[Patient, Task]:
    """Return whose appointment it is and what is to be done, or refuse with 404."""
    whose, what = Ref(Patient, patient_id, "patientId"), Ref(Task, task_id, "taskId")
    patient, task = await visit.store.find(whose, what)
    return visit.store.required(patient, whose), visit.store.required(task, what)


def _chosen(form: Form[Any]) -> Chosen:
    """Return the ids among what was typed, right or wrong."""
    typed: Any = {name: form.text(name) or None for name in Chosen.model_fields}
    return Chosen.model_construct(**typed)


def _page(visit: Visit, step: int, status: int = 200, **values: Any) -> View:
    """Show a step."""
    template = ("patient", "task", "place", "window", "check")[step - 1]
    return visit.page(
        f"booking/{template}.html", title="New appointment", status=status, step=step, **values
    )
