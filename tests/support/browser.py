"""Chromium, as the readers of our pages have it."""

import shutil
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from playwright.sync_api import Page, Playwright, expect, sync_playwright

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


class Browser:
    """A browser, in a thread of its own: Playwright keeps an event loop running in its thread."""

    def __init__(self, executable: str) -> None:
        self._thread = ThreadPoolExecutor(1)
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
            with self._browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme=scheme,
                java_script_enabled=script,
                reduced_motion="reduce",
            ) as context:
                asked: set[str] = set()
                context.on("request", lambda request: asked.add(urlsplit(request.url).netloc))
                if said is not None:
                    context.on("console", lambda message: said.append(message.text))
                host = "{0.scheme}://{0.netloc}/".format(urlsplit(url))
                context.add_cookies(
                    [{"name": name, "value": text, "url": host} for name, text in cookies.items()]
                )
                page = context.new_page()
                page.goto(url)
                found = action(page)
                others = asked - {urlsplit(each).netloc for each in (url, *calls)}
                assert not others, f"the page asked something of {others}"
                return found

        return self._thread.submit(act).result()

    def close(self) -> None:
        def end() -> None:
            self._browser.close()
            self._playwright.stop()

        self._thread.submit(end).result()
        self._thread.shutdown()
