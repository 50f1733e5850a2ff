"""How long a process takes from its birth to its first answer, its imports and first read included.

Time by the clock, since a caller waits for it, and CPU time would not see a start that waits for
one service after the other; but without the time in which the process was ready and other work had
the CPU. On a busy machine that is as steady as CPU time, where the bare clock is of no use.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path

from tests.bench.functions import Function, request_bytes
from tests.bench.measure import Pair, Spend
from tests.bench.requests import a_partner, local_environment
from tests.conftest import google_environment
from tests.support.emulator import running_emulator
from tests.support.secret_manager import SecretManager


@contextmanager
def a_local_start(folder: Path) -> Iterator[Pair]:
    """Start patients on the local backend, and an empty function."""
    yield starts(folder, local_environment(folder))


@contextmanager
def a_firestore_start(folder: Path) -> Iterator[Pair]:
    """Start patients on Firestore and Secret Manager, and an empty function."""
    with running_emulator(folder) as emulator, stopping(SecretManager()) as manager:
        yield starts(folder, google_environment(emulator, manager))


@contextmanager
def stopping(manager: SecretManager) -> Iterator[SecretManager]:
    """Stop a stand-in for Secret Manager in the end."""
    try:
        yield manager
    finally:
        manager.stop()


def starts(folder: Path, environment: Mapping[str, str]) -> Pair:
    """Return the works of starting patients and getting one, and of starting an empty function."""
    partner = a_partner(environment)
    request = request_bytes("GET", f"/v1/patients/{partner.patients[0]}", partner.key)

    def starting(start: Callable[[Path, Mapping[str, str]], Function]) -> Spend:
        def spend(count: int) -> float:
            return sum(one_start() for _ in range(count))

        def one_start() -> float:
            began = time.perf_counter()
            with closing(start(folder, environment)) as function:
                function.answer(request)
                return time.perf_counter() - began - function.delay()

        return spend

    return starting(Function.patients), starting(Function.empty)
