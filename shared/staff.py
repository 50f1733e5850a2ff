"""Ally's own staff, and the memory of what they did: who, what, to whom, when, and why."""

import os
import secrets
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from shared import ids
from shared.backends import OURS, Condition, Key, Put, Storage
from shared.callers import Caller, Quota
from shared.fields import Line, Moment, Whole
from shared.models import Record
from shared.organisations import Organisation
from shared.ours import list_ours
from shared.pages import Page, PageQuery
from shared.settings import SPACES, Mode, Space
from shared.store import Store

KEY_FILE = "operations-key"
KEY_BYTES = 24

Action = Literal[
    "activation.approve",
    "activation.reject",
    "activation.suspend",
    "activation.resume",
    "display_name.approve",
    "display_name.reject",
    "task.create",
    "task.update",
    "tenant.connect",
    "window.create",
    "window.update",
    "coverage.add",
    "coverage.remove",
    "job.revive",
]
"""What staff do that changes something."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class StaffCaller(Caller):
    """A member of staff: known by the e-mail address of their Google identity, or as `local`."""

    name: str

    @property
    def id(self) -> str:
        """Who it is, as logs and the memory of actions name them."""
        return self.name

    @property
    def counted(self) -> bool:
        """What staff do is no use of the API."""
        return False

    @property
    def counted_as(self) -> str:
        """Nothing is counted of staff."""
        return "-"

    @property
    def principal(self) -> str:
        """Each is alone."""
        return f"staff {self.name}"

    @property
    def limited_as(self) -> tuple[Quota, str]:
        """Each is alone."""
        return "user", f"staff {self.name}"

    def may(self, permission: str) -> bool:
        """Tell that staff may do whatever their pages offer."""
        return True

    def require(self, permission: str) -> None:
        """Refuse nothing."""

    def enter(self, permission: str, end_user_permission: str, *, publishable: bool) -> None:
        """Refuse nothing."""


def staff_caller(name: str, mode: Mode) -> StaffCaller:
    """Return the caller that a member of staff is: for no organisation but Ally."""
    return StaffCaller(mode, _ally(), name)


@cache
def _ally() -> Organisation:
    return Organisation(
        id=OURS, livemode=False, createdAt="", updatedAt="", displayName="Ally", activation="active"
    )


def local_key(state: Path) -> str:
    """Return the key that lets staff in on this machine, kept in the state folder for its owner."""
    file = state / KEY_FILE
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return file.read_text().strip()
    key = secrets.token_urlsafe(KEY_BYTES)
    with os.fdopen(descriptor, "w") as draft:
        draft.write(f"{key}\n")
    return key


class StaffAction(Record):
    """Something that a member of staff did. It is added to the commit that does it, and stays.

    It lies in the space of that commit: this one in a mode, its subclass in the account.
    """

    collection: ClassVar[str] = "staff_actions"
    prefix: ClassVar[str] = "act"
    shared: ClassVar[frozenset[Mode]] = frozenset({"test", "live"})
    traced: ClassVar[bool] = False

    at: Moment
    staff: str
    action: str
    organisation: str | None = None
    subject: str | None = None
    """The id of what was changed, if that is not the organisation."""
    reason: str | None = None
    requestId: str


class AccountAction(StaffAction):
    """Something that a member of staff did to what belongs to no mode."""

    account: ClassVar[bool] = True


class ActionsQuery(PageQuery):
    """What staff did: all of it, or of one kind, or to one organisation or object."""

    limit: Annotated[Whole, Field(ge=1, le=100)] = 25
    action: Action | None = None
    organisation: Line | None = None
    subject: Line | None = None


def note(
    store: Store, caller: Caller, action: Action, *, subject: str | None = None, reason: str = ""
) -> None:
    """Stage the memory of what is staged: whoever does something is known by it for ever."""
    kind = AccountAction if store.account else StaffAction
    store.insert(_made(kind, store, caller, action, subject=subject, reason=reason))


def written(store: Store, caller: Caller, action: Action, space: Space, *, subject: str) -> Put:
    """Return the memory of what is written without a store, in a space."""
    made = _made(StaffAction, store, caller, action, subject=subject)
    return Put(Key(space, OURS, StaffAction.collection, made.id), made.dump())


def _made(
    kind: type[StaffAction],
    store: Store,
    caller: Caller,
    action: Action,
    *,
    subject: str | None,
    reason: str = "",
) -> StaffAction:
    return kind(
        id=ids.mint(kind.prefix, store.now),
        at=store.now,
        staff=caller.id,
        action=action,
        organisation=None if store.organisation == OURS else store.organisation,
        subject=subject,
        reason=reason or None,
        requestId=store.request_id,
    )


async def actions(storage: Storage, query: ActionsQuery) -> Page[StaffAction]:
    """Return a page of what staff did, in all spaces, the newest first."""
    asked = query.model_dump(exclude=set(PageQuery.model_fields), exclude_none=True)
    where: list[Condition] = [(name, "==", value) for name, value in asked.items()]
    page = await list_ours(
        storage,
        StaffAction.collection,
        SPACES,
        query,
        where,
        cursor=query.cursor(StaffAction.prefix),
        then="at",
    )
    return Page([StaffAction.load(each.data) for each in page.data], page.has_more)
