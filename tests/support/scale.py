"""How much of what chance makes up is tried: little in `make test`, much more in `make soak`.

`make test` tries the same each time, so that a change is refused for what it changed; `make soak`
sets ALLY_SEED to a number that is new each time.
"""

import os

from hypothesis import HealthCheck, settings

SEED = int(os.environ.get("ALLY_SEED", "7"))
"""What a campaign begins its chance with; who prints it can have the same again."""
_TIMES = int(os.environ.get("ALLY_EXAMPLES", "1"))


def examples(number: int) -> int:
    """Return how many examples to try where `number` are tried by default."""
    return number * _TIMES


def set_chance() -> None:
    """Have hypothesis try the same each time too, but in a soak, for as long as it takes."""
    settings.register_profile(
        "ally",
        derandomize="ALLY_SEED" not in os.environ,
        deadline=None,
        print_blob=True,
        suppress_health_check=[HealthCheck.too_slow],
    )
    settings.load_profile("ally")
