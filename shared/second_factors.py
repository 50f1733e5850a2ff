"""Second factors: an authenticator app, passkeys, and recovery codes for the day both are lost.

An app shows codes of a time and a shared secret (TOTP, RFC 6238): each is taken once, half a minute
early or late. A passkey signs what we made up for it (WebAuthn level 2), on our own origin alone,
and its owner unlocks it. Nothing here reads or writes: what is to be kept is in `Factors`, a part
of the user's record, and what a page must bring back is sealed in its form.
"""

import base64
import hmac
import json
import secrets
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, Self
from urllib.parse import quote, urlencode, urlsplit

from shared import codes
from shared.fields import Moment
from shared.models import Model

if TYPE_CHECKING:
    from fido2.server import Fido2Server

ISSUER = "Ally"
STEP = 30
"""Seconds for which an app shows a code."""
DIGITS = 6
SECRET_BYTES = 20
"""Of an app's secret: as many as SHA-1 gives (RFC 4226, 4)."""
RECOVERY_CODES = 10
RECOVERY_LENGTH = 10
"""Letters of a recovery code: 50 bits."""
MOST_PASSKEYS = 10
PATIENCE = timedelta(minutes=10)
"""How long a page of a second factor may stay open."""

Hash = Callable[[str], str]


class Passkey(Model):
    """A passkey of a user."""

    id: str
    """Its credential id, in base64url."""
    name: str
    """What the user calls it."""
    credential: str
    """Its public key and what is attested with it, in base64."""
    counter: int
    """How often it has signed, where it counts that."""
    createdAt: Moment
    lastUsedAt: Moment | None = None


class Factors(Model):
    """The second factors of a user."""

    app: str = ""
    """The secret that the authenticator app has too, sealed."""
    appAddedAt: Moment | None = None
    lastStep: int = 0
    """The step of time whose code was taken last."""
    passkeys: list[Passkey] = []
    recoveryCodes: list[str] = []
    """Keyed hashes of the recovery codes that have not been used."""

    @property
    def present(self) -> bool:
        """Whether there is a second factor; recovery codes alone are none."""
        return bool(self.app or self.passkeys)

    def having(self, **changes: Any) -> Self:
        """Return the factors with some of them changed; the last one takes the codes with it."""
        changed = self.model_copy(update=changes)
        return changed if changed.present else type(self)()


# --- An authenticator app ------------------------------------------------------------------------


def new_secret() -> str:
    """Return a new secret for an app, in base 32."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()


def app_address(secret: str, email: str) -> str:
    """Return what an app is told by a picture: `otpauth://totp/…`."""
    query = urlencode({"secret": secret, "issuer": ISSUER}, quote_via=quote)
    return f"otpauth://totp/{ISSUER}:{quote(email)}?{query}"


def picture(text: str) -> str:
    """Return a text as a QR code: an SVG to stand in a page, without style."""
    import segno

    drawn = segno.make(text, error="m", micro=False)
    return drawn.svg_inline(border=4, omitsize=True, svgclass="qr", lineclass=None)


def step_of_code(secret: str, typed: str, now: datetime, after: int = 0) -> int | None:
    """Return the step of time whose code was typed; None unless it is about now and later than one.

    `after` is the step of the code that was taken last.
    """
    from cryptography.hazmat.primitives.hashes import SHA1
    from cryptography.hazmat.primitives.twofactor.totp import TOTP

    # The apps know no other hash, and HMAC does not lean on what SHA-1 has lost (RFC 6238, B).
    shown = TOTP(base64.b32decode(secret), DIGITS, SHA1(), STEP)  # noqa: S303 - see above
    code = "".join(typed.split()).encode()
    current = int(now.timestamp()) // STEP
    matching = [
        step
        for step in (current - 1, current, current + 1)
        if hmac.compare_digest(shown.generate(step * STEP), code) and step > after
    ]
    return matching[0] if matching else None


# --- Recovery codes ------------------------------------------------------------------------------


def new_recovery_codes() -> list[str]:
    """Return ten codes, each to be used once: `K7QD3-M9XPV`."""
    made = (codes.random_text(RECOVERY_LENGTH) for _ in range(RECOVERY_CODES))
    half = RECOVERY_LENGTH // 2
    return [f"{each[:half]}-{each[half:]}" for each in made]


def recovery_hash(keyed: Hash, user: str, typed: str) -> str:
    """Return what is kept of a user's recovery code."""
    return keyed(f"recovery {user} {codes.plain(typed)}")


def without_recovery_code(factors: Factors, hashed: str) -> Factors | None:
    """Return the factors without a recovery code; None where it is none of theirs."""
    left = [each for each in factors.recoveryCodes if not hmac.compare_digest(each, hashed)]
    if len(left) == len(factors.recoveryCodes):
        return None
    return factors.model_copy(update={"recoveryCodes": left})


# --- Passkeys ------------------------------------------------------------------------------------


class Asked(NamedTuple):
    """What a browser is asked, as JSON for it, and what we must remember of that."""

    options: str
    challenge: str


class PasskeyError(Exception):
    """What a browser answered is no proof: forged, for another site, without its owner, a clone."""


class Passkeys:
    """Makes passkeys and checks them, for the pages of one origin."""

    def __init__(self, origin: str) -> None:
        """Take the origin of the dashboard, `https://…`: no other may use its passkeys."""
        self._origin = origin

    def ask_to_make(self, user: str, email: str, name: str, has: Sequence[Passkey]) -> Asked:
        """Ask for a new passkey of a user, on a device that has none of these."""
        from fido2.webauthn import (
            PublicKeyCredentialUserEntity,
            ResidentKeyRequirement,
            UserVerificationRequirement,
        )

        entity = PublicKeyCredentialUserEntity(id=user.encode(), name=email, display_name=name)
        options, state = self._server().register_begin(
            entity,
            [_credential(each) for each in has],
            resident_key_requirement=ResidentKeyRequirement.PREFERRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return Asked(json.dumps(dict(options)), state["challenge"])

    def make(self, challenge: str, answer: str, name: str, now: datetime) -> Passkey:
        """Return the passkey that a browser made, or raise PasskeyError."""
        try:
            made = self._server().register_complete(_state(challenge), json.loads(answer))
            credential = made.credential_data
        except Exception as error:  # whatever the library stumbles over, it is no passkey
            raise PasskeyError from error
        if credential is None:
            raise PasskeyError
        return Passkey(
            id=_text(credential.credential_id),
            name=name,
            credential=base64.b64encode(credential).decode(),
            counter=made.counter,
            createdAt=now,
        )

    def ask(self, passkeys: Sequence[Passkey]) -> Asked:
        """Ask for the proof of one of a user's passkeys."""
        from fido2.webauthn import UserVerificationRequirement

        options, state = self._server().authenticate_begin(
            [_credential(each) for each in passkeys],
            user_verification=UserVerificationRequirement.REQUIRED,
        )
        return Asked(json.dumps(dict(options)), state["challenge"])

    def check(
        self, passkeys: Sequence[Passkey], challenge: str, answer: str, now: datetime
    ) -> list[Passkey]:
        """Return the passkeys, that which a browser proved as used now, or raise PasskeyError.

        One whose counter does not go on has a clone somewhere (WebAuthn level 2, 6.1.1).
        """
        from fido2.webauthn import AuthenticationResponse

        try:
            told = json.loads(answer)
            given = [_credential(each) for each in passkeys]
            used = self._server().authenticate_complete(_state(challenge), given, told)
            counter = AuthenticationResponse.from_dict(told).response.authenticator_data.counter
        except Exception as error:  # whatever the library stumbles over, it is no proof
            raise PasskeyError from error
        after = []
        for passkey in passkeys:
            if passkey.id != _text(used.credential_id):
                after.append(passkey)
                continue
            if (counter or passkey.counter) and counter <= passkey.counter:
                raise PasskeyError
            after.append(passkey.model_copy(update={"counter": counter, "lastUsedAt": now}))
        return after

    def _server(self) -> "Fido2Server":
        from fido2.server import Fido2Server
        from fido2.webauthn import (
            AttestationConveyancePreference,
            PublicKeyCredentialRpEntity,
        )

        host = urlsplit(self._origin).hostname
        return Fido2Server(
            PublicKeyCredentialRpEntity(id=host, name=ISSUER),
            attestation=AttestationConveyancePreference.NONE,
            verify_origin=lambda origin: origin == self._origin,
        )


def _state(challenge: str) -> dict[str, str]:
    """Return what the library wants to hear again of what it asked."""
    return {"challenge": challenge, "user_verification": "required"}


def _credential(passkey: Passkey) -> Any:
    from fido2.webauthn import AttestedCredentialData

    return AttestedCredentialData(base64.b64decode(passkey.credential))


def _text(credential_id: bytes) -> str:
    return base64.urlsafe_b64encode(credential_id).decode().rstrip("=")
