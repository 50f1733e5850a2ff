"""One request and what becomes of it: what was sent with it, the answer, the line in the log."""

import asyncio
import re
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple
from urllib.parse import quote

import orjson
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from shared import forms, ids, origins
from shared.callers import Caller
from shared.catalogue import RETRYABLE
from shared.errors import PROBLEM, ApiError, Json, envelope, problem
from shared.fields import is_origin
from shared.metering import Series
from shared.requests import hashed_key, unquoted
from shared.routes import Route
from shared.service import Service
from shared.store import Store

VERSION = "2026-11-22"
"""The version of the API that answers."""
_IDEMPOTENCY_KEY = re.compile(r"[\x20-\x7e]{1,255}")
_ADDRESS = re.compile(r"[0-9a-fA-F.:]{2,45}")


class Bound(NamedTuple):
    """How much of a body is read: bytes, and the seconds within which it ends."""

    size: int
    seconds: float


KEYED_BODY = Bound(4096, 3.0)
"""Of a body in which is the key by which it is known who sends it."""
PUBLIC_FORM = Bound(16_384, 5.0)
"""Of a form that anybody may send: each of 512 letters of a password has up to 12 bytes."""


class Answer(Response):
    """An answer as it leaves, with the headers that every answer has."""

    def __init__(
        self,
        status: int,
        body: bytes,
        request_id: str,
        lines: Iterable[tuple[bytes, bytes]] = (),
        kind: str = "application/json",
        *,
        caching: str = "no-store",
        head: bool = False,
    ) -> None:
        # The parent's own constructor would spend twice the time on working out these.
        self.status_code = status
        self.body = b"" if head else body
        self.background = None
        self.raw_headers = [
            (b"content-type", kind.encode()),
            (b"content-length", b"%d" % len(body)),
            (b"cache-control", caching.encode()),
            (b"vary", b"Origin"),
            (b"request-id", request_id.encode()),
            (b"ally-version", VERSION.encode()),
            *lines,
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
        self.origin = ""
        """The origin of the page that sent the request, where that is not one of ours."""
        self.code = ""
        self.replay_key: str | None = None
        """The Idempotency-Key, where the request has a valid one and the route takes it."""
        self.bytes_in = 0
        self._bound = Bound(held.settings.body_limit, held.settings.body_timeout)
        self._decoded: tuple[forms.Tree, forms.Tree] | None = None
        self.warnings: list[str] = []
        self.lines: list[tuple[bytes, bytes]] = []
        """Headers that the answer will have, whatever it is."""

    def header(self, name: bytes) -> str | None:
        """Return a header of the request, by its name in small letters."""
        value = self.headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def sent_path(self) -> str:
        """The path as it was sent, in which what is escaped divides nothing.

        Not every server tells it (ASGI, `raw_path`); then it is taken from the one that was read.
        """
        raw: bytes | None = self.request.scope.get("raw_path")
        return quote(self.request.scope["path"]) if raw is None else raw.decode("latin-1")

    def address(self) -> str:
        """Return the caller's address, or nothing where it is not known.

        Behind proxies it is in X-Forwarded-For, counted from the right: what is left of that the
        caller may have written.
        """
        proxies = self.service.settings.proxies
        if not proxies:
            client = self.request.client
            return client.host if client else ""
        sent = self.request.headers.getlist("x-forwarded-for")
        hops = [hop.strip() for line in sent for hop in line.split(",")]
        return hops[-proxies] if len(hops) >= proxies else ""

    def idempotency_key(self) -> str | None:
        """Return the Idempotency-Key, without quotes, if the request has one."""
        key = self.header(b"idempotency-key")
        if key is None:
            return None
        key = unquoted(key)
        if _IDEMPOTENCY_KEY.fullmatch(key) is None:
            raise ApiError("idempotency_key_invalid")
        self.replay_key = key
        return key

    async def decode(self, route: Route) -> tuple[forms.Tree, forms.Tree]:
        """Decode the query string and the body, once."""
        if self._decoded is None:
            self._decoded = await self._decode(route)
        return self._decoded

    def read_within(self, bound: Bound) -> None:
        """Read no more of the body: nobody is known yet who could be asked to stop."""
        size, seconds = self._bound
        self._bound = Bound(min(size, bound.size), min(seconds, bound.seconds))

    async def take_key(self, route: Route) -> object:
        """Take the publishable key out of the body: nothing after this sees it."""
        self.read_within(KEYED_BODY)
        _, body = await self.decode(route)
        return body.pop("key", None)

    async def _decode(self, route: Route) -> tuple[forms.Tree, forms.Tree]:
        query = self.request.scope["query_string"]
        query_tree = forms.decode_form(query) if query else {}
        declared = self.headers.get(b"content-length", b"0")
        if declared == b"0" and b"transfer-encoding" not in self.headers:
            return query_tree, {}
        body = await self.read()
        self.bytes_in = len(body)
        if not body:
            return query_tree, {}
        if route.method in ("GET", "DELETE"):
            raise ApiError("body_unexpected", method=route.method)
        kind = (self.header(b"content-type") or "").partition(";")[0].strip().lower()
        if kind == "application/json":
            return query_tree, forms.decode_json(body)
        if kind != "application/x-www-form-urlencoded":
            raise ApiError("content_type_unsupported")
        if body.lstrip().startswith((b"{", b"[")):
            raise ApiError("body_is_json")
        return query_tree, forms.decode_form(body)

    async def read(self) -> bytes:
        """Read the body, within the limits of size and time."""
        chunks = []
        size = 0
        try:
            async with asyncio.timeout(self._bound.seconds):
                async for chunk in self.request.stream():
                    size += len(chunk)
                    if size > self._bound.size:
                        raise ApiError("body_too_large", limit=self._bound.size)
                    chunks.append(chunk)
        except TimeoutError:
            seconds = f"{self._bound.seconds:g} seconds"
            raise forms.malformed(f"they did not end within {seconds}") from None
        except ClientDisconnect:
            raise forms.malformed("the caller left before their end") from None
        return b"".join(chunks)

    async def greet(self, *, everybody: bool) -> None:
        """Note which page the request comes from, and let that read the answer if it may.

        Where everybody may, nothing is looked up.
        """
        origin = self.header(b"origin")
        ours = self.header(b"sec-fetch-site") == "same-origin"
        if not origin or ours or origin == self.service.settings.url:
            return
        self.origin = origin
        if (everybody and is_origin(origin)) or await self.service.origins.registered(origin):
            self.let_page_read()

    def let_page_read(self) -> None:
        """Let the page that the request comes from read the answer, if it is not one of ours."""
        if self.origin and not self.welcome:
            self.lines += origins.headers(self.origin)

    @property
    def welcome(self) -> bool:
        """Whether a page of another origin may read the answer."""
        return any(name == b"access-control-allow-origin" for name, _ in self.lines)

    def add(self, headers: Iterable[tuple[str, str]]) -> None:
        """Add headers to the answer, whatever it will be."""
        self.lines += [(name.lower().encode(), value.encode()) for name, value in headers]

    def reply(
        self,
        status: int,
        body: bytes,
        kind: str = "application/json",
        *,
        caching: str = "no-store",
    ) -> Answer:
        """Make the answer, with what the request was warned of."""
        if self.warnings:
            self.add(("Ally-Warning", warning) for warning in self.warnings)
        head = self.request.scope["method"] == "HEAD"
        return Answer(status, body, self.request_id, self.lines, kind, caching=caching, head=head)

    def refuse(self, refusal: ApiError) -> Answer:
        """Make the answer of a refusal."""
        self.code = refusal.code
        self.add(refusal.headers.items())
        if refusal.status in RETRYABLE:
            self.add([("Stripe-Should-Retry", "true")])
        return self.complain(refusal.status, self.explain(refusal))

    def explain(self, refusal: ApiError) -> Json:
        """Return the envelope of a refusal. Whose caller is known is in their request log."""
        settings = self.service.settings
        known = self.caller is not None
        return envelope(refusal, self.request_id, settings.support, settings.url, logged=known)

    def complain(self, status: int, written: Json) -> Answer:
        """Make the answer that an envelope is, in the form that the caller reads."""
        if PROBLEM in self.accepted.lower():
            return self.reply(status, orjson.dumps(problem(written, status)), PROBLEM)
        return self.reply(status, orjson.dumps(written))

    @property
    def accepted(self) -> str:
        """What the caller accepts, as the header Accept says it."""
        return ",".join(self.request.headers.getlist("accept"))

    def record(self, answer: Response, seconds: float) -> None:
        """Write the line of this request and count it as usage, before the answer leaves."""
        method = self.route.method if self.route else "-"
        template = self.route.template if self.route else "-"
        organisation = self.caller.organisation if self.caller else "-"
        mode = self.caller.mode if self.caller else "-"
        principal = self.caller.id if self.caller else "-"
        self.service.log.write(
            self.now,
            "request",
            {
                "requestId": self.request_id,
                "organisation": organisation,
                "mode": mode,
                "principal": principal,
                "method": method,
                "route": template,
                "status": answer.status_code,
                "code": self.code,
                "objects": list(self.store.touched) if self.store else [],
                "version": VERSION,
                **self._told(),
                "milliseconds": round(seconds * 1000, 3),
                "bytesIn": self.bytes_in,
                "bytesOut": len(answer.body),
            },
        )
        if self.caller is not None and not self.caller.counted:
            return
        counted_as = self.caller.counted_as if self.caller else "-"
        status = str(answer.status_code)
        series = Series(
            organisation, mode, method, template, status, self.code, counted_as, VERSION
        )
        self.service.meter.count(series, seconds, self.bytes_in, len(answer.body))

    def _told(self) -> Json:
        """Return what few lines have.

        That is the address of a partner's server (that of an end user, or of who reads a partner's
        page, is that of a patient), that a page called, and the hash of a retry's key.
        """
        told: Json = {}
        if self.caller is not None and self.caller.page:
            told["page"] = True
        if self.caller is not None and self.caller.server:
            address = self.address()
            if _ADDRESS.fullmatch(address):  # and no text that somebody wrote in its place
                told["address"] = address
        if self.caller is not None and self.replay_key is not None:
            told["idempotencyKey"] = hashed_key(
                self.service.keyring, self.caller.organisation, self.caller.mode, self.replay_key
            )
        return told
