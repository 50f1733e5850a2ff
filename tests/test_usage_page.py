"""The page of usage: its numbers are those of `GET /v1/usage`, its comparisons those of two times.

Pages are read as a browser would read them, at a moment of the test's choice.
"""

import re
from datetime import timedelta
from typing import Any, cast

import pytest

from functions.dashboard import figures, health
from functions.dashboard.api_usage import API
from functions.dashboard.front_end_usage import BY_DAY, FRONT_ENDS
from functions.dashboard.questions import Asked
from shared.backends import UnavailableError
from shared.backends.metrics import FRONT_END_TIMINGS
from shared.charts import told
from shared.portals import Visit
from shared.service import Service
from shared.usage import Reader
from tests.support.counted import KEYS, NOW, Counted, count, distribution, point_of, put, some
from tests.support.serving import Json, Partner
from tests.support.viewer import Tables, Viewer, columns, put_front_end, steps, transposed

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SPACE = "\N{NO-BREAK SPACE}"


# --- The numbers --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"period": "7d"},
        {"period": "1h"},
        {"startAt": "2026-11-21T12:00:00Z", "endAt": "2026-11-22T00:00:00Z"},
        {"route": "GET /v1/tasks"},
        {"status": 429},
        {"keyId": KEYS[1]},
    ],
)
def test_the_numbers_are_those_of_the_api(partner: Partner, asked: Json) -> None:
    count(partner, some(1))
    viewer = Viewer(partner)
    (every,) = columns(viewer.usage("requests", **asked)).values()
    found = transposed(viewer.table("requests", **asked))
    assert found["Requests"] == every
    shown = viewer.usage("requests", by="status", **asked)
    assert found["at"] == (
        [point["at"] for point in shown["series"][0]["points"]] if shown["series"] else found["at"]
    )

    found = transposed(viewer.table("answers", **asked))
    for name, first in (("Success", "2"), ("4xx", "4"), ("5xx", "5")):
        expected = [0] * len(every)
        for status, values in columns(shown).items():
            if str(status).startswith(first):
                expected = [a + int(b) for a, b in zip(expected, values, strict=True)]
        assert found[name] == [str(each) for each in expected]

    limited = columns(viewer.usage("rate_limited", **asked))[None]
    assert transposed(viewer.table("rate_limited", **asked))["Requests"] == limited
    took = viewer.usage("latency", **asked)
    found = transposed(viewer.table("latency", **asked))
    for name in ("p50", "p95", "p99"):
        assert found[f"{name} (ms)"] == steps(took, name)


@pytest.mark.parametrize("by", ["route", "status", "key", "version", "mode"])
def test_split_the_numbers_are_those_of_each_group(partner: Partner, by: str) -> None:
    count(partner, some(2))
    viewer = Viewer(partner)
    asked = {"by": by, "period": "24h"}
    found = transposed(viewer.table("requests", **asked))
    del found["at"]
    names = {"end-users": "End users"}
    expected = columns(viewer.usage("requests", **asked))
    assert found == {names.get(str(group), group): each for group, each in expected.items()}
    took = viewer.usage("latency", **asked)
    found = transposed(viewer.table("latency", **asked))
    for group in expected:
        name = names.get(str(group), str(group))
        assert found[f"{name} (ms)"] == steps(took, "p95", group)


@pytest.mark.parametrize("by", ["", "route", "status", "key", "version", "mode"])
def test_no_two_figures_of_a_page_have_one_name(partner: Partner, by: str) -> None:
    titles = re.findall(r'-head">([^<]+)</h2>', Viewer(partner).open("/test/usage", by=by).text)
    assert len(set(titles)) == len(titles) == len(API.figures)


def test_rankings_have_the_totals_of_the_api(partner: Partner) -> None:
    count(partner, some(3))
    viewer = Viewer(partner)
    for figure, metric, by in (
        ("routes", "requests", "route"),
        ("codes", "errors", "code"),
        ("keys", "requests", "key"),
    ):
        shown = viewer.usage(metric, by=by, period="7d")
        expected = [[each["group"], str(each["total"])] for each in shown["series"]]
        assert [row[:2] for row in viewer.table(figure, period="7d")[1:]] == expected
    took = {each["group"]: each for each in viewer.usage("latency", by="route")["series"]}
    for route, _, *percentiles in viewer.table("routes")[1:]:
        assert percentiles == [str(each) for each in took[route]["percentiles"].values()]


def test_groups_beyond_seven_are_one_line_and_no_count_is_lost(partner: Partner) -> None:
    made = [
        Counted(NOW - HOUR, took=(1,) * (12 - number), route=f"GET /v1/things{number:02}")
        for number in range(12)
    ]
    count(partner, made)
    found = transposed(Viewer(partner).table("requests", by="route", period="6h"))
    del found["at"]
    totals = {name: sum(map(int, values)) for name, values in found.items()}
    assert totals == {
        **{each.route: each.number for each in made[:7]},
        "Other": sum(each.number for each in made[7:]),
    }


def test_what_happens_in_front_ends_has_the_numbers_of_the_api(partner: Partner) -> None:
    at = NOW - HOUR
    put_front_end(
        partner,
        at,
        view_home=7,
        view_availability=4,
        step_availability_viewed=40,
        step_window_chosen=10,
        step_booked=3,
        step_abandoned=2,
        error_network=5,
    )
    whose = (partner.organisation.id, "test", "timing")
    took = distribution([100, 200, 300])
    put(partner.backing, [point_of(FRONT_END_TIMINGS, (*whose, "booking"), at, took)])
    viewer = Viewer(partner)
    for figure, metric in (("views", "front_end_views"), ("problems", "front_end_errors")):
        found = transposed(viewer.table(figure))
        expected = columns(viewer.usage(metric))
        assert (
            found.items()
            >= {str(name).capitalize(): each for name, each in expected.items()}.items()
        )
    shown = viewer.usage("front_end_timings")
    assert transposed(viewer.table("timings"))["Booking (ms)"] == steps(shown, "p95", "booking")
    ((*_, p50, p95, p99),) = viewer.table("waits")[1:]
    assert [p50, p95, p99] == [str(each) for each in shown["series"][0]["percentiles"].values()]
    assert viewer.table("booking")[1:] == [
        ["Availability viewed", "40"],
        ["Window chosen", "10"],
        ["Details entered", "0"],
        ["Booking submitted", "0"],
        ["Booked", "3"],
    ]
    page = viewer.page("/front_ends")
    assert "How often each step was taken. Abandoned by a click: 2." in page.text
    stages = [row[0:2] + row[3:] for row in page.tables["Booking funnel"][1:]]
    assert stages[1] == ["Window chosen", "10", f"25{SPACE}%", f"25{SPACE}%"]
    assert stages[4] == ["Booked", "3", f"7.5{SPACE}%", figures.UNKNOWN]


@pytest.mark.parametrize("part", ["", "/front_ends"])
def test_the_tables_of_a_page_and_its_files_are_the_same(partner: Partner, part: str) -> None:
    count(partner, some(4))
    put_front_end(partner, NOW - HOUR, view_home=1234, error_network=1, step_booked=2)
    viewer = Viewer(partner)
    text = viewer.open(f"/test/usage{part}", period="7d").text
    page = Tables(text)
    section = FRONT_ENDS if part else API
    compared_tables = 0
    for figure in section.figures:
        head, *rows = viewer.table(figure, period="7d")
        title = title_of(text, figure)
        if title not in page.tables:
            assert not rows
            continue
        compared_tables += 1
        for row, seen in zip(rows, page.tables[title][1:], strict=True):
            if head[0] == "at":
                units = ["ms" if "(ms)" in name else "count" for name in head[1:]]
                words = [
                    told(float(each), cast("Any", unit)) if each else figures.UNKNOWN
                    for each, unit in zip(row[1:], units, strict=True)
                ]
                assert seen[1:] == words
            else:
                assert row[0] in seen[0]
                assert seen[1] == f"{int(row[1]):,}"
    assert compared_tables >= 4


def title_of(text: str, figure: str) -> str:
    """Return the heading of a figure, to which its CSV belongs."""
    found = re.search(rf'<h2 id="{figure}-head">([^<]+)</h2>', text)
    assert found
    return found[1]


# --- Whose --------------------------------------------------------------------------------------


def test_no_page_tells_of_another_organisation(partner: Partner, other: Partner) -> None:
    count(other, some(5))
    put_front_end(other, NOW - HOUR, view_home=9, step_booked=9, error_network=9)
    viewer = Viewer(partner)
    for section in (API, FRONT_ENDS):
        for figure in section.figures:
            for _, *values in viewer.table(figure, period="7d")[1:]:
                assert {*values} <= {"", "0"}


def test_split_by_mode_shows_live_to_whom_may_see_it(partner: Partner) -> None:
    live = partner.live()
    count(partner, [Counted(NOW - HOUR, took=(1,) * 3), Counted(NOW - HOUR, (1,), mode="live")])
    for second_factor, expected in ((True, {"test": 3, "live": 1}), (False, {"test": 3})):
        viewer = Viewer(partner, second_factor=second_factor)
        found = transposed(viewer.table("requests", by="mode"))
        del found["at"]
        assert {name: sum(map(int, each)) for name, each in found.items()} == expected
        assert sum(map(int, transposed(viewer.table("requests"))["Requests"])) == 3
    mine = transposed(Viewer(live).table("requests"))["Requests"]
    assert sum(map(int, mine)) == 1


def test_who_may_not_see_usage_sees_none(partner: Partner) -> None:
    viewer = Viewer(partner, role="member")
    for path in ("", "/front_ends", "/tables/requests"):
        viewer.open(f"/test/usage{path}", 403)


def test_keys_have_their_names_for_administrators_alone(partner: Partner) -> None:
    count(partner, [Counted(NOW - HOUR, key=partner.api_key.id)])
    for role, shown in (("administrator", True), ("developer", False)):
        ((name, *_),) = Viewer(partner, role=role).page().tables["Top keys"][1:]
        assert partner.api_key.id in name
        assert (partner.api_key.name in name) is shown


# --- The page -----------------------------------------------------------------------------------


def test_each_error_leads_to_its_requests_and_each_route_to_its_numbers(partner: Partner) -> None:
    count(
        partner,
        [
            Counted(NOW - HOUR, status=404, code="resource_missing", key=KEYS[0]),
            Counted(NOW - HOUR, route="GET /v1/patients/{patient}", key=KEYS[0]),
        ],
    )
    viewer = Viewer(partner)
    links = viewer.page(period="7d").links
    assert "/test/requests?code=resource_missing" in links
    assert "/test/usage?period=7d&route=GET+%2Fv1%2Fpatients%2F%7Bpatient%7D" in links
    assert f"/test/usage?period=7d&keyId={KEYS[0]}" in links
    assert "/test/usage/tables/codes?period=7d" in links
    for link in links:
        if link.startswith("/test/usage") or "code=" in link:
            viewer.open(link)


def test_all_is_in_the_address_and_the_page_says_up_to_when(partner: Partner) -> None:
    viewer = Viewer(partner)
    asked = {"by": "status", "route": "GET /v1/tasks", "status": "429", "keyId": "end-users"}
    text = viewer.open("/test/usage", **asked, period="6h").text
    for value in asked.values():
        assert f'<option value="{value}" selected>' in text
    assert 'aria-current="true">6h' in text
    as_of = viewer.usage("requests")["asOf"]
    assert f'<time datetime="{as_of}">' in text
    assert "22 Nov 2026, 10:0" in text


def test_a_field_of_date_and_time_means_utc(partner: Partner) -> None:
    text = Viewer(partner).open("/test/usage", startAt="2026-11-22T08:30").text
    assert 'name="startAt" value="2026-11-22T08:30"' in text
    assert "startAt=2026-11-22T08:30:00.000Z" in text  # what one would ask the API
    assert "From 22 Nov, 08:30 to 22 Nov, 10:07, UTC." in text


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"startAt": "2026-11-01", "endAt": "2026-10-01"}, "Choose a later end."),
        ({"startAt": "2020-01-01"}, "Must be within the last 90 days."),
        ({"startAt": "yesterday"}, "Choose a day and a time."),
        ({"period": "2h"}, "period:"),
        ({"by": "code"}, "Choose one of those that are offered."),
        ({"route": "tasks"}, "Must be a method and a template"),
        ({"status": "9000"}, "status:"),
        ({"colour": "red"}, "colour"),
        ({"period": "90d", "resolution": "1m"}, "These steps do not fit the time."),
    ],
)
def test_what_cannot_be_asked_for_is_told_beside_the_form(
    partner: Partner, asked: Json, sentence: str
) -> None:
    viewer = Viewer(partner)
    viewer.page()
    viewer.api.metrics.forget()
    answer = viewer.open("/test/usage", 400, **asked)
    told_of = re.search(r'<div class="notice bad".*?</div>', answer.text, re.DOTALL)
    assert told_of
    assert sentence.lower() in told_of[0].lower()
    assert viewer.api.metrics.readings == []


def test_nothing_that_somebody_wrote_into_an_address_becomes_markup(partner: Partner) -> None:
    written = "GET /<script>alert(1)</script>'\"$(ls)"
    text = Viewer(partner).open("/test/usage", route=written, keyId="end-users").text
    assert "<script>alert" not in text
    assert "&lt;script&gt;alert(1)" in text
    assert not re.search(r"<[^>]+\s(style|on\w+)=|<style|javascript:", text)


def test_people_are_counted_by_the_day_and_the_page_says_so(partner: Partner) -> None:
    viewer = Viewer(partner)
    assert BY_DAY in viewer.page("/front_ends", period="1h").text
    viewer.open("/test/usage/tables/active", 404, period="1h")
    viewer.open("/test/usage/tables/nothing", 404)
    assert BY_DAY not in viewer.page("/front_ends", period="7d").text


def test_where_counts_cannot_be_read_the_page_says_so(partner: Partner) -> None:
    viewer = Viewer(partner)
    viewer.page()
    viewer.api.metrics.failing = UnavailableError("away")
    for path in ("", "/front_ends", "/tables/requests"):
        viewer.open(f"/test/usage{path}", 503)


@pytest.mark.parametrize(
    ("part", "asked", "readings", "gets"),
    [
        ("", {}, 9, 1),
        ("", {"period": "90d"}, 7, 8),
        ("", {"by": "route"}, 9, 1),
        ("", {"by": "key"}, 11, 1),
        ("", {"by": "version"}, 11, 1),
        ("/front_ends", {}, 7, 4),
        ("/tables/requests", {}, 2, 0),
        ("/tables/codes", {}, 1, 0),
    ],
)
def test_a_page_makes_so_many_readings(
    partner: Partner, part: str, asked: Json, readings: int, gets: int
) -> None:
    """And gets: of days that may be rolled up, of people's days, and one of the names of keys."""
    at = NOW.replace(year=2021)  # when no other test rolls days up
    count(partner, [Counted(at - HOUR, key=partner.api_key.id)])
    viewer = Viewer(partner)
    viewer.api.at = at
    path = f"/test/usage{part}"
    viewer.open(path, **asked)
    viewer.api.metrics.forget()
    viewer.api.watched.forget()
    viewer.open(path, **asked)
    assert len(viewer.api.metrics.readings) == readings
    assert (len(viewer.api.watched.gets), viewer.api.watched.queries) == (gets, [])


def test_health_has_the_numbers_of_the_last_day_by_two_readings(partner: Partner) -> None:
    made = [
        Counted(NOW - HOUR, took=(10,) * 6),
        Counted(NOW - HOUR, took=(10,) * 2, status=500, code="internal_error"),
        Counted(NOW - 30 * HOUR),
    ]
    count(partner, made)
    viewer = Viewer(partner)
    viewer.usage("requests")

    async def look(service: Service) -> list[figures.Tile]:
        reader = Reader(
            viewer.api.metrics,
            service.storage,
            service.log,
            organisation=partner.organisation.id,
            modes=("test",),
            now=NOW,
            behind=HOUR,
        )
        visit = cast("Visit", _Visit(reader))
        return await health.health(visit)

    viewer.api.metrics.forget()
    requests, errors, slow = partner.backing.run(look)
    assert len(viewer.api.metrics.readings) == 2
    assert (requests.value, errors.value) == ("8", f"25{SPACE}%")
    (latency,) = viewer.usage("latency")["series"]
    assert slow.value == told(latency["percentiles"]["p95"], "ms")
    assert sum(each or 0 for each in requests.values) == 8


class _Visit:
    """As much of a visit as health at a glance knows."""

    mode = "test"
    now = NOW

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def usage(self, *_: str) -> Reader:
        return self._reader


def test_a_question_has_the_filters_and_steps_of_its_metric_alone() -> None:
    asked = Asked(period="24h", resolution="1h", status=200, keyId="end-users")
    assert asked.question("requests").status == 200
    assert asked.question("front_end_views").status is None
    assert asked.question("active_end_users").resolution is None
    assert asked.question("requests").resolution == "1h"
