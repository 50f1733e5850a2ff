"""Take a picture of every page under /docs, wide and narrow, light and dark: `make screenshots`."""

import argparse
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page

from tests.support.browser import MISSING, NARROW, SCHEMES, WIDE, Browser, find_chromium
from tests.support.serving import Backing, Server
from tests.test_docs import PATHS

FOLDER = Path("screenshots")
CONSOLE = "/docs/reference/patients"


def main() -> None:
    """Serve the pages from a state of their own and photograph them."""
    parser = argparse.ArgumentParser(prog="make screenshots", description=__doc__)
    parser.add_argument("--only", default="", help="a part of the paths to photograph")
    wanted = [path for path in PATHS if parser.parse_args().only in path]
    executable = find_chromium()
    if executable is None:
        sys.exit(MISSING)
    FOLDER.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        backing = Backing({"ALLY_BACKEND": "local", "ALLY_STATE": folder})
        server = Server(backing, Path(folder))
        key = backing.partner(server).key
        browser = Browser(executable)
        try:
            for path in wanted:
                photograph(browser, server, path, key)
        finally:
            browser.close()
            server.stop()
            backing.close()


def photograph(browser: Browser, server: Server, path: str, key: str) -> None:
    """Save the pictures of one page; of the console's page also one with an answer in it."""
    name = path.strip("/").replace("/", "-")

    for width in (WIDE, NARROW):
        for scheme in SCHEMES:
            file = f"{name}-{width}-{scheme}.png"

            def take(page: Page, file: str = file) -> None:
                page.screenshot(path=FOLDER / file, full_page=True)
                if path == CONSOLE:
                    page.locator(".console summary").first.click()
                    page.get_by_label("Test key").first.fill(key)
                    page.get_by_role("button", name="Send").first.click()
                    page.get_by_text("200 in").wait_for()
                    page.locator("#createPatient").scroll_into_view_if_needed()
                    page.locator(".console").first.screenshot(path=FOLDER / f"console-{file}")

            browser.visit(f"{server.url}{path}", take, width=width, scheme=scheme)
            print(FOLDER / file)


if __name__ == "__main__":
    main()
