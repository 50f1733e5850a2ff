"""Whatever is typed into whichever field of whichever page, it is shown and never run."""

import re
from typing import Any

import pytest

from shared import ids
from shared.clock import now
from shared.organisations import Messaging
from shared.tasks import standard_tasks
from tests.support.people import HtmlForm, forms
from tests.support.serving import ADDRESS, Partner
from tests.support.tour import PAGES, Tour
from tests.test_docs import once

SCRIPT = "<script>run()</script>"
BREAKING = f"\"'>{SCRIPT}<img src=x onerror=run()>"
RUNS = re.compile(r"<script>run|<img src=x")


class Marked(Tour):
    """A tour of an organisation in which every text that somebody wrote is a script."""

    def __init__(self, partner: Partner) -> None:
        super().__init__(partner)
        partner.change_organisation(
            displayName=SCRIPT,
            displayNameUnderReview=SCRIPT,
            messaging=Messaging(supportPhone=SCRIPT, supportEmail=SCRIPT, signature=SCRIPT),
            frontEndOrigins=[SCRIPT],
        )
        self.user = {"name": SCRIPT, "email": f"{SCRIPT}@example.org"}
        at = now()
        self.marked_task = next(standard_tasks(at)).model_copy(
            update={"id": ids.mint("tsk", at), "name": SCRIPT, "description": SCRIPT}
        )
        partner.backing.keep("test", partner.organisation.id, [self.marked_task])
        self.partner = partner.with_key({"*": "write"}, name=SCRIPT)
        texts = {"note": SCRIPT, "externalRef": SCRIPT, "metadata": {"key": SCRIPT}}
        place = {**ADDRESS, "line1": SCRIPT, "city": SCRIPT, "accessNotes": SCRIPT}
        self.marked_patient = self.partner.create_patient(
            firstName=SCRIPT, lastName=SCRIPT, title=SCRIPT[:20], address=place, **texts
        )
        task = self.partner.task()
        self.marked_appointment = self.partner.post(
            "/v1/appointments",
            {
                **self.partner.request(
                    self.marked_patient, task, self.partner.windows(task)[0], **texts
                ),
                "location": {"address": place},
            },
        )

    @property
    def _makers(self) -> dict[str, Any]:
        return {
            **super()._makers,
            "patient": lambda: self.marked_patient["id"],
            "appointment": lambda: self.marked_appointment["id"],
            "task": lambda: self.marked_task.id,
        }


def sent_by(form: HtmlForm) -> dict[str, str | list[str]]:
    """Return what a form would send of itself, with the script in each field that takes a text."""
    sent: dict[str, str | list[str]] = dict(form.fields)
    return sent | dict.fromkeys(form.typed, BREAKING)


@pytest.fixture
def tour(partner: Partner) -> Marked:
    return Marked(partner)


@once
def test_no_page_runs_what_was_stored_or_typed(tour: Marked) -> None:
    fields = shown = 0
    for portal, template in PAGES:
        person = tour.visitor(portal, template)
        page = person.ask("GET", tour.path(template))
        assert page.status_code in (200, 303), (portal, template, page.text)
        assert not RUNS.search(page.text), (portal, template)
        shown += "&lt;script&gt;run()" in page.text
        for form in forms(page):
            action = form.action or tour.path(template)
            if not form.typed or action == "/sign-out":
                continue
            if form.method == "get":
                answer = person.ask("GET", action, params=sent_by(form))
            else:
                answer = person.post(action, sent_by(form))
            fields += len(form.typed)
            assert answer.status_code < 500, (portal, template, action, answer.text)
            assert not RUNS.search(answer.text), (portal, template, action)
            assert "<" not in answer.headers.get("location", "")
    assert fields > 80
    assert shown > 20
