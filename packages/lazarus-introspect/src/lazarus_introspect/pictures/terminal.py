"""Pictures in a terminal, by rich: maps as coloured cells with their numbers, bars, and lines as sparks."""

import io
from typing import TYPE_CHECKING

import numpy as np

from lazarus_core.printable import printable_line
from lazarus_introspect.pictures.parts import Bars, Grid, Heatmap, Lines, Part, Table, Values, span
from lazarus_introspect.pictures.reduction import block_means, chosen_cells, evenly

if TYPE_CHECKING:
    from rich.style import Style
    from rich.table import Table as RichTable
    from rich.text import Text

UNLIMITED = 1_000_000
"""Width of files and pipes."""
_NAME_CHARS = 20
_CELL_CHARS = 12
_SPARKS = "▁▂▃▄▅▆▇█"
_SMALL = 12
"""Rows and columns of a map of a grid."""
_BAR_CHARS = 32

_Colour = tuple[int, int, int]
_NEUTRAL: _Colour = (238, 241, 245)
_HIGH: _Colour = (37, 99, 235)
_LOW: _Colour = (194, 65, 12)


def terminal(part: Part, *, width: int = UNLIMITED, has_color: bool = False) -> str:
    """A picture as text.

    Args:
        part: The picture.
        width: Characters of a line; a map that is wider is drawn with fewer columns, and says so.
        has_color: Whether cells have colours, as escape sequences.
    """
    from rich.console import Console
    from rich.text import Text

    console = Console(
        file=io.StringIO(),
        width=min(width, 4000) if width != UNLIMITED else UNLIMITED,
        force_terminal=has_color,
        color_system="truecolor" if has_color else None,
        no_color=not has_color,
        legacy_windows=False,
        highlight=False,
        markup=False,
        emoji=False,
    )
    console.print(Text(printable_line(part.title), style="bold"), soft_wrap=True)
    match part:
        case Heatmap():
            drawn = _narrowed(part, width, has_color=has_color)
            console.print(_heat(drawn, is_small=_cell_width(part) * len(drawn.columns) > width), soft_wrap=False)
            note = drawn.note
        case Grid():
            console.print(_grid(part, width))
            note = part.note
        case Bars():
            console.print(_bars(part))
            note = part.note
        case Lines():
            console.print(_lines(part, width))
            note = part.note
        case Table():
            console.print(_texts(part))
            note = part.note
    if note:
        console.print(Text(printable_line(note), style="dim"), soft_wrap=True)
    found = console.file
    assert isinstance(found, io.StringIO)
    return "\n".join(line.rstrip() for line in found.getvalue().rstrip("\n").split("\n"))


def _table() -> "RichTable":
    from rich.table import Table as RichTable

    return RichTable(box=None, show_header=False, pad_edge=False, padding=(0, 1), collapse_padding=True)


def _narrowed(part: Heatmap, width: int, *, has_color: bool) -> Heatmap:
    room = width - max(len(part.upwards), *(len(_name(each)) for each in part.rows)) - 1
    need = 1 if has_color else _cell_width(part)
    most = max(1, room // need)
    if len(part.columns) <= most:
        return part
    return chosen_cells(part, list(range(len(part.rows))), evenly(len(part.columns), most))


def _cell_width(part: Heatmap) -> int:
    longest = max(len(_cell(part, row, column)) for row in range(len(part.rows)) for column in range(len(part.columns)))
    return max(longest, max(len(_name(each)) for each in part.columns)) + 1


def _cell(part: Heatmap, row: int, column: int) -> str:
    if part.texts is not None:
        text = part.texts[row][column]
        return printable_line(text if len(text) <= _CELL_CHARS else text[: _CELL_CHARS - 1] + "…")
    value = float(part.values[row, column])
    if not np.isfinite(value):
        return ""
    value = value if round(value, 2) else 0.0
    return f"{value:+.2f}" if part.is_diverging else f"{value:.2f}"


def _name(text: str) -> str:
    return printable_line(text if len(text) <= _NAME_CHARS else text[: _NAME_CHARS - 1] + "…")


def _heat(part: Heatmap, *, is_small: bool) -> "RichTable | Text":
    from rich.text import Text

    low, high = part.span
    if is_small:
        found = Text()
        label = max(map(len, map(_name, part.rows)))
        for row, name in enumerate(part.rows):
            found.append(f"{_name(name):>{label}} ")
            for value in part.values[row]:
                found.append(" ", _style(float(value), low, high, is_diverging=part.is_diverging))
            found.append("\n")
        found.append(f"colours: {low:.4g} to {high:.4g} ({part.unit}), left to right: {part.across or 'columns'}")
        return found
    table = _table()
    table.add_column(no_wrap=True)
    for _ in part.columns:
        table.add_column(no_wrap=True, justify="right")
    table.add_row(Text(printable_line(part.upwards)), *(Text(_name(each)) for each in part.columns))
    for row, name in enumerate(part.rows):
        cells = [
            Text(
                _cell(part, row, column),
                _style(float(part.values[row, column]), low, high, is_diverging=part.is_diverging),
            )
            for column in range(len(part.columns))
        ]
        table.add_row(_name(name), *cells)
    return table


def _style(value: float, low: float, high: float, *, is_diverging: bool) -> "Style":
    from rich.color import Color
    from rich.style import Style

    if not np.isfinite(value):
        return Style()
    end, share = _HIGH, (value - low) / (high - low)
    if is_diverging:
        end, share = (_LOW if value < 0 else _HIGH), abs(value) / high
    share = min(max(share, 0.0), 1.0)
    back = [round(start + (stop - start) * share) for start, stop in zip(_NEUTRAL, end, strict=True)]
    ink = "#ffffff" if share > 0.55 else "#10151d"
    return Style(color=ink, bgcolor=Color.from_rgb(*back))


def _grid(part: Grid, width: int) -> "Text":
    """Each map as a few lines of shades."""
    from rich.text import Text

    found = Text()
    for name, maps in part.groups.items():
        size = max(1, -(-max(maps.shape[1:]) // _SMALL))
        small = [block_means(each, size) for each in maps]
        low, high = span(np.stack(small), is_diverging=False)
        wide = max(small[0].shape[1], max(map(len, part.names[name]))) + 2
        line = max(1, min(len(small), (width if width != UNLIMITED else 120) // wide))
        found.append(f"{printable_line(name)}\n", "bold")
        for start in range(0, len(small), line):
            chosen = range(start, min(start + line, len(small)))
            found.append("".join(f"{printable_line(part.names[name][place]):<{wide}}" for place in chosen) + "\n")
            for row in range(small[0].shape[0]):
                for place in chosen:
                    for value in small[place][row]:
                        found.append(
                            _shade(float(value), low, high), _style(float(value), low, high, is_diverging=False)
                        )
                    found.append(" " * (wide - small[place].shape[1]))
                found.append("\n")
    found.rstrip()
    return found


def _shade(value: float, low: float, high: float) -> str:
    return " ░▒▓█"[min(4, int(5 * (value - low) / (high - low)))] if np.isfinite(value) else " "


def _bars(part: Bars) -> "RichTable":
    from rich.text import Text

    most = max((abs(value) for value in part.values.values()), default=0.0) or 1.0
    has_signs = any(value < 0 for value in part.values.values())
    table = _table()
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True)
    for name, value in part.values.items():
        count = round(_BAR_CHARS * abs(value) / most)
        bar = Text(("-" if value < 0 else "#") * count, "red" if value < 0 else "blue")
        table.add_row(_long(name), f"{value:+.4f}" if has_signs else f"{value:.4g}", bar)
    return table


def _texts(part: Table) -> "RichTable":
    from rich.text import Text

    drawn = _table()
    for _ in part.head:
        drawn.add_column(overflow="fold")
    drawn.add_row(*(Text(printable_line(each), "bold") for each in part.head))
    for row in part.rows:
        drawn.add_row(*(Text(printable_line(each)) for each in row))
    return drawn


def _long(text: str) -> str:
    most = 2 * _NAME_CHARS
    return printable_line(text if len(text) <= most else text[: most - 1] + "…")


def _lines(part: Lines, width: int) -> "RichTable":
    table = _table()
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, justify="right")
    room = min(len(part.steps), 60, max(width - 60, 10))
    table.add_row("", f"{part.across} {part.steps[0]:,} to {part.steps[-1]:,}", "first", "last")
    for name, values in part.series.items():
        picked = values[evenly(len(values), room)]
        table.add_row(_long(name), _spark(picked), f"{values[0]:.4g}", f"{values[-1]:.4g}")
    return table


def _spark(values: Values) -> str:
    low, high = float(values.min()), float(values.max())
    if high <= low:
        return _SPARKS[0] * len(values)
    return "".join(_SPARKS[min(7, int(8 * (value - low) / (high - low)))] for value in values)
