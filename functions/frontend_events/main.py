"""Front-end events: what end users do in your front ends, counted for your usage."""

from pathlib import Path
from typing import Annotated, ClassVar

import functions_framework.aio
from pydantic import Field

from shared import Api, Call, Content, Line, Request, Response, front_ends
from shared.errors import invalid
from shared.fields import Shape, Whole, known
from shared.forms import wrong
from shared.front_ends import Event
from shared.models import Model, Resource
from shared.routes import PUBLIC, Site

api = Api("frontend_events", audience="browser")

SNIPPET = Path(__file__).parent / "ally.js"
SNIPPET_SECONDS = 3600
_FOR_EVERY_PAGE = (
    ("X-Content-Type-Options", "nosniff"),
    ("Cross-Origin-Resource-Policy", "cross-origin"),
)


class FrontendEventIn(Model):
    """One thing that happened in a front end."""

    event: Event
    """What happened: a view of a page, a step towards a booking, an error, or a timing."""
    milliseconds: Annotated[Whole, Field(ge=0, le=front_ends.LONGEST)] | None = None
    """How long it took: of a timing, and of nothing else."""
    key: Annotated[Line, Shape(examples=["test_pub_8DnxlVlj6aB3dE5gH7jK9m2Q"])] | None = None
    """A publishable key, where the request has no header Authorization. The page must be of one of
    the key's `origins`."""


class FrontendEvent(Resource):
    """An event as it was counted. It is not kept: nothing can be found by its id."""

    prefix: ClassVar[str] = "fee"

    object: str = "frontend_event"
    event: Annotated[str, known(Event)]
    """What happened."""
    milliseconds: int | None = None
    """How long it took, if that was a timing."""


@api.post("/v1/frontend_events", permission="frontend_events:write", publishable=True)
async def create(call: Call, body: FrontendEventIn) -> FrontendEvent:
    """Count what happened in a front end.

    A page sends it with a publishable key, or with the ID token of whoever is signed in; a server
    with a secret key. It is counted and not kept, so an Idempotency-Key means nothing here.
    """
    if body.key is not None:  # the key by which a page is let in does not come as far as this
        raise invalid([wrong("key", "cannot be sent beside the header Authorization")])
    if front_ends.is_timing(body.event) != (body.milliseconds is not None):
        raise invalid([wrong("milliseconds", "must be sent with a timing, and with nothing else")])
    caller = call.caller
    front_ends.record(call.meter, caller.organisation, caller.mode, body.event, body.milliseconds)
    return FrontendEvent.new(
        at=call.now, livemode=call.livemode, event=body.event, milliseconds=body.milliseconds
    )


@api.get("/ally.js", permission=PUBLIC)
async def snippet(_: Site) -> Content:
    """Return the script by which a page sends events."""
    text = SNIPPET.read_text()
    return Content("text/javascript; charset=utf-8", text, _FOR_EVERY_PAGE, SNIPPET_SECONDS)


@functions_framework.aio.http
async def frontend_events(request: Request) -> Response:
    """Serve /v1/frontend_events and /ally.js."""
    return await api(request)
