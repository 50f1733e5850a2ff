"""The pages under /docs: guides in Markdown, templates, assets, and how one page follows another.

A page is made when it is first asked for and kept; so is what makes it, which is slow to import.
"""

import hashlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.docs import reference, writing
from functions.docs.writing import Section, Text
from shared import Content
from shared.catalogue import CATALOGUE, ON_THE_WAY, RETRYABLE, TITLES
from shared.design import HERE as DESIGN
from shared.errors import ApiError
from shared.exchange import VERSION
from shared.routes import Site

if TYPE_CHECKING:
    from jinja2 import Environment

HERE = Path(__file__).parent
GUIDES = {
    "/docs": "start",
    "/docs/authentication": "authentication",
    "/docs/test-mode": "test-mode",
    "/docs/errors": "errors",
    "/docs/pagination": "pagination",
    "/docs/idempotency": "idempotency",
    "/docs/front-ends": "front-ends",
    "/docs/usage": "usage",
    "/docs/requests": "requests",
    "/docs/going-live": "going-live",
}
"""The guides in the order in which they are read, by path: files in guides/."""
ASSETS = {
    "ally.svg": (DESIGN, "image/svg+xml"),
    "base.css": (DESIGN, "text/css; charset=utf-8"),
    "ally.css": (HERE, "text/css; charset=utf-8"),
    "ally.js": (HERE, "text/javascript; charset=utf-8"),
}
"""Where each lies: what portals look like too is theirs."""
PAGE_SECONDS = 300
ASSET_SECONDS = 365 * 24 * 3600
"""An asset's address changes with its content."""
_POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self';"
    " img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
SAFETY = (
    ("Content-Security-Policy", _POLICY),
    ("X-Content-Type-Options", "nosniff"),
    ("Referrer-Policy", "no-referrer"),
)


@cache
def page(path: str, site: Site) -> Content:
    """Return a page, or refuse because there is none."""
    if path in GUIDES:
        guide = _guide(path, site)
        if path == "/docs/errors":
            sections = [*guide.sections, Section("#codes", "All codes")]
            return _show("errors.html", path, site, guide.title, sections, guide=guide)
        return _show("guide.html", path, site, guide.title, guide.sections, guide=guide)
    if path == reference.INDEX:
        shown = {"groups": reference.groups(), "usual": reference.usual_errors()}
        return _show("reference.html", path, site, "Reference", (), **shown)
    group = reference.find(path)
    if group is None:
        raise ApiError("route_unknown")
    sections = [Section(f"#{each.id}", each.title) for each in group.operations]
    return _show("resource.html", path, site, group.title, sections, group=group)


@cache
def asset(name: str) -> Content:
    """Return a file that pages need, or refuse because there is none."""
    if name not in ASSETS:
        raise ApiError("route_unknown")
    folder, kind = ASSETS[name]
    return Content(kind, (folder / "assets" / name).read_text(), SAFETY, ASSET_SECONDS)


def _show(
    template: str, path: str, site: Site, title: str, sections: Sequence[Section], **more: Any
) -> Content:
    guides = [Section(each, _guide(each, site).title) for each in GUIDES]
    resources = [Section(reference.INDEX, "Overview")]
    resources += [Section(group.path, group.title) for group in reference.groups()]
    shelf = [*guides, *resources]
    position = [leaf.path for leaf in shelf].index(path)
    html = (
        _environment()
        .get_template(template)
        .render(
            site=site,
            path=path,
            title=title,
            sections=sections,
            shelves={"Guides": guides, "Reference": resources},
            before=shelf[position - 1] if position else None,
            after=shelf[position + 1] if position + 1 < len(shelf) else None,
            **more,
        )
    )
    return Content("text/html; charset=utf-8", html, SAFETY, PAGE_SECONDS)


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {
        "address_of": _address_of,
        "code_block": writing.code_block,
        "prose": writing.prose,
        "sentence": writing.sentence,
        "codes": _codes_by_status(),
        "on_the_way": list(dict.fromkeys(ON_THE_WAY.values())),
        "retryable": RETRYABLE,
    }
    return environment


@cache
def _guide(path: str, site: Site) -> Text:
    """Read a guide, with the facts of the deployment put in, as in `{{ url }}`."""
    text = (HERE / "guides" / f"{GUIDES[path]}.md").read_text()
    facts = {**site._asdict(), "version": VERSION}
    for fact, value in facts.items():
        text = text.replace(f"{{{{ {fact} }}}}", value)
    return writing.read(text)


def _address_of(name: str) -> str:
    """Return where an asset is: an address that changes with its content."""
    digest = hashlib.sha256(asset(name).text.encode()).hexdigest()
    return f"/docs/assets/{name}?{digest[:12]}"


def _codes_by_status() -> list[tuple[int, str, list[Any]]]:
    codes = sorted(CATALOGUE.values(), key=lambda code: (code.status, code.name))
    return [
        (status, TITLES[status], [code for code in codes if code.status == status])
        for status in dict.fromkeys(code.status for code in codes)
    ]
