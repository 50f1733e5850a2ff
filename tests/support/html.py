"""What a page of ours has in it, read from its HTML."""

from html.parser import HTMLParser

VOID = {"meta", "link", "img", "input", "br", "hr"}


class Html(HTMLParser):
    """A page: where it links to, its anchors, its blocks of code, the rows of its tables."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        """Everything that it links to or loads."""
        self.anchors: list[str] = []
        self.headings: list[tuple[int, str]] = []
        """Each heading's level and text."""
        self.blocks: list[tuple[str, str]] = []
        """Each block of code: its language and its text."""
        self.rows: list[list[str]] = []
        """The cells of each row of its tables."""
        self.attributes: list[tuple[str, dict[str, str]]] = []
        """Each element's name and attributes."""
        self._open: list[str] = []
        self._language = ""
        self.feed(text)
        assert self._open == [], "an element is not closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.attributes.append((tag, found))
        self.links += [found[name] for name in ("href", "src") if name in found]
        self.anchors += [found["id"]] if "id" in found else []
        if tag not in VOID:
            self._open.append(tag)
        if tag == "figure":
            self._language = found.get("data-language", "")
        elif tag == "code" and self._language:
            self.blocks.append((self._language, ""))
        elif tag == "tr":
            self.rows.append([])
        elif tag == "td":
            self.rows[-1].append("")
        elif tag in ("h1", "h2", "h3", "h4"):
            self.headings.append((int(tag[1]), ""))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag
        if tag == "figure":
            self._language = ""

    def handle_data(self, data: str) -> None:
        if self._language and "code" in self._open:
            language, text = self.blocks[-1]
            self.blocks[-1] = (language, text + data)
        if "td" in self._open:
            self.rows[-1][-1] += data
        if self._open and self._open[-1] in ("h1", "h2", "h3", "h4"):
            level, text = self.headings[-1]
            self.headings[-1] = (level, text + data)
