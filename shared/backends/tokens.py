"""ID tokens of end users: what one says, if its signature is right.

An ID token is a JSON Web Token (RFC 7519) as Firebase Authentication makes them, signed with RS256
(RFC 7518). Whether what it says lets anybody in is not decided here.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from shared.backends import ConflictError, Secrets

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

Claims = dict[str, Any]

ALGORITHM = "RS256"
BITS = 2048
_SECRET = "token-key"  # noqa: S105 - the name of one
_KEY_ID = "local"
_CHECKS = {  # what PyJWT would compare with the machine's clock is compared with ours
    "verify_exp": False,
    "verify_iat": False,
    "verify_nbf": False,
    "verify_aud": False,
}


def key_id(token: str, algorithm: str = ALGORITHM) -> str | None:
    """Return the id of the key that a token says it was signed with; None where it is no such."""
    import jwt

    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        return None
    named = header.get("kid")
    return named if header.get("alg") == algorithm and isinstance(named, str) else None


def opened(token: str, key: Any, algorithm: str = ALGORITHM) -> Claims | None:
    """Return what a token says; None unless it was signed with the private half of a key."""
    import jwt

    try:
        claims: Claims = jwt.decode(token, key, algorithms=[algorithm], options=dict(_CHECKS))  # type: ignore[arg-type]  # a mapping of the names that it knows
    except jwt.PyJWTError:
        return None
    return claims


class LocalTokens:
    """The local backend's own tokens: made here with a key made here, which is kept as a secret."""

    def __init__(self, secrets: Secrets) -> None:
        self._secrets = secrets
        self._made: RSAPrivateKey | None = None

    async def open(self, token: str) -> Claims | None:
        """Return what a token says, if this backend made it."""
        if key_id(token) != _KEY_ID:
            return None
        return opened(token, (await self._key()).public_key())

    async def issue(self, claims: Mapping[str, Any]) -> str | None:
        """Make a token."""
        import jwt

        return jwt.encode(dict(claims), await self._key(), ALGORITHM, headers={"kid": _KEY_ID})

    async def _key(self) -> "RSAPrivateKey":
        """Return the key, made when it is first needed and the same ever after."""
        if self._made is None:
            from cryptography.hazmat.primitives import serialization
            from cryptography.hazmat.primitives.asymmetric import rsa

            kept = await self._secrets.read(_SECRET)
            if kept is None:
                drawn = rsa.generate_private_key(public_exponent=65537, key_size=BITS)
                kept = drawn.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                try:
                    await self._secrets.create(_SECRET, kept)
                except ConflictError:  # another process was faster
                    kept = await self._secrets.read(_SECRET) or b""
            loaded = serialization.load_pem_private_key(kept, None)
            if not isinstance(loaded, rsa.RSAPrivateKey):
                raise TypeError("the key of local tokens is no RSA key")
            self._made = loaded
        return self._made


class UnsignedTokens:
    """The tokens of the Firebase emulator, which nobody signs: never where real data is."""

    async def open(self, token: str) -> Claims | None:
        """Return what a token says, if it says itself that it is not signed."""
        import jwt

        try:
            if jwt.get_unverified_header(token).get("alg") != "none":
                return None
            claims: Claims = jwt.decode(token, options={"verify_signature": False})
        except jwt.PyJWTError:
            return None
        return claims

    async def issue(self, claims: Mapping[str, Any]) -> str | None:
        """Make none: the emulator does."""
        return None
