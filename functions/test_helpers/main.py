"""Test helpers: what only test mode can do."""

from typing import ClassVar

import functions_framework.aio

from shared import Api, Call, Request, Response
from shared.end_users import LIFE
from shared.errors import ApiError
from shared.fields import EndUserId, Moment
from shared.models import Model, Resource

api = Api("test_helpers", audience="partner")


class EndUserTokenIn(Model):
    """Who signs in."""

    endUserId: EndUserId
    """Who signs in."""


class EndUserToken(Resource):
    """An ID token that the local backend made. The token itself is shown once."""

    prefix: ClassVar[str] = "tok"
    once: ClassVar[set[str]] = {"token"}

    object: str = "end_user_token"
    endUserId: str
    token: str | None
    """What the end user's requests carry as `Authorization: Bearer <token>`."""
    expiresAt: Moment
    """When the token is valid no more."""


@api.post(
    "/v1/test_helpers/end_user_tokens",
    permission="end_users:write",
    refuses=(
        "route_unknown",
        "tokens_not_issued_here",
    ),
)
async def create_end_user_token(call: Call, body: EndUserTokenIn) -> EndUserToken:
    """Make the ID token that an end user has after signing in.

    Only an API that runs locally does that.
    """
    if call.livemode:
        raise ApiError("route_unknown")
    token = await call.end_users.issue("test", call.caller.account, body.endUserId, call.now)
    return EndUserToken.new(
        at=call.now,
        livemode=False,
        endUserId=body.endUserId,
        token=token,
        expiresAt=call.now + LIFE,
    )


@functions_framework.aio.http
async def test_helpers(request: Request) -> Response:
    """Serve /v1/test_helpers."""
    return await api(request)
