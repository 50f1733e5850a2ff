"""Who lets staff in: Identity-Aware Proxy in the cloud, a key of this machine with `make run`.

Identity-Aware Proxy signs who somebody is into a header of each request; we check that word
ourselves, since whoever reached the service past it would send none, or a forged one
(cloud.google.com/iap/docs/signed-headers-howto). On this machine the key in the state folder is
shown once, and a cookie that it signs is shown after that.
"""

import re
import secrets
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from pydantic import ValidationError

from shared.backends import Tokens, open_staff_tokens
from shared.callers import Caller
from shared.exchange import Exchange
from shared.models import Model
from shared.routes import Route
from shared.service import Service
from shared.settings import Mode, Settings
from shared.staff import StaffCaller, local_key, staff_caller

HEADER = b"x-goog-iap-jwt-assertion"
ISSUER = "https://cloud.google.com/iap"
SKEW = timedelta(seconds=30)
"""How far the proxy's clock may be from ours: what its documentation asks to allow for."""

COOKIE = "__Host-staff"
LIFE = 12 * 3600
"""Seconds for which the cookie is taken: a day's work."""


class _Claims(Model):
    """What the proxy says of somebody. Times are in seconds (RFC 7519, NumericDate)."""

    iss: str
    aud: str
    email: str
    iat: int
    exp: int


class Staff:
    """Lets Ally's staff in."""

    entrance = "/sign-in"

    def __init__(self) -> None:
        self._tokens: dict[Settings, Tokens] = {}

    async def find(self, exchange: Exchange, mode: Mode) -> StaffCaller | None:
        """Return which member of staff it is."""
        held = exchange.service
        if held.settings.backend == "local":
            if _is_ours(held, exchange.request.cookies.get(COOKIE, "")):
                return staff_caller("local", mode)
            return None
        token = exchange.header(HEADER)
        email = None if token is None else await self._vouched(held.settings, token, exchange.now)
        return None if email is None else staff_caller(email, mode)

    def hinder(self, route: Route, caller: Caller, mode: Mode | None, now: datetime) -> str:
        """Hinder nobody: who a person is, the proxy has just checked."""
        return ""

    def form_secret(self, caller: Caller) -> str:
        """Return what somebody's forms are known by, on top of where they come from."""
        return caller.principal

    def last_secret(self, exchange: Exchange) -> str | None:
        """Return nothing: who a person was, the proxy does not say."""
        return None

    async def _vouched(self, settings: Settings, token: str, now: datetime) -> str | None:
        """Return whom the proxy vouches for: now, and to us."""
        tokens = self._tokens.get(settings)
        if tokens is None:
            tokens = self._tokens[settings] = open_staff_tokens(settings)
        said = await tokens.open(token)
        try:
            claims = _Claims.model_validate(said)
        except ValidationError:
            return None
        begins, ends = (datetime.fromtimestamp(each, UTC) for each in (claims.iat, claims.exp))
        ours = (claims.iss, claims.aud) == (ISSUER, settings.iap_audience)
        return claims.email if ours and begins - SKEW <= now < ends + SKEW else None


def shows_key(held: Service, key: str) -> bool:
    """Tell whether somebody shows the key of this machine."""
    expected = local_key(Path(held.settings.state))
    return secrets.compare_digest(key.encode(), expected.encode())


def new_cookie(held: Service) -> str:
    """Return a cookie for who has shown the key: the moment, signed."""
    begun = str(int(time.time()))
    return f"{begun}.{_signature(held, begun)}"


def _is_ours(held: Service, cookie: str) -> bool:
    begun, _, signature = cookie.partition(".")
    if not re.fullmatch("[0-9]{1,12}", begun) or time.time() - int(begun) > LIFE:
        return False
    return secrets.compare_digest(signature.encode(), _signature(held, begun).encode())


def _signature(held: Service, begun: str) -> str:
    return held.keyring.hash(f"staff {local_key(Path(held.settings.state))} {begun}")
