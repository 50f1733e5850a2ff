"""The door: every request comes in here and every answer leaves from here.

In order: find the route, authenticate, check the permission, decode and validate, run the handler
(its first read brings the replay record along), shape its answer, commit, write the line, count. No
handler runs before the first four have passed. This is the only file that knows the web framework.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import orjson
from pydantic import Field, ValidationError
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared import clock, forms, ids, origins, running, service
from shared.audit import Log
from shared.auth import Keyring
from shared.backends import ConflictError, UnavailableError
from shared.callers import Caller, KeyCaller, PublishableCaller
from shared.end_users import EndUsers, find_token
from shared.errors import ApiError, envelope, invalid
from shared.exchange import VERSION, Answer, Exchange
from shared.fields import Intake, Line
from shared.metering import Meter
from shared.models import Changes, Model, Record
from shared.pages import Page
from shared.receiving import receive
from shared.routes import (
    INTERNAL,
    PUBLIC,
    Audience,
    Content,
    Nothing,
    Route,
    Routes,
    Site,
    View,
    claim,
)
from shared.service import Service
from shared.settings import Settings
from shared.showing import Plan, links, plan, show
from shared.store import Replay, Replayed, Store, insist
from shared.tables import CSV, Table, as_csv, prefers_csv

if TYPE_CHECKING:
    from shared.usage import Reader

__all__ = ["Api", "Call", "Request", "Response", "application"]

VERSIONS = (VERSION,)
"""The versions of the API that are served; within one, changes only add."""
NOTHING = Nothing()


_VERSIONS = frozenset(version.encode() for version in VERSIONS)


class _Anything(PathConvertor):
    """All of a path, line breaks too."""

    regex = "(?s:.*)"


# The functions framework gives us what matches `/{path:path}`, and answers anything else itself: by
# the pattern that Starlette has for that, a path with a line break in it.
register_url_convertor("path", _Anything())


@dataclass(slots=True, eq=False, repr=False)
class Call:
    """What a handler knows of the request: who calls, and store and usage as they may see them."""

    caller: Caller
    store: Store
    _held: Service

    @property
    def keyring(self) -> Keyring:
        """What keeps keys."""
        return self._held.keyring

    @property
    def end_users(self) -> EndUsers:
        """Who is signed in to front ends."""
        return self._held.end_users

    @property
    def meter(self) -> Meter:
        """What counts."""
        return self._held.meter

    @property
    def usage(self) -> "Reader":
        """What was counted of the caller's organisation in the caller's mode."""
        from shared.usage import Reader

        held = self._held
        flushed = timedelta(seconds=held.settings.metering_interval)
        return Reader(
            held.metrics,
            held.storage,
            held.log,
            organisation=self.caller.organisation,
            modes=(self.caller.mode,),
            now=self.now,
            behind=flushed + held.metrics.delay,
        )

    @property
    def key_caller(self) -> KeyCaller:
        """Who calls a route that is not for end users."""
        if not isinstance(self.caller, KeyCaller):
            raise TypeError("a route for end users takes a key for granted")
        return self.caller

    @property
    def now(self) -> datetime:
        """The moment of the request."""
        return self.store.now

    @property
    def livemode(self) -> bool:
        """Whether real patients and practitioners are concerned."""
        return self.store.livemode


class Api(Routes):
    """One function's routes, and the door to them.

    `account` says that what they change belongs to no mode.
    """

    def __init__(self, name: str, *, audience: Audience, account: bool = False) -> None:
        super().__init__(name, audience=audience)
        self.account = account

    async def __call__(self, request: Request) -> Response:
        """Answer a request. Nothing is raised: whatever goes wrong is an answer too."""
        began = time.perf_counter()
        at = clock.now()
        try:
            held = await service.current()
        except Exception as error:
            return cannot_open(at, error)
        exchange = Exchange(held, request, held.now())
        flush = held.meter.enter()
        trouble: Exception | None = None
        try:
            answer = await _answer(self, exchange)
        except ApiError as refusal:
            answer = exchange.refuse(refusal)
        except UnavailableError as error:
            trouble, answer = error, exchange.refuse(_unavailable())
        except Exception as error:
            trouble, answer = error, exchange.refuse(ApiError("internal_error"))
        try:
            if trouble is not None:
                held.log.crash(at, exchange.request_id, trouble)
            exchange.record(answer, time.perf_counter() - began)
        except OSError as error:  # no answer leaves without its line
            Log("-").crash(at, exchange.request_id, error)
            answer = exchange.refuse(_unavailable())
        await held.meter.leave(flush)
        return answer


class Expand(Model):
    """The parameter that every route of an object has."""

    expand: Annotated[list[Line], Field(max_length=20)] = []


@dataclass(slots=True, eq=False, repr=False)
class Work:
    """What a request asks for, once it has been let in and understood."""

    route: Route
    caller: Caller
    arguments: dict[str, Any]
    expansions: Plan
    account: bool
    replay: Replay | None = None


def _unavailable() -> ApiError:
    return ApiError("temporarily_unavailable", headers={"Retry-After": "2"})


def cannot_open(at: datetime, error: Exception) -> Answer:
    """Answer where settings or services are such that there is nothing to answer with."""
    request_id = ids.mint("req", at)
    Log("-").crash(at, request_id, error)
    body = envelope(ApiError("internal_error"), request_id, Settings.support, Settings.url)
    return Answer(500, orjson.dumps(body), request_id)


async def _answer(api: Api, exchange: Exchange) -> Answer:
    """Take a request through the door, to its answer or the ApiError that refuses it."""
    scope = exchange.request.scope
    if b"origin" in exchange.headers:
        await exchange.greet(everybody=api.public)
    if scope["method"] == "OPTIONS":
        return _tell_options(api, exchange)
    method = "GET" if scope["method"] == "HEAD" else scope["method"]
    route, path_arguments = api.find(method, exchange.sent_path)
    exchange.route = route
    if route.headers:
        exchange.add(route.headers)
    if route.permission in _WITHOUT_CALLER:
        return await _WITHOUT_CALLER[route.permission](exchange, route, path_arguments)
    caller = await _admit(exchange, route)
    if exchange.headers.get(b"ally-version", VERSION.encode()) not in _VERSIONS:
        raise ApiError("version_unknown", known=" or ".join(VERSIONS))
    caller.enter(route.permission, route.end_user, publishable=route.publishable)
    replay_key = exchange.idempotency_key() if route.writes else None
    query_tree, body_tree = await exchange.decode(route)

    intake = Intake(caller.mode == "live", exchange.now, exchange.warnings)
    problems: list[ApiError] = []
    asked = body_tree if "expand" in body_tree else query_tree
    paths = _expand(asked.pop("expand"), intake, problems) if "expand" in asked else []
    query = _received(route.query, query_tree, intake, problems)
    body = _received(route.body, body_tree, intake, problems)
    expansions = plan(paths, route, caller, problems) if paths else {}
    if problems or query is None or body is None:
        raise invalid(problems)
    work = Work(route, caller, dict(path_arguments), expansions, api.account)
    if "query" in route.takes:
        work.arguments["query"] = query
    if "body" in route.takes:
        work.arguments["body"] = Changes(body) if route.changes else body
    if replay_key is not None:
        # In one order, for the members of an object have none.
        sent = body.model_dump(mode="json", exclude_unset=True)
        written = orjson.dumps([sorted(paths), sent], option=orjson.OPT_SORT_KEYS).decode()
        work.replay = _replay(exchange, caller, replay_key, f"{scope['path']} {written}")
    return await _run(exchange, work)


def _tell_options(api: Api, exchange: Exchange) -> Answer:
    """Answer a browser that asks beforehand whether a page may call, or who asks what is possible.

    The browser says nothing of who will call, so the answer is the same on every path.
    """
    if exchange.header(b"access-control-request-method") is None:
        allowed = api.allowed(exchange.sent_path)
        exchange.add([("Allow", ", ".join(allowed))])
    elif not exchange.origin or exchange.welcome:
        exchange.lines += origins.permission()
    else:
        raise ApiError("origin_not_allowed")
    return exchange.reply(200, b"{}")


async def _publish(exchange: Exchange, route: Route, arguments: dict[str, str]) -> Answer:
    """Answer what anybody may read."""
    await exchange.greet(everybody=True)
    settings = exchange.service.settings
    site = Site(settings.url, settings.support, settings.dashboard_url)
    content = await route.handler(site, **arguments)
    if not isinstance(content, Content):
        raise TypeError(f"{route.template} is public and answers with an object")
    exchange.add(content.headers)
    text = content.text.encode()
    return exchange.reply(200, text, content.media_type, caching=content.caching)


async def _work(exchange: Exchange, route: Route, arguments: dict[str, str]) -> Answer:
    """Do what one of our own services asks for, for no caller: Cloud Run has checked who it is.

    Whoever sent it sends it again unless the answer is 200.
    """
    given: dict[str, Any] = dict(arguments)
    if "body" in route.takes:
        try:
            given["body"] = route.body.model_validate_json(await exchange.read() or b"{}")
        except ValidationError:
            raise forms.malformed("they are not what this route takes") from None
    done = await route.handler(exchange.service, **given)
    if not isinstance(done, Model):
        raise TypeError(f"{route.template} answers with what is no object")
    return exchange.reply(200, done.model_dump_json().encode())


_WITHOUT_CALLER = {PUBLIC: _publish, INTERNAL: _work}
"""Who answers the routes that ask for nobody's key."""


async def _admit(exchange: Exchange, route: Route) -> Caller:
    """Return who is calling, unless they may not, from there, or have made too many requests."""
    held = exchange.service
    place = b"x-forwarded-authorization" if held.settings.behind_gateway else b"authorization"
    credential = exchange.header(place)
    token = find_token(credential)
    caller: Caller
    if token is not None:
        caller = await held.end_users.authenticate(token, exchange.now)
    elif credential is None and route.publishable:
        sent, agent = await exchange.take_key(route), exchange.header(b"user-agent") or ""
        caller = await held.keyring.recognise(sent, exchange.address(), agent)
    else:
        caller = await held.keyring.authenticate(credential)
    exchange.caller = caller
    caller.check(exchange.now, exchange.address)
    caller.check_origin(exchange.origin)
    exchange.let_page_read()
    allowance = await held.limiter.admit(caller, exchange.now)
    exchange.lines += allowance.lines
    allowance.check()
    if caller.active_as is not None:
        held.activity.see(caller.mode, caller.organisation, *caller.active_as, exchange.now)
    if isinstance(caller, KeyCaller | PublishableCaller):
        await held.keyring.note_use(caller, exchange.now)
    return caller


def _expand(sent: Any, intake: Intake, problems: list[ApiError]) -> list[str]:
    received = receive(Expand, {"expand": sent}, intake, problems)
    return [] if received is None else received.expand


def _received(
    model: type[Model], tree: forms.Tree, intake: Intake, problems: list[ApiError]
) -> Model | None:
    """Receive parameters; of a route that takes none and was sent none, without any work."""
    return receive(model, tree, intake, problems) if tree or model is not Nothing else NOTHING


def _replay(exchange: Exchange, caller: Caller, key: str, asked_for: str) -> Replay:
    """Return the record that would be kept of this request: hashes of who asked, and for what."""
    hashed = exchange.service.keyring.hash
    return Replay(
        id=hashed(f"{caller.mode} {caller.principal} {key}"),
        fingerprint=hashed(asked_for),
        requestId=exchange.request_id,
    )


async def _run(exchange: Exchange, work: Work) -> Answer:
    """Run the handler and commit what it staged; again while others are faster."""

    async def attempt() -> Answer:
        first = exchange.store is None
        exchange.store = store = Store(
            exchange.service.storage,
            mode=work.caller.mode,
            organisation=work.caller.organisation,
            now=exchange.now,
            request_id=exchange.request_id,
            replay=work.replay,
            account=work.account,
            end_user=work.caller.end_user,
        )
        try:
            if not first:
                await store.check_replay()
            return await _attempt(exchange, work, store)
        except Replayed as replayed:
            earlier = replayed.replay
            exchange.code = earlier.code
            exchange.add([("Idempotent-Replayed", "true")])
            if earlier.code:
                return exchange.complain(earlier.status, orjson.loads(earlier.body))
            return exchange.reply(earlier.status, earlier.body.encode())

    try:
        return await insist(attempt, exchange.service.settings.lock_timeout)
    except ConflictError:
        raise ApiError("lock_timeout", headers={"Retry-After": "1"}) from None


async def _attempt(exchange: Exchange, work: Work, store: Store) -> Answer:
    """Run the handler once. A 2xx is committed with its effect, a 402 as the record alone."""
    scope = exchange.request.scope
    path = scope["path"]
    call = Call(work.caller, store, exchange.service)
    try:
        result = await work.route.handler(call, **work.arguments)
    except ApiError as refusal:
        if refusal.status == 402:
            store.discard()
            told = orjson.dumps(exchange.explain(refusal))
            await store.commit(402, told, code=refusal.code)
        raise
    if isinstance(result, Content | View):
        raise TypeError(f"{work.route.template} answers with what is no object")
    body = kept = await show(result, work.expansions, store, path)
    if isinstance(result, Record) and result.once:
        hidden = result.model_copy(update=dict.fromkeys(result.once))
        kept = await show(hidden, work.expansions, store, path)
    await store.commit(200, kept, subject=getattr(result, "id", None))
    if store.tickets:
        await running.enqueue(exchange.service, store.tickets)
    if isinstance(result, Page) and work.route.method == "GET":
        link = links(result, exchange.service.settings.url + path, scope["query_string"])
        if link:
            exchange.add([("Link", link)])
    if work.route.tabular and isinstance(result, Table) and prefers_csv(exchange.accepted):
        return exchange.reply(200, as_csv(result), f"{CSV}; charset=utf-8")
    return exchange.reply(200, body)


class Function(Protocol):
    """What answers the requests of one function."""

    name: str

    async def __call__(self, request: Request) -> Response:
        """Answer a request."""


def application(apis: Iterable[Api], portals: Iterable[Function] = ()) -> ASGIApp:
    """Return one ASGI application of many functions, each under the paths that it claims.

    A portal has all paths of the host whose name begins with its own.
    """
    hosts = {portal.name.encode(): portal for portal in portals}
    owners: dict[str, Api] = {}
    for api in apis:
        for segment in api.segments:
            if segment in owners:
                raise ValueError(
                    f"functions {owners[segment].name} and {api.name} both claim {segment}"
                )
            owners[segment] = api
    nowhere = Api("nowhere", audience="partner")

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        host = dict(scope["headers"]).get(b"host", b"").partition(b".")[0]
        function = hosts.get(host) or owners.get(claim(scope["path"]), nowhere)
        response = await function(Request(scope, receive))
        await response(scope, receive, send)

    return serve
