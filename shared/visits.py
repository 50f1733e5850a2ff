"""Visits: what a page's handler knows of its request, and how it answers."""

import re
import secrets
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import parse_qsl, urlencode

from shared.auth import Keyring
from shared.callers import Caller, UserCaller, household
from shared.errors import ApiError
from shared.exchange import Exchange
from shared.organisations import Organisation
from shared.pages import Page
from shared.passwords import Passwords
from shared.receiving import Form
from shared.routes import PUBLIC, Content, Routes, View
from shared.service import Service
from shared.sessions import Sessions
from shared.settings import Mode, Settings
from shared.store import Replay, Store
from shared.throttles import Try, in_words
from shared.users import login_id

if TYPE_CHECKING:
    from shared.usage import Reader

F = TypeVar("F")
T = TypeVar("T")

SAID, NEXT = "said", "next"
"""Parameters that every address may have: which notice its page begins with, and where to go on."""
LAST_MODE = "__Host-mode"
"""The cookie that says in which mode somebody was last, for links of pages that are of none."""
KNOWN = "__Host-known"
"""The cookie that says who has signed in with this browser, to us alone."""
KNOWN_SECONDS = 90 * 24 * 3600


@dataclass(slots=True, eq=False, repr=False)
class Visit:
    """What a handler knows of the request: who visits, their store, and how to answer."""

    visitor: Caller | None
    """Who has been let in, if anybody has."""
    mode: Mode
    store: Store
    portal: Routes
    exchange: Exchange
    stores: list[Store] = field(default_factory=list)
    cookies: list[str] = field(default_factory=list)
    replay: Replay | None = None
    """The record that is kept of the form, in whichever store it changes something."""
    tried: set[tuple[Try, ...]] = field(default_factory=set)
    """What was counted for this request, which may be done again where others were faster."""

    # --- Who and where ---------------------------------------------------------------------------

    @property
    def caller(self) -> Caller:
        """Who has been let in, on a route that is not public."""
        if self.visitor is None:
            raise TypeError("a public route takes somebody for granted")
        return self.visitor

    @property
    def user(self) -> UserCaller:
        """The user of an organisation who has signed in."""
        if not isinstance(self.visitor, UserCaller):
            raise TypeError("a route that is not for users takes one for granted")
        return self.visitor

    @property
    def now(self) -> datetime:
        """The moment of the request."""
        return self.exchange.now

    @property
    def settings(self) -> Settings:
        """What the deployment decides."""
        return self.exchange.service.settings

    @property
    def keyring(self) -> Keyring:
        """What keeps keys."""
        return self.exchange.service.keyring

    @property
    def service(self) -> Service:
        """The process's service, for what no organisation's user does: joining, Operations."""
        public = self.exchange.route is not None and self.exchange.route.permission == PUBLIC
        if isinstance(self.visitor, UserCaller) and not public:
            raise TypeError("a user has a store, which is their organisation's")
        return self.exchange.service

    @property
    def sessions(self) -> Sessions:
        """Who has signed in."""
        return self.exchange.service.sessions

    @property
    def passwords(self) -> Passwords:
        """What keeps passwords."""
        return self.exchange.service.passwords

    async def too_often(self, *tries: Try) -> str:
        """Count a try, before it is made; where there were too many, return what to say of it."""
        if tries in self.tried:
            return ""
        wait = await self.exchange.service.throttles.count(self.now, *tries)
        if wait:
            return f"There were too many tries. Try again in {in_words(wait)}."
        self.tried.add(tries)
        return ""

    def tried_by(self, email: str) -> str:
        """Return the name under which tries for an address are counted.

        In a browser in which its user has signed in before it is another than anywhere else, so
        that strangers use up the tries of strangers alone.
        """
        known = secrets.compare_digest(self.cookie(KNOWN).encode(), self._mark(email).encode())
        return f"{email.casefold()} known" if known else email.casefold()

    def remember(self, email: str) -> None:
        """Let the browser show from now on that somebody has signed in with it."""
        self.set_cookie(KNOWN, self._mark(email), KNOWN_SECONDS)

    def _mark(self, email: str) -> str:
        return self.keyring.hash(f"known {login_id(self.keyring.hash, email)}")

    @property
    def household(self) -> str:
        """The address of the network from which somebody visits, or that of their household."""
        return household(self.exchange.address())

    @property
    def agent(self) -> str:
        """What the browser says of itself."""
        return self.exchange.header(b"user-agent") or ""

    def usage(self, *modes: Mode) -> "Reader":
        """Return what was counted of the visitor's organisation in some modes."""
        from shared.usage import Reader

        held = self.exchange.service
        return Reader(
            held.metrics,
            held.storage,
            held.log,
            organisation=self.caller.organisation,
            modes=modes,
            now=self.now,
            behind=timedelta(seconds=held.settings.metering_interval) + held.metrics.delay,
        )

    def enter(self, organisation: str, mode: Mode | None = None) -> Store:
        """Return a store of an organisation, for who is about to be let in, and for staff.

        It is one of a mode, or, where none is named, of the account.
        What is staged in it is committed as what is staged in `store` is; of all stores of a
        request, one alone may have something staged at its end. What cannot be the id of an
        organisation is refused with 404.
        """
        if not Organisation.accepts(organisation):
            raise ApiError("resource_missing", noun="organisation", which="")
        store = Store(
            self.exchange.service.storage,
            mode=mode or "test",
            organisation=organisation,
            now=self.now,
            request_id=self.exchange.request_id,
            replay=self.replay,
            account=mode is None,
        )
        self.stores.append(store)
        return store

    # --- Addresses -------------------------------------------------------------------------------

    @property
    def path(self) -> str:
        """The path that was asked for."""
        return self.exchange.sent_path

    @property
    def parameters(self) -> dict[str, str]:
        """The parameters of the query as they were sent, but for a notice's."""
        query = self.exchange.request.scope["query_string"].decode("latin-1")
        return {name: text for name, text in parse_qsl(query) if name != SAID}

    def link(self, **changes: object) -> str:
        """Return this page's address with other parameters; an empty one leaves it out."""
        found = {**self.parameters, **changes}
        kept = {name: str(value) for name, value in found.items() if value not in (None, "")}
        return f"{self.path}?{urlencode(kept)}" if kept else self.path

    @property
    def next(self) -> str:
        """Where to go on: the page of this portal that the parameter `next` names, or the first."""
        return own_page(self.portal, self.parameters.get(NEXT, "/"))

    @property
    def shown_mode(self) -> Mode:
        """The mode that links lead to."""
        return shown_mode(self.exchange)

    # --- Answers ---------------------------------------------------------------------------------

    def page(self, template: str, *, status: int = 200, **values: Any) -> View:
        """Answer with a page. With a status of 400 or more nothing is changed."""
        return View(template, values, status)

    def redirect(self, path: str, said: str = "") -> View:
        """Answer with the way to a page of this portal, which begins with a notice."""
        joint = "&" if "?" in path else "?"
        return View(status=303, location=f"{path}{joint}{SAID}={said}" if said else path)

    def file(self, content: Content) -> View:
        """Answer with a file, such as a table in CSV."""
        return View(content=content)

    def cookie(self, name: str) -> str:
        """Return what a cookie holds; empty, where none was sent."""
        return str(self.exchange.request.cookies.get(name, ""))

    def set_cookie(self, name: str, value: str, seconds: int | None = None) -> None:
        """Set a cookie of this host that no script reads; with zero seconds, take it away."""
        age = "" if seconds is None else f"; Max-Age={seconds}"
        self.cookies.append(f"{name}={value}{age}; Path=/; Secure; HttpOnly; SameSite=Lax")


async def page_for(form: Form[F], find: Callable[[F], Awaitable[Page[T]]]) -> Page[T]:
    """Return the page of a list that a form asks for; none of it where something is wrong."""
    if form.value is not None:
        with form.blaming():
            return await find(form.value)
    return Page([], has_more=False)


def mode_in(path: str) -> Mode | None:
    """Return the mode that an address names, whether or not there is such a page."""
    first = path.split("/")[1] if path.startswith("/") else ""
    return "live" if first == "live" else "test" if first == "test" else None


def shown_mode(exchange: Exchange) -> Mode:
    """Return the mode that links lead to: the page's, or else that in which somebody was last."""
    last: Mode = "live" if exchange.request.cookies.get(LAST_MODE) == "live" else "test"
    return mode_in(exchange.sent_path) or last


def own_page(portal: Routes, path: str) -> str:
    """Return a path of a portal that can be read; the first page, where it is no such one.

    So nobody is led elsewhere by what somebody else wrote into a link.
    """
    # Browsers read a host after two slashes or more, and take these for slashes too.
    if not path.startswith("/") or path.startswith("//") or "\\" in path:
        return "/"
    try:
        found = "GET" in portal.allowed(re.split("[?#]", path, maxsplit=1)[0])
    except ApiError:
        found = False
    return path if found and path.isprintable() else "/"
