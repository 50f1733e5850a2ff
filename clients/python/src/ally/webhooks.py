"""Verifying that a webhook comes from Ally, as it was sent, and now.

A delivery is signed twice over one secret (`whsec_…`): by the headers of Standard Webhooks and by
`Ally-Signature`, in Stripe's scheme. Either is enough; the first is preferred where both came.
"""

import base64
import hashlib
import hmac
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import product

from ally.errors import WebhookVerificationError
from ally.objects import Event, read

TOLERANCE = 300.0
"""Seconds by which the time of a delivery may differ from now, either way."""
LARGEST_EXPLAINED = 65536
"""Bytes of the largest body that is looked at for why its signature does not match: events are
small, so a larger one is not as it was sent."""

_PREFIX = "whsec_"


def verify(
    body: bytes,
    headers: Mapping[str, str],
    secret: str | Sequence[str],
    *,
    tolerance: float = TOLERANCE,
    now: datetime | None = None,
) -> Event:
    """Return the event that a webhook tells of, once its signature has been verified.

    `body` is the raw body, before anything has parsed it. While a secret is rotated, pass the old
    one and the new one. WebhookVerificationError says in `likely` what is probably wrong.
    """
    if not isinstance(body, bytes):
        raise WebhookVerificationError(
            "The body must be the bytes as they came: take it before a framework has parsed it.",
            "body",
        )
    secrets = [_Secret.of(each) for each in ([secret] if isinstance(secret, str) else secret)]
    signed = _signed({name.lower(): value for name, value in headers.items()})
    _check_time(signed.timestamp, now or datetime.now(UTC), tolerance)
    if not signed.by(secrets, body):
        raise _explain(signed, secrets, body)
    try:
        return read(Event, json.loads(body))
    except ValueError as error:
        problem = "it is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
    raise WebhookVerificationError(f"What was signed is no event: {problem}.", "body")


@dataclass(frozen=True, slots=True, repr=False)
class _Secret:
    """The secret of an endpoint: as it is written, and the bytes that this means."""

    text: bytes
    raw: bytes

    @classmethod
    def of(cls, text: str) -> "_Secret":
        encoded = text.removeprefix(_PREFIX)
        padding = "=" * (-len(encoded) % 4)  # which is often left out
        with suppress(ValueError):
            raw = base64.b64decode(encoded + padding, validate=True)
            if raw and text.startswith(_PREFIX):
                return cls(text.encode(), raw)
        raise WebhookVerificationError(
            f"The secret must be that of the webhook endpoint, {_PREFIX}… in base64, without"
            " spaces; it is not an API key.",
            "secret",
        )


@dataclass(frozen=True, slots=True)
class _Signed:
    """What the headers of a delivery say. `before` is what is signed before the body."""

    timestamp: str
    before: bytes
    signatures: Sequence[bytes]
    standard: bool

    def by(self, secrets: Sequence[_Secret], body: bytes) -> bool:
        """Tell whether one of the signatures was made of this body with one of these secrets."""
        content = self.before + body
        made = [self._sign(secret, content) for secret in secrets]
        # Each is compared in constant time, and no match ends the comparing.
        return sum(hmac.compare_digest(a, b) for a in made for b in self.signatures) > 0

    def _sign(self, secret: _Secret, content: bytes) -> bytes:
        if self.standard:
            return base64.b64encode(hmac.digest(secret.raw, content, hashlib.sha256))
        return hmac.digest(secret.text, content, hashlib.sha256).hex().encode()


def _signed(headers: Mapping[str, str]) -> _Signed:
    """Read the headers, given by their names in small letters."""
    standard = [headers.get(f"webhook-{name}") for name in ("id", "timestamp", "signature")]
    if None not in standard:
        message, timestamp, written = (str(each) for each in standard)
        marked = [each.partition(",") for each in written.split()]
        signatures = [_bytes(value) for version, _, value in marked if version == "v1"]
        return _Signed(timestamp, _bytes(f"{message}.{timestamp}."), signatures, standard=True)
    if "ally-signature" in headers:
        parts = [each.strip().partition("=") for each in headers["ally-signature"].split(",")]
        timestamp = next((value for name, _, value in parts if name == "t"), "")
        signatures = [_bytes(value) for name, _, value in parts if name == "v1"]
        return _Signed(timestamp, _bytes(f"{timestamp}."), signatures, standard=False)
    raise WebhookVerificationError(
        "There is no signature: neither the headers webhook-id, webhook-timestamp and"
        " webhook-signature nor Ally-Signature. The request is not from Ally, or a proxy removed"
        " them."
    )


def _bytes(text: str) -> bytes:
    return text.encode(errors="replace")  # a header may hold anything


def _check_time(timestamp: str, now: datetime, tolerance: float) -> None:
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 15):
        raise WebhookVerificationError("The signature's time is no number of seconds.", "time")
    age = now.timestamp() - int(timestamp)
    if abs(age) > tolerance:
        when = "ago" if age > 0 else "in the future"
        raise WebhookVerificationError(
            f"The delivery was signed {abs(age):.0f} seconds {when}, and {tolerance:.0f} are"
            " tolerated: this machine's clock is wrong, or somebody repeats an old delivery.",
            "time",
        )


def _explain(signed: _Signed, secrets: Sequence[_Secret], body: bytes) -> WebhookVerificationError:
    """Say why no signature matches: the body, if it would match as it may have been before."""
    before = list(_as_it_may_have_been(body)) if len(body) <= LARGEST_EXPLAINED else []
    if not before or any(signed.by(secrets, each) for each in before):
        return WebhookVerificationError(
            "The signature does not match the body, which is not as it was sent: it was parsed and"
            " written anew, cut off or recoded. Verify the raw bytes.",
            "body",
        )
    return WebhookVerificationError(
        "The signature does not match any of the secrets: take the secret of this endpoint, in"
        " this mode, and during a rotation the old one too. If it is right, the body was changed.",
        "secret",
    )


def _as_it_may_have_been(body: bytes) -> Iterator[bytes]:
    """Yield other ways in which a JSON body is commonly written; none where it is not JSON."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return
    yield body.strip()
    yield body + b"\n"
    compact, spaced = (",", ":"), (", ", ": ")
    for ascii_only, (indent, separators) in product(
        (False, True), ((None, compact), (None, spaced), (2, None), (4, None))
    ):
        yield _bytes(
            json.dumps(parsed, ensure_ascii=ascii_only, indent=indent, separators=separators)
        )
