"""What `make cost` says: its arithmetic, and that it is of this code, these prices and limits."""

import re
import subprocess
import sys
from datetime import date
from itertools import pairwise
from xml.etree import ElementTree as ET

import pytest

from functions import discover
from infra.cost.__main__ import DOCS, write
from infra.cost.declared import PREFLIGHT, Everything, Limit, Price, Told, load
from infra.cost.model import (
    CALLERS,
    COUNTS,
    JOBS,
    LINES,
    PAGES,
    SECONDS,
    STANDING,
    Month,
    reached,
)
from infra.cost.page import DECADES, page
from infra.cost.picture import STYLES
from shared import clock
from tests.support.processes import ROOT

EVERYTHING = load()
OTHERS = {CALLERS, STANDING, LINES, COUNTS, JOBS, PAGES}
"""The rows of the bill that are no route."""
TODAY = clock.now().date()


def priced(*tiers: tuple[float, float], per: float = 1) -> Price:
    return Price(what="x", part="x", unit="x", per=per, tiers=list(tiers), source="x", date=TODAY)


def changed(route: str, **operations: object) -> Everything:
    """Return everything, with other operations of one route."""
    other = EVERYTHING.routes[route].model_copy(update=operations)
    return EVERYTHING.model_copy(update={"routes": {**EVERYTHING.routes, route: other}})


def limited(name: str, number: float) -> Everything:
    """Return everything, with another number of one limit."""
    limits = [
        limit.model_copy(update={"number": number}) if limit.name == name else limit
        for limit in EVERYTHING.limits
    ]
    return EVERYTHING.model_copy(update={"limits": limits})


@pytest.mark.parametrize(
    ("units", "dollars"),
    [(0, 0), (2e6, 0), (3e6, 3), (1e9, 2_994), (1e9 + 4e6, 3_000)],
)
def test_a_price_is_asked_for_the_units_of_each_tier(units: float, dollars: float) -> None:
    price = priced((0, 0), (2e6, 3), (1e9, 1.5), per=1e6)
    assert price.cost(units) == pytest.approx(dollars)


def test_a_route_costs_what_its_operations_cost_by_hand() -> None:
    """Moving an appointment, at 100 million requests a month; traffic.yaml says the assumptions.

    Without a key 6 reads, 5 writes, 1 expiry; with one, as 80 % are, 7, 6 and 2.
    """
    route = "POST /v1/appointments/{appointment}/reschedule"
    month = Month(EVERYTHING, 1e8)
    count = 1e8 * 8 / sum(EVERYTHING.traffic.mix.values())
    reads, writes, deletes = 6.8, 5.8, 1.8
    firestore = (reads * 0.038 + writes * 0.115 + deletes * 0.013) / 100_000
    assert month.bill[route]["Firestore"] == pytest.approx(count * firestore)
    gateway = (1e8 - 2e6) * 3 / 1e6 / 1e8  # each request pays the mean after the free tier
    assert month.bill[route]["Gateway"] == pytest.approx(count * gateway)
    # Two calls of reading and one of writing; microseconds, and a vCPU is half a core.
    cpu = (150 + 190 + 3 * 400 + 12 * (reads + writes)) * 2 / 1e6
    assert month.cpu(route) == pytest.approx(cpu)


def test_a_patient_is_kept_with_its_entries_its_history_and_its_backups() -> None:
    month = Month(EVERYTHING, 1e8)
    count = month.count["POST /v1/patients"]
    gib = count * 12 / 2**30
    entries, document, copies = 12_000, 630, EVERYTHING.backups
    by_hand = gib * ((document + entries) * (0.18 + 0.18) + document * copies * 0.03)
    assert month.bill["POST /v1/patients"]["Storage"] == pytest.approx(by_hand)


def test_a_request_that_is_alone_takes_a_tenth_of_a_second_of_its_instance() -> None:
    month = Month(EVERYTHING, 1_000)
    cpu = sum(month.usage[route]["run_cpu"] for route in month.count)
    assert cpu == pytest.approx(1_000 * 0.1, rel=0.01)


def test_requests_in_a_crowd_take_the_cpu_that_they_use_and_what_is_left_free() -> None:
    month = Month(EVERYTHING, 1e13)
    cpu = sum(month.usage[route]["run_cpu"] for route in month.count)
    worked = sum(count * month.cpu(route) for route, count in month.count.items())
    assert cpu == pytest.approx(worked / 0.6, rel=0.01)


def test_a_key_in_use_is_read_every_ten_seconds_by_each_instance_and_no_more() -> None:
    calm, busy = (Month(EVERYTHING, requests) for requests in (1_000, 1e9))
    end_users = EVERYTHING.traffic.callers["end_users"]
    for month, by_keys in ((calm, (1 - end_users) * 1_000), (busy, None)):
        slices = month.requests * EVERYTHING.traffic.callers["leased"] / 100
        merges = end_users * month.requests / EVERYTHING.traffic.callers["requests_of_an_end_user"]
        found = month.usage[CALLERS]["reads"] - 2 * end_users * month.requests
        read = found - slices - merges
        instances = sum(each.instances for each in month.loads.values())
        assert read <= 2 * instances * month.keys * SECONDS / 10
        if by_keys is not None:  # so few that each finds what is known too old
            assert read == pytest.approx(2 * by_keys, rel=0.02)


def test_a_line_is_copied_for_every_known_caller_and_for_nobody_else() -> None:
    """By hand, at 100 million requests: a write, an expiry, 30 days, a request of the worker."""
    month = Month(EVERYTHING, 1e8)
    public = re.compile(r"OPTIONS |GET /(docs|ally\.js|v1/openapi)")
    copied = sum(count for route, count in month.count.items() if not public.match(route))
    assert sum(month.copied.values()) == pytest.approx(copied)
    row = month.bill[LINES]
    assert row["Firestore"] == pytest.approx(copied * (0.115 + 0.013) / 100_000)
    by_hand = sum(
        count * (line.passing * 0.36 + line.kept * EVERYTHING.backups * 0.03) / 2**30
        for kind, count in month.copied.items()
        for line in [EVERYTHING.lines[kind]]
    )
    assert row["Storage"] == pytest.approx(by_hand)
    assert month.usage[LINES]["messages"] >= 2 * copied * 1_000 / 2**30
    assert month.usage[LINES]["run_requests"] == pytest.approx(copied)


def test_requests_that_share_a_series_an_instance_and_a_flush_share_a_point() -> None:
    """A point is 96 bytes, with a body 104: at the least traffic each request has its own."""
    alone = Month(EVERYTHING, 1_000)
    assert 96 <= alone.usage[COUNTS]["metrics"] / alone.requests * 2**20 <= 104
    often, rarely = (
        Month(EVERYTHING.model_copy(update={"metering_interval": seconds}), 1e8).usage[COUNTS]
        for seconds in (10, 3_600)
    )
    refused = EVERYTHING.traffic.callers["refused"] * 1e8 * 96 / 2**20
    assert refused < rarely["metrics"] < often["metrics"] / 4


def test_sweeps_are_paid_for_whether_or_not_anybody_calls() -> None:
    minutes = 365.25 / 12 * 1440
    for requests in (1_000, 1e8):
        used = Month(EVERYTHING, requests).usage[JOBS]
        reads = minutes * len(EVERYTHING.worker["sweep"].queries)
        done = used["tasks"] / 2
        assert used["reads"] == pytest.approx(reads + done)
        assert used["run_requests"] == pytest.approx(minutes + done)


def test_the_bill_is_the_sum_of_the_prices() -> None:
    month = Month(EVERYTHING, 1e7)
    units = {name: sum(used[name] for used in month.usage.values()) for name in EVERYTHING.prices}
    asked = sum(price.cost(units[name]) for name, price in EVERYTHING.prices.items())
    assert month.total == pytest.approx(asked)
    assert set(units.values()).isdisjoint({0.0})  # no price is for nothing


def test_every_route_of_production_is_priced() -> None:
    routes = {
        f"{route.method} {route.template}"
        for api in discover()
        if api.reachable
        for route in api.routes
    }
    month = Month(EVERYTHING, 1e8)
    assert month.bill.keys() - OTHERS == routes | {PREFLIGHT}
    assert all(sum(row.values()) > 0 for row in month.bill.values())


def test_a_route_that_a_file_does_not_tell_of_is_named() -> None:
    routes = dict(EVERYTHING.routes)
    del routes["GET /v1/tasks"]
    with pytest.raises(
        ValueError, match=r"operations\.yaml lacks, or there is no more: GET /v1/tasks"
    ):
        Everything.model_validate({**dict(EVERYTHING), "routes": routes})


def test_one_more_read_costs_one_more_read() -> None:
    route = "GET /v1/patients/{patient}"
    before, after = (Month(each, 1e8) for each in (EVERYTHING, changed(route, gets=[2])))
    more = after.bill[route]["Firestore"] - before.bill[route]["Firestore"]
    assert more == pytest.approx(before.count[route] * 0.038 / 100_000)
    others = before.bill.keys() - {route}
    assert all(
        after.bill[each]["Firestore"] == pytest.approx(before.bill[each]["Firestore"])
        for each in others
    )


def test_more_requests_cost_more_in_all_and_less_each() -> None:
    """But for a fiftieth where something stops to be free."""
    bills = [Month(EVERYTHING, 10 ** (step / 4)) for step in range(12, 41)]
    totals = [month.total for month in bills]
    each = [month.total / month.requests for month in bills]
    assert totals == sorted(totals)
    assert all(more <= 1.02 * less for less, more in pairwise(each))


@pytest.mark.parametrize("limit", EVERYTHING.limits, ids=lambda limit: limit.name)
def test_a_limit_is_met_where_what_is_measured_is_its_number(limit: Limit) -> None:
    at = reached(EVERYTHING, limit)
    assert Month(EVERYTHING, at).measured(limit) == pytest.approx(limit.number, rel=0.001)
    assert Month(EVERYTHING, at / 2).measured(limit) < limit.number


def test_a_limit_that_nothing_meets_is_never_met() -> None:
    (limit, *_) = limited(EVERYTHING.limits[0].name, 1e30).limits
    assert reached(EVERYTHING, limit) == float("inf")


@pytest.mark.parametrize("name", [limit.name for limit in EVERYTHING.limits])
def test_which_limit_is_first_is_worked_out(name: str) -> None:
    number = next(limit.number for limit in EVERYTHING.limits if limit.name == name)
    said = page(limited(name, number / 1e4), 1e8)
    assert f"- The first: **{name}** " in said


def test_what_is_said_of_prices_and_limits_has_a_date_and_a_source() -> None:
    told: list[Told] = [*EVERYTHING.prices.values(), *EVERYTHING.limits]
    for each in told:
        assert date(2026, 1, 1) <= each.date <= TODAY
        path = each.source.partition(",")[0]
        assert each.source.startswith("https://cloud.google.com/") or (ROOT / path).exists()


def test_the_page_and_the_picture_are_what_make_cost_makes() -> None:
    """If this fails, run `make cost` and look at what has become dearer."""
    for name, text in write(EVERYTHING).items():
        assert (DOCS / name).read_text() == text, name


def test_what_the_page_points_at_exists() -> None:
    said = (DOCS / "cost.md").read_text()
    for path in re.findall(r"(?<!/)\b((?:infra|docs|tests)/[\w./-]*\w)", said):
        assert (ROOT / path).exists(), path


def test_the_picture_names_every_line_and_tells_them_apart_without_colour() -> None:
    picture = ET.parse(DOCS / "cost.svg").getroot()  # noqa: S314 - our own
    space = "{http://www.w3.org/2000/svg}"
    texts = {each.text for each in picture.iter(f"{space}text")}
    assert STYLES.keys() <= texts
    assert STYLES.keys() - {"in all"} == set(Month(EVERYTHING, 1).parts)
    assert len({(width, dashes) for _, width, dashes in STYLES.values()}) == len(STYLES)
    described = picture.findtext(f"{space}desc")
    assert described
    assert described.count("most of it") == len(DECADES)


def test_routes_are_priced_at_another_volume_when_asked() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "infra.cost", "--requests", "1e6"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    total = Month(EVERYTHING, 1e6).total
    assert f" {total:,.2f} |" in ran.stdout.splitlines()[-1]
