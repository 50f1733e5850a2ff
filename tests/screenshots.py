"""Take a picture of every page, wide and narrow, light and dark: `make screenshots`."""

import argparse
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Page

from tests.support.browser import MISSING, NARROW, NONE, SCHEMES, WIDE, Browser, find_chromium
from tests.support.serving import Backing, Partner, Server
from tests.support.tour import PAGES, Tour
from tests.test_docs import PATHS

FOLDER = Path("screenshots")
CONSOLE = "/docs/reference/patients"


def main() -> None:
    """Serve the pages from a state of their own and photograph them."""
    parser = argparse.ArgumentParser(prog="make screenshots", description=__doc__)
    parser.add_argument("--only", default="", help="a part of the addresses to photograph")
    only = parser.parse_args().only
    executable = find_chromium()
    if executable is None:
        sys.exit(MISSING)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        log = str(Path(folder) / "requests.jsonl")
        state = {"ALLY_BACKEND": "local", "ALLY_STATE": folder, "ALLY_LOG": log}
        backing = Backing(state)
        server = Server(backing, Path(folder))
        browser = Browser(executable)
        try:
            photograph_all(browser, backing.partner(server, "Riverside Health"), only)
        finally:
            browser.close()
            server.stop()
            backing.close()


def photograph_all(browser: Browser, partner: Partner, only: str) -> None:
    """Save the pictures of the pages whose address has a text in it."""
    for path in PATHS:
        if only in path:
            photograph(browser, f"{partner.server.url}{path}", path, key=partner.key)
    tour = Tour(partner)
    for portal, template in PAGES:
        if only in f"{portal}{template}":
            person = tour.visitor(portal, template)
            url = person.url + tour.path(template)
            photograph(browser, url, f"{portal}{template}", cookies=person.cookies)


def photograph(
    browser: Browser, url: str, name: str, *, key: str = "", cookies: Mapping[str, str] = NONE
) -> None:
    """Save the pictures of one page; of the console's page also one with an answer in it."""
    for width in (WIDE, NARROW):
        for scheme in SCHEMES:
            file = f"{name.strip('/').replace('/', '-')}-{width}-{scheme}.png"

            def take(page: Page, file: str = file) -> None:
                page.screenshot(path=FOLDER / file, full_page=True)
                if name == CONSOLE:
                    page.locator(".console summary").first.click()
                    page.get_by_label("Test key").first.fill(key)
                    page.get_by_role("button", name="Send").first.click()
                    page.get_by_text("200 in").wait_for()
                    page.locator("#createPatient").scroll_into_view_if_needed()
                    page.locator(".console").first.screenshot(path=FOLDER / f"console-{file}")

            browser.visit(url, take, width=width, scheme=scheme, cookies=cookies)
            print(FOLDER / file)


if __name__ == "__main__":
    main()
