"""Pages: each object of a list once, in both directions, holding one page at a time."""

import asyncio
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, timedelta

import pytest

from ally import Ally
from shared import clock
from shared.patients import Patient
from tests.support.client import ADA, ANNE, async_client_of, client_of
from tests.support.processes import ROOT
from tests.support.serving import PATIENT, Partner

PACKAGE = ROOT / "clients" / "python" / "src"
PAGES = 400
SLACK = 20_000
"""Bytes by which the peaks may differ by chance: a hundred for each page of the second half."""


@pytest.fixture
def ally(partner: Partner) -> Iterator[Ally]:
    with client_of(partner) as client:
        yield client


def fill(partner: Partner, count: int) -> list[str]:
    """Store patients, and return their ids in the order of lists."""
    at = clock.now()
    fields = {**PATIENT, "dateOfBirth": date(1985, 12, 10)}
    made = [
        Patient.new(at=at + timedelta(milliseconds=number), livemode=False, **fields)
        for number in range(count)
    ]
    for start in range(0, count, 100):
        partner.backing.keep("test", partner.organisation.id, made[start : start + 100])
    return [each.id for each in reversed(made)]


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 100])
def test_a_walk_meets_each_object_once_in_both_directions(
    ally: Ally, partner: Partner, limit: int
) -> None:
    ids = fill(partner, 7)
    assert [each.id for each in ally.patients.list(limit=limit)] == ids
    last = ally.patients.list(limit=limit, starting_after=ids[-2])
    assert [each.id for each in last.backwards()] == ids[::-1]
    middle = ally.patients.list(limit=limit, ending_before=ids[3])
    assert [each.id for each in middle] == ids[max(0, 3 - limit) :]
    assert [each.id for each in middle.backwards()] == ids[2::-1]

    async def awaited() -> None:
        async with async_client_of(partner) as other:
            assert [each.id async for each in other.patients.list(limit=limit)] == ids
            end = await other.patients.list(limit=limit, starting_after=ids[-2])
            assert [each.id async for each in end.backwards()] == ids[::-1]

    asyncio.run(awaited())


def test_a_page_is_left_in_both_directions(ally: Ally, partner: Partner) -> None:
    ids = fill(partner, 5)
    first = ally.patients.list(limit=2)
    assert (first.has_previous, first.has_next, first.has_more) == (False, True, True)
    assert first.previous_page() is None
    second = first.next_page()
    assert second is not None
    assert [each.id for each in second.data] == ids[2:4]
    last = second.next_page()
    assert last is not None
    assert (last.has_previous, last.has_next, last.next_page()) == (True, False, None)
    before = last.previous_page()
    assert before is not None
    assert before.data == second.data
    again = before.previous_page()
    assert again is not None
    assert again.data == first.data
    assert (again.has_previous, again.has_next) == (False, True)


def test_an_empty_list_is_walked_at_once(ally: Ally) -> None:
    page = ally.patients.list()
    assert (page.data, list(page), list(page.backwards())) == ([], [], [])


def test_a_search_goes_on_with_what_it_sought(ally: Ally) -> None:
    found = [ally.patients.create(**ADA).id for _ in range(3)]
    ally.patients.create(**ANNE)
    walked = ally.patients.search(name="ada", limit=1)
    assert [each.id for each in walked] == found[::-1]


def test_the_key_and_the_filter_of_a_list_go_with_it(ally: Ally, partner: Partner) -> None:
    made = [ally.patients.create(**ADA, externalRef="A").id for _ in range(3)]
    ally.patients.create(**ADA, externalRef="B")
    wrong = Ally("test_nobody", base_url=partner.server.url, verify=partner.server.certificate)
    with wrong:
        pages = wrong.patients.list(externalRef="A", limit=2, key=partner.key)
        assert [each.id for each in pages] == made[::-1]


WALK = """
import asyncio, gc, os, sys, tracemalloc
from ally import Ally, AsyncAlly

url, certificate, kind = sys.argv[1:]
client = {"sync": Ally, "async": AsyncAlly}[kind](
    os.environ["KEY"], base_url=url, verify=certificate
)
met = 0

def note(patient):
    global met
    met += 1
    if met % 50 == 0:
        gc.collect()  # what Python keeps of the freed for later would be counted
    if met % %d == 0:
        print(tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()

async def walk():
    async for patient in client.patients.list(limit=1):
        note(patient)
    await client.close()

tracemalloc.start()
if kind == "async":
    asyncio.run(walk())
else:
    for patient in client.patients.list(limit=1):
        note(patient)
    client.close()
"""


@pytest.mark.parametrize("backing", ["local"], indirect=True)
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_hundreds_of_pages_are_walked_in_flat_memory(partner: Partner, kind: str) -> None:
    """In a process of its own, where nothing else grows."""
    fill(partner, PAGES)
    script = WALK.replace("%d", str(PAGES // 2))
    ran = subprocess.run(
        [
            *(sys.executable, "-W", "error", "-c", script),
            *(partner.server.url, str(partner.server.certificate), kind),
        ],
        env={**os.environ, "KEY": partner.key, "PYTHONPATH": str(PACKAGE)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    first, second = map(int, ran.stdout.split())
    assert second <= first + SLACK
