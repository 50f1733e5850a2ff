"""How many different things there were, without keeping one of them: HyperLogLog.

A thing is hashed; the first bits of the hash choose one of 2,048 registers, and the register keeps
the longest run of zeros that the other bits of any such hash began with. Long runs are rare, so the
registers tell how many different hashes there were, with a standard error of 1.04 / √2048 = 2.3 %,
and of much less while they are few. Adding a thing again changes nothing, nor does merging twice.

The registers are those of P. Flajolet and others, "HyperLogLog" (2007); what is read from them is
O. Ertl's estimator, which is as right for few things as for many ("New cardinality estimation
algorithms for HyperLogLog sketches", 2017, algorithm 6).
"""

import base64
import math
import zlib
from collections.abc import Iterable
from typing import Self

HASH_BITS = 64
_INDEX_BITS = 11
_REST_BITS = HASH_BITS - _INDEX_BITS
REGISTERS = 1 << _INDEX_BITS


class Sketch:
    """Counts different things, by hashes of HASH_BITS bits, in 2 KB."""

    __slots__ = ("registers",)

    def __init__(self, registers: bytes = bytes(REGISTERS)) -> None:
        self.registers = bytearray(registers)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sketch) and self.registers == other.registers

    __hash__ = None  # type: ignore[assignment]  # it changes

    @classmethod
    def unpack(cls, text: str) -> Self:
        """Return the sketch that was packed."""
        return cls(zlib.decompress(base64.b85decode(text)))

    def pack(self) -> str:
        """Write the sketch as a text: 30 characters if it is empty, 1,500 at most."""
        return base64.b85encode(zlib.compress(self.registers)).decode()

    def add(self, hashed: int) -> bool:
        """Count a thing by its hash; tell whether that changed anything, which it does once."""
        index = hashed >> _REST_BITS
        run = _REST_BITS + 1 - (hashed & ((1 << _REST_BITS) - 1)).bit_length()
        if run <= self.registers[index]:
            return False
        self.registers[index] = run
        return True

    def merge(self, others: Iterable["Sketch"]) -> Self:
        """Count what others have counted, too."""
        for other in others:
            self.registers = bytearray(map(max, self.registers, other.registers))
        return self

    def count(self) -> int:
        """Return how many different things were counted, about."""
        registers = self.registers
        total = REGISTERS * _tau(1 - registers.count(_REST_BITS + 1) / REGISTERS)
        for run in range(_REST_BITS, 0, -1):
            total = (total + registers.count(run)) / 2
        total += REGISTERS * _sigma(registers.count(0) / REGISTERS)
        return round(REGISTERS * REGISTERS / (2 * math.log(2) * total))


def _sigma(x: float) -> float:
    """Return x + Σ x^(2^k) 2^(k-1) over k ≥ 1: what the registers without any run add."""
    if x == 1:
        return math.inf
    power, weight, total, before = x, 1.0, x, -1.0
    while total != before:
        before, power = total, power * power
        total += power * weight
        weight += weight
    return total


def _tau(x: float) -> float:
    """Return (1 - x - Σ (1 - x^(2^-k))² 2^-k over k ≥ 1) / 3: what the longest runs add."""
    if x in (0, 1):
        return 0
    root, weight, total, before = x, 1.0, 1 - x, -1.0
    while total != before:
        before, root = total, math.sqrt(root)
        weight /= 2
        total -= (1 - root) ** 2 * weight
    return total / 3
