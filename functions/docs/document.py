"""The OpenAPI documents as a deployment shows them: with its own address, and its support's."""

import json
from functools import cache
from pathlib import Path

from shared import Content
from shared.routes import SITE, Site


@cache
def document(name: str, site: Site) -> Content:
    """Return a committed document, read once: `openapi.json` (3.1) or `openapi-3.2.json`."""
    text = Path(__file__).with_name(name).read_text("utf-8")
    for placeholder, own in zip(SITE, site, strict=True):
        text = text.replace(placeholder, json.dumps(own)[1:-1])
    return Content("application/json", text)
