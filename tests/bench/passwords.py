"""What a password costs where nobody has the address: as much as where somebody has it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.passwords import HashedPasswords
from tests.bench.measure import Pair

WRONG = "not their password"


@contextmanager
def a_stranger(_: Path) -> Iterator[Pair]:
    """Check a wrong password for nobody, and for somebody."""
    passwords = HashedPasswords(str)
    with asyncio.Runner() as runner:
        kept = runner.run(passwords.keep("", "seven green kettles whistle"))

        def check(count: int, kept: str | None) -> float:
            began = time.process_time()
            for _ in range(count):
                runner.run(passwords.check("", WRONG, kept))
            return time.process_time() - began

        yield lambda count: check(count, None), lambda count: check(count, kept)
