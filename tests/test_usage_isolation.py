"""Nothing that can be asked of usage gives anything of another organisation, or of the other mode.

Everybody was counted by numbers of their own: the observer by ones, the others by thousands.
"""

import os
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared import spans, usage
from tests.support.counted import NOW, Counted, count
from tests.support.inprocess import InProcess
from tests.support.serving import Json, Partner

EXAMPLES = int(os.environ.get("ALLY_EXAMPLES", "1")) * 60
MINE, THEIRS = f"key_mine{'0' * 18}", f"key_them{'0' * 18}"
SECRET_ROUTE = "GET /v1/strangers/{stranger}"
SECRET_CODE = "window_unavailable"


@pytest.fixture
def observer(partner: Partner, other: Partner) -> InProcess:
    ages = [timedelta(minutes=5), timedelta(hours=5), timedelta(days=3), timedelta(days=20)]
    count(partner, [Counted(NOW - age, key=MINE) for age in ages])
    alien: Json = {"took": (9,) * 1000, "key": THEIRS, "route": SECRET_ROUTE, "status": 402}
    for age in ages:
        count(other, [Counted(NOW - age, code=SECRET_CODE, **alien)])
        count(partner, [Counted(NOW - age, code=SECRET_CODE, mode="live", **alien)])
    api = InProcess(partner.backing, partner.key)
    api.at = NOW
    return api


FRAMES = (
    '{}" OR metric.labels.organisation = "{}',
    '{}") OR metric.labels.mode = one_of("live',
    "{}' OR '1' = '1",
    "{}'); --",
    "{}%",
    "*",
    "{}\\",
    '\\"{}',
    "monitoring.regex.full_match({})",
    "{},{}",
)
"""What is put around a value so that it ends a quotation, or is more than one value."""


def forged(*known: str) -> st.SearchStrategy[str]:
    """Return texts that try to end a quotation, or to be more than one value."""
    value = st.sampled_from([*known, THEIRS, SECRET_ROUTE, "live", "test", "org_"])
    around = st.sampled_from(["{}", "{}", *FRAMES])
    return st.builds(lambda frame, text: frame.replace("{}", text), around, value)


MODES = ["test", "live"]
ASKED: dict[str, st.SearchStrategy[Any]] = {
    "metric": st.sampled_from([*usage.MEASURES]) | forged("requests"),
    "by": st.sampled_from(["route", "status", "code", "key", "mode", "version", "name"])
    | forged("organisation", "task_id"),
    "period": st.sampled_from([*spans.PERIODS]) | forged("24h"),
    "resolution": st.sampled_from([*spans.STEPS]) | forged("1h"),
    "startAt": st.sampled_from(["2026-11-01", "2026-11-21T00:00:00Z"]) | forged("2026-11-01"),
    "endAt": st.sampled_from(["2026-11-22", "2099-01-01"]) | forged("2026-11-22"),
    "route": st.sampled_from(["GET /v1/patients", SECRET_ROUTE]) | forged("GET /v1/patients"),
    "status": st.sampled_from([200, 402]) | forged("200"),
    "keyId": st.sampled_from([MINE, THEIRS, "end-users"]) | forged(MINE),
    "organisation": st.text(max_size=20) | forged("org_1"),
    "mode": st.sampled_from(MODES),
    "livemode": st.booleans(),
    "modes[]": st.sampled_from(MODES),
    "where[organisation]": forged("org_1"),
    "filter": forged('metric.labels.organisation = "'),
}
LIKELY = ["metric", "by", "period", "resolution", "route", "status", "keyId"]


def questions() -> st.SearchStrategy[Json]:
    """Return parameters of which most are such as there are."""
    likely = st.sets(st.sampled_from(LIKELY), max_size=4)
    odd = st.sets(st.sampled_from([*ASKED]), max_size=1)
    names = st.builds(lambda some, more: sorted(some | more), likely, odd)
    return names.flatmap(lambda chosen: st.fixed_dictionaries({n: ASKED[n] for n in chosen}))


def test_nobody_can_ask_for_what_is_anothers(observer: InProcess, other: Partner) -> None:
    counted = []

    @settings(
        max_examples=EXAMPLES,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(questions(), st.sampled_from(["application/json", "text/csv"]))
    def ask(asked: Json, accept: str) -> None:
        asked = {name: value for name, value in asked.items() if value != other.organisation.id}
        counted.append(seen(observer, asked, accept))

    ask()
    assert any(counted), "somebody saw their own"


@pytest.mark.parametrize("name", ["route", "keyId"])
def test_no_text_ends_the_quotation_that_it_stands_in(observer: InProcess, name: str) -> None:
    texts = {"route": ("GET /v1/patients", SECRET_ROUTE), "keyId": (MINE, THEIRS)}[name]
    assert seen(observer, {name: texts[0], "period": "90d"})
    for text in texts:
        for frame in FRAMES:
            assert not seen(observer, {name: frame.replace("{}", text), "period": "90d"})


def seen(observer: InProcess, asked: Json, accept: str = "application/json") -> int:
    """Ask, insist that nothing of anybody else is told, and return how much was counted."""
    answer = observer.send("GET", "/v1/usage", params=asked, headers={"Accept": accept})
    assert answer.status_code in (200, 400)
    if answer.status_code == 400:
        for secret in (SECRET_CODE, "strangers", THEIRS):
            assert secret not in answer.text
        return 0
    shown = observer.call("GET", "/v1/usage", params=asked)
    held: int = sum(series["total"] for series in shown["series"])
    if shown["unit"] != "bytes":
        assert held <= 4
    groups = {series["group"] for series in shown["series"]}
    assert groups <= {None, "GET /v1/patients", "200", MINE, "test", "2026-11-22"}
    assert "strangers" not in answer.text
    return held
