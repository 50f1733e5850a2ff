"""Tasks: the definitions of what is done in an appointment, designed with each organisation."""

from collections.abc import Iterator
from datetime import datetime
from typing import ClassVar, Literal

from shared.models import Model, Resource

SNOMED_CT = "http://snomed.info/sct"


class Coding(Model):
    """A concept of a clinical terminology: the system's URI, the code and its usual name."""

    system: str
    code: str
    display: str


class Step(Model):
    """One activity of a task. A clinical one is coded in SNOMED CT."""

    kind: Literal["clinical", "administrative"]
    name: str
    coding: Coding | None = None


class Task(Resource):
    """A definition of the procedures and activities of one appointment."""

    collection: ClassVar[str] = "tasks"
    prefix: ClassVar[str] = "tsk"

    object: str = "task"
    name: str
    description: str
    durationMinutes: int
    active: bool = True
    steps: list[Step]

    @property
    def procedures(self) -> set[str]:
        """The codes of the clinical steps: what a practitioner must be able to do."""
        return {step.coding.code for step in self.steps if step.coding is not None}


def _clinical(name: str, code: str, display: str) -> Step:
    return Step(
        kind="clinical", name=name, coding=Coding(system=SNOMED_CT, code=code, display=display)
    )


def _administrative(name: str) -> Step:
    return Step(kind="administrative", name=name)


_STANDARD = (
    (
        "Venepuncture",
        "Take a blood sample and send it to the laboratory.",
        30,
        [
            _clinical("Take the sample", "28520004", "Venipuncture for blood test"),
            _administrative("Label the sample and courier it to the laboratory"),
        ],
    ),
    (
        "Wound dressing",
        "Clean and dress a wound and record how it heals.",
        45,
        [
            _clinical("Dress the wound", "182531007", "Dressing of wound"),
            _administrative("Photograph the wound"),
        ],
    ),
    (
        "Suture removal",
        "Remove the sutures of a healed wound.",
        30,
        [_clinical("Remove the sutures", "30549001", "Removal of suture")],
    ),
    (
        "Blood pressure",
        "Measure the blood pressure at rest.",
        20,
        [_clinical("Measure the blood pressure", "46973005", "Blood pressure taking")],
    ),
)


def standard_tasks(at: datetime) -> Iterator[Task]:
    """Yield the tasks that every new organisation can try in test mode."""
    for name, description, minutes, steps in _STANDARD:
        yield Task.new(
            at=at,
            livemode=False,
            name=name,
            description=description,
            durationMinutes=minutes,
            steps=steps,
        )
