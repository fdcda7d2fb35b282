"""Formats tables of names, numbers and notes as text."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple


def aligned(rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Formats rows of cells as lines with aligned columns.

    >>> print(aligned([("a", "1", "x"), ("bcd", "22", "y")], right=[1]))
    a     1  x
    bcd  22  y

    Args:
        rows: Rows with equal numbers of cells.
        right: Indices of the columns to align right.
    """
    rows = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)


class Table(NamedTuple):
    """Rows of cells that a report shows, as text or on a page.

    Args:
        rows: Rows with equal numbers of cells.
        right: Indices of the columns to align right.
        has_head: Whether the first row names the columns.
        title: Name of the table, or empty.
    """

    rows: Sequence[Sequence[str]]
    right: tuple[int, ...] = ()
    has_head: bool = False
    title: str = ""


def as_text(blocks: Iterable[Table | str]) -> str:
    """Formats tables and paragraphs as text, with an empty line between two.

    >>> print(as_text([Table([("a", "1"), ("bcd", "22")], right=(1,)), "end"]))
    a     1
    bcd  22
    <BLANKLINE>
    end

    Args:
        blocks: The tables and paragraphs.
    """
    return "\n\n".join(
        each
        if isinstance(each, str)
        else f"{each.title + chr(10) if each.title else ''}{aligned(each.rows, each.right)}"
        for each in blocks
    )


def heads(blocks: Iterable[Table | str]) -> list[str]:
    """The lines of `as_text` that are the title of a table or name its columns.

    >>> heads([Table([("", "count"), ("a", "1")], has_head=True, title="letters"), "end"])
    ['letters', '   count']

    Args:
        blocks: The tables and paragraphs.
    """
    found: list[str] = []
    for each in blocks:
        if isinstance(each, Table):
            found += [each.title] * bool(each.title)
            found += aligned(each.rows, each.right).split("\n")[:1] * each.has_head
    return found


def number(value: float | None, digits: int = 3) -> str:
    """Formats a number with thousands separators, or a dash for None.

    Args:
        value: The number.
        digits: Decimal places of a float.
    """
    match value:
        case None:
            return "-"
        case int():
            return f"{value:,}"
        case _:
            return f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """Formats a share, 0 to 1, as per cent, or a dash for None."""
    return "-" if value is None else f"{100 * value:.2f} %"


def bars(items: Sequence[tuple[str, int]], width: int = 40) -> str:
    """Formats a histogram with a bar of `#` for each item.

    Args:
        items: Label and count of each bar.
        width: Characters of the longest bar.
    """
    tallest = max((count for _, count in items), default=0) or 1
    return aligned([(label, "#" * -(-count * width // tallest), f"{count:,}") for label, count in items], right=[0])
