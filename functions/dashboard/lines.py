"""Fields in which people type several things, each on a line of its own."""

from typing import Any

from pydantic import BeforeValidator


def _lines(value: object) -> list[str]:
    texts = value if isinstance(value, list) else [value]
    return [line.strip() for text in texts for line in str(text or "").splitlines() if line.strip()]


LINES: Any = BeforeValidator(_lines)
"""Takes what was typed for a list, a member in each line."""
