"""Text and Markdown files: one document a file."""

import re
from collections.abc import Iterator
from pathlib import Path

from lazarus_corpus.documents import Document
from lazarus_corpus.settings import SourceSettings
from lazarus_corpus.sources.read import document, text_of

_FRONT_MATTER = re.compile(r"\A(---|\+\+\+)[ \t]*\n.*?\n\1[ \t]*(?:\n|\Z)", re.DOTALL)
_HEADING = re.compile(r" {0,3}#{1,6}(?:[ \t]|$)")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")


def read_text(path: Path, source: SourceSettings) -> Iterator[Document]:
    """The file as one document.

    Args:
        path: The file.
        source: Its source.
    """
    yield document(text_of(path), source, str(path))


def read_markdown(path: Path, source: SourceSettings) -> Iterator[Document]:
    """The file as one document, with or without its front matter and headings.

    Args:
        path: The file.
        source: Its source.
    """
    text = text_of(path).replace("\r\n", "\n")
    if source.front_matter == "strip":
        text = _FRONT_MATTER.sub("", text, count=1)
    if source.headings == "strip":
        text = without_headings(text)
    yield document(text, source, str(path))


def without_headings(text: str) -> str:
    r"""Markdown without its `#` headings. Lines of code blocks are kept.

    >>> without_headings("# Title\ntext\n```sh\n# comment\n```")
    'text\n```sh\n# comment\n```'
    """
    kept: list[str] = []
    fence = ""
    for line in text.split("\n"):
        opened = _FENCE.match(line)
        if fence:
            if opened and opened[1].startswith(fence):
                fence = ""
        elif opened:
            fence = opened[1]
        elif _HEADING.match(line):
            continue
        kept.append(line)
    return "\n".join(kept)
