"""The table: `python -m tests.bench`, for some of it with `--only`."""

import argparse
import sys
from statistics import median

from shared import starting
from tests.bench import __doc__ as about
from tests.bench.measure import Measure
from tests.bench.metering import a_count
from tests.bench.pages import a_page
from tests.bench.passwords import a_stranger
from tests.bench.reads import a_read
from tests.bench.requests import a_create, a_deep_page, a_get, a_list
from tests.bench.starts import a_firestore_start, a_local_start

MEASURES = {
    # CPU time of a process, all its threads included.
    "request": Measure("GET a patient, local, to an empty function", a_get, 2_000, 3.0),
    "list": Measure("list 10 patients, local, to a GET", a_list, 1_000, 2.0),
    "create": Measure("create a patient, local, to a GET", a_create, 1_000, 3.0),
    "depth": Measure("list 10 at depth 100,000, local, to the first 10", a_deep_page, 1_000, 1.2),
    "page": Measure("page of 50 appointments, local, to listing them", a_page, 200, 5.0),
    "metering": Measure("metering of a request, to a GET", a_count, 10_000, 0.04),
    "password": Measure("check a password of nobody, to somebody's", a_stranger, 10, 1.1),
    "read": Measure("get a document from Firestore, to a bare call", a_read, 250, 1.25),
    # Time by the clock, from the birth of a process, less that in which it waited for a CPU.
    "start": Measure("start and first GET, local, to an empty function", a_local_start, 1, 1.5),
    "start-firestore": Measure(
        "start and first GET, Firestore, to an empty function", a_firestore_start, 1, 2.8
    ),
}

ROW = "{:<58}{:>8}{:>8}{:>8}{:>8}"
"""As wide as the progress that it overwrites."""


def main() -> None:
    """Measure, print the table, and end with status 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="make bench", description=str(about).partition("\n")[0])
    parser.add_argument("--only", choices=MEASURES, help="measure one pair (default: all)")
    parser.add_argument("--rounds", type=int, default=20, help="ratios of each (default: 20)")
    arguments = parser.parse_args()
    if sys.platform != "linux":
        sys.exit("This measures on Linux only.")
    starting.end()  # what is measured in this process is measured as in one that serves
    print(ROW.format("ratio of", "median", "min", "max", "limit"), flush=True)
    exceeded = False
    for measure in [MEASURES[arguments.only]] if arguments.only else MEASURES.values():
        found = measure.ratios(arguments.rounds)
        shown = (f"{ratio:.2f}" for ratio in (median(found), min(found), max(found), measure.limit))
        print(ROW.format(measure.title, *shown), flush=True)
        exceeded |= median(found) > measure.limit
    if exceeded:
        sys.exit("A limit is exceeded.")


if __name__ == "__main__":
    main()
