"""The pages of portals as people have them: on a phone, in the dark, by ear."""

import os

import pytest
from playwright.sync_api import Page

from tests.support.axe import broken
from tests.support.browser import NARROW, SCHEMES, Browser
from tests.support.serving import Partner
from tests.support.tour import PAGES, Tour
from tests.test_docs import once

UNFOLD = "for (const each of document.querySelectorAll('main details')) each.open = true"
BEYOND = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
KINDS = """[...document.querySelectorAll('body *')].map(each => [each.parentElement, each].map(
  each => each.localName + '.' + (each.getAttribute('class') ?? '')).join(' > '))"""
"""Each element of a page, by its name and class and those of what it stands in."""
CONTRAST = "color-contrast"
EVERY_LOOK = bool(os.environ.get("ALLY_LOOKS"))
"""Whether axe sees every page in all colours and widths, which takes minutes."""


@pytest.fixture(scope="module")
def seen() -> set[str]:
    """The kinds of elements that were looked at in all colours, on any page."""
    return set()


@pytest.fixture(scope="module")
def tours() -> dict[str, Tour]:
    """The tour, made once by the first page that is looked at."""
    return {}


@once
@pytest.mark.parametrize("place", PAGES, ids="-".join)
def test_a_page_can_be_used_by_everybody_on_every_screen(
    partner: Partner,
    browser: Browser,
    tours: dict[str, Tour],
    seen: set[str],
    place: tuple[str, str],
) -> None:
    portal, template = place
    tour = tours.setdefault("tour", Tour(partner))
    person = tour.visitor(portal, template)
    troubles: list[str] = []

    def look(page: Page) -> list[str]:
        assert page.locator("h1").count() == 1, page.content()
        page.evaluate(UNFOLD)
        found = broken(page, "wide", rules={CONTRAST: {"enabled": False}})
        kinds = set(page.evaluate(KINDS))
        for scheme in SCHEMES if EVERY_LOOK or kinds - seen else ():
            page.emulate_media(color_scheme=scheme)
            found += broken(page, scheme, runOnly=[CONTRAST])
        seen.update(kinds)
        page.set_viewport_size({"width": NARROW, "height": 900})
        if page.evaluate(BEYOND) > 0:
            found.append("it scrolls sideways")
        for scheme in SCHEMES if EVERY_LOOK else ():
            page.emulate_media(color_scheme=scheme)
            found += broken(page, f"narrow {scheme}")
        return found

    url = person.url + tour.path(template)
    found = browser.look(url, look, cookies=person.cookies, said=troubles)
    assert found + troubles == []
