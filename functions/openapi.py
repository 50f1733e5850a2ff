"""Write the OpenAPI documents anew from the code: `make openapi`, or `python -m functions.openapi`.

They are committed beside the function that serves them, so that a start has nothing to generate and
a review sees what a change does to the contract.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from functions import discover
from shared.openapi import as_3_2, describe

FOLDER = Path(__file__).parent / "docs"


def documents() -> Iterator[tuple[Path, str]]:
    """Yield each document's file, and the text that belongs in it."""
    document = describe(discover())
    for name, each in (("openapi.json", document), ("openapi-3.2.json", as_3_2(document))):
        yield FOLDER / name, json.dumps(each, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for file, text in documents():
        file.write_text(text, "utf-8")
