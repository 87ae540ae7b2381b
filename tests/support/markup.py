"""HTML of a page, as far as tests look into it."""

from html.parser import HTMLParser


class Page(HTMLParser):
    """Its tags and their attributes; an end without its start fails, and a start without its end."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def count(self, tag: str, kind: str) -> int:
        """How many of the tag are of the class `kind`."""
        return sum(name == tag and kind in (attrs.get("class") or "").split() for name, attrs in self.seen)
