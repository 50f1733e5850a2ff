"""People in a portal: what they see in their browser, without the browser."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from html.parser import HTMLParser
from typing import Any, Protocol
from urllib.parse import urlencode

import httpx

from shared import ids
from shared.provision import open_store
from shared.service import Service
from shared.sessions import COOKIE
from shared.users import Login, Role, Session, User, login_id
from tests.support.serving import Backing, Partner

Sent = Mapping[str, str | list[str]]


CHOSEN = ("hidden", "checkbox", "radio", "submit")
"""Kinds of inputs into which nobody types."""


@dataclass
class HtmlForm:
    """A form of a page, and what would be sent by its first button."""

    action: str
    method: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    """All fields, those too that would not be sent as they are."""
    typed: set[str] = field(default_factory=set)
    """The fields into which people type."""
    text: str = ""


class _Forms(HTMLParser):
    """Reads the forms of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.forms: list[HtmlForm] = []
        self._open: HtmlForm | None = None
        self._select = ""
        self._first: str | None = None
        self._chosen = False
        self._textarea = ""
        self._typed = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "form":
            self._open = HtmlForm(told.get("action", ""), told.get("method", "get").lower())
            self.forms.append(self._open)
        form = self._open
        if form is None:
            return
        name = told.get("name", "")
        if tag in ("input", "select", "textarea") and name:
            form.names.add(name)
            if tag == "textarea" or (tag == "input" and told.get("type", "text") not in CHOSEN):
                form.typed.add(name)
        if (
            tag == "input"
            and name
            and (told.get("type") not in ("checkbox", "radio") or "checked" in told)
        ):
            form.fields.append((name, told.get("value", "")))
        elif tag == "select":
            self._select, self._first, self._chosen = name, None, False
        elif tag == "option" and self._select:
            self._first = told.get("value", "") if self._first is None else self._first
            if "selected" in told:
                form.fields.append((self._select, told.get("value", "")))
                self._chosen = True
        elif tag == "textarea":
            self._textarea, self._typed = name, ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None
        elif tag == "select" and self._open is not None:
            if not self._chosen and self._first is not None:
                self._open.fields.append((self._select, self._first))
            self._select = ""
        elif tag == "textarea" and self._open is not None:
            self._open.fields.append((self._textarea, self._typed))
            self._textarea = ""

    def handle_data(self, data: str) -> None:
        if self._textarea:
            self._typed += data
        elif self._open is not None:
            self._open.text += data


def forms(page: httpx.Response) -> list[HtmlForm]:
    """Return the forms of a page."""
    return _Forms(page.text).forms


class Place(Protocol):
    """Where portals are served."""

    def portal(self, name: str) -> str:
        """Return where a portal is found."""

    def open(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request of a browser, whose answer is a page."""


class Person:
    """Somebody with a browser of their own, at one portal."""

    def __init__(self, server: Place, portal: str = "dashboard") -> None:
        self.enter(server, portal)
        self.cookies: dict[str, str] = {}
        self.headers: dict[str, str] = {}
        """What something between the browser and us adds to each request."""
        self._user: User | None = None

    def enter(self, server: Place, portal: str = "dashboard") -> None:
        """Open the pages where they are served elsewhere from now on."""
        self.server = server
        self.url = server.portal(portal)
        self.host = self.url.removeprefix("https://")

    @property
    def user(self) -> User:
        """Who it is, where the test made them."""
        assert self._user is not None
        return self._user

    @user.setter
    def user(self, user: User) -> None:
        self._user = user

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request, with the cookies so far, and follow nothing."""
        headers = {"Host": self.host, **self.headers, **options.pop("headers", {})}
        if method == "POST":
            headers = {"Origin": self.url, **headers}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        answer = self.server.open(method, path, headers=headers, **options)
        for line in answer.headers.get_list("set-cookie"):
            name, _, rest = line.partition("=")
            self.cookies[name] = rest.partition(";")[0]
            if "Max-Age=0" in line:
                del self.cookies[name]
        return answer

    def get(self, path: str, status: int = 200) -> httpx.Response:
        """Open a page and insist on its status, after all redirects."""
        answer = self._arrive(self.ask("GET", path))
        assert answer.status_code == status, (answer.url, answer.status_code, answer.text)
        return answer

    def submit(
        self, page: httpx.Response, status: int = 200, /, to: str = "", **typed: str | list[str]
    ) -> httpx.Response:
        """Fill in a form of a page and send it: the one to a path, or that has these fields."""
        here = page.url.raw_path.decode()
        names = {_name(name) for name in typed}
        found = [
            each
            for each in forms(page)
            if each.method == "post"
            and (not to or each.action == to)
            and names <= each.names
            and (to or each.action != "/sign-out")
        ]
        assert found, f"no form of {here} has {names} and leads to {to!r}: {forms(page)}"
        sent: dict[str, str | list[str]] = {}
        for name, text in found[0].fields:
            before = sent.get(name)
            sent[name] = (
                text
                if before is None
                else [*([before] if isinstance(before, str) else before), text]
            )
        sent |= {_name(name): text for name, text in typed.items()}
        answer = self._arrive(self.post(found[0].action or here, sent))
        assert answer.status_code == status, (answer.url, answer.status_code, answer.text)
        return answer

    def post(self, path: str, sent: Sent, **options: Any) -> httpx.Response:
        """Send a form as it is."""
        body = urlencode(sent, doseq=True)
        kind = {"Content-Type": "application/x-www-form-urlencoded"}
        headers = {**kind, **options.pop("headers", {})}
        return self.ask("POST", path, content=body, headers=headers, **options)

    def _arrive(self, answer: httpx.Response) -> httpx.Response:
        for _ in range(5):
            if answer.status_code != 303:
                return answer
            answer = self.ask("GET", answer.headers["location"])
        raise AssertionError(f"it leads on for ever: {answer.headers['location']}")


def _name(name: str) -> str:
    """Return a field's name: `address__postcode` stands for `address[postcode]`."""
    first, *rest = name.split("__")
    return first + "".join(f"[{each}]" for each in rest)


def user_of(
    backing: Backing, organisation: str, role: Role = "administrator", **fields: Any
) -> User:
    """Make a user of an organisation, who has a name, an e-mail and no password."""

    async def make(service: Service) -> User:
        at = service.now()
        email = fields.pop("email", f"{ids.scatter('user')}@example.org".lower())
        named = {"name": "Robin Reed", **fields}
        user = User.new(at=at, organisation=organisation, email=email, role=role, **named)
        store = open_store(service, "test", organisation, at=at, account=True)
        store.insert(user)
        login = login_id(service.keyring.hash, email)
        store.insert(Login(id=login, organisation=organisation, user=user.id))
        await store.commit()
        return user

    return backing.run(make)


def begin_session(
    backing: Backing, user: User, *, second_factor: bool = True, ago: timedelta = timedelta()
) -> str:
    """Let a user have signed in, just now or some time ago, and return what the cookie holds."""

    async def begin(service: Service) -> str:
        at = service.now() - ago
        token = service.sessions.make_token()
        store = open_store(service, "test", user.organisation, at=at, account=True)
        store.insert(
            Session(
                id=str(service.sessions.id_of(token)),
                organisation=user.organisation,
                user=user.id,
                createdAt=at,
                authenticatedAt=at,
                seenAt=at,
                secondFactor=second_factor,
            )
        )
        await store.commit()
        return token

    return backing.run(begin)


def end_session(backing: Backing, person: Person) -> None:
    """End a person's session, as from elsewhere: on another instance."""

    async def end(service: Service) -> None:
        organisation = person.user.organisation
        store = open_store(service, "test", organisation, at=service.now(), account=True)
        session = str(service.sessions.id_of(person.cookies[COOKIE]))
        store.delete(await store.get(Session, session))
        await store.commit()

    backing.run(end)


def signed_in(
    partner: Partner, role: Role = "administrator", *, second_factor: bool = True, **fields: Any
) -> Person:
    """Return a new user of a partner's organisation who has just signed in."""
    person = Person(partner.server)
    person.user = user_of(partner.backing, partner.organisation.id, role, **fields)
    person.cookies[COOKIE] = begin_session(
        partner.backing, person.user, second_factor=second_factor
    )
    return person
