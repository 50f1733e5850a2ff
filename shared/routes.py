"""Routes: what a function declares, and how a request finds what it asks for."""

import inspect
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from typing import (
    Any,
    Literal,
    NamedTuple,
    Required,
    TypedDict,
    Unpack,
    get_args,
    get_origin,
    get_type_hints,
)
from urllib.parse import unquote

from shared.catalogue import CATALOGUE
from shared.errors import ApiError
from shared.models import Changes, Model, changes_model
from shared.organisations import EndUserPermission
from shared.pages import Page
from shared.receiving import Form
from shared.settings import Settings
from shared.tables import Table

Audience = Literal["partner", "browser", "internal", "staff", "developer"]
"""Who a function is for. Only the first two are ever reached through the gateway, and the last is
whoever runs it on a machine of their own: it is never deployed."""

Method = Literal["GET", "POST", "PATCH", "DELETE"]

PUBLIC = "public"
"""The permission of what anybody may read without a key: documentation, never data."""

INTERNAL = "internal"
"""The permission of what our own services ask for: Cloud Run lets nobody else in, no key opens it.
"""

SIGNED_IN = "signed_in"
"""The permission of what everybody may do who has signed in to a portal, with what is their own."""

Fresh = bool | Literal["live"]
"""Whether a page is for who has just signed in: always, never, or in live mode."""

_PERMISSION = re.compile(r"[a-z_]+:(read|write)|public|internal|signed_in")


class Content(NamedTuple):
    """An answer that is no object of the API, such as a page of the documentation.

    `max_age` says for how many seconds anybody may keep it; with none, nobody keeps it.
    """

    media_type: str
    text: str
    headers: tuple[tuple[str, str], ...] = ()
    max_age: int = 0

    @property
    def caching(self) -> str:
        """The header Cache-Control."""
        return f"public, max-age={self.max_age}" if self.max_age else "no-store"


class View(NamedTuple):
    """What a page of a portal answers with: a template and what fills it, a way, or a file."""

    template: str = ""
    values: Mapping[str, Any] = {}
    status: int = 200
    location: str = ""
    content: Content | None = None
    code: str = ""
    """What the line in the log says went wrong."""


class Site(NamedTuple):
    """What documentation says of the deployment that shows it: where it is, whom to write to."""

    url: str
    support: str
    dashboard: str = "https://dashboard.ally.example"


SITE = Site("https://api.ally.example", Settings.support)
"""Stands in committed documents for the deployment that will show them."""

Handler = Callable[..., Awaitable[Model | Page[Any] | Content | View]]
Declare = Callable[[Handler], Handler]


class Retiring(NamedTuple):
    """A route on its way out: since when it is deprecated, when it ends, what replaces it."""

    since: date
    sunset: date
    successor: str

    @property
    def headers(self) -> list[tuple[str, str]]:
        """The headers Deprecation (RFC 9745), Sunset (RFC 8594) and the link to the successor."""
        since, sunset = (datetime.combine(day, time(), UTC) for day in (self.since, self.sunset))
        return [
            ("Deprecation", f"@{int(since.timestamp())}"),
            ("Sunset", format_datetime(sunset, usegmt=True)),
            ("Link", f'<{self.successor}>; rel="successor-version"'),
        ]


class Terms(TypedDict, total=False):
    """On what terms a route is served.

    `permission` is what a key needs, such as `patients:read`; `end_user` the permission by which an
    organisation opens it to its end users, without which it is not for them. `publishable` opens it
    to pages, by a publishable key in the body, and to every end user: as anybody can ask for it, it
    keeps nothing of a request, not even the memory of an Idempotency-Key. `refuses` are the codes
    that its own rules give, beside those that every such route has (shared/operations.py).

    Of a portal alone: what an `account` route changes belongs to no mode; a `fresh` one is for who
    has just signed in; one that is so in `live` mode alone is told by that word.
    """

    permission: Required[str]
    end_user: str
    publishable: bool
    refuses: Collection[str]
    retiring: Retiring | None
    account: bool
    fresh: Fresh


class Nothing(Model):
    """The parameters of a route that takes none."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Route:
    """One operation: a method and a path, who may use it, and what its handler takes.

    `shows` is the kind of object that it answers with, one or, if it is `listed`, a page of them.
    """

    method: Method
    template: str
    permission: str
    handler: Handler
    body: type[Model]
    query: type[Model]
    changes: bool
    shows: type[Model]
    listed: bool
    tabular: bool
    """Whether what it shows is a table too."""
    headers: tuple[tuple[str, str], ...]
    """What all its answers have because of that, and because it is on its way out."""
    takes: frozenset[str]
    retiring: Retiring | None
    end_user: str
    """The permission by which end users may use it; empty, it is not for them."""
    publishable: bool
    """Whether a page may use it with a publishable key, and every end user."""
    refuses: tuple[str, ...]
    """The codes that its own rules give."""
    forms: frozenset[str]
    """Which of body and query its handler takes even where something is wrong with it."""
    account: bool
    """Whether what it changes belongs to no mode."""
    fresh: Fresh
    """Whether it is for who has just signed in."""

    @property
    def writes(self) -> bool:
        """Whether it changes something, so that a retry must not do it twice."""
        changing = self.method in ("POST", "PATCH") and self.permission.endswith(":write")
        return changing and not self.publishable

    @property
    def segment(self) -> str:
        """What the dispatcher sends to the route's function: the path's first words."""
        return claim(self.template)


def claim(path: str) -> str:
    """Return what says which function serves a path: `/v1/` and a segment, or a segment alone."""
    first, _, rest = path[1:].partition("/")
    return f"/v1/{rest.partition('/')[0]}" if first == "v1" else f"/{first}"


class Routes:
    """The routes of one function."""

    def __init__(self, name: str, *, audience: Audience) -> None:
        if audience not in get_args(Audience):
            raise TypeError(f"{name} is for nobody that is known: {audience}")
        self.name = name
        self.audience = audience
        self.routes: list[Route] = []
        self._fixed: dict[str, dict[str, Route]] = {}
        """The routes of each path without arguments, by method."""
        self._open: dict[re.Pattern[str], dict[str, Route]] = {}
        """The routes of each template with arguments, by method."""

    @property
    def segments(self) -> set[str]:
        """The beginnings of paths that the routes claim."""
        return {route.segment for route in self.routes}

    @property
    def reachable(self) -> bool:
        """Whether callers from outside are led to it."""
        return self.audience in ("partner", "browser")

    @property
    def deployed(self) -> bool:
        """Whether it is there on Google Cloud too."""
        return self.audience != "developer"

    @property
    def public(self) -> bool:
        """Whether anybody may read whatever it answers: it never asks who calls."""
        return all(route.permission == PUBLIC for route in self.routes)

    def get(self, template: str, **terms: Unpack[Terms]) -> Declare:
        """Declare what reads: `GET /v1/…`."""
        return self._declare(("GET",), template, terms)

    def post(self, template: str, **terms: Unpack[Terms]) -> Declare:
        """Declare what creates, or acts: `POST /v1/…`."""
        return self._declare(("POST",), template, terms)

    def update(self, template: str, **terms: Unpack[Terms]) -> Declare:
        """Declare what changes an object: `POST /v1/things/{thing}`, or PATCH, the same."""
        return self._declare(("POST", "PATCH"), template, terms)

    def delete(self, template: str, **terms: Unpack[Terms]) -> Declare:
        """Declare what deletes: `DELETE /v1/things/{thing}`."""
        return self._declare(("DELETE",), template, terms)

    def _declare(self, methods: tuple[Method, ...], template: str, terms: Terms) -> Declare:
        def declare(handler: Handler) -> Handler:
            first = _route(methods[0], template, handler, terms)
            if (first.permission == INTERNAL) != (self.audience == "internal"):
                raise TypeError(
                    f"{template} of {self.name}: internal functions, and they alone, have internal"
                    " routes"
                )
            routes: dict[str, Route] = {each: replace(first, method=each) for each in methods}
            self.routes += routes.values()
            self._place(template).update(routes)
            return handler

        return declare

    def _place(self, template: str) -> dict[str, Route]:
        """Return where the routes of a template are, by method."""
        if "{" not in template:
            return self._fixed.setdefault(template, {})
        pattern = re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template))
        return self._open.setdefault(pattern, {})

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Return the route of a request and its path's arguments, or refuse with 404 or 405.

        The path is as it was sent: a slash that is escaped is part of an argument.
        """
        routes, arguments = self._at(path)
        route = routes.get(method)
        if route is None:
            verbs = ", ".join(self.allowed(path))
            headers = {"Allow": verbs}
            raise ApiError("method_not_allowed", headers=headers, method=method, allowed=verbs)
        return route, arguments

    def allowed(self, path: str) -> list[str]:
        """Return the methods that a path takes, or refuse with 404."""
        routes, _ = self._at(path)
        read = ["HEAD"] if "GET" in routes else []
        return [*routes, *read, "OPTIONS"]

    def _at(self, path: str) -> tuple[Mapping[str, Route], dict[str, str]]:
        """Return the routes of a path, by method, and its arguments, or refuse with 404.

        A fixed path is no id of an object, whatever the method.
        """
        fixed = self._fixed.get(path)
        if fixed is not None:
            return fixed, {}
        for pattern, routes in self._open.items():
            matched = pattern.fullmatch(path)
            if matched is not None:
                sent = matched.groupdict()
                return routes, {name: unquote(text) for name, text in sent.items()}
        raise ApiError("route_unknown")


def _asked(annotation: Any) -> Any:
    """Return what a form is to be received as, or what is to be received anyway."""
    return get_args(annotation)[0] if get_origin(annotation) is Form else annotation


def _route(method: Method, template: str, handler: Handler, terms: Terms) -> Route:
    permission = terms.get("permission", "")
    if _PERMISSION.fullmatch(permission) is None:
        raise TypeError(f"{method} {template} declares no permission such as patients:read")
    end_user = terms.get("end_user", "")
    if end_user not in ("", *get_args(EndUserPermission)):
        raise TypeError(f"{method} {template} is for end users by no permission that there is")
    refuses = tuple(terms.get("refuses", ()))
    unknown = set(refuses) - set(CATALOGUE)
    if unknown:
        raise TypeError(f"{method} {template} refuses with what is no code: {sorted(unknown)}")
    hints = get_type_hints(handler)
    body, query = (_asked(hints.get(name, Nothing)) for name in ("body", "query"))
    changes = get_origin(body) is Changes
    result = hints.get("return", Nothing)

    listed = get_origin(result) is Page
    shows = get_args(result)[0] if listed else result
    tabular = not listed and issubclass(shows, Table)
    retiring = terms.get("retiring")
    return Route(
        method=method,
        template=template,
        permission=permission,
        handler=handler,
        body=changes_model(get_args(body)[0]) if changes else body,
        query=query,
        changes=changes,
        shows=shows,
        listed=listed,
        tabular=tabular,
        headers=(
            *(retiring.headers if retiring else ()),
            *([("Vary", "Accept")] if tabular else ()),
        ),
        takes=frozenset(inspect.signature(handler).parameters),
        retiring=retiring,
        end_user=end_user,
        publishable=terms.get("publishable", False),
        refuses=refuses,
        forms=frozenset(name for name, asked in hints.items() if get_origin(asked) is Form),
        account=terms.get("account", False),
        fresh=terms.get("fresh", False),
    )
