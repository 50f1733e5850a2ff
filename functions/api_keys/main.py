"""API keys: those of the caller's mode, made, restricted, rolled and revoked."""

import functions_framework.aio

from shared import Api, Call, Changes, ListQuery, Page, Request, Response, issuing
from shared.issuing import RollIn
from shared.keys import ApiKey, ApiKeyChanges, ApiKeyIn

api = Api("api_keys", audience="partner")


@api.post("/v1/api_keys", permission="api_keys:write", refuses=("key_exceeds_yours",))
async def create(call: Call, body: ApiKeyIn) -> ApiKey:
    """Make a key.

    It can do no more than the key that makes it. This answer alone has its secret, and so has none
    that repeats it.
    """
    return await issuing.create(call.store, call.keyring, call.key_caller, body)


@api.get("/v1/api_keys", permission="api_keys:read")
async def index(call: Call, query: ListQuery) -> Page[ApiKey]:
    """List keys, newest first.

    Those that have ended are listed too.
    """
    return await call.store.page(ApiKey, query)


@api.get("/v1/api_keys/{api_key}", permission="api_keys:read")
async def get(call: Call, api_key: str) -> ApiKey:
    """Return a key, without its secret."""
    return await call.store.get(ApiKey, api_key)


@api.update(
    "/v1/api_keys/{api_key}",
    permission="api_keys:write",
    refuses=(
        "key_exceeds_yours",
        "key_not_usable",
    ),
)
async def update(call: Call, api_key: str, body: Changes[ApiKeyChanges]) -> ApiKey:
    """Change a key's name, or what it may do, from where, and until when."""
    return await issuing.change(call.store, call.key_caller, api_key, body)


@api.post(
    "/v1/api_keys/{api_key}/roll",
    permission="api_keys:write",
    refuses=(
        "key_exceeds_yours",
        "key_not_usable",
        "key_rolled_too_often",
    ),
)
async def roll(call: Call, api_key: str, body: RollIn) -> ApiKey:
    """Replace a key by a new one.

    The new one is shown with its secret; the old one stays valid for the overlap.
    """
    return await issuing.roll(call.store, call.keyring, call.key_caller, api_key, body)


@api.post("/v1/api_keys/{api_key}/revoke", permission="api_keys:write")
async def revoke(call: Call, api_key: str) -> ApiKey:
    """End a key, and those that it replaced.

    They are refused everywhere within 15 seconds.
    """
    return await issuing.revoke(call.store, call.key_caller, api_key)


@api.post(
    "/v1/api_keys/{api_key}/reveal",
    permission="api_keys:write",
    refuses=(
        "key_exceeds_yours",
        "secret_not_revealable",
    ),
)
async def reveal(call: Call, api_key: str) -> ApiKey:
    """Show the secret of a test key again."""
    return await issuing.reveal(call.store, call.keyring, call.key_caller, api_key)


@functions_framework.aio.http
async def api_keys(request: Request) -> Response:
    """Serve /v1/api_keys."""
    return await api(request)
