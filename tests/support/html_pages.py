"""Reads HTML pages in tests: their elements, texts, and whether names of users change their structure."""

import re
from html.parser import HTMLParser
from typing import NamedTuple

from hypothesis import strategies as st

ATTACKS = (
    "</script><script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    '" onfocus="alert(1)" x="',
    "' style='width:9999px",
    "</title><b>",
    "</style>&lt;<!--",
    "]]>&amp;&#60;b>",
)
NAMES = st.one_of(st.sampled_from(ATTACKS), st.text(max_size=40), st.text("<>\"'&/=- ab", min_size=1, max_size=12))
"""Names of users: attacks, any text, and texts of the characters that HTML gives a meaning."""
VOID = {"meta", "br", "hr", "img", "input", "link", "rect", "line", "path"}
"""Elements without an end. Of those in SVG, each is closed by a slash."""


class Element(NamedTuple):
    """An element of a page.

    Args:
        tag: Its name.
        attributes: Values by names.
        inside: Tags and classes around it, from the outermost on.
    """

    tag: str
    attributes: dict[str, str]
    inside: tuple[str, ...]


class Read(HTMLParser):
    """A page that has been read."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[Element] = []
        self.texts: dict[str, list[str]] = {}
        """Texts by the tag around them."""
        self.wrong: list[str] = []
        self.words: list[str] = []
        """All texts, in their order."""
        self._open: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        self.wrong += [f"<{tag}> is not closed" for tag, _ in self._open]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if len({name for name, _ in attrs}) != len(attrs):
            self.wrong.append(f"an attribute of <{tag}> occurs twice")
        attributes = {name: value or "" for name, value in attrs}
        inside = tuple(f"{name}.{kind}" if kind else name for name, kind in self._open)
        self.elements.append(Element(tag, attributes, inside))
        if tag not in VOID:
            self._open.append((tag, attributes.get("class", "")))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open.pop()[0] != tag:
            self.wrong.append(f"</{tag}> closes another element")

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._open:
            self.texts.setdefault(self._open[-1][0], []).append(data)

    def text(self, tag: str) -> str:
        """All text directly in elements of a name."""
        return "".join(self.texts.get(tag, []))

    def shape(self) -> list[tuple[str, tuple[str, ...]]]:
        """Tags with the names of their attributes: what a user's text must not change."""
        return [(each.tag, tuple(sorted(each.attributes))) for each in self.elements]


def plain(html: str) -> str:
    """The text of a piece of HTML."""
    return "".join(Read(html).words)


def between(page: str, tag: str) -> str:
    """The HTML inside the first element of a name, whatever its attributes."""
    found = re.search(rf"<{tag}[^>]*>(.*?)</{tag}>", page, re.DOTALL)
    assert found, f"no <{tag}>"
    return found[1]
