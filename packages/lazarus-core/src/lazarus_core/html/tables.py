"""Text parts of a page: key figures, lists of facts, bars, tables, and parts that open on demand."""

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import NamedTuple

from lazarus_core.html.theme import NUM_COLOURS

_SHORT_NAME = 24
"""Names of at most this many characters fit the narrowest screen."""


class Markup(str):
    """HTML that is already escaped. Every other text is escaped by the functions of this module."""


def as_markup(text: str) -> str:
    """A text as HTML: escaped, unless it is `Markup`."""
    return text if isinstance(text, Markup) else escape(text)


def unbroken(name: str) -> Markup:
    """A short name as HTML that is not broken at its hyphens; a long one may be."""
    return Markup(f'<span class="unbroken">{escape(name)}</span>' if len(name) <= _SHORT_NAME else escape(name))


class Bar(NamedTuple):
    """One bar.

    Args:
        name: Label.
        share: Length, 0 to 1.
        text: The figure, as text.
        is_ours: Whether the bar is emphasised.
    """

    name: str
    share: float
    text: str
    is_ours: bool


def bars(found: Iterable[Bar]) -> str:
    """Horizontal bars with names and figures, as an HTML list."""
    items = (
        f'<li><span class="name">{as_markup(bar.name)}</span>'
        f'<span class="bar"><i{" class=ours" if bar.is_ours else ""} style="width:{_width(bar.share)}"></i></span>'
        f'<span class="value">{as_markup(bar.text)}</span></li>'
        for bar in found
    )
    return f'<ul class="bars" role="list">{"".join(items)}</ul>'


def _width(share: float) -> str:
    """A length that is visible unless it is zero."""
    return f"max(2px, {100 * min(share, 1):.1f}%)" if share > 0 else "0"


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    numbers: Sequence[int] = (),
    long: Sequence[int] = (),
    label: str = "Table",
) -> str:
    """A table in a box that scrolls sideways, with a shadow where it goes on.

    Args:
        head: Titles of the columns; empty for none.
        rows: Cells.
        numbers: Columns aligned right.
        long: Columns of long text, whose lines break.
        label: Name of the box for screen readers.
    """

    def kind(column: int) -> str:
        return ' class="number"' if column in numbers else ' class="long"' if column in long else ""

    titles = "".join(
        f'<th scope="col"{kind(column) if column in numbers else ""}>{as_markup(each)}</th>'
        for column, each in enumerate(head)
    )
    body = "".join(
        f"<tr>{''.join(f'<td{kind(column)}>{as_markup(each)}</td>' for column, each in enumerate(row))}</tr>"
        for row in rows
    )
    top = f"<thead><tr>{titles}</tr></thead>" if head else ""
    return scroll(f"<table>{top}<tbody>{body}</tbody></table>", label)


def scroll(content: str, label: str = "Table") -> str:
    """A box that scrolls sideways, with a shadow where it goes on.

    Args:
        content: HTML, such as a table.
        label: Name for screen readers.
    """
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{escape(label)}">{content}</div>'


def figures(found: Mapping[str, str]) -> str:
    """Key figures as tiles: values by their labels."""
    items = "".join(
        f"<div><dt>{as_markup(name)}</dt><dd>{as_markup(value)}</dd></div>" for name, value in found.items()
    )
    return f'<dl class="figures">{items}</dl>'


def facts(found: Mapping[str, str]) -> str:
    """A list of names and texts."""
    items = "".join(f"<div><dt>{as_markup(name)}</dt><dd>{as_markup(text)}</dd></div>" for name, text in found.items())
    return f'<dl class="facts">{items}</dl>'


def more(summary: str, content: str) -> str:
    """A part that is closed until the reader opens it.

    Args:
        summary: The line that opens it, as plain text.
        content: HTML.
    """
    return f"<details><summary>{escape(summary)}</summary>{content}</details>"


def series_key(number: int, name: str) -> Markup:
    """A name with the colour of its line.

    Args:
        number: Number of the colour, as in `Curve`.
        name: The name, as plain text.
    """
    key = f'<i class="key key{number % NUM_COLOURS}"></i>'
    return Markup(
        f'<span class="unbroken">{key}{escape(name)}</span>' if len(name) <= _SHORT_NAME else key + escape(name)
    )


def in_words(names: Sequence[str], most: int = 3) -> str:
    """Names as a phrase for a title.

    >>> in_words(["a", "b", "c"]), in_words(["a", "b", "c", "d", "e"])
    ('a, b and c', 'a, b, c and 2 more')

    Args:
        names: The names.
        most: Largest number of names that are listed.
    """
    listed = [*names[:most], f"{len(names) - most} more"] if len(names) > most else list(names)
    return " and ".join(each for each in (", ".join(listed[:-1]), *listed[-1:]) if each)
