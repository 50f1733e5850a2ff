"""A partner that has some of everything, and some of what waits for Operations."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from shared import ids
from shared.backends import OURS, Key, Put
from shared.clock import now
from shared.directory import Entry
from shared.joining import Invitation
from shared.service import Service
from shared.settings import SPACES, Space
from shared.staff import StaffAction
from tests.support.joining import address
from tests.support.people import user_of
from tests.support.serving import Partner
from tests.support.staff import failed_job

SOME = 3
"""How many of each there are: a page before, one between and one after."""
NOTHING = "0" * 22


def give_plenty(partner: Partner, area: str) -> None:
    """Give a partner some of everything, and Operations as much to do: windows in an area."""
    backing, organisation = partner.backing, partner.organisation.id
    for number in range(SOME):
        partner.book()
        partner.with_key({"tasks": "read"})
        partner.logged_request()
        user_of(backing, organisation)
        partner.live_window(days_ahead=0, hour=20 + number, area=area)

    async def keep(service: Service) -> None:
        for number in range(SOME):
            for each in _made(number, organisation):
                await service.storage.commit([each], each.key)

    backing.run(keep)


def _made(number: int, inviter: str) -> Iterator[Put]:
    """Yield one of each that no request makes here: of a waiting organisation, in a space each."""
    at = now() + timedelta(milliseconds=number)
    space = SPACES[number % len(SPACES)]
    entry = Entry(
        id=ids.mint(Entry.prefix, at),
        displayName="Waiting Health",
        activation="under_review",
        waiting="display_name" if number else "activation",
        since=at,
    )
    place = Key("account", OURS, Entry.collection, entry.id)
    yield Put(place, entry.dump(), terms=tuple(entry.terms()))
    yield failed_job(at, space, entry.id)
    yield _action(at, space, entry.id)
    invitation = Invitation(
        id=ids.mint(Invitation.prefix, at),
        organisation=inviter,
        email=address(),
        role="member",
        invitedBy=f"usr_{NOTHING}",
        createdAt=at,
        until=at + timedelta(days=1),
        code=f"cod_{NOTHING}",
    )
    place = Key("account", inviter, Invitation.collection, invitation.id)
    yield Put(place, invitation.dump())


def _action(at: datetime, space: Space, organisation: str) -> Put:
    action = StaffAction(
        id=ids.mint(StaffAction.prefix, at),
        at=at,
        staff="local",
        action="task.create",
        organisation=organisation,
        subject=f"tsk_{NOTHING}",
        requestId="req_a",
    )
    return Put(Key(space, OURS, StaffAction.collection, action.id), action.dump())
