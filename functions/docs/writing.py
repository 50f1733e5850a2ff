"""What pages are written with: Markdown to HTML, blocks of code, sentences of the catalogue.

All of it escapes what it is given. Its libraries are imported when the first page is asked for.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token
    from markupsafe import Markup

_ROLES = {
    "thead_open": "rowgroup",
    "tbody_open": "rowgroup",
    "tr_open": "row",
    "th_open": "columnheader",
    "td_open": "cell",
}


class Section(NamedTuple):
    """A part of a page as others link to it: an address or an anchor, and its title."""

    path: str
    title: str


class Text(NamedTuple):
    """A text as it was read: its title, its sections, its HTML without the title."""

    title: str
    sections: Sequence[Section]
    html: "Markup"


def read(markdown: str) -> Text:
    """Read a text that begins with its title."""
    reader = _reader()
    tokens = reader.parse(markdown)
    sections = [*_mark_headings(tokens)]
    _mark_tables(tokens)
    html = reader.renderer.render(tokens[3:], reader.options, {})
    return Text(tokens[1].content, sections, _safe(html))


def _mark_headings(tokens: "Sequence[Token]") -> Iterator[Section]:
    """Give each heading an anchor of its words, and yield the sections."""
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open" and opening.tag != "h1":
            words = "".join(child.content for child in inline.children or ())
            anchor = re.sub(r"[^a-z0-9]+", "-", words.lower()).strip("-")
            opening.attrSet("id", anchor)
            if opening.tag == "h2":
                yield Section(f"#{anchor}", words)


def _mark_tables(tokens: "Sequence[Token]") -> None:
    """Say what the parts of tables are: on a phone their rows are shown as cards."""
    heads: list[str] = []
    column = 0
    for opening, inline in pairwise(tokens):
        if opening.type in _ROLES:
            opening.attrSet("role", _ROLES[opening.type])
        if opening.type == "thead_open":
            heads = []
        elif opening.type == "th_open":
            heads.append(inline.content)
        elif opening.type == "tr_open":
            column = 0
        elif opening.type == "td_open":
            opening.attrSet("data-label", heads[column])
            column += 1


def prose(markdown: str) -> "Markup":
    """Write paragraphs."""
    return _safe(_reader().render(markdown))


def sentence(text: str) -> "Markup":
    """Write a sentence of the catalogue, the facts that each case fills in as variables."""
    return _safe(re.sub(r"\{(\w+)\}", r"<var>\1</var>", escape(text, quote=False)))


def code_block(code: str, language: str, label: str = "") -> "Markup":
    """Write a block of code: it scrolls inside itself, and whoever has no mouse can reach it."""
    label = escape(label or _LABELS[language])
    return _safe(
        f'<figure class="code" data-language="{language}"><figcaption>{label}</figcaption>'
        f'<pre role="group" aria-label="{label}" tabindex="0">'
        f"<code>{_coloured(code.strip(), language)}</code></pre></figure>\n"
    )


def _safe(html: str) -> "Markup":
    from markupsafe import Markup

    return Markup(html)  # noqa: S704 - everything in it was escaped in this file


def _reader() -> "MarkdownIt":
    """Return a reader of Markdown for which raw HTML is text."""
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False}).enable("table")
    reader.add_render_rule("fence", _fence)
    reader.add_render_rule("table_open", _table_open)
    reader.add_render_rule("table_close", _table_close)
    return reader


def _table_open(*_: Any) -> str:
    return '<div class="table" role="group" aria-label="Table" tabindex="0"><table role="table">\n'


def _table_close(*_: Any) -> str:
    return "</table></div>\n"


def _fence(_: Any, tokens: "Sequence[Token]", index: int, *__: Any) -> str:
    return code_block(tokens[index].content, tokens[index].info)


_LABELS = {"sh": "Shell", "json": "JSON", "js": "JavaScript", "html": "HTML", "text": "Text"}
_PARTS = {
    "json": re.compile(
        r'(?P<key>"(?:[^"\\]|\\.)*")(?=\s*:)|(?P<text>"(?:[^"\\]|\\.)*")'
        r"|(?P<value>\b(?:true|false|null)\b|-?\b\d[\d.eE+-]*)"
    ),
    "sh": re.compile(
        r"(?P<text>'[^']*'|\"[^\"]*\")|(?P<value>\$\w+)|(?P<key>(?<=\s)--?[A-Za-z][\w-]*|^curl\b)",
        re.MULTILINE,
    ),
}
"""What is coloured in a language: each group is a class of the style sheet."""


def _coloured(code: str, language: str) -> str:
    """Escape a code and mark the parts of it that have a colour."""
    if language not in _PARTS:
        return escape(code, quote=False)
    written = []
    end = 0
    for found in _PARTS[language].finditer(code):
        part = f'<span class="{found.lastgroup}">{escape(found[0], quote=False)}</span>'
        written += [escape(code[end : found.start()], quote=False), part]
        end = found.end()
    return "".join([*written, escape(code[end:], quote=False)])
