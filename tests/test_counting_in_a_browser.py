"""The script that counts what happens in a page, in a real browser on pages of other origins."""

import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page as Tab

from shared.backends.metrics import FRONT_END_EVENTS, FRONT_END_TIMINGS, Distribution, Reading
from shared.service import Service
from tests.support.browser import Browser
from tests.support.faulty import Faulty, Says
from tests.support.serving import Backing, Json, Partner, Server
from tests.support.waiting import until
from tests.test_frontend_events import publishable

LAST = "error.other"
"""What a server of the partner's sends in the end: when that is seen, what was counted is."""
AUTOMATIC = {"timing.page_load": 1}
"""What the script counts of every page without being told."""
TAG = '<!DOCTYPE html><title>Front end</title><script src="{src}" {attributes}></script>{more}'
ASKS_NOT_TO_BE_TRACKED = "Object.defineProperty(navigator, '{}', {{ get: () => {} }})"

EMPTY = Says(200, {"Content-Type": "text/html"}, "<!DOCTYPE html><title>Nothing</title>")

pytestmark = pytest.mark.parametrize("backing", ["local"], indirect=True)


@pytest.fixture(scope="module")
def served(backing: Backing) -> Iterator[Server]:
    """A server that writes what it counted each second."""
    running = Server(backing, Path(backing.environment["ALLY_STATE"]), ALLY_METERING_INTERVAL="1")
    yield running
    running.stop()


class Shop:
    """A partner's page, on an origin of this machine, and a browser that visits it."""

    def __init__(self, browser: Browser, partner: Partner, served: Server, page: Faulty) -> None:
        self.browser = browser
        self.partner = partner
        self.served = served
        self.page = page
        self.origin = page.url.replace("127.0.0.1", "localhost")
        self.key = publishable(partner, origins=[self.origin]).maskedKey
        self.sent: list[str] = []
        """The bodies of what was sent to us."""
        self.complaints: list[str] = []
        """What the browser said on its console."""

    def visit(
        self,
        act: Callable[[Tab], Any] = lambda tab: None,
        *,
        attributes: str | None = None,
        more: str = "",
        before: str = "",
        headers: Json | None = None,
        as_it_ends: int = 0,
    ) -> None:
        """Open a page that has the script, and do something there; the tab ends by closing.

        `as_it_ends` is how many events the page sends then, which are no requests of the tab's.
        """
        shown = f'data-key="{self.key}"' if attributes is None else attributes
        html = TAG.format(src=f"{self.served.url}/ally.js", attributes=shown, more=more)

        def visit(tab: Tab) -> None:
            tab.on("request", self._note)
            tab.on("console", lambda said: self.complaints.append(said.text))
            if before:
                tab.add_init_script(before)
            self.page.acts = [Says(200, {"Content-Type": "text/html", **(headers or {})}, html)]
            tab.goto(f"{self.origin}/page")
            act(tab)
            least = len(self.sent) + as_it_ends
            tab.close()
            time.sleep(0.3)  # what it sent is told a moment later
            # The context ends with the visit, and beacons with it.
            until(lambda: len(self.lines()) >= max(least, len(self.sent)))

        self.browser.visit(self.origin, visit, calls=[self.served.url])

    def lines(self) -> list[Json]:
        """Return what the log has of events of the partner's."""
        whose = self.partner.organisation.id
        return [
            line
            for line in self.partner.lines()
            if line.get("organisation") == whose and line["route"] == "/v1/frontend_events"
        ]

    def _note(self, request: Any) -> None:
        if request.method == "POST":
            self.sent.append(request.post_data or "")

    def counted(self, least: int) -> dict[str, int]:
        """Return how often each event was counted, once so many are, and one of a server's."""
        last = {"event": LAST}
        self.served.send("POST", "/v1/frontend_events", self.partner.key, data=last)
        found: dict[str, int] = {}

        def counted() -> bool:
            self.served.send("GET", "/v1/cancellation_reasons", self.partner.key)
            found.update(self._read())
            return sum(found.values()) > least and LAST in found

        until(counted)
        assert found.pop(LAST) == 1
        return found

    def _read(self) -> dict[str, int]:
        async def read(service: Service) -> Counter[str]:
            found = Counter[str]()
            now = datetime.now(UTC)
            for metric in (FRONT_END_EVENTS, FRONT_END_TIMINGS):
                asked = Reading(
                    metric=metric,
                    organisation=self.partner.organisation.id,
                    modes=("test",),
                    start=now - timedelta(hours=1),
                    end=now + timedelta(hours=1),
                    step=timedelta(hours=2),
                    by=("kind", "name"),
                )
                for each in await service.metrics.read(asked):
                    many = each.value
                    count = many.count if isinstance(many, Distribution) else many
                    found[".".join(each.group)] += count
            return found

        return dict(self.partner.backing.run(read))


@pytest.fixture
def shop(browser: Browser, partner: Partner, served: Server) -> Iterator[Shop]:
    """A partner's page, empty at first."""
    with Faulty([EMPTY]) as page:
        yield Shop(browser, partner, served, page)


def test_views_steps_errors_and_timings_arrive(shop: Shop) -> None:
    def act(tab: Tab) -> None:
        tab.evaluate("Ally.step('window_chosen'); Ally.step('window_chosen')")
        tab.evaluate("Ally.error('refused'); Ally.view('confirmation')")
        tab.evaluate("Ally.timing('booking', 840.4)")

    shop.visit(act, attributes=f'data-key="{shop.key}" data-view="availability"')
    assert shop.counted(7) == AUTOMATIC | {
        "view.availability": 1,
        "view.confirmation": 1,
        "step.window_chosen": 2,
        "error.refused": 1,
        "timing.booking": 1,
    }
    assert shop.complaints == []


def test_what_happens_as_a_page_ends_arrives(shop: Shop) -> None:
    leaving = "<script>addEventListener('pagehide', () => Ally.step('abandoned'))</script>"
    shop.visit(more=leaving, as_it_ends=1)
    assert shop.counted(2) == AUTOMATIC | {"step.abandoned": 1}


def test_a_script_that_fails_is_counted_and_in_a_loop_only_so_often(shop: Shop) -> None:
    failing = (
        "<script>for (let i = 0; i < 500; i++) setTimeout(() => missing());"
        "setTimeout(() => { window.ended = true })</script>"
    )

    def act(tab: Tab) -> None:
        tab.wait_for_function("window.ended")
        while len(shop.sent) < 200:  # what is not sent for long ends the test
            tab.wait_for_timeout(50)

    shop.visit(act, more=failing)
    assert len(shop.sent) == 200
    assert "error.script" in shop.counted(1)  # some are still under way when the browser ends


def test_a_page_may_start_the_script_by_itself(shop: Shop) -> None:
    shop.visit(
        lambda tab: tab.evaluate(f"Ally.start({{ key: '{shop.key}', view: 'home' }})"),
        attributes="",
    )
    assert shop.counted(1) == {"view.home": 1}


@pytest.mark.parametrize(
    ("name", "value"), [("doNotTrack", "'1'"), ("globalPrivacyControl", "true")]
)
def test_whoever_asks_not_to_be_tracked_is_not_counted(shop: Shop, name: str, value: str) -> None:
    shop.visit(
        lambda tab: tab.evaluate("Ally.view('home'); Ally.step('booked')"),
        before=ASKS_NOT_TO_BE_TRACKED.format(name, value),
    )
    assert shop.sent == []
    assert shop.counted(0) == {}


@pytest.mark.parametrize(
    ("name", "value"), [("doNotTrack", "'0'"), ("globalPrivacyControl", "false")]
)
def test_whoever_says_that_they_may_be_is_counted(shop: Shop, name: str, value: str) -> None:
    shop.visit(before=ASKS_NOT_TO_BE_TRACKED.format(name, value))
    assert shop.counted(1) == AUTOMATIC


def test_with_a_token_events_are_of_who_is_signed_in(shop: Shop) -> None:
    shop.partner.patch_organisation(frontEndOrigins=[shop.origin])
    token = shop.partner.end_user("ada").token
    shop.visit(
        lambda tab: tab.evaluate(
            """async (token) => {
                Ally.start({ token: () => Promise.resolve(token) });
                Ally.step("booked");
                await new Promise((done) => setTimeout(done, 300));
            }""",
            token,
        ),
        attributes="",
    )
    assert shop.counted(1) == {"step.booked": 1}
    assert any(line["principal"].startswith("eu_") for line in shop.lines())
    assert shop.sent == ["event=step.booked"]


@pytest.mark.parametrize("token", ["Promise.reject(new Error())", "null", "missing()"])
def test_without_a_token_the_key_speaks_and_nothing_breaks(shop: Shop, token: str) -> None:
    said = f"Ally.start({{ token: () => {token} }}); Ally.step('booked'); true"
    shop.visit(lambda tab: tab.evaluate(said))
    booked = {"step.booked": 1} if token == "null" else {}
    assert shop.counted(1 + len(booked)) == AUTOMATIC | booked


def test_a_page_of_an_origin_that_is_not_registered_counts_nothing(
    shop: Shop, partner: Partner
) -> None:
    shop.key = publishable(partner, origins=["https://www.page.example"]).maskedKey
    shop.visit(lambda tab: tab.evaluate("Ally.view('home')"))
    until(lambda: [line["status"] for line in shop.lines()] == [403, 403])
    assert shop.counted(0) == {}


def test_a_strict_policy_of_the_page_needs_only_our_address(shop: Shop) -> None:
    policy = f"default-src 'none'; script-src {shop.served.url}; connect-src {shop.served.url}"
    shop.visit(
        attributes=f'data-key="{shop.key}" data-view="home"',
        headers={"Content-Security-Policy": policy, "Referrer-Policy": "strict-origin"},
    )
    assert shop.counted(2) == AUTOMATIC | {"view.home": 1}
    assert shop.complaints == []


def test_nothing_of_the_page_is_sent_or_kept(shop: Shop) -> None:
    page = "<h1>Ada Loveworth</h1><form><input name=nhsNumber value=9990000018></form>"
    left: list[Any] = []

    def act(tab: Tab) -> None:
        tab.evaluate("history.replaceState(null, '', '?patient=ada#loveworth')")
        tab.evaluate("Ally.view('details'); Ally.error('validation')")
        left.append(tab.evaluate("[localStorage.length, sessionStorage.length, document.cookie]"))
        left.append(tab.context.cookies())

    shop.visit(act, more=page)
    assert left == [[0, 0, ""], []]
    words = {"event=view.details", "event=error.validation", "event=timing.page_load"}
    for sent in shop.sent:
        event, *others = sent.split("&")
        assert event in words
        assert {each.partition("=")[0] for each in others} <= {"key", "milliseconds"}
    assert shop.counted(3) == AUTOMATIC | {"view.details": 1, "error.validation": 1}
