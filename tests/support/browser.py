"""Chromium, as the readers of our pages have it."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, Self, TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import BrowserContext, Page, Playwright, expect, sync_playwright

from tests.support.waiting import PATIENCE

T = TypeVar("T")
Scheme = Literal["light", "dark"]

NONE: Mapping[str, str] = {}
WIDE, NARROW = 1280, 360
"""Pixels across: a laptop, and the narrowest phone."""
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
MISSING = (
    "Chromium was not found, so no page was tested in a browser. Install it with"
    " `apt-get install chromium`."
)
_FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    # The server's certificate is of its own making; a context's leave ends before its beacons do.
    "--ignore-certificate-errors",
)


expect.set_options(timeout=PATIENCE * 1000)


def find_chromium() -> str | None:
    return shutil.which("chromium")


class Tab:
    """A tab of somebody who is known to nobody, in which one page is opened after another."""

    def __init__(self, context: BrowserContext) -> None:
        self._context = context
        self._page = context.new_page()
        self._asked: set[str] = set()
        self._said: list[str] = []
        context.on("request", lambda request: self._asked.add(urlsplit(request.url).netloc))
        context.on("console", lambda message: self._said.append(message.text))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._context.close()

    def open(
        self,
        url: str,
        action: Callable[[Page], T],
        *,
        width: int = WIDE,
        scheme: Scheme = "light",
        calls: Sequence[str] = (),
        cookies: Mapping[str, str],
        said: list[str] | None,
    ) -> T:
        """Open a page and do something with it, in a browser without other cookies."""
        self._asked, self._said = set(), [] if said is None else said
        self._context.clear_cookies()
        host = "{0.scheme}://{0.netloc}/".format(urlsplit(url))
        self._context.add_cookies(
            [{"name": name, "value": text, "url": host} for name, text in cookies.items()]
        )
        self._page.set_viewport_size({"width": width, "height": 900})
        self._page.emulate_media(color_scheme=scheme)
        self._page.goto(url)
        found = action(self._page)
        others = self._asked - {urlsplit(each).netloc for each in (url, *calls)}
        assert not others, f"the page asked something of {others}"
        return found


class Browser:
    """A browser, in a thread of its own: Playwright keeps an event loop running in its thread."""

    def __init__(self, executable: str) -> None:
        self._thread = ThreadPoolExecutor(1)
        self._looking: Tab | None = None
        self._thread.submit(self._start, executable).result()

    def _start(self, executable: str) -> None:
        self._playwright: Playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=executable, args=list(_FLAGS)
        )

    def visit(
        self,
        url: str,
        action: Callable[[Page], T],
        *,
        width: int = WIDE,
        scheme: Scheme = "light",
        script: bool = True,
        calls: Sequence[str] = (),
        cookies: Mapping[str, str] = NONE,
        said: list[str] | None = None,
    ) -> T:
        """Open a page as somebody who comes for the first time, and do something with it.

        They come with `cookies`, if they have any. The page may ask nothing of a host but its own
        and those of `calls`. What is said on the console from its first byte on is added to `said`.
        """

        def act() -> T:
            with self._tab(script=script) as tab:
                return tab.open(
                    url,
                    action,
                    width=width,
                    scheme=scheme,
                    calls=calls,
                    cookies=cookies,
                    said=said,
                )

        return self._thread.submit(act).result()

    def look(
        self,
        url: str,
        action: Callable[[Page], T],
        *,
        cookies: Mapping[str, str] = NONE,
        said: list[str] | None = None,
    ) -> T:
        """Do the same in a tab that stays open, which is a third cheaper than a new one.

        It is for who looks. What a page keeps in the browser, but for cookies, is there afterwards.
        """

        def act() -> T:
            if self._looking is None:
                self._looking = self._tab()
            return self._looking.open(url, action, cookies=cookies, said=said)

        return self._thread.submit(act).result()

    def _tab(self, *, script: bool = True) -> "Tab":
        return Tab(self._browser.new_context(java_script_enabled=script, reduced_motion="reduce"))

    def close(self) -> None:
        def end() -> None:
            self._browser.close()
            self._playwright.stop()

        self._thread.submit(end).result()
        self._thread.shutdown()
