"""Active end users: who counts, what is kept of it, and what a failure can take away."""

import asyncio
import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from shared import activity
from shared.activity import Active, ActiveDay, Activity, Kind, active
from shared.backends import Key, Put, UnavailableError, Write
from shared.service import Service
from shared.settings import Mode
from shared.sketches import Sketch
from tests.support.inprocess import InProcess, Watched
from tests.support.serving import Backing, Partner, Server
from tests.support.waiting import until

NOON = datetime(2027, 3, 1, 12, tzinfo=UTC)
TODAY = NOON.date()


class Counting:
    """Some instances that count for one organisation, each in its memory, over one storage."""

    def __init__(self, partner: Partner, instances: int = 1) -> None:
        self.backing = partner.backing
        self.organisation = partner.organisation.id

        async def opened(service: Service) -> Service:
            return service

        held = self.backing.run(opened)
        self.watched = Watched(held.storage)
        self.instances = [Activity(self.watched, held.keyring.hash) for _ in range(instances)]

    def see(
        self,
        who: str,
        *,
        instance: int = 0,
        kind: Kind = "end_user",
        mode: Mode = "test",
        at: datetime = NOON,
    ) -> None:
        self.instances[instance].see(mode, self.organisation, kind, who, at)

    def flush(self, now: datetime = NOON) -> None:
        """Let all instances flush at the same time."""

        async def act(_: Service) -> None:
            await asyncio.gather(*(each.flush(now) for each in self.instances))

        self.backing.run(act)

    def kept(
        self, *days: date, modes: tuple[Mode, ...] = ("test",), organisation: str = ""
    ) -> dict[date, Active]:
        async def act(service: Service) -> dict[date, Active]:
            whose = organisation or self.organisation
            return await active(service.storage, whose, modes, days or [TODAY])

        return self.backing.run(act)

    def counts(self, *days: date, **options: Any) -> tuple[int, int]:
        """Return how many end users and visitors were active on some days together."""
        found = self.kept(*days, **options).values()
        end_users, visitors = (
            Sketch().merge(each[kind] for each in found).count() for kind in activity.KINDS
        )
        return end_users, visitors


def test_who_comes_often_is_counted_once_and_costs_nothing_again(partner: Partner) -> None:
    counting = Counting(partner)
    for _ in range(3):
        for who in ("ada", "grace", "ada"):
            counting.see(who)
    counting.flush()
    assert counting.counts() == (2, 0)
    counting.watched.forget()
    counting.see("ada")
    assert not counting.instances[0].pending
    counting.flush()
    assert (counting.watched.commits, counting.watched.gets) == ([], [])


def test_instances_count_together_and_merging_again_changes_nothing(partner: Partner) -> None:
    counting = Counting(partner, instances=6)
    for number in range(6):
        for who in ("ada", f"user {number}"):
            counting.see(who, instance=number)
    for _ in range(activity.MOST_TRIES):  # of many at the same time some may have to wait
        counting.flush()
    assert not any(each.pending for each in counting.instances)
    assert counting.counts() == (7, 0)
    again = Counting(partner)
    again.see("ada")
    again.flush()
    assert again.watched.commits == []  # what is kept knows her
    assert again.counts() == (7, 0)


def test_an_end_user_is_one_over_days_and_a_visitor_another_each_day(partner: Partner) -> None:
    counting = Counting(partner)
    days = [NOON - timedelta(days=number) for number in range(3)]
    for at in days:
        counting.see("ada", at=at)
        counting.see("192.0.2.1 Browser", kind="visitor", at=at)
    counting.flush()
    assert [counting.counts(at.date()) for at in days] == [(1, 1)] * 3
    assert counting.counts(*(at.date() for at in days)) == (1, 3)
    assert len(counting.instances[0]._counted) == 1  # days that are over are kept, and forgotten


def test_a_day_is_one_of_utc(partner: Partner) -> None:
    counting = Counting(partner)
    midnight = datetime(2027, 7, 1, tzinfo=UTC)
    counting.see("ada", at=midnight - timedelta(microseconds=1))
    counting.see("grace", at=midnight)
    counting.flush(midnight)
    assert counting.counts(date(2027, 6, 30)) == counting.counts(date(2027, 7, 1)) == (1, 0)


def test_organisations_and_modes_never_count_for_each_other(
    partner: Partner, other: Partner
) -> None:
    counting = Counting(partner)
    counting.see("ada")
    counting.see("ada", mode="live")
    counting.see("grace", mode="live")
    counting.flush()
    assert counting.counts() == (1, 0)
    assert counting.counts(modes=("live",)) == (2, 0)
    assert counting.counts(modes=("test", "live")) == (3, 0)
    assert counting.kept(organisation=other.organisation.id, modes=("test", "live")) == {}


def test_a_day_on_which_nobody_came_is_not_there(partner: Partner) -> None:
    assert Counting(partner).kept(TODAY) == {}


def test_what_cannot_be_kept_now_is_kept_later(partner: Partner) -> None:
    counting = Counting(partner)
    counting.see("ada")
    for verb in ("get", "commit"):
        counting.watched.failing = {verb: UnavailableError("gone")}
        with pytest.raises(UnavailableError):
            counting.flush()
        assert counting.instances[0].pending
    counting.watched.failing = {}
    counting.see("grace")
    counting.flush()
    assert counting.counts() == (2, 0)


def test_who_comes_while_a_flush_is_under_way_is_kept_by_the_next(partner: Partner) -> None:
    counting = Counting(partner)
    counting.see("ada")
    instance = counting.instances[0]

    async def act(_: Service) -> None:
        flushing = asyncio.create_task(instance.flush(NOON))
        await asyncio.sleep(0)
        counting.see("grace")
        await flushing

    counting.backing.run(act)
    counting.flush()
    assert counting.counts() == (2, 0)


def test_a_process_remembers_a_bounded_number_of_organisations(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "MOST_DAYS", 3)
    counting = Counting(partner)
    for number in range(5):
        counting.instances[0].see("test", f"org_{number:022}", "end_user", "ada", NOON)
    assert len(counting.instances[0]._counted) == len(counting.instances[0]._unkept) == 3
    counting.flush()
    assert counting.watched.commits == [2] * 3


def test_many_organisations_are_kept_some_at_a_time(
    partner: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other they would take longer than an instance has at its end."""
    counting = Counting(partner)
    for number in range(2 * activity.AT_ONCE):
        counting.instances[0].see("test", f"org_{number:022}", "end_user", "ada", NOON)
    commit = counting.watched.commit
    under_way: list[int] = [0]

    async def watch(writes: Sequence[Write], marker: Key) -> None:
        under_way.append(under_way[-1] + 1)
        await asyncio.sleep(0)
        await commit(writes, marker)
        under_way.append(under_way[-1] - 1)

    monkeypatch.setattr(counting.watched, "commit", watch)
    counting.flush()
    assert 1 < max(under_way) <= activity.AT_ONCE
    assert not counting.instances[0].pending


def test_what_is_kept_is_two_sketches_and_ends(partner: Partner) -> None:
    counting = Counting(partner)
    counting.see("ada.lovelace@example.com")
    counting.flush()
    put, marker = (each for each in counting.watched.writes if isinstance(each, Put))
    assert put.key == Key("test", partner.organisation.id, ActiveDay.collection, "2027-03-01")
    assert set(put.data) == {"id", "endUsers", "visitors"}
    assert put.expires == NOON + activity.LIFE
    assert marker.key.collection == "commits"
    assert not re.search("ada|lovelace", str(put.data))


def test_a_request_of_who_is_signed_in_counts_them_and_one_of_a_server_nobody(
    partner: Partner,
) -> None:
    api = InProcess(partner.backing, partner.key)
    api.at = NOON
    api.call("GET", "/v1/patients")
    assert not api.activity.pending
    api.key = partner.end_user("ada", auth_time=1, iat=1, exp=int(NOON.timestamp()) + 60).key
    api.call("GET", "/v1/patients")
    assert api.activity.pending


def test_who_was_counted_outlives_the_process(partner: Partner, backing: Backing) -> None:
    served = Server(backing, Path(backing.environment["ALLY_STATE"]))
    today = datetime.now(UTC).date()
    counting = Counting(partner)
    try:
        for who in ("ada", "grace"):
            replace(partner.end_user(who), server=served).get("/v1/patients")
        assert counting.counts(today) == (0, 0)
    finally:
        served.stop()
    assert counting.counts(today) == (2, 0)


@pytest.mark.parametrize("backing", ["local"], indirect=True)  # the other's least interval is 10 s
def test_one_that_is_killed_takes_no_more_along_than_came_in_an_interval(
    partner: Partner, backing: Backing
) -> None:
    folder = Path(backing.environment["ALLY_STATE"])
    served = Server(backing, folder, ALLY_METERING_INTERVAL="1")
    counting = Counting(partner)
    try:
        ada, grace = (replace(partner.end_user(who), server=served) for who in ("ada", "grace"))
        ada.get("/v1/patients")

        def counted() -> bool:
            replace(partner, server=served).get("/v1/cancellation_reasons")
            return counting.counts(datetime.now(UTC).date()) != (0, 0)

        until(counted)
        grace.get("/v1/patients")  # who may be lost
        served.process.kill()
    finally:
        served.stop()
    assert counting.counts(datetime.now(UTC).date())[0] in (1, 2)


def test_a_request_that_is_not_let_in_counts_nobody(backing: Backing, partner: Partner) -> None:
    ada = partner.end_user("ada", auth_time=1, iat=1, exp=int(NOON.timestamp()) - 1)
    api = InProcess(backing, ada.key)
    api.at = NOON
    api.call("GET", "/v1/patients", 401)
    assert not api.activity.pending
