"""Sketches: how near what they count comes to exact sets, and what merging does."""

import hashlib
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.sketches import REGISTERS, Sketch

ERROR = 1.04 / math.sqrt(REGISTERS)
"""The documented standard error."""
SEEDS = 12


def hashed(thing: object) -> int:
    return int.from_bytes(hashlib.blake2b(str(thing).encode(), digest_size=8).digest())


def sketch(things: range, seed: object = "") -> Sketch:
    made = Sketch()
    for thing in things:
        made.add(hashed(f"{seed} {thing}"))
    return made


@pytest.mark.parametrize("size", [0, 1, 2, 3, 10, 30, 100, 300, 1000, 3000, 10_000, 30_000])
def test_a_count_is_as_near_the_truth_as_is_said(size: int) -> None:
    """Of things that are drawn at random the errors have the standard deviation that is said."""
    errors = [sketch(range(size), seed).count() / max(size, 1) - 1 for seed in range(SEEDS)]
    if size == 0:
        assert errors == [-1] * SEEDS
        return
    deviation = math.sqrt(sum(error * error for error in errors) / SEEDS)
    # One in ten thousand such samples of a right estimator is 1.7 times as far off.
    assert deviation <= 1.7 * ERROR
    assert abs(sum(errors) / SEEDS) <= 4 * ERROR / math.sqrt(SEEDS)  # it errs to no side


@pytest.mark.parametrize("size", [1, 2, 5, 10, 20])
def test_a_few_are_counted_exactly_nearly_always(size: int) -> None:
    counts = [sketch(range(size), seed).count() for seed in range(100)]
    assert sum(count == size for count in counts) >= 80
    assert all(abs(count - size) <= 2 for count in counts)


def test_many_millions_are_counted_too() -> None:
    """Their registers are drawn as they would be, instead of hashing so many things."""
    draw = random.Random(1)
    errors = []
    for size in (10**7, 10**9, 10**12):
        made = Sketch(bytes(_longest(draw, size / REGISTERS) for _ in range(REGISTERS)))
        errors.append(abs(made.count() / size - 1))
    assert max(errors) <= 4 * ERROR


def _longest(draw: random.Random, things: float) -> int:
    """Draw the longest run of so many hashes, of which each is one longer half as often."""
    # The longest of n is at most r with the probability (1 - 2^-r)^n.
    quantile = draw.random() ** (1 / things)
    return min(54, math.ceil(-math.log2(1 - quantile)))


def test_adding_again_changes_nothing() -> None:
    made = sketch(range(1000))
    before = made.pack()
    assert not any(made.add(hashed(f" {thing}")) for thing in range(1000))
    assert made.pack() == before


@settings(max_examples=50)
@given(st.lists(st.sets(st.integers(0, 500)), min_size=1, max_size=5), st.randoms())
def test_sketches_merge_to_that_of_all_things_in_whatever_order_and_however_often(
    parts: list[set[int]], draw: random.Random
) -> None:
    whole = Sketch()
    for thing in set[int]().union(*parts):
        whole.add(hashed(thing))
    sketches = []
    for part in parts:
        made = Sketch()
        for thing in part:
            made.add(hashed(thing))
        sketches.append(made)
    sketches += draw.choices(sketches, k=3)
    draw.shuffle(sketches)
    assert Sketch().merge(sketches) == whole


@pytest.mark.parametrize("size", [0, 1, 50, 2000, 50_000])
def test_what_is_packed_reads_back_and_is_as_small_as_is_said(size: int) -> None:
    made = sketch(range(size))
    assert Sketch.unpack(made.pack()) == made
    assert len(made.pack()) <= (1500 if size else 30)


@pytest.mark.parametrize("value", [0, 1, 2**53 - 1, 2**53, 2**64 - 1])
def test_every_hash_has_its_place(value: int) -> None:
    made = Sketch()
    assert made.add(value)
    assert made.count() == 1
