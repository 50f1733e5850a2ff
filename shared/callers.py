"""Who calls: a server with a secret key, an end user of a front end, a page of one, or a user."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from ipaddress import IPv6Address, ip_address
from typing import Literal

from shared.activity import Kind
from shared.errors import ApiError
from shared.keys import CHALLENGE, ApiKey, Network, access
from shared.organisations import Organisation
from shared.settings import Mode
from shared.users import Session, User

Quota = Literal["key", "end-user", "visitor", "user"]
"""Whose requests are limited together: a key's, an end user's, those from one address of a page, a
dashboard user's."""
SUBNET = 64
"""The bits of an IPv6 address that a household has for itself."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Caller(ABC):
    """Who is calling: for an organisation, in one mode."""

    mode: Mode
    account: Organisation

    @property
    def organisation(self) -> str:
        """The id of the caller's organisation."""
        return self.account.id

    @property
    @abstractmethod
    def id(self) -> str:
        """The id of the one who calls, as logs, audits and quotas name them."""

    @property
    @abstractmethod
    def counted_as(self) -> str:
        """What counts of usage name: a key, or end users, who are too many to be counted each."""

    @property
    @abstractmethod
    def principal(self) -> str:
        """Who shares replays of requests: all secret keys together, each end user alone."""

    @property
    @abstractmethod
    def limited_as(self) -> tuple[Quota, str]:
        """Which quota the caller has, and the name of whom it is shared with."""

    @property
    def end_user(self) -> str | None:
        """The end user whose things alone the caller sees and uses; None for everybody's."""
        return None

    @property
    def server(self) -> bool:
        """Whether a partner's server calls: the address of anybody else is a person's."""
        return False

    @property
    def page(self) -> bool:
        """Whether a page calls, by its key: anybody can make it do so, as often as they like."""
        return False

    @property
    def counted(self) -> bool:
        """Whether requests count as usage of the API."""
        return True

    @property
    def active_as(self) -> tuple[Kind, str] | None:
        """Whom a request of the caller counts as active, if that is somebody."""
        return None

    @abstractmethod
    def may(self, permission: str) -> bool:
        """Tell whether the caller has a permission such as `patients:read`."""

    @abstractmethod
    def require(self, permission: str) -> None:
        """Refuse a caller who has not a permission."""

    @abstractmethod
    def enter(self, permission: str, end_user_permission: str, *, publishable: bool) -> None:
        """Refuse a caller who may not use a route.

        A key needs a permission, an end user another one; where it is `publishable`, a page needs
        none, nor does an end user.
        """

    def check(self, now: datetime, address: Callable[[], str]) -> None:
        """Refuse who may not call now, or not from this address, or not in live mode."""
        if self.mode == "live" and self.account.activation != "active":
            raise ApiError("organisation_not_activated", activation=self.account.activation)

    def check_origin(self, origin: str) -> None:
        """Refuse a page of an origin that is not the organisation's; empty, it is no page."""
        if origin and origin not in self.account.frontEndOrigins:
            raise ApiError("origin_not_allowed")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class KeyCaller(Caller):
    """Who calls with a secret key, and has its permissions."""

    key: ApiKey
    networks: tuple[Network, ...] = ()
    answered: dict[str, bool] = field(default_factory=dict)
    """Permissions that were asked for before, since most requests ask for the same."""

    @property
    def id(self) -> str:
        """The id of the key."""
        return self.key.id

    @property
    def counted_as(self) -> str:
        """The id of the key."""
        return self.key.id

    @property
    def principal(self) -> str:
        """All secret keys of an organisation are one."""
        return "secret-keys"

    @property
    def server(self) -> bool:
        """A secret key is for servers alone."""
        return self.key.type == "secret"

    @property
    def limited_as(self) -> tuple[Quota, str]:
        """Each key alone."""
        return "key", self.key.id

    def may(self, permission: str) -> bool:
        """Tell whether the key has a permission; write implies read."""
        allowed = self.answered.get(permission)
        if allowed is None:
            resource, _, wanted = permission.partition(":")
            allowed = access(self.key.scopes, resource) in ("write", wanted)
            self.answered[permission] = allowed
        return allowed

    def require(self, permission: str) -> None:
        """Refuse a key that has not a permission."""
        if not self.may(permission):
            raise ApiError("permission_missing", permission=permission)

    def enter(self, permission: str, end_user_permission: str, *, publishable: bool) -> None:
        """Refuse a key that may not use a route."""
        self.require(permission)

    def check(self, now: datetime, address: Callable[[], str]) -> None:
        """Refuse a key that is not valid now, or not from this address, or not in live mode."""
        self.key.check(now)
        if self.networks and not _lies_in(address(), self.networks):
            raise ApiError("address_not_allowed")
        Caller.check(self, now, address)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class EndUserCaller(Caller):
    """Who signed in to an organisation's front end, and may do what the organisation lets them.

    `uid` is who they are there; `handle` is the id that we give them, which tells nothing of it.
    """

    uid: str
    handle: str
    signed_in: datetime
    signed_out: datetime | None
    """The moment by which all earlier sessions of this end user were ended, if they were."""

    @property
    def id(self) -> str:
        """The id that we give the end user."""
        return self.handle

    @property
    def counted_as(self) -> str:
        """End users are too many to be counted each."""
        return "end-users"

    @property
    def principal(self) -> str:
        """Each end user is alone."""
        return self.handle

    @property
    def limited_as(self) -> tuple[Quota, str]:
        """Each end user is alone."""
        return "end-user", self.handle

    @property
    def end_user(self) -> str:
        """The end user sees and uses what is theirs."""
        return self.uid

    @property
    def active_as(self) -> tuple[Kind, str]:
        """The end user, by the id that we give them."""
        return "end_user", self.handle

    def may(self, permission: str) -> bool:
        """Tell whether the organisation lets its end users do this."""
        return permission in self.account.endUserPermissions

    def require(self, permission: str) -> None:
        """Refuse what the organisation does not let its end users do."""
        if not self.may(permission):
            raise ApiError("end_user_permission_missing", permission=permission)

    def enter(self, permission: str, end_user_permission: str, *, publishable: bool) -> None:
        """Refuse a route that is not for end users, or not for those of this organisation."""
        if publishable:
            return
        if not end_user_permission:
            raise ApiError("end_users_not_served")
        self.require(end_user_permission)

    def check(self, now: datetime, address: Callable[[], str]) -> None:
        """Refuse an end user whose session was ended, or whose organisation is not in live mode."""
        if self.signed_out is not None and self.signed_in <= self.signed_out:
            raise ApiError("token_revoked", headers=CHALLENGE)
        Caller.check(self, now, address)


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class PublishableCaller(Caller):
    """A page that shows a publishable key: whoever has opened it, from an address, with a browser.

    The key is no secret, and neither is what anybody could send with it: it opens routes that keep
    nothing of a request but counts.
    """

    key: ApiKey
    address: str
    agent: str

    @property
    def id(self) -> str:
        """The id of the key."""
        return self.key.id

    @property
    def counted_as(self) -> str:
        """The id of the key."""
        return self.key.id

    @property
    def principal(self) -> str:
        """All who have opened the pages of a key are one, for nothing of theirs is replayed."""
        return self.key.id

    @property
    def limited_as(self) -> tuple[Quota, str]:
        """Each address alone: nobody uses up what others who have opened the page may send."""
        return "visitor", f"{self.key.id} {household(self.address)}"

    @property
    def page(self) -> bool:
        """A page."""
        return True

    @property
    def active_as(self) -> tuple[Kind, str]:
        """A visitor, who is told from others by address and browser."""
        return "visitor", f"{self.address} {self.agent}"

    def may(self, permission: str) -> bool:
        """Tell that a publishable key has no permission."""
        return False

    def require(self, permission: str) -> None:
        """Refuse whatever takes a permission."""
        raise ApiError("key_publishable", headers=CHALLENGE)

    def enter(self, permission: str, end_user_permission: str, *, publishable: bool) -> None:
        """Refuse a route that is not for pages."""
        if not publishable:
            self.require(permission)

    def check(self, now: datetime, address: Callable[[], str]) -> None:
        """Refuse a key that is not valid now, or whose organisation is not in live mode."""
        self.key.check(now)
        Caller.check(self, now, address)

    def check_origin(self, origin: str) -> None:
        """Refuse whatever is no page of an origin that the key is for."""
        if origin not in self.key.origins:
            raise ApiError("origin_not_allowed")


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class UserCaller(Caller):
    """Who has signed in to the dashboard, and has the permissions of their role."""

    user: User
    session: Session

    @property
    def id(self) -> str:
        """The id of the user."""
        return self.user.id

    @property
    def counted(self) -> bool:
        """What people look at is no use of the API."""
        return False

    @property
    def counted_as(self) -> str:
        """Nothing is counted of users."""
        return "-"

    @property
    def principal(self) -> str:
        """Each user is alone."""
        return self.user.id

    @property
    def limited_as(self) -> tuple[Quota, str]:
        """Each user is alone."""
        return "user", self.user.id

    @property
    def complete(self) -> bool:
        """Whether the user has signed in with all that they have, a second factor included."""
        return self.session.secondFactor or not self.user.second_factor

    def may(self, permission: str) -> bool:
        """Tell whether the user's role includes a permission."""
        return self.user.may(permission)

    def require(self, permission: str) -> None:
        """Refuse what the user's role does not include."""
        if not self.may(permission):
            raise ApiError("permission_missing", permission=permission)

    def enter(self, permission: str, end_user_permission: str, *, publishable: bool) -> None:
        """Refuse a route that the user's role does not include."""
        self.require(permission)


def household(address: str) -> str:
    """Return an address without what those who have it can choose by themselves."""
    try:
        host = ip_address(address)
    except ValueError:
        return ""
    if isinstance(host, IPv6Address) and host.ipv4_mapped is None:
        return str(int(host) >> (host.max_prefixlen - SUBNET))
    return address


def _lies_in(address: str, allowed: tuple[Network, ...]) -> bool:
    try:
        host = ip_address(address)
    except ValueError:
        return False
    # A dual-stack socket shows an IPv4 caller as ::ffff:203.0.113.7 (RFC 4291, 2.5.5.2).
    mapped = getattr(host, "ipv4_mapped", None) or host
    return any(mapped in network for network in allowed)
