"""The API as it may be one day: what clients that were made before must live with."""

import json
from typing import Any

FREE = {"metadata", "data"}
"""Members whose own members are the partner's, or have no fixed names."""


def later(text: str) -> str:
    """Return an answer with more in it than any document tells.

    Each object has another member, and each error another type and code.
    """
    return json.dumps(_grown(json.loads(text)))


def _grown(found: Any) -> Any:
    if isinstance(found, list):
        return [_grown(each) for each in found]
    if not isinstance(found, dict):
        return found
    grown = {name: each if name in FREE else _grown(each) for name, each in found.items()}
    if "doc_url" in grown:
        grown |= {"type": "later_error", "code": "refused_later"}
    return {**grown, "addedLater": {"since": "2030-01-01"}}
