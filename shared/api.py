"""The door: every request comes in here and every answer leaves from here.

In order: find the route, authenticate, check the permission, decode and validate, run the handler
(its first read brings the replay record along), shape its answer, commit, write the line, count. No
handler runs before the first four have passed. This is the only file that knows the web framework.
"""

import asyncio
import inspect
import random
import re
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, get_args, get_origin, get_type_hints

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from shared import clock, forms, ids, service
from shared.audit import Log
from shared.auth import Caller
from shared.backends import ConflictError, UnavailableError
from shared.errors import ApiError, envelope, invalid
from shared.metering import Series
from shared.models import Changes, Intake, Model, Record, changes_model, receive
from shared.pages import Page
from shared.service import Service
from shared.settings import Settings
from shared.store import Replay, Replayed, Store

__all__ = ["Api", "Call", "Request", "Response", "application"]

Audience = Literal["partner", "browser", "internal", "staff"]
"""Who a function is for. Only the first two are ever reached through the gateway."""

Method = Literal["GET", "POST", "PATCH", "DELETE"]
Handler = Callable[..., Awaitable[Model | Page[Any]]]

LONGEST_PAUSE = 0.5

_PERMISSION = re.compile(r"[a-z_]+:(read|write)")
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")


class Nothing(Model):
    """The parameters of a route that takes none."""


NOTHING = Nothing()


@dataclass(slots=True)
class Call:
    """What a handler knows of the request: who calls, and the store as they may see it."""

    caller: Caller
    store: Store

    @property
    def now(self) -> datetime:
        """The moment of the request."""
        return self.store.now

    @property
    def livemode(self) -> bool:
        """Whether real patients and practitioners are concerned."""
        return self.store.livemode


@dataclass(frozen=True, slots=True)
class Route:
    """One operation: a method and a path, who may use it, and what its handler takes."""

    method: Method
    template: str
    permission: str
    handler: Handler
    body: type[Model]
    query: type[Model]
    changes: bool
    pattern: re.Pattern[str]
    takes: frozenset[str]


class Api:
    """One function's routes. `account` says that what they change belongs to no mode."""

    def __init__(self, name: str, *, audience: Audience, account: bool = False) -> None:
        if audience not in get_args(Audience):
            raise TypeError(f"{name} is for nobody that is known: {audience}")
        self.name = name
        self.audience = audience
        self.account = account
        self.routes: list[Route] = []

    @property
    def segments(self) -> set[str]:
        """The first segments after /v1 that the routes claim."""
        return {route.template.split("/")[2] for route in self.routes}

    def get(self, template: str, *, permission: str) -> Callable[[Handler], Handler]:
        """Declare what reads: `GET /v1/…`."""
        return self._declare(("GET",), template, permission)

    def post(self, template: str, *, permission: str) -> Callable[[Handler], Handler]:
        """Declare what creates, or acts: `POST /v1/…`."""
        return self._declare(("POST",), template, permission)

    def update(self, template: str, *, permission: str) -> Callable[[Handler], Handler]:
        """Declare what changes an object: `POST /v1/things/{thing}`, or PATCH, the same."""
        return self._declare(("POST", "PATCH"), template, permission)

    def delete(self, template: str, *, permission: str) -> Callable[[Handler], Handler]:
        """Declare what deletes: `DELETE /v1/things/{thing}`."""
        return self._declare(("DELETE",), template, permission)

    def _declare(
        self, methods: tuple[Method, ...], template: str, permission: str
    ) -> Callable[[Handler], Handler]:
        def declare(handler: Handler) -> Handler:
            self.routes += [_route(method, template, permission, handler) for method in methods]
            return handler

        return declare

    def find(self, method: str, path: str) -> tuple[Route, dict[str, str]]:
        """Return the route of a request and its path's arguments, or refuse with 404 or 405."""
        allowed = []
        for route in self.routes:
            matched = route.pattern.fullmatch(path)
            if matched is not None:
                if route.method == method:
                    return route, matched.groupdict()
                allowed.append(route.method)
        if allowed:
            verbs = ", ".join(allowed)
            raise ApiError(
                "method_not_allowed", headers={"Allow": verbs}, method=method, allowed=verbs
            )
        raise ApiError("route_unknown")

    async def __call__(self, request: Request) -> Response:
        """Answer a request. Nothing is raised: whatever goes wrong is an answer too."""
        began = time.perf_counter()
        at = clock.now()
        try:
            held = await service.current()
        except Exception as error:
            return _cannot_open(at, error)
        exchange = Exchange(held, request, held.now())
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
        return answer


def _route(method: Method, template: str, permission: str, handler: Handler) -> Route:
    if _PERMISSION.fullmatch(permission) is None:
        raise TypeError(f"{method} {template} declares no permission such as patients:read")
    hints = get_type_hints(handler)
    body = hints.get("body", Nothing)
    changes = get_origin(body) is Changes
    pattern = re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", template)
    return Route(
        method=method,
        template=template,
        permission=permission,
        handler=handler,
        body=changes_model(get_args(body)[0]) if changes else body,
        query=hints.get("query", Nothing),
        changes=changes,
        pattern=re.compile(pattern),
        takes=frozenset(inspect.signature(handler).parameters),
    )


class Answer(Response):
    """An answer as it leaves, with the headers that every answer has."""

    def __init__(
        self,
        status: int,
        body: bytes,
        request_id: str,
        headers: Iterable[tuple[str, str]] = (),
    ) -> None:
        # The parent's own constructor would spend twice the time on working out these four.
        self.status_code = status
        self.body = body
        self.background = None
        self.raw_headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", b"no-store"),
            (b"request-id", request_id.encode()),
            *((name.lower().encode(), value.encode()) for name, value in headers),
        ]


class Exchange:
    """One request and what became of it, as the log and the counts will tell it."""

    def __init__(self, held: Service, request: Request, now: datetime) -> None:
        self.service = held
        self.request = request
        self.headers: dict[bytes, bytes] = dict(request.scope["headers"])
        self.now = now
        self.request_id = ids.mint("req", now)
        self.route: Route | None = None
        self.caller: Caller | None = None
        self.store: Store | None = None
        self.code = ""
        self.bytes_in = 0
        self.warnings: list[str] = []

    def header(self, name: bytes) -> str | None:
        """Return a header of the request, by its name in small letters."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    def reply(self, status: int, body: bytes, headers: Iterable[tuple[str, str]] = ()) -> Answer:
        """Make the answer, with what the request was warned of."""
        warned = (("Ally-Warning", warning) for warning in self.warnings)
        return Answer(status, body, self.request_id, [*headers, *warned])

    def refuse(self, refusal: ApiError) -> Answer:
        """Make the answer of a refusal."""
        self.code = refusal.code
        return self.reply(refusal.status, self.explain(refusal), refusal.headers.items())

    def explain(self, refusal: ApiError) -> bytes:
        """Write the envelope of a refusal."""
        return orjson.dumps(envelope(refusal, self.request_id, self.service.settings.support))

    def record(self, answer: Response, seconds: float) -> None:
        """Write the line of this request and count it, before the answer leaves."""
        method = self.route.method if self.route else "-"
        template = self.route.template if self.route else "-"
        organisation = self.caller.organisation if self.caller else "-"
        mode = self.caller.mode if self.caller else "-"
        key_id = self.caller.key_id if self.caller else "-"
        self.service.log.write(
            self.now,
            "request",
            {
                "requestId": self.request_id,
                "organisation": organisation,
                "mode": mode,
                "key": key_id,
                "method": method,
                "route": template,
                "status": answer.status_code,
                "code": self.code,
                "objects": list(self.store.touched) if self.store else [],
                "milliseconds": round(seconds * 1000, 3),
                "bytesIn": self.bytes_in,
                "bytesOut": len(answer.body),
            },
        )
        series = Series(organisation, mode, template, method, answer.status_code, self.code, key_id)
        self.service.meter.count(series, seconds, self.bytes_in, len(answer.body))


def _unavailable() -> ApiError:
    return ApiError("temporarily_unavailable", headers={"Retry-After": "2"})


def _cannot_open(at: datetime, error: Exception) -> Answer:
    """Answer where settings or services are such that there is nothing to answer with."""
    request_id = ids.mint("req", at)
    Log("-").crash(at, request_id, error)
    body = envelope(ApiError("internal_error"), request_id, Settings.support)
    return Answer(500, orjson.dumps(body), request_id)


async def _answer(api: Api, exchange: Exchange) -> Answer:
    """Take a request through the door, to its answer or the ApiError that refuses it."""
    scope = exchange.request.scope
    route, path_arguments = api.find(scope["method"], scope["path"])
    exchange.route = route
    settings = exchange.service.settings
    credential = b"x-forwarded-authorization" if settings.behind_gateway else b"authorization"
    caller = await exchange.service.keyring.authenticate(exchange.header(credential))
    exchange.caller = caller
    if not caller.may(route.permission):
        raise ApiError("permission_missing", permission=route.permission)
    replay_key = _idempotency_key(exchange) if route.method in ("POST", "PATCH") else None
    query_tree, body_tree = await _decode(exchange, route)

    intake = Intake(caller.mode == "live", exchange.now, exchange.warnings)
    problems: list[ApiError] = []
    query = _received(route.query, query_tree, intake, problems)
    body = _received(route.body, body_tree, intake, problems)
    if problems or query is None or body is None:
        raise invalid(problems)

    arguments: dict[str, Any] = dict(path_arguments)
    if "query" in route.takes:
        arguments["query"] = query
    if "body" in route.takes:
        arguments["body"] = Changes(body) if route.changes else body
    replay = None
    if replay_key is not None:
        replay = _replay(exchange, caller, replay_key, scope["path"], body)
    return await _run(exchange, route, caller, arguments, replay, account=api.account)


def _received(
    model: type[Model], tree: forms.Tree, intake: Intake, problems: list[ApiError]
) -> Model | None:
    """Receive parameters; of a route that takes none and was sent none, without any work."""
    return receive(model, tree, intake, problems) if tree or model is not Nothing else NOTHING


def _idempotency_key(exchange: Exchange) -> str | None:
    key = exchange.header(b"idempotency-key")
    if key is None:
        return None
    if len(key) > 1 and key.startswith('"') and key.endswith('"'):
        key = key[1:-1]
    if _IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise ApiError("idempotency_key_invalid")
    return key


def _replay(exchange: Exchange, caller: Caller, key: str, path: str, body: Model) -> Replay:
    """Return the record that would be kept of this request: hashes of who asked, and for what."""
    hashed = exchange.service.keyring.hash
    return Replay(
        id=hashed(f"{caller.mode} {caller.principal} {key}"),
        fingerprint=hashed(f"{path} {body.model_dump_json(exclude_unset=True)}"),
        requestId=exchange.request_id,
    )


async def _decode(exchange: Exchange, route: Route) -> tuple[forms.Tree, forms.Tree]:
    """Decode the query string and the body."""
    query = exchange.request.scope["query_string"]
    query_tree = forms.decode_form(query) if query else {}
    declared = exchange.headers.get(b"content-length", b"0")
    if declared == b"0" and b"transfer-encoding" not in exchange.headers:
        return query_tree, {}
    body = await _read(exchange)
    exchange.bytes_in = len(body)
    if not body:
        return query_tree, {}
    if route.method in ("GET", "DELETE"):
        raise ApiError("body_unexpected", method=route.method)
    kind = (exchange.header(b"content-type") or "").partition(";")[0].strip().lower()
    if kind == "application/json":
        return query_tree, forms.decode_json(body)
    if kind != "application/x-www-form-urlencoded":
        raise ApiError("content_type_unsupported")
    if body.lstrip().startswith((b"{", b"[")):
        raise ApiError("body_is_json")
    return query_tree, forms.decode_form(body)


async def _read(exchange: Exchange) -> bytes:
    limit = exchange.service.settings.body_limit
    chunks = []
    size = 0
    try:
        async for chunk in exchange.request.stream():
            size += len(chunk)
            if size > limit:
                raise ApiError("body_too_large", limit=limit)
            chunks.append(chunk)
    except ClientDisconnect:
        raise forms.malformed("the caller left before their end") from None
    return b"".join(chunks)


async def _run(
    exchange: Exchange,
    route: Route,
    caller: Caller,
    arguments: dict[str, Any],
    replay: Replay | None,
    *,
    account: bool,
) -> Answer:
    """Run the handler and commit what it staged; again, with jitter, while others are faster."""
    deadline = time.monotonic() + exchange.service.settings.lock_timeout
    attempt = 0
    while True:
        store = Store(
            exchange.service.storage,
            mode=caller.mode,
            organisation=caller.organisation,
            now=exchange.now,
            request_id=exchange.request_id,
            replay=replay,
            account=account,
        )
        exchange.store = store
        try:
            if attempt:
                await store.check_replay()
            return await _attempt(exchange, route, Call(caller, store), arguments)
        except Replayed as replayed:
            earlier = replayed.replay
            exchange.code = earlier.code
            headers = [("Idempotent-Replayed", "true")]
            return exchange.reply(earlier.status, earlier.body.encode(), headers)
        except ConflictError:
            attempt += 1
            pause = random.uniform(0, min(LONGEST_PAUSE, 0.005 * 2**attempt))  # noqa: S311 - jitter is no secret
            if time.monotonic() + pause > deadline:
                raise ApiError("lock_timeout", headers={"Retry-After": "1"}) from None
            await asyncio.sleep(pause)


async def _attempt(
    exchange: Exchange, route: Route, call: Call, arguments: dict[str, Any]
) -> Answer:
    """Run the handler once. A 2xx is committed with its effect, a 402 as the record alone."""
    try:
        result = await route.handler(call, **arguments)
    except ApiError as refusal:
        if refusal.status == 402:
            call.store.discard()
            await call.store.commit(402, exchange.explain(refusal), code=refusal.code)
        raise
    body = _shape(result, exchange.request.scope["path"])
    await call.store.commit(200, body, subject=getattr(result, "id", None))
    return exchange.reply(200, body)


def _shape(result: Model | Page[Any], path: str) -> bytes:
    """Write an answer as JSON, without the private fields of records."""
    if isinstance(result, Page):
        head = {"object": "list", "url": path, "has_more": result.has_more}
        members = b",".join(_shape(member, path) for member in result.data)
        return b'%s,"data":[%s]}' % (orjson.dumps(head)[:-1], members)
    private = result.private if isinstance(result, Record) else None
    # What model_dump_json does, without making a text of the bytes.
    return type(result).__pydantic_serializer__.to_json(result, exclude=private or None)


def application(apis: Iterable[Api]) -> ASGIApp:
    """Return one ASGI application of many functions, each under the segments that it claims."""
    owners: dict[str, Api] = {}
    for api in apis:
        for segment in api.segments:
            if segment in owners:
                raise ValueError(
                    f"functions {owners[segment].name} and {api.name} both claim /v1/{segment}"
                )
            owners[segment] = api
    nowhere = Api("nowhere", audience="partner")

    async def serve(scope: Scope, receive: Receive, send: Send) -> None:
        parts = scope["path"].split("/", 3)
        claimed = len(parts) > 2 and parts[0] == "" and parts[1] == "v1"
        api = owners.get(parts[2], nowhere) if claimed else nowhere
        response = await api(Request(scope, receive))
        await response(scope, receive, send)

    return serve
