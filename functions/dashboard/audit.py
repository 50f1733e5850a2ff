"""The audit trail: who saw or changed what belongs to patients."""

from functions.dashboard.days import DaysQuery
from functions.dashboard.links import names_of, place_of, places_of
from functions.dashboard.portal import portal
from shared.portals import Form, View, Visit
from shared.requests import AuditQuery, audit_events
from shared.visits import page_for


class TrailQuery(DaysQuery, AuditQuery):
    """Events as the page is asked for them."""


@portal.get("/{mode}/audit_events", permission="audit_events:read")
async def index(visit: Visit, query: Form[TrailQuery]) -> View:
    """List events, newest first."""
    page = await page_for(query, lambda asked: audit_events(visit.store, asked))
    callers = [each.principal.id for each in page.data]
    names = await names_of(visit, callers)
    shown = {each for event in page.data for each in event.patients}
    return visit.page(
        "audit/list.html",
        title="Audit trail",
        status=400 if query.errors else 200,
        form=query,
        page=page,
        names=names,
        callers=places_of(visit, callers, names),
        places={each: place_of(visit, each) for each in shown},
    )
