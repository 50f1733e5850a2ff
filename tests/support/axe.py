"""axe: what of a page somebody cannot read or use."""

from typing import Any

from axe_playwright_python.base import AxeResults
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

AXE = Axe()


def broken(page: Page, what: str, **options: Any) -> list[str]:
    """Return what axe finds wrong with a page as it is now, after a word of how it is shown.

    The options are those of `axe.run`. Of what is well it would tell too, element by element, as
    slowly as it looks.
    """
    if not page.evaluate("'axe' in window"):  # it is half a megabyte: once for each page
        page.evaluate(AXE.axe_script)
    found = page.evaluate("options => axe.run(options)", {"resultTypes": ["violations"], **options})
    results = AxeResults(found)
    return [f"{what}\n{results.generate_report()}"] if results.violations_count else []
