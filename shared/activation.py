"""Activation: what an organisation tells of itself, and the way by which live mode opens to it.

    not_started -> begun -> under_review -> active <-> suspended
                     ^          |   ^
                     '----------'   '-> rejected

All changes of state are here, each staged in a store of the organisation's account with the mail
that tells of it. docs/decisions/0029-activation.md says what is asked of whom, and why.
"""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, NamedTuple, Self

from shared import directory, issuing, letters, mail
from shared.auth import Keyring
from shared.backends import ConflictError
from shared.clock import isoformat
from shared.fields import Line, Note, Postcode, known
from shared.keys import ApiKey
from shared.letters import Letter
from shared.models import Changes, Model, Record, changes_model
from shared.organisations import Activation, DisplayName, Organisation, OrganisationIn
from shared.provision import open_store
from shared.registers import CharityNumber, CompanyNumber, UkMobile, VatNumber
from shared.service import Service
from shared.store import Ref, Store
from shared.tasks import Task, standard_tasks
from shared.users import User

OrganisationType = Literal["company", "business", "trust", "charity", "public_body", "other"]

TYPES: Mapping[OrganisationType, str] = {
    "company": "Limited company or limited liability partnership",
    "business": "Sole trader or partnership",
    "trust": "NHS trust or health board",
    "charity": "Charity",
    "public_body": "Council or other public body",
    "other": "Other",
}
"""The types of organisations, and what people read."""

LABELS: Mapping[str, str] = {
    "contactMobile": "Mobile number",
    "organisationType": "Type",
    "otherType": "What kind",
    "displayName": "Name in messages",
    "legalName": "Legal name",
    "tradingName": "Trading name",
    "companyNumber": "Company number",
    "charityNumber": "Charity number",
    "vatNumber": "VAT number",
    "line1": "Address line 1",
    "line2": "Address line 2",
    "city": "Town or city",
    "county": "County",
    "postcode": "Postcode",
}
"""What people read of the fields of an application, by their names."""

Decision = Literal["approve", "reject", "suspend", "resume"]

DECISIONS: Mapping[Decision, tuple[Activation, Activation]] = {
    "approve": ("under_review", "active"),
    "reject": ("under_review", "rejected"),
    "suspend": ("active", "suspended"),
    "resume": ("suspended", "active"),
}
"""What Operations decide: of an organisation in which state, and in which it is then."""

MOST_TASKS = 200
MOST_ADMINISTRATORS = 50
FIRST_KEY = "First live key"


# --- What is asked -------------------------------------------------------------------------------


class ContactStep(Model):
    """Whom Operations call."""

    contactMobile: UkMobile


class TypeStep(Model):
    """What kind of body it is."""

    organisationType: OrganisationType
    otherType: Line | None = None


class NameStep(Model):
    """The name that patients read in an SMS."""

    displayName: DisplayName


class LegalStep(Model):
    """What the public registers call it."""

    legalName: Line
    tradingName: Line | None = None
    companyNumber: CompanyNumber | None = None
    charityNumber: CharityNumber | None = None
    vatNumber: VatNumber | None = None


class AddressStep(Model):
    """The registered address."""

    line1: Line
    line2: Line | None = None
    city: Line
    county: Line | None = None
    postcode: Postcode


STEPS: Mapping[str, type[Model]] = {
    "contact": ContactStep,
    "type": TypeStep,
    "name": NameStep,
    "legal": LegalStep,
    "address": AddressStep,
}
"""The steps of the form, in their order."""

ALWAYS = ("contactMobile", "organisationType", "legalName", "line1", "city", "postcode")
OF_TYPE: Mapping[str, str] = {
    "company": "companyNumber",
    "charity": "charityNumber",
    "other": "otherType",
}
"""What is asked of one type alone. A VAT number is asked of none: health care is exempt."""


class Missing(NamedTuple):
    """A field that is not filled in, and the step at which it is."""

    step: str
    field: str


class Application(Record):
    """What an organisation tells of itself, and what was decided of it. The id is its own."""

    collection: ClassVar[str] = "applications"
    prefix: ClassVar[str] = Organisation.prefix
    account: ClassVar[bool] = True
    traced: ClassVar[bool] = False

    contactMobile: str | None = None
    organisationType: Annotated[str, known(OrganisationType)] | None = None
    otherType: str | None = None
    legalName: str | None = None
    tradingName: str | None = None
    companyNumber: str | None = None
    charityNumber: str | None = None
    vatNumber: str | None = None
    line1: str | None = None
    line2: str | None = None
    city: str | None = None
    county: str | None = None
    postcode: str | None = None
    submittedAt: str | None = None
    """When it was last sent to Operations: what they decide on is named by this."""
    decidedAt: str | None = None
    reason: str | None = None
    """Why it was rejected or the organisation suspended, if that was the last decision."""

    def missing(self) -> Iterator[Missing]:
        """Give what must be filled in before it can be sent."""
        of_type = OF_TYPE.get(self.organisationType or "")
        for step, model in STEPS.items():
            for name in model.model_fields:
                if (name in ALWAYS or name == of_type) and getattr(self, name) is None:
                    yield Missing(step, name)

    def with_step(self, values: Model) -> Self:
        """Return it with the answers of one step."""
        said = {name: each for name, each in values if name in type(self).model_fields}
        return self.model_copy(update=said)


class Reason(Model):
    """Why Operations decide against what is asked, in words for the organisation."""

    reason: Note


class Standing(NamedTuple):
    """An organisation and its application, as they are read and changed together."""

    organisation: Organisation
    application: Application

    @property
    def editable(self) -> bool:
        """Whether the form can be filled in."""
        return self.is_("not_started", "begun", "rejected")

    def is_(self, *states: Activation) -> bool:
        """Tell whether the organisation is in one of some states."""
        return self.organisation.activation in states

    def allows(self, decision: Decision, seen: str) -> bool:
        """Tell whether a decision is possible, on what was submitted as it was `seen`."""
        before, _ = DECISIONS[decision]
        current = before != "under_review" or self.application.submittedAt == seen
        return self.is_(before) and current


async def read(store: Store) -> Standing:
    """Read how the organisation of a store stands."""
    wanted = Ref(Organisation, store.organisation)
    organisation, application = await store.find(wanted, Ref(Application, store.organisation))
    found = store.required(organisation, wanted)
    return Standing(found, application or Application(id=found.id))


# --- What the organisation does ------------------------------------------------------------------
#
# Each of these tells whether it was possible as things stand; if not, it stages nothing.


async def save(store: Store, values: Model) -> bool:
    """Stage the answers of one step."""
    standing = await read(store)
    if not standing.editable:
        return False
    organisation, application = standing
    if isinstance(values, NameStep):
        asked = changes_model(OrganisationIn)(displayName=values.displayName)
        organisation = organisation.amended(Changes(asked), store.now)
    state: Activation = "rejected" if organisation.activation == "rejected" else "begun"
    store.put(application.with_step(values))
    await _become(store, standing, organisation, state)
    return True


async def submit(store: Store) -> bool:
    """Stage that Operations are asked to decide, where nothing is missing."""
    standing = await read(store)
    organisation, application = standing
    if not standing.editable or any(application.missing()):
        return False
    at = isoformat(store.now)
    store.put(application.model_copy(update={"submittedAt": at, "reason": None}))
    await _become(store, standing, organisation, "under_review", application.legalName)
    return True


async def withdraw(store: Store) -> bool:
    """Stage that the form can be filled in again, before Operations have decided."""
    standing = await read(store)
    if not standing.is_("under_review"):
        return False
    await _become(store, standing, standing.organisation, "begun")
    return True


# --- What Operations do --------------------------------------------------------------------------


class LiveStart(Record):
    """That an organisation's live tasks and its first live key have been made. The id is its own.

    It lies in live mode, in the commit that makes them: so they are made once.
    """

    collection: ClassVar[str] = "live_starts"
    prefix: ClassVar[str] = Organisation.prefix
    traced: ClassVar[bool] = False

    key: str


async def open_live(service: Service, organisation: str) -> None:
    """Make an organisation's live tasks and a live key without a secret, unless they are there.

    That is a commit of its own, before the approval: until the organisation is active they open
    nothing. The tasks are those of test mode, or the standard ones where it has none.
    """
    at = service.now()
    live = open_store(service, "live", organisation, at=at)
    (begun,) = await live.find(Ref(LiveStart, organisation))
    if begun is not None:
        return
    test = open_store(service, "test", organisation, at=at)
    found = await test.select(Task, [], limit=MOST_TASKS, descending=False)
    for task in [each for each in found if each.active] or list(standard_tasks(at)):
        said = task.model_dump(include={"name", "description", "durationMinutes", "steps"})
        live.insert(Task.new(at=at, livemode=True, **said))
    key: ApiKey = issuing.unrevealed(
        service.keyring, at, name=FIRST_KEY, scopes=dict(issuing.EVERYTHING)
    )
    live.insert(key)
    live.insert(LiveStart(id=organisation, key=key.id))
    try:
        await live.commit()
    except ConflictError:  # somebody else approves it at this moment
        (begun,) = await live.find(Ref(LiveStart, organisation))
        if begun is None:
            raise


async def decide(
    store: Store, keyring: Keyring, decision: Decision, *, seen: str = "", reason: str = ""
) -> bool:
    """Stage a decision, and tell whether it was possible as things stand.

    What was submitted is decided on as it was `seen`, which is the moment of its submission. An
    approval comes after `open_live`. A suspension is known to every instance within 15 seconds.
    """
    standing = await read(store)
    organisation, application = standing
    if not standing.allows(decision, seen):
        return False
    said = {"decidedAt": isoformat(store.now), "reason": reason or None}
    store.put(application.model_copy(update=said))
    await _become(store, standing, organisation, DECISIONS[decision][1])
    await _write(store, keyring, _letter(decision, organisation.displayName, reason))
    return True


def _letter(decision: Decision, name: str, reason: str) -> Letter:
    match decision:
        case "approve":
            return letters.activation_approved(name)
        case "reject":
            return letters.activation_rejected(name, reason)
        case "suspend":
            return letters.suspended(name, reason)
        case "resume":
            return letters.resumed(name)


async def decide_name(store: Store, keyring: Keyring, seen: str, reason: str = "") -> bool:
    """Stage that patients read the name that was `seen` to wait, or why they do not."""
    before, _ = await read(store)
    if before.displayNameUnderReview != seen:
        return False
    name = before.displayName if reason else seen
    after = before.changed(store.now, displayName=name, displayNameUnderReview=None)
    store.put(after)
    await directory.enter(store, after, before)
    rejected = letters.display_name_rejected(seen, reason)
    await _write(store, keyring, rejected if reason else letters.display_name_approved(seen))
    return True


async def _become(
    store: Store,
    before: Standing,
    organisation: Organisation,
    state: Activation,
    legal_name: str | None = None,
) -> None:
    """Stage an organisation in a state, and what Operations find it by."""
    after = organisation.changed(store.now, activation=state)
    store.put(after)
    await directory.enter(store, after, before.organisation, legal_name=legal_name)


async def _write(store: Store, keyring: Keyring, letter: Letter) -> None:
    """Stage a mail to each administrator."""
    where: Any = [("role", "==", "administrator")]
    for user in await store.select(User, where, limit=MOST_ADMINISTRATORS):
        mail.send(store, keyring, user.email, letter)
