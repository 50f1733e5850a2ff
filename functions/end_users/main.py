"""End users: the people who are signed in to a partner's own front end."""

import functions_framework.aio

from shared import Api, Call, Ref, Request, Response
from shared.end_users import EndUser
from shared.fields import EndUserId

api = Api("end_users", audience="partner")


@api.post("/v1/end_users/{uid}/revoke", permission="end_users:write")
async def revoke_end_user(call: Call, uid: EndUserId) -> EndUser:
    """End the sessions of an end user of your front ends.

    Their tokens are refused everywhere within 15 seconds. They can sign in again.
    """
    end_user_id = call.end_users.handle(call.caller.mode, call.caller.organisation, uid)
    (found,) = await call.store.find(Ref(EndUser, end_user_id))
    known = found or EndUser.new(
        at=call.now, livemode=call.livemode, id=end_user_id, endUserId=uid, revokedAt=call.now
    )
    return call.store.put(known.revoked(call.now))


@functions_framework.aio.http
async def end_users(request: Request) -> Response:
    """Serve /v1/end_users."""
    return await api(request)
