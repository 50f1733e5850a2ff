"""What the balancer says in our words of requests that never reach us."""

import base64
import hashlib
import json
from html import escape
from string import Template

from infra.steps import HERE, Values
from shared.catalogue import ON_THE_WAY
from shared.errors import ApiError, envelope


def pages(values: Values) -> list[Values]:
    """Return the bodies: for the API one for each code, and a page for who looks at pages.

    The API's are the envelope of every refusal, but for a request id: no function saw the request,
    so there is none to name.
    """
    codes = dict.fromkeys(ON_THE_WAY.values())
    page = Template((HERE / "templates" / "page_failed.html").read_text())
    words = page.substitute(support=escape(values["support"]))
    return [
        *(_page(f"{code}.json", "application/json", _envelope(code, values)) for code in codes),
        _page("page_failed.html", "text/html", words),
    ]


def _envelope(code: str, values: Values) -> str:
    said = envelope(ApiError(code), "", values["support"], f"https://{values['host']}")
    del said["error"]["request_id"]
    return json.dumps(said)


def _page(name: str, kind: str, body: str) -> Values:
    # As storage tells it of what it holds.
    digest = hashlib.md5(body.encode(), usedforsecurity=False).digest()
    return {
        "name": name,
        "type": kind,
        "body": body,
        "md5": base64.b64encode(digest).decode(),
    }
