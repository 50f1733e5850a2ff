"""Tasks: the definitions of what is done in an appointment, designed with each organisation."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared.fields import Line, Note, Shape, Whole
from shared.models import Model, Resource
from shared.registers import SnomedCode
from shared.words import beginnings

SNOMED_CT = "http://snomed.info/sct"
MOST_STEPS = 20


class Coding(Model):
    """A concept of a clinical terminology."""

    system: Annotated[str, Shape(examples=[SNOMED_CT])]
    """The URI of the terminology."""
    code: Annotated[str, Shape(examples=["28520004"])]
    """The code of the concept."""
    display: Annotated[str, Shape(examples=["Venipuncture for blood test"])]
    """The usual name of the concept."""


class Step(Model):
    """One activity of a task. A clinical one is coded in SNOMED CT."""

    kind: Literal["clinical", "administrative"]
    """Whether it is done to the patient, or beside."""
    name: Annotated[str, Shape(examples=["Take the sample"])]
    """What is done."""
    coding: Coding | None = None
    """What a clinical step is in SNOMED CT."""


class Task(Resource):
    """A definition of the procedures and activities of one appointment."""

    collection: ClassVar[str] = "tasks"
    prefix: ClassVar[str] = "tsk"

    object: str = "task"
    name: Annotated[str, Shape(examples=["Venepuncture"])]
    """The short name."""
    description: Annotated[
        str, Shape(examples=["Take a blood sample and send it to the laboratory."])
    ]
    """What is done, in a sentence."""
    durationMinutes: Annotated[int, Shape(examples=[30])]
    """How long the practitioner needs."""
    active: bool = True
    """Whether the task can be requested."""
    steps: list[Step]
    """The activities, in their order."""

    def terms(self) -> Sequence[str]:
        """Return everything that the name is found by."""
        return beginnings(self.name)

    @property
    def procedures(self) -> set[str]:
        """The codes of the clinical steps: what a practitioner must be able to do."""
        return {step.coding.code for step in self.steps if step.coding is not None}


class StepIn(Model):
    """One activity of a task, as Operations write it; one without a name is left out."""

    kind: Literal["clinical", "administrative"]
    name: Line | None = None
    code: SnomedCode | None = None
    display: Line | None = None

    def step(self) -> Step | None:
        """Return the activity, if there is one; ValueError says what a clinical one must have."""
        if self.name is None:
            return None
        if self.kind == "administrative":
            return Step(kind=self.kind, name=self.name)
        if self.code is None or self.display is None:
            raise ValueError("must have the code and the usual name of a concept of SNOMED CT")
        coding = Coding(system=SNOMED_CT, code=self.code, display=self.display)
        return Step(kind=self.kind, name=self.name, coding=coding)


class TaskIn(Model):
    """A task, as Operations design it with an organisation."""

    name: Line
    description: Note
    durationMinutes: Annotated[Whole, Field(ge=5, le=480)]
    active: bool = False
    steps: Annotated[list[StepIn], Field(max_length=MOST_STEPS)] = []


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
