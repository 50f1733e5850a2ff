"""The page of usage compares a time with the one before: in words, and by a line of dashes."""

from datetime import timedelta

import pytest

from functions.dashboard import figures
from functions.dashboard.figures import compared, share
from tests.support.counted import NOW, Counted, count
from tests.support.serving import Partner
from tests.support.viewer import Viewer, transposed

HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SPACE = "\N{NO-BREAK SPACE}"


def test_the_time_before_is_told_in_words_and_drawn_with_dashes(partner: Partner) -> None:
    count(
        partner,
        [
            Counted(NOW - HOUR, took=(10,) * 6),
            Counted(NOW - 2 * HOUR, took=(10,) * 3, status=400, code="parameter_missing"),
            Counted(NOW - 25 * HOUR, took=(30,) * 12),
        ],
    )
    viewer = Viewer(partner)
    page = viewer.page()
    assert f"25{SPACE}% fewer than in the 24 hours before" in page.text
    assert f"66.7{SPACE}% of requests, 50{SPACE}% fewer than in the 24 hours before" in page.text
    assert f"33.3{SPACE}% of requests, none in the 24 hours before" in page.text
    assert any("faster than in the 24 hours before" in each for each in page.text)
    found = transposed(viewer.table("requests"))
    assert sum(map(int, found["The 24 hours before"])) == 12
    # It lies where a day earlier was.
    then = found["at"].index((NOW - HOUR).replace(minute=0, second=0).isoformat()[:19] + ".000Z")
    assert found["The 24 hours before"][then] == "12"
    assert '<g class="line before">' in viewer.open("/test/usage").text


def test_of_a_custom_time_the_one_before_is_as_long(partner: Partner) -> None:
    count(partner, [Counted(NOW - 3 * DAY), Counted(NOW - 4 * DAY), Counted(NOW - 5 * DAY)])
    asked = {"startAt": (NOW - 3.5 * DAY).isoformat(), "endAt": (NOW - 2.5 * DAY).isoformat()}
    found = transposed(Viewer(partner).table("requests", **asked))
    assert sum(map(int, found["Requests"])) == 1
    assert sum(map(int, found["The time before"])) == 1


def test_what_is_too_long_ago_is_compared_with_nothing(partner: Partner) -> None:
    viewer = Viewer(partner)
    page = viewer.page(period="90d")
    assert any("No comparison with the 90 days before" in each for each in page.text)
    assert list(transposed(viewer.table("requests", period="90d"))) == ["at", "Requests"]


@pytest.mark.parametrize(
    ("now", "before", "words"),
    [
        (None, 1, ""),
        (1, None, ""),
        (0, 0, "none in the day before either"),
        (5, 5, "as many as in the day before"),
        (5, 0, "none in the day before"),
        (0, 5, f"100{SPACE}% fewer than in the day before"),
        (112, 100, f"12{SPACE}% more than in the day before"),
        (1001, 1000, "nearly as many as in the day before"),
        (1000, 10, "100 times as many as in the day before"),
    ],
)
def test_a_comparison_is_a_sentence(now: float | None, before: float | None, words: str) -> None:
    assert compared(now, before, "the day before") == words


def test_times_are_slower_and_faster() -> None:
    assert compared(30, 20, "it", timed=True) == f"50{SPACE}% slower than in it"
    assert compared(10, 20, "it", timed=True) == f"50{SPACE}% faster than in it"
    assert compared(20, 20, "it", timed=True) == "as fast as in it"


@pytest.mark.parametrize(
    ("part", "whole", "words"),
    [(0, 0, figures.UNKNOWN), (1, 3, "33.3 %"), (1, 100_000, "< 0.1 %"), (0, 5, "0 %")],
)
def test_a_share_says_what_is_little_and_what_is_nothing(part: int, whole: int, words: str) -> None:
    assert share(part, whole) == words.replace(" ", SPACE)
