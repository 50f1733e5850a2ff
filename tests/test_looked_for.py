"""What is looked for on every host by itself: what search engines may read, and the icon."""

from urllib.robotparser import RobotFileParser

from tests.support.serving import Partner


def test_search_engines_are_let_read_the_documentation_and_nothing_else(partner: Partner) -> None:
    served = partner.server
    told = {}
    for url in (served.url, *map(served.portal, ("dashboard", "operations"))):
        there = RobotFileParser()
        there.parse(served.open("GET", "/robots.txt", headers=at(url)).text.splitlines())
        told[url] = [there.can_fetch("any", f"{url}{path}") for path in ("/docs", "/v1", "/", "/x")]
    ours, *portals = told.values()
    assert ours == [True, False, False, False]
    assert portals == [[False] * 4] * 2


def test_the_icon_is_where_browsers_look_for_it_by_themselves(partner: Partner) -> None:
    served = partner.server
    for url, place in ((served.url, "/docs/assets"), (served.portal("dashboard"), "/assets")):
        icon, asset = (
            served.open("GET", path, headers=at(url))
            for path in ("/favicon.ico", f"{place}/ally.svg")
        )
        assert icon.content == asset.content
        assert icon.headers["content-type"] == "image/svg+xml"
        assert "max-age=604800" in icon.headers["cache-control"]
        assert icon.headers["content-security-policy"] == asset.headers["content-security-policy"]


def at(url: str) -> dict[str, str]:
    """Return the header that names the host of an address."""
    return {"Host": url.removeprefix("https://")}
