"""Who lets users in: their session, and what a session must have shown for a page."""

from datetime import datetime

from shared.callers import Caller, UserCaller
from shared.exchange import Exchange
from shared.routes import Route
from shared.sessions import COOKIE
from shared.settings import Mode


class Users:
    """Lets users into the dashboard: by the cookie of their session."""

    entrance = "/sign-in"

    async def find(self, exchange: Exchange, mode: Mode) -> UserCaller | None:
        """Return who has signed in."""
        token = exchange.request.cookies.get(COOKIE)
        if token is None:
            return None
        return await exchange.service.sessions.find(token, mode, exchange.now)

    def hinder(self, route: Route, caller: Caller, mode: Mode | None, now: datetime) -> str:
        """Return the page for a second factor, or for signing in again, where that is needed."""
        if not isinstance(caller, UserCaller):
            raise TypeError("the dashboard lets users in, and nobody else")
        if not caller.complete:
            return "/sign-in/second-factor"
        if (
            mode == "live"
            and not caller.session.secondFactor
            and caller.account.activation == "active"
        ):
            return "/account/second-factor"
        asked = route.fresh if route.fresh != "live" else mode == "live"
        if asked and not caller.session.fresh(now):
            return "/sign-in/again"
        return ""

    def form_secret(self, caller: Caller) -> str:
        """Return what a session's forms are known by."""
        if not isinstance(caller, UserCaller):
            raise TypeError("the dashboard lets users in, and nobody else")
        return caller.session.id

    def last_secret(self, exchange: Exchange) -> str | None:
        """Return what the forms are known by of the session whose cookie came, ended or not."""
        return exchange.service.sessions.id_of(exchange.request.cookies.get(COOKIE, ""))
