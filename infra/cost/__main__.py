"""What the API costs: prints it, and writes docs/cost.md and docs/cost.svg anew."""

import argparse
from pathlib import Path

from infra.cost import declared, page, picture

DOCS = Path(__file__).parents[2] / "docs"
REQUESTS = 1e8
"""A month, at which the page prices routes."""


def main() -> None:
    """Read the arguments, print the page and write it."""
    parser = argparse.ArgumentParser(prog="make cost", description=__doc__)
    parser.add_argument(
        "--requests",
        type=float,
        metavar="N",
        help=f"price routes at so many requests a month, print that alone (default: {REQUESTS:g})",
    )
    parser.add_argument("--folder", type=Path, default=DOCS, help="where to write (default: docs)")
    arguments = parser.parse_args()
    everything = declared.load()
    if arguments.requests:
        print(page.by_route(everything, arguments.requests))
        return
    written = write(everything)
    for name, text in written.items():
        (arguments.folder / name).write_text(text)
    print(written["cost.md"])


def write(everything: declared.Everything) -> dict[str, str]:
    """Return what is written: the text of each file."""
    return {"cost.md": page.page(everything, REQUESTS), "cost.svg": picture.draw(everything)}


if __name__ == "__main__":
    main()
