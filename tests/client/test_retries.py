"""What may fare better is sent again: so often, after such pauses, with one idempotency key."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from ally import (
    Ally,
    AllyError,
    AsyncAlly,
    ConnectionFailedError,
    NotFoundError,
    RequestFailedError,
)
from ally.sending import FIRST_PAUSE, LONGEST_PAUSE
from tests.support.client import ADA, Pauses
from tests.support.faulty import Act, Drops, Faulty, Hangs, Passes, Says
from tests.support.serving import OUTSIDE, Partner

KEY = "test_" + "0" * 24 + "." + "0" * 30
EMPTY = Says(200, body='{"object":"list","has_more":false,"data":[]}')
BUSY = Says(503)

List = Callable[..., list[Any]]
"""Lists tasks with a client of the settings that it is given."""


def listed(base_url: str, pauses: Pauses, **settings: Any) -> list[Any]:
    with Ally(KEY, base_url=base_url, sleep=pauses, **settings) as ally:
        return ally.tasks.list().data


def listed_awaiting(base_url: str, pauses: Pauses, **settings: Any) -> list[Any]:
    async def ask() -> list[Any]:
        async with AsyncAlly(KEY, base_url=base_url, sleep=pauses.rest, **settings) as ally:
            return (await ally.tasks.list()).data

    return asyncio.run(ask())


both = pytest.mark.parametrize("list_tasks", [listed, listed_awaiting])


@both
@pytest.mark.parametrize(
    "failure",
    [
        Drops(),
        Hangs(),
        Says(200, {"Content-Length": "1000", "Connection": "close"}, '{"object":'),
        Says(409),
        Says(429),
        Says(500),
        Says(503),
        Says(418, {"Stripe-Should-Retry": "true"}),
    ],
)
def test_what_may_fare_better_is_sent_again(list_tasks: List, failure: Act) -> None:
    pauses = Pauses()
    with Faulty([failure, failure, EMPTY]) as faulty:
        assert list_tasks(faulty.url, pauses, timeout=1) == []
    assert len(faulty.sent) == 3
    assert len(pauses.seconds) == 2


@both
@pytest.mark.parametrize(
    "failure",
    [
        Says(400),
        Says(404),
        Says(302, {"Location": "/v1/tasks"}),
        Says(200, body="not JSON"),
        Says(503, {"Stripe-Should-Retry": "false"}),
        Says(409, {"Stripe-Should-Retry": "false"}),
    ],
)
def test_what_would_fare_no_better_is_sent_once(list_tasks: List, failure: Act) -> None:
    with Faulty([failure, EMPTY]) as faulty, pytest.raises(AllyError) as caught:
        list_tasks(faulty.url, Pauses())
    assert caught.value.attempts == len(faulty.sent) == 1


@both
@pytest.mark.parametrize("retries", [0, 1, 4])
def test_retries_are_counted(list_tasks: List, retries: int) -> None:
    with Faulty([BUSY]) as faulty, pytest.raises(AllyError) as caught:
        list_tasks(faulty.url, Pauses(), max_retries=retries)
    assert caught.value.attempts == len(faulty.sent) == retries + 1


def test_one_request_may_have_other_retries_and_another_key() -> None:
    other = "live_" + "1" * 24 + "." + "1" * 30
    with Faulty([BUSY, EMPTY]) as faulty, Ally(KEY, base_url=faulty.url, sleep=Pauses()) as ally:
        with pytest.raises(AllyError):
            ally.tasks.list(max_retries=0)
        ally.tasks.list(key=other)
    assert [each.headers["Authorization"] for each in faulty.sent] == [KEY, other]


@both
def test_pauses_grow_and_are_full_of_jitter(list_tasks: List) -> None:
    for share in (1.0, 0.25, 0.0):
        pauses = Pauses()
        with Faulty([BUSY]) as faulty, pytest.raises(AllyError):
            list_tasks(faulty.url, pauses, max_retries=7, jitter=lambda share=share: share)
        bounds = [min(LONGEST_PAUSE, FIRST_PAUSE * 2**number) for number in range(7)]
        assert pauses.seconds == [share * bound for bound in bounds]


@both
def test_retry_after_is_obeyed(list_tasks: List) -> None:
    pauses = Pauses()
    with Faulty([Says(429, {"Retry-After": "7"}), EMPTY]) as faulty:
        list_tasks(faulty.url, pauses, jitter=lambda: 0.5)
    assert pauses.seconds == [7 + 0.5 * FIRST_PAUSE]


@both
def test_a_retry_after_that_is_too_long_is_not_waited_for_but_told(list_tasks: List) -> None:
    pauses = Pauses()
    with (
        Faulty([Says(503, {"Retry-After": "61"}), EMPTY]) as faulty,
        pytest.raises(AllyError) as caught,
    ):
        list_tasks(faulty.url, pauses, max_wait=60)
    assert (caught.value.retry_after, pauses.seconds) == (61, [])
    assert len(faulty.sent) == 1


# --- In front of the real server -----------------------------------------------------------------


def behind(partner: Partner, acts: Iterable[Act]) -> tuple[Faulty, Ally]:
    """Return a server in front of the partner's that fails on purpose, and a client of it."""
    faulty = Faulty([*acts, Passes()], partner.server)
    return faulty, Ally(partner.key, base_url=faulty.url, sleep=Pauses(), timeout=30)


LOST = Passes(lost=True)


@pytest.mark.parametrize("losses", [[LOST], [Drops(), LOST], [LOST, BUSY]])
def test_a_creation_whose_answer_was_lost_is_one_object(
    partner: Partner, losses: list[Act]
) -> None:
    faulty, ally = behind(partner, losses)
    with faulty, ally:
        made = ally.patients.create(**ADA)
        assert list(ally.patients.list()) == [made]
    posts = [each for each in faulty.sent if each.method == "POST"]
    assert len(posts) == len(losses) + 1
    (key,) = {each.headers["Idempotency-Key"] for each in posts}
    assert len(key) == 36
    assert len({each.body for each in posts}) == 1


def test_a_creation_that_was_given_up_can_be_repeated_with_its_key(partner: Partner) -> None:
    faulty, ally = behind(partner, [LOST])
    with faulty, ally:
        with pytest.raises(ConnectionFailedError) as caught:
            ally.patients.create(**ADA, max_retries=0)
        assert caught.value.idempotency_key is not None
        made = ally.patients.create(**ADA, idempotency_key=caught.value.idempotency_key)
        assert list(ally.patients.list()) == [made]


def test_each_creation_has_a_key_of_its_own(partner: Partner) -> None:
    faulty, ally = behind(partner, [])
    with faulty, ally:
        first, second = ally.patients.create(**ADA), ally.patients.create(**ADA)
        ally.patients.update(first.id, note="x")
        ally.patients.delete(second.id)
        ally.patients.list()
    keys = [each.headers.get("Idempotency-Key") for each in faulty.sent]
    assert len(set(keys[:3]) - {None}) == 3
    assert keys[3:] == [None, None]


def test_a_deletion_whose_answer_was_lost_says_that_it_may_have_been_done(partner: Partner) -> None:
    patient = partner.create_patient()["id"]
    faulty, ally = behind(partner, [LOST])
    with faulty, ally, pytest.raises(NotFoundError) as caught:
        ally.patients.delete(patient)
    assert caught.value.attempts == 2


def test_what_the_world_refuses_is_asked_once(partner: Partner) -> None:
    faulty, ally = behind(partner, [])
    task = partner.task()["id"]
    with faulty, ally, pytest.raises(RequestFailedError):
        ally.availability.list(taskId=task, postcode=OUTSIDE)
    assert len(faulty.sent) == 1


def test_what_is_sent_says_who_sends_it_and_which_version_it_speaks() -> None:
    with Faulty([EMPTY]) as faulty:
        listed(faulty.url, Pauses())
    (sent,) = faulty.sent
    assert sent.headers["User-Agent"].startswith("ally-python/0.1.0 python/3.")
    assert sent.headers["Ally-Version"] == "2026-11-22"
