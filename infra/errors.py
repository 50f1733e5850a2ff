"""What the balancer says in our words of requests that never reach us."""

import base64
import hashlib
import json

from infra.steps import Values
from shared.catalogue import ON_THE_WAY
from shared.errors import ApiError, envelope


def pages(values: Values) -> list[Values]:
    """Return the bodies, one for each code: the envelope of every refusal, but for a request id.

    No function saw the request, so there is none to name.
    """
    return [_page(code, values) for code in dict.fromkeys(ON_THE_WAY.values())]


def _page(code: str, values: Values) -> Values:
    said = envelope(ApiError(code), "", values["support"], f"https://{values['host']}")
    del said["error"]["request_id"]
    body = json.dumps(said)
    # As storage tells it of what it holds.
    digest = hashlib.md5(body.encode(), usedforsecurity=False).digest()
    return {"code": code, "body": body, "md5": base64.b64encode(digest).decode()}
