"""Rate limits: a quota for each key, shared by all instances, that costs a request nothing."""

import asyncio
import math
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.backends import UnavailableError
from shared.callers import Caller
from shared.limits import FREE, SLICE, Limiter
from shared.service import Service
from tests.support.inprocess import InProcess
from tests.support.serving import Backing, Partner

NOW = datetime(2027, 3, 1, 9, 0, 2, tzinfo=UTC)
"""Two seconds into a window of ten."""


def instance(partner: Partner, quota: int) -> InProcess:
    """Return an instance of the service with a quota for test keys, its clock standing still."""
    api = InProcess(partner.backing, partner.key, rate_test=quota)
    api.at = NOW
    return api


def ask(api: InProcess) -> httpx.Response:
    return api.send("GET", "/v1/cancellation_reasons")


def test_every_answer_to_a_key_says_what_is_left(partner: Partner) -> None:
    api = instance(partner, 100)
    first, second = ask(api), api.send("GET", "/v1/patients/none")
    assert first.headers["RateLimit-Policy"] == '"key";q=100;w=10'
    assert first.headers["RateLimit"] == '"key";r=99;t=8'
    assert (second.status_code, second.headers["RateLimit"]) == (404, '"key";r=98;t=8')


def test_one_instance_admits_exactly_the_quota(partner: Partner) -> None:
    api = instance(partner, 33)
    answers = [ask(api) for _ in range(40)]
    assert [answer.status_code for answer in answers] == [200] * 33 + [429] * 7
    left = [answer.headers["RateLimit"] for answer in answers]
    assert left == [f'"key";r={max(0, 32 - number)};t=8' for number in range(40)]


def test_a_refusal_says_when_to_come_back_and_then_it_works(partner: Partner) -> None:
    api = instance(partner, 1)
    ask(api)
    refused = ask(api)
    assert refused.headers["Retry-After"] == "8"
    assert refused.headers["Ally-Rate-Limited-Reason"] == "key-rate"
    assert refused.headers["Stripe-Should-Retry"] == "true"
    api.at = NOW + timedelta(seconds=7.9)
    assert ask(api).status_code == 429
    api.at = NOW + timedelta(seconds=8)
    assert ask(api).status_code == 200


def test_each_key_has_a_quota_of_its_own(partner: Partner) -> None:
    api = instance(partner, 1)
    ask(api)
    assert ask(api).status_code == 429
    api.key = partner.with_key({"*": "read"}).key
    assert ask(api).status_code == 200


def test_a_refused_request_does_nothing(partner: Partner) -> None:
    api = instance(partner, 1)
    ask(api)
    before = partner.documents()
    assert api.send("POST", "/v1/patients", json={}).status_code == 429
    assert partner.documents() == before


def test_no_request_below_the_free_part_costs_an_operation(partner: Partner) -> None:
    api = instance(partner, 2000)
    ask(api)  # the key is known from here on
    api.watched.forget()
    for _ in range(math.ceil(2000 * FREE) - 1):
        assert ask(api).status_code == 200
    assert (api.watched.gets, api.watched.queries, api.watched.commits) == ([], [], [])
    for _ in range(math.ceil(2000 * SLICE)):
        assert ask(api).status_code == 200
    assert (api.watched.gets, api.watched.commits) == ([1], [2])


def test_where_the_quota_cannot_be_read_the_caller_is_told_to_come_back(partner: Partner) -> None:
    api = instance(partner, 20)
    ask(api)
    api.watched.failing = {"get": UnavailableError("away")}
    answer = ask(api)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"]


# --- Many instances ------------------------------------------------------------------------------


def caller_of(partner: Partner) -> Caller:
    async def find(service: Service) -> Caller:
        return await service.keyring.authenticate(partner.key)

    return partner.backing.run(find)


def admitted(backing: Backing, caller: Caller, quota: int, turns: list[int], at: datetime) -> int:
    """Let instances, named by number, ask one after the other; return how many were admitted."""

    async def run(service: Service) -> int:
        limiters = {
            turn: Limiter(service.storage, {"test": quota}, end_user=60, seconds=10)
            for turn in set(turns)
        }
        answers = [await limiters[turn].admit(caller, at) for turn in turns]
        return sum(answer.admitted for answer in answers)

    return backing.run(run)


@pytest.mark.parametrize("backing", ["local"], indirect=True)
def test_instances_admit_together_at_most_the_quota_and_their_free_parts(
    backing: Backing, partner: Partner
) -> None:
    caller = caller_of(partner)
    windows = iter(range(100_000))

    @settings(max_examples=60)
    @given(
        quota=st.integers(1, 60),
        turns=st.lists(st.integers(0, 5), min_size=1, max_size=150),
    )
    def check(quota: int, turns: list[int]) -> None:
        at = NOW + timedelta(seconds=10 * next(windows))
        count = admitted(backing, caller, quota, turns, at)
        bound = quota + len(set(turns)) * math.ceil(quota * FREE)
        assert count <= bound
        # Nobody is refused who asks an instance that the quota has something left for.
        assert count >= min(len(turns), quota) - len(set(turns)) * math.ceil(quota * SLICE)

    check()


def test_instances_that_race_for_the_quota_keep_the_bound(partner: Partner) -> None:
    caller, quota, instances = caller_of(partner), 100, 5

    async def race(service: Service) -> int:
        limiters = [
            Limiter(service.storage, {"test": quota}, end_user=60, seconds=10)
            for _ in range(instances)
        ]
        answers = await asyncio.gather(
            *(limiter.admit(caller, NOW) for limiter in limiters for _ in range(60))
        )
        return sum(answer.admitted for answer in answers)

    count = partner.backing.run(race)
    assert quota <= count <= quota + instances * math.ceil(quota * FREE)
