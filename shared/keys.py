"""API keys: what one looks like, what its owner may see of it, and what it allows.

A secret key is `test_` or `live_`, an id of 24 letters and digits, a full stop, and a secret of 30.
A publishable key is `test_pub_` or `live_pub_` and the id alone: it is no secret, and opens nothing
but the route that takes events of front ends. The id is that of the key's object and two more
letters, a check that only we can compute: what somebody makes up is refused without a look-up.
"""

import base64
import re
import secrets
import string
from collections.abc import Mapping, Sequence
from datetime import datetime
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, ClassVar, Literal, NamedTuple, Self

from pydantic import Field, StringConstraints

from shared.errors import ApiError
from shared.fields import Line, Moment, Origin, Shape, When, checked, known
from shared.models import Model, Resource
from shared.settings import Mode
from shared.words import beginnings

Access = Literal["none", "read", "write"]
Kind = Literal["secret", "publishable"]
Network = IPv4Network | IPv6Network
Status = Literal["active", "expired", "revoked", "unrevealed"]

CHALLENGE = {"WWW-Authenticate": 'Bearer realm="ally"'}
SECRET_LENGTH = 30
CHECK_LENGTH = 2
MOST_ENTRIES = 50
"""The scopes, the networks or the origins of one key, at most."""
ADMINISTRATION = frozenset({"api_keys"})
"""Permissions that `*` does not include: they have to be given by name."""

_LEVELS = {"none": 0, "read": 1, "write": 2}
_ALPHANUMERIC = string.digits + string.ascii_letters
_BEARER = "(?:(?i:bearer) +)?"
_PRESENTED = re.compile(_BEARER + r"(test|live)_([0-9A-Za-z]{24})\.([0-9A-Za-z]{30})", re.ASCII)
_PUBLISHABLE = re.compile(_BEARER + "(test|live)_pub_([0-9A-Za-z]{24})", re.ASCII)


# --- As it is sent -------------------------------------------------------------------------------


class SecretKey(NamedTuple):
    """A secret key as its owner holds it."""

    mode: Mode
    id: str
    secret: str

    def __str__(self) -> str:
        return f"{self.mode}_{self.id}.{self.secret}"


def parse(header: str | None) -> SecretKey:
    """Read the key from a header: bare, after `Bearer`, or as the user name of `Basic`."""
    text = (header or "").strip()
    matched = _PRESENTED.fullmatch(text)
    if matched is None:
        name = _user_name(text)
        matched = _PRESENTED.fullmatch(name)
        if _PUBLISHABLE.fullmatch(name or text) is not None:
            raise ApiError("key_publishable", headers=CHALLENGE)
    if matched is None:
        missing = text.lower() in ("", "bearer", "basic")
        raise ApiError("key_missing" if missing else "key_malformed", headers=CHALLENGE)
    mode, key_id, secret = matched.groups()
    return SecretKey("live" if mode == "live" else "test", key_id, secret)


def parse_publishable(sent: object) -> tuple[Mode, str]:
    """Read a publishable key from a parameter: return its mode and its id."""
    if not isinstance(sent, str) or not sent.strip():
        raise ApiError("key_missing", headers=CHALLENGE)
    matched = _PUBLISHABLE.fullmatch(sent.strip())
    if matched is None:
        raise ApiError("key_malformed", headers=CHALLENGE)
    mode, key_id = matched.groups()
    return "live" if mode == "live" else "test", key_id


def new_secret() -> str:
    """Return the secret part of a new key: 178 bits."""
    return "".join(secrets.choice(_ALPHANUMERIC) for _ in range(SECRET_LENGTH))


def _user_name(text: str) -> str:
    """Return the user name of an `Authorization: Basic` header (RFC 7617), if it is one."""
    scheme, _, rest = text.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(rest.strip(), validate=True).decode().partition(":")[0]
    except ValueError:  # not base64, or not a text
        return ""


# --- What it allows ------------------------------------------------------------------------------


def access(scopes: Mapping[str, Access], resource: str) -> Access:
    """Return what scopes give on a resource: what is said of it by name, or else of `*`."""
    default = "none" if resource in ADMINISTRATION else scopes.get("*", "none")
    return scopes.get(resource, default)


def within(asked: Mapping[str, Access], given: Mapping[str, Access]) -> bool:
    """Tell whether scopes give nothing that others do not give too, on any resource."""
    named = {*asked, *given, *ADMINISTRATION} | {"*"}
    return all(_LEVELS[access(asked, name)] <= _LEVELS[access(given, name)] for name in named)


def networks(cidrs: list[str]) -> tuple[Network, ...]:
    """Return the networks that a key may be used from; none means any."""
    return tuple(ip_network(cidr) for cidr in cidrs)


def covered(asked: tuple[Network, ...], given: tuple[Network, ...]) -> bool:
    """Tell whether every address of some networks lies in others; none means any address."""
    if not given:
        return True
    return bool(asked) and all(
        any(
            inner.version == outer.version and inner.subnet_of(outer)  # type: ignore[arg-type]  # of one version
            for outer in given
        )
        for inner in asked
    )


def _cidr(value: str, _: object) -> str:
    try:
        network = ip_network(value, strict=False)
    except ValueError:
        network = None
    # What follows a % is a zone of one machine; an IPv4 caller is compared by its own address.
    mapped = getattr(getattr(network, "network_address", None), "ipv4_mapped", None)
    if network is None or mapped is not None or "%" in value:
        raise ValueError("must be a network such as 203.0.113.0/24 or 2001:db8::/32")
    return str(network)


Cidr = Annotated[Line, checked(_cidr), Shape(format="cidr", examples=["203.0.113.0/24"])]
"""A network in CIDR notation (RFC 4632, RFC 4291), kept without host bits."""
Resources = Annotated[str, StringConstraints(pattern=r"^(\*|[a-z_]{1,40})$")]
"""The name of a kind of object as it stands in URLs, or `*` for all but api_keys."""
Scopes = Annotated[
    dict[Resources, Access],
    Field(max_length=MOST_ENTRIES),
    Shape(examples=[{"*": "read", "appointments": "write"}]),
]


class ApiKeyChanges(Model):
    """What can be changed of a key."""

    name: Line
    """What you call it."""
    scopes: Scopes | None = None
    """What the key may do with each kind of object; `*` stands for all kinds but `api_keys`."""
    allowedCidrs: Annotated[list[Cidr], Field(max_length=MOST_ENTRIES)] | None = None
    """The networks that the key may be used from; none means any."""
    origins: Annotated[list[Origin], Field(max_length=MOST_ENTRIES)] | None = None
    """The origins of the pages that send a publishable key."""
    expiresAt: When | None = None
    """When the key ends; null means never."""


class ApiKeyIn(ApiKeyChanges):
    """What is asked of a new key. What is left out is as in the key that makes it.

    A `publishable` key has no scopes; it needs the origins of the pages that will send it.
    """

    type: Kind = "secret"
    """A secret key is for servers alone; a publishable one only tells us of events of a page."""


class ApiKey(Resource):
    """A key as its organisation sees it."""

    collection: ClassVar[str] = "api_keys"
    prefix: ClassVar[str] = "key"
    private: ClassVar[set[str]] = {"predecessors", "unrevealed"}
    derived: ClassVar[set[str]] = {"status"}
    once: ClassVar[set[str]] = {"secret"}

    object: str = "api_key"
    name: str
    type: Annotated[str, known(Kind)] = "secret"
    maskedKey: str
    """The key with its secret part hidden; of a publishable key, the whole."""
    secret: str | None = None
    """The whole key, where it may be shown: when it is made, and of a test key by `reveal`."""
    scopes: dict[str, Access] = {}
    allowedCidrs: list[str] = []
    origins: list[str] = []
    status: Status = "active"
    """Whether the key can be used. An `unrevealed` one has no secret yet: an administrator sees it
    once, in the dashboard."""
    expiresAt: Moment | None = None
    revokedAt: Moment | None = None
    """When the key was revoked."""
    lastUsedAt: Moment | None = None
    """When the key was last used, within an hour."""
    replaces: str | None = None
    """The key that this one replaced."""
    replacedBy: str | None = None
    """The key that replaced this one."""
    predecessors: dict[str, Moment] = {}
    """The keys that it replaced and that were still valid then, each with its end; revoking this
    key ends them too."""
    unrevealed: bool = False
    """Whether nobody has seen the secret, for there is none yet."""

    def terms(self) -> Sequence[str]:
        """Return everything that the name is found by."""
        return beginnings(self.name)

    def seen(self, now: datetime, *, livemode: bool) -> Self:
        """Return the key with its standing at a moment."""
        return self.model_copy(update={"status": self.standing(now)})

    def check(self, now: datetime) -> None:
        """Refuse to let in who holds the key when it is not valid any more."""
        standing = self.standing(now)
        if standing == "unrevealed":  # its secret was made and is not committed
            raise ApiError("key_invalid", headers=CHALLENGE)
        if standing != "active":
            raise ApiError(f"key_{standing}", headers=CHALLENGE)

    def standing(self, now: datetime) -> Status:
        """Return whether the key is valid at a moment, and if not, why."""
        if self.revokedAt is not None:
            return "revoked"
        if self.expiresAt is not None and self.expiresAt <= now:
            return "expired"
        return "unrevealed" if self.unrevealed else "active"
