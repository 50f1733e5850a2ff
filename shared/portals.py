"""The door of portals: pages that people use, with a session instead of a key.

In order: find the route, see that a form comes from our own page, find who has been let in, check
their role, decode and validate, run the handler, make its page, commit, write the line. It is the
door of the API (shared/api.py) for people: the same callers, store, audit and limits. A portal has
a host name of its own, so its cookies never meet the API's. docs/decisions/0027-portals.md.
"""

import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qsl, urlencode

import orjson

from shared import clock, running, service
from shared.api import NOTHING, Request, Response, cannot_open
from shared.audit import Log
from shared.backends import OURS, ConflictError, UnavailableError
from shared.callers import Caller
from shared.catalogue import PLAIN
from shared.design import HTML, SAFETY, Design
from shared.errors import ApiError, invalid
from shared.exchange import PUBLIC_FORM, Answer, Exchange
from shared.fields import Intake
from shared.forms import Tree, fields_of
from shared.models import Changes, Model
from shared.posted import (
    asked_for,
    is_of_same_person,
    is_of_session,
    is_same,
    make_token,
    sent_from,
)
from shared.receiving import Form, receive
from shared.routes import PUBLIC, SIGNED_IN, Audience, Route, Routes, View
from shared.settings import Mode, Settings
from shared.store import Replay, Replayed, Store, insist
from shared.throttles import Try
from shared.visits import LAST_MODE, NEXT, SAID, Visit, mode_in, own_page, shown_mode

__all__ = ["Doorman", "Form", "Portal", "View", "Visit"]

CSRF, ONCE = "_csrf", "_once"
"""Fields that every form has: what shows that it is from our page, and what makes a second sending
of it harmless."""
NOT_SENT = "not_sent"
"""The notice of whoever sent a form when they were no longer let in, or not to that."""
TEXT = "text/plain; charset=utf-8"
MODES: tuple[Mode, ...] = ("test", "live")


@dataclass(slots=True, eq=False, repr=False)
class _Work:
    """What a request asks for, once somebody has been let in and understood."""

    route: Route
    caller: Caller | None
    mode: Mode | None
    given: Mapping[str, Any]
    replay: Replay | None


class Doorman(Protocol):
    """Who lets people into a portal."""

    entrance: str
    """The page for whoever has not been let in."""

    async def find(self, exchange: Exchange, mode: Mode) -> Caller | None:
        """Return who it is, if they have been let in."""

    def hinder(self, route: Route, caller: Caller, mode: Mode | None, now: datetime) -> str:
        """Return the page that somebody must see before a route; empty, where they may go on.

        `mode` is None where the route is of no mode.
        """

    def form_secret(self, caller: Caller) -> str:
        """Return what a caller's forms are known by: the same as long as they are let in."""

    def last_secret(self, exchange: Exchange) -> str | None:
        """Return what the forms are known by of who was let in, and need not be any more."""


class Portal(Routes):
    """One function's pages, and the door to them.

    `templates` is the folder of its pages, `notices` what a page may begin with after a change.
    """

    def __init__(
        self,
        name: str,
        *,
        audience: Audience,
        doorman: Doorman,
        templates: Path,
        notices: Mapping[str, str],
        title: str,
    ) -> None:
        super().__init__(name, audience=audience)
        self.doorman = doorman
        self.notices = notices
        self.title = title
        self.design = Design(templates)

        @self.get("/assets/{name}", permission=PUBLIC)
        async def asset(visit: Visit, name: str) -> View:
            """Return a style sheet, a script or a picture of the pages."""
            return visit.file(self.design.asset(name))

    @property
    def reachable(self) -> bool:
        """The gateway leads to no portal: each has a host name of its own."""
        return False

    def url(self, settings: Settings) -> str:
        """Return where people reach it."""
        return str(getattr(settings, f"{self.name}_url"))

    async def __call__(self, request: Request) -> Response:
        """Answer a request. Nothing is raised: whatever goes wrong is a page too."""
        began = time.perf_counter()
        at = clock.now()
        try:
            held = await service.current()
        except Exception as error:
            return cannot_open(at, error)
        exchange = Exchange(held, request, held.now())
        flush = held.meter.enter()
        try:
            answer = await self._answer(exchange)
        except ApiError as refusal:
            answer = self._refuse(exchange, refusal)
        except UnavailableError as error:
            held.log.crash(at, exchange.request_id, error)
            answer = self._refuse(exchange, ApiError("temporarily_unavailable"))
        except Exception as error:
            held.log.crash(at, exchange.request_id, error)
            answer = self._refuse(exchange, ApiError("internal_error"))
        try:
            exchange.record(answer, time.perf_counter() - began)
        except OSError as error:  # no answer leaves without its line
            Log("-").crash(at, exchange.request_id, error)
            answer = self._refuse(exchange, ApiError("temporarily_unavailable"))
        await held.meter.leave(flush)
        return answer

    # --- In --------------------------------------------------------------------------------------

    async def _answer(self, exchange: Exchange) -> Answer:
        """Take a request through the door, to its answer or the ApiError that refuses it."""
        method = exchange.request.scope["method"]
        route, arguments = self.find("GET" if method == "HEAD" else method, exchange.sent_path)
        exchange.route = route
        given: dict[str, Any] = dict(arguments)
        mode = _mode(given.pop("mode")) if "mode" in given else None
        if route.method == "POST" and not self._is_ours(exchange):
            return self._show(exchange, None, _FOREIGN_FORM)
        caller = await self.doorman.find(exchange, mode or "test")
        if route.permission != PUBLIC:
            if caller is None:
                return await self._lead(exchange, route, self.doorman.entrance)
            exchange.caller = caller
            detour = self.doorman.hinder(route, caller, mode, exchange.now)
            if detour:
                return await self._lead(exchange, route, detour)
            await _admit(exchange, route, caller, mode)
        else:
            exchange.read_within(PUBLIC_FORM)
        query, body = await exchange.decode(route)
        for name in (SAID, NEXT):
            query.pop(name, None)
        once, shown = body.pop(ONCE, None), body.pop(CSRF, None)
        doubt = self._doubt(exchange, route, body, shown)
        if doubt is not None:
            return self._show(exchange, None, doubt)
        intake = Intake(mode == "live", exchange.now, exchange.warnings)
        for name, model, tree in (("query", route.query, query), ("body", route.body, body)):
            if name in route.takes:
                given[name] = _received(route, name, model, tree, intake)
        replay = None
        if caller is not None and isinstance(once, str) and once:
            replay = _replay(exchange, caller, once, body)
        return await self._run(exchange, _Work(route, caller, mode, given, replay))

    def _is_ours(self, exchange: Exchange) -> bool:
        """Tell whether a form was sent by a page of this portal, as browsers say of each."""
        origin = exchange.header(b"origin")
        if origin is None:
            return exchange.header(b"sec-fetch-site") == "same-origin"
        return origin == self.url(exchange.service.settings)

    def _doubt(self, exchange: Exchange, route: Route, body: Tree, shown: object) -> View | None:
        """Return what is shown instead where a form has not the token of who sends it.

        On public pages nobody has one. What was typed before somebody signed in anew can be sent
        from the page that has it.
        """
        if route.method != "POST" or exchange.caller is None:
            return None
        expected = self._csrf(exchange, exchange.caller)
        if is_same(str(shown), expected):
            return None
        if is_of_same_person(str(shown), expected) and not route.body.secretive:
            return _kept(exchange, body, expected)
        return _FOREIGN_FORM

    async def _lead(self, exchange: Exchange, route: Route, place: str) -> Answer:
        """Lead to a page that must be seen first, and from there back to where one was.

        Whoever sent a form is told that it was not done. They may have typed for an hour: what they
        typed stays in a page of theirs, from which it can be sent again.
        """
        posted = route.method == "POST"
        url = self.url(exchange.service.settings)
        page = own_page(self, sent_from(exchange, url) if posted else asked_for(exchange))
        told = {} if page == "/" else {NEXT: page}
        view = View(status=303, location=f"{place}?{urlencode(told)}" if told else place)
        if posted:
            way = view.location
            view = View(status=303, location=f"{place}?{urlencode({**told, SAID: NOT_SENT})}")
            last = self.doorman.last_secret(exchange)
            if last is not None and not route.body.secretive:
                _, body = await exchange.decode(route)
                token = str(body.pop(CSRF, ""))
                body.pop(ONCE, None)
                if any(fields_of(body)) and is_of_session(exchange.service.keyring, token, last):
                    view = _kept(exchange, body, token, way)
        return self._show(exchange, None, view)

    def _csrf(self, exchange: Exchange, caller: Caller) -> str:
        secret = self.doorman.form_secret(caller)
        return make_token(exchange.service.keyring, secret, caller.principal)

    # --- Within ----------------------------------------------------------------------------------

    async def _run(self, exchange: Exchange, work: _Work) -> Answer:
        """Run the handler and commit what it staged; again while others are faster."""
        route, caller, mode = work.route, work.caller, work.mode
        headers = list(exchange.lines)
        tried: set[tuple[Try, ...]] = set()

        async def attempt() -> Answer:
            exchange.lines = list(headers)  # without those of an attempt before
            store = exchange.store = Store(
                exchange.service.storage,
                mode=mode or "test",
                organisation=OURS if caller is None else caller.organisation,
                now=exchange.now,
                request_id=exchange.request_id,
                replay=work.replay,
                account=route.account or mode is None,
            )
            visit = Visit(
                caller, mode or "test", store, self, exchange, replay=work.replay, tried=tried
            )
            if mode is not None and visit.cookie(LAST_MODE) != mode:
                visit.set_cookie(LAST_MODE, mode)
            try:
                await store.check_replay()
                view = await route.handler(visit, **work.given)
                if not isinstance(view, View):
                    raise TypeError(f"{route.template} answers with what is no view")
                # A page is made before its commit: what cannot be shown changes nothing.
                answer = self._show(exchange, visit, view)
                await _commit(exchange, visit, view)
            except Replayed as replayed:
                exchange.lines = list(headers)
                place = replayed.replay.body
                view = View(status=303, location=place) if place else _SENT_BEFORE
                return self._show(exchange, visit, view)
            return answer

        try:
            return await insist(attempt, exchange.service.settings.lock_timeout)
        except ConflictError:
            raise ApiError("lock_timeout") from None

    # --- Out -------------------------------------------------------------------------------------

    def _refuse(self, exchange: Exchange, refusal: ApiError) -> Answer:
        exchange.code = refusal.code
        exchange.add(refusal.headers.items())
        settings = exchange.service.settings
        facts = {"support": settings.support, "request_id": exchange.request_id}
        problems = refusal.problems or [refusal]
        plain = "plain" in refusal.facts or refusal.code in PLAIN
        told = {
            "problems": [(each.param, each.plain(**facts)) for each in problems],
            "fix": "" if plain else refusal.describe(**facts)["fix"],
        }
        view = View("error.html", {"told": told, "code": refusal.code}, refusal.status)
        try:
            return self._show(exchange, None, view)
        except Exception as error:  # even the frame of the page fails: then there is none
            exchange.service.log.crash(exchange.now, exchange.request_id, error)
            text = f"{refusal.plain(**facts)} {told['fix']}\n"
            return exchange.reply(500, text.encode(), TEXT)

    def _show(self, exchange: Exchange, visit: Visit | None, view: View) -> Answer:
        """Make the answer that a view is."""
        exchange.add(SAFETY)
        exchange.code = exchange.code or view.code
        if visit is not None:
            exchange.add(("Set-Cookie", each) for each in visit.cookies)
        if view.location:
            exchange.add([("Location", view.location)])
            return exchange.reply(view.status, b"", HTML)
        if view.content is not None:
            content = view.content
            exchange.add(content.headers)
            text = content.text.encode()
            return exchange.reply(view.status, text, content.media_type, caching=content.caching)
        caller = exchange.caller
        sent = dict(parse_qsl(exchange.request.scope["query_string"].decode("latin-1")))
        # A link of another site says nothing in our name, such as that a key is revoked.
        ours = exchange.header(b"sec-fetch-site") in (None, "same-origin")
        common = {
            "visit": visit,
            "portal": self,
            "visitor": caller,
            "path": exchange.sent_path,
            "path_mode": mode_in(exchange.sent_path),
            "shown_mode": shown_mode(exchange),
            "request_id": exchange.request_id,
            "settings": exchange.service.settings,
            "csrf": "" if caller is None else self._csrf(exchange, caller),
            "once": secrets.token_urlsafe(12),
            "notice": self.notices.get(sent.get(SAID, ""), "") if ours else "",
            "status": view.status,
        }
        page = self.design.render(view.template, {**common, **view.values})
        return exchange.reply(view.status, page.encode(), HTML)


_FOREIGN_FORM = View(
    "error.html",
    {
        "told": {
            "problems": [
                (None, "This form was not sent from its page, or you have signed out since.")
            ],
            "fix": "Open the page again and send it once more.",
        },
        "code": "form_not_ours",
    },
    403,
    code="form_not_ours",
)
_SENT_BEFORE = View(
    "error.html",
    {
        "told": {
            "problems": [(None, "This form has been sent before, and what it asked for is done.")],
            "fix": "Open the page again to see how things are now.",
        },
        "code": "form_sent_before",
    },
    409,
    code="form_sent_before",
)


def _kept(exchange: Exchange, body: Tree, token: str, way: str = "") -> View:
    """Return the page that has what was typed, to be sent again; it is kept nowhere else.

    `way` leads to what must be seen first, if anything must.
    """
    fields = list(fields_of(body))
    values = {"action": asked_for(exchange), "fields": fields, "token": token, "way": way}
    return View("kept.html", values, 403, code="form_not_sent")


def _mode(named: str) -> Mode:
    """Return the mode that a path names, or refuse with 404."""
    for mode in MODES:
        if mode == named:
            return mode
    raise ApiError("route_unknown")


async def _admit(exchange: Exchange, route: Route, caller: Caller, mode: Mode | None) -> None:
    """Refuse who may not use a route, not in this mode, or has asked for too much."""
    if route.permission != SIGNED_IN:
        caller.require(route.permission)
    if mode is not None:
        caller.check(exchange.now, exchange.address)
    (await exchange.service.limiter.admit(caller, exchange.now)).check()


def _received(route: Route, name: str, model: type[Model], tree: Tree, intake: Intake) -> Any:
    """Receive what was typed: as a form with what is wrong with it, or as what must be right."""
    problems: list[ApiError] = []
    tree = _typed(tree)
    value: Any = receive(model, tree, intake, problems) if tree or model.model_fields else NOTHING
    if value is not None and name == "body" and route.changes:
        value = Changes(value)
    if name in route.forms:
        return Form(tree, value, problems)
    if value is None:
        raise invalid(problems)
    return value


def _typed(tree: Tree) -> Tree:
    """Return what was typed into the fields of a form: space alone is nothing."""

    def typed(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: typed(member) for name, member in value.items()}
        if isinstance(value, list):
            return [typed(member) for member in value]
        return "" if isinstance(value, str) and not value.strip() else value

    return {name: typed(value) for name, value in tree.items()}


def _replay(exchange: Exchange, caller: Caller, once: str, body: Tree) -> Replay:
    """Return the record that would be kept of this form: it is sent once, however often."""
    hashed = exchange.service.keyring.hash
    sent = orjson.dumps(body, option=orjson.OPT_SORT_KEYS).decode()
    return Replay(
        id=hashed(f"form {caller.principal} {exchange.sent_path} {once}"),
        fingerprint=hashed(f"{exchange.sent_path} {sent}"),
        requestId=exchange.request_id,
    )


async def _commit(exchange: Exchange, visit: Visit, view: View) -> None:
    """Commit what was staged by a form that was not refused, and queue its jobs."""
    stores = [visit.store, *visit.stores]
    changed = [store for store in stores if store.staged]
    if changed and (exchange.route is None or exchange.route.method != "POST"):
        raise TypeError("a page that is only looked at changes something")
    if len(changed) > 1:
        raise TypeError("a form changes what cannot be changed as one")
    if view.status < 400:
        for store in changed:
            await store.check_replay()
            await store.commit(view.status, view.location.encode())
            if store.tickets:
                await running.enqueue(exchange.service, store.tickets)
    for store in visit.stores:
        visit.store.touched |= store.touched
