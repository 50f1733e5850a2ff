"""Passwords of users in Google's Identity Platform, by its REST API.

cloud.google.com/identity-platform/docs/reference/rest describes it. Accounts are made and changed
in the name of our service account alone: nobody need be let sign up there, and nobody who does gets
in here, since a user of ours names the account that is theirs.
"""

import asyncio
from http.client import HTTPException
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import orjson

from shared.backends import RejectedError, UnavailableError
from shared.backends.google import credentials
from shared.passwords import Passwords, normal

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

HOST = "https://identitytoolkit.googleapis.com"
SCOPE = "https://www.googleapis.com/auth/cloud-platform"
KEPT = "identity-platform:"
"""How that begins which a user's record holds instead of a hash; the account's id follows."""
LARGEST = 65_536
"""Bytes of an answer that are read."""
WRONG = frozenset(
    {
        *("INVALID_LOGIN_CREDENTIALS", "INVALID_PASSWORD", "EMAIL_NOT_FOUND"),
        *("USER_DISABLED", "INVALID_EMAIL", "PASSWORD_LOGIN_DISABLED"),
    }
)
"""Refusals of a password."""
LATER = frozenset({"TOO_MANY_ATTEMPTS_TRY_LATER", "QUOTA_EXCEEDED", "RESOURCE_EXHAUSTED"})


class IdentityPasswords:
    """Passwords that the Identity Platform of a project keeps and checks.

    `earlier` knows those that were kept before: they are right there until their users sign in, and
    are then kept here. `address` names a loopback server instead of Google's, for tests.
    """

    def __init__(
        self, project: str, key: str, *, earlier: Passwords, call_timeout: float, address: str = ""
    ) -> None:
        self._accounts = f"projects/{project}/accounts"
        self._key = key
        self._earlier = earlier
        self._timeout = call_timeout
        self._host = f"http://{address}/identitytoolkit.googleapis.com" if address else HOST
        self._loopback = bool(address)
        self._credentials: Credentials | None = None

    async def keep(self, email: str, password: str) -> str:
        """Make the account of an address, or give it this password. Raises BackendError."""
        chosen = normal(password)
        found = await self._ask(f"{self._accounts}:lookup", {"email": [email]})
        users = found.get("users")
        if users:
            account = users[0]["localId"]
            told = {"localId": account, "password": chosen}
            await self._ask(f"{self._accounts}:update", told)
        else:
            told = {"email": email, "emailVerified": True, "password": chosen}
            account = (await self._ask(self._accounts, told))["localId"]
        return f"{KEPT}{account}"

    async def check(self, email: str, password: str, kept: str | None) -> bool:
        """Tell whether a password is right. Raises BackendError where nobody can tell.

        The platform is asked whoever it is, at the same time as what knew a password earlier, so
        time tells nobody who has an account.
        """
        if kept is None or not self.outdated(kept):
            account = await self._sign_in(email, password)
            return kept is not None and kept == f"{KEPT}{account}"
        right, _ = await asyncio.gather(
            self._earlier.check(email, password, kept), self._sign_in(email, password)
        )
        return right

    def outdated(self, kept: str) -> bool:
        """Tell whether a password is not yet kept by the platform."""
        return not kept.startswith(KEPT)

    def account(self, kept: str) -> str | None:
        """Return the id of the account there; None where the password is not yet kept there."""
        return None if self.outdated(kept) else kept.removeprefix(KEPT)

    async def forget(self, account: str) -> None:
        """Delete an account, if it is still there. Raises BackendError."""
        try:
            await self._ask(f"{self._accounts}:delete", {"localId": account})
        except RejectedError as refusal:
            if str(refusal) != "USER_NOT_FOUND":
                raise

    async def _sign_in(self, email: str, password: str) -> str | None:
        """Return the account of an address and its password; None where that is wrong."""
        told = {"email": email, "password": normal(password), "returnSecureToken": True}
        try:
            found = await self._ask("accounts:signInWithPassword", told, by_key=True)
        except RejectedError as refusal:
            if str(refusal) in WRONG:
                return None
            raise
        return str(found["localId"])

    async def _ask(
        self, path: str, body: dict[str, Any], *, by_key: bool = False
    ) -> dict[str, Any]:
        """Ask for something, by the key that browsers would use or in our own name."""
        return await asyncio.to_thread(self._post, f"{self._host}/v1/{path}", body, by_key)

    def _post(self, url: str, body: dict[str, Any], by_key: bool) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"}
        if by_key:
            headers["X-Goog-Api-Key"] = self._key
        else:
            headers["Authorization"] = f"Bearer {self._token()}"
        request = Request(url, orjson.dumps(body), headers)  # noqa: S310 - the settings' own
        try:
            with urlopen(request, timeout=self._timeout) as answer:  # noqa: S310 - as above
                told: dict[str, Any] = orjson.loads(answer.read(LARGEST))
        except HTTPError as refusal:
            with refusal:
                raise _refused(refusal.code, refusal.read(LARGEST)) from None
        except (OSError, HTTPException, ValueError) as error:
            raise UnavailableError(type(error).__name__) from None
        return told

    def _token(self) -> str:
        """Return what shows that it is we; an emulator takes who says that it is its owner."""
        if self._loopback:
            return "owner"
        import google.auth
        from google.auth.exceptions import GoogleAuthError
        from google.auth.transport.requests import Request as Transport

        if self._credentials is None:
            with credentials():
                self._credentials, _ = google.auth.default(scopes=[SCOPE])
        if not self._credentials.valid:
            try:
                self._credentials.refresh(Transport())  # type: ignore[no-untyped-call]  # Google's own
            except GoogleAuthError as error:
                raise UnavailableError(type(error).__name__) from None
        return str(self._credentials.token)


def _refused(status: int, answer: bytes) -> RejectedError | UnavailableError:
    """Return what a refusal is, by its code: what follows the code may quote what was sent."""
    try:
        code = str(orjson.loads(answer)["error"]["message"]).partition(" ")[0]
    except (ValueError, LookupError, TypeError):
        code = str(status)
    if status == 429 or status >= 500 or code in LATER:
        return UnavailableError(code)
    return RejectedError(code)
