"""Figures as people read them: a name, a number, what it means."""

from collections.abc import Iterable, Sequence


def aligned(rows: Iterable[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Rows of cells as lines with columns of one width.

    >>> print(aligned([("a", "1", "x"), ("bcd", "22", "y")], right=[1]))
    a     1  x
    bcd  22  y
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


def number(value: float | None, digits: int = 3) -> str:
    """A figure, or a dash where there is none."""
    match value:
        case None:
            return "-"
        case int():
            return f"{value:,}"
        case _:
            return f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """A share as per cent."""
    return "-" if value is None else f"{100 * value:.2f} %"


def bars(items: Sequence[tuple[str, int]], width: int = 40) -> str:
    """A histogram: label, bar, count."""
    tallest = max((count for _, count in items), default=0) or 1
    return aligned([(label, "#" * -(-count * width // tallest), f"{count:,}") for label, count in items], right=[0])
