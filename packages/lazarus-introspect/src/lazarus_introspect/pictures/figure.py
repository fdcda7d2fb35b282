"""Pictures as a PNG file, by matplotlib, which the extra `lazarus-introspect[png]` installs."""

import io
from collections.abc import Sequence
from importlib import import_module
from importlib.util import find_spec
from itertools import product
from textwrap import wrap
from typing import Any

import numpy as np

from lazarus_introspect.errors import RequestError
from lazarus_introspect.pictures.parts import Bars, Grid, Heatmap, Lines, Part, Table, span
from lazarus_introspect.pictures.reduction import evenly, reduced_heatmap

_WIDTH = 11.0
"""Inches."""
_MOST_INCHES = 300.0
"""Height of a figure; at 120 dots an inch, 36,000 pixels of the 65,536 that matplotlib can draw."""
_MOST_CELL_TEXTS = 1500
_MOST_NAMES = 40
_MOST_TICKS = 30
_DIVERGING, _SEQUENTIAL = "RdBu", "Blues"


def check_png() -> None:
    """Checks that matplotlib is installed, before any work is done.

    Raises:
        RequestError: It is not.
    """
    if find_spec("matplotlib") is None:
        raise RequestError("a PNG needs matplotlib: install lazarus-introspect[png]", "LI-E104")


def png(title: str, parts: Sequence[Part]) -> bytes:
    """Draws pictures below each other.

    Args:
        title: Title of the figure, as plain text.
        parts: The pictures, at least one.

    Returns:
        The bytes of a PNG file; the same pictures give the same bytes with one version of matplotlib.

    Raises:
        RequestError: matplotlib is not installed.
    """
    check_png()
    canvas: Any = import_module("matplotlib.backends.backend_agg")
    figures: Any = import_module("matplotlib.figure")
    drawn = [reduced_heatmap(part, 6000) if isinstance(part, Heatmap) else part for part in parts]
    heights = [_height(part) for part in drawn]
    scale = min(1.0, _MOST_INCHES / (sum(heights) + 1))
    figure: Any = figures.Figure(figsize=(_WIDTH, scale * (sum(heights) + 1)), dpi=120, layout="constrained")
    figure.suptitle(_plain(title))
    canvas.FigureCanvasAgg(figure)
    rows: Any = figure.subfigures(len(drawn), 1, height_ratios=heights, squeeze=False)
    for place, part in zip(rows[:, 0], drawn, strict=True):
        _draw(place, part)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": "Lazarus"})
    return file.getvalue()


def _height(part: Part) -> float:
    match part:
        case Heatmap():
            return 1.6 + min(max(0.24 * len(part.rows), 1.5), 14.0)
        case Grid():
            return 0.6 + sum(0.4 + 1.6 * -(-len(maps) // _COLUMNS) for maps in part.groups.values())
        case Bars():
            return 0.9 + 0.22 * len(part.values)
        case Lines():
            return 3.6
        case Table():
            return 0.9 + 0.2 * len(_written(part))


_COLUMNS = 8


def _draw(place: Any, part: Part) -> None:
    if isinstance(part, Grid):
        _draw_grid(place, part)
        return
    axes = place.subplots()
    axes.set_title(_heading(part), loc="left", fontsize=10)
    match part:
        case Heatmap():
            _draw_heatmap(place, axes, part)
        case Bars():
            names, values = [_plain(name) for name in part.values], list(part.values.values())
            axes.barh(range(len(names)), values, color=["#2563eb" if value >= 0 else "#c2410c" for value in values])
            axes.set_yticks(range(len(names)), names, fontsize=7)
            axes.invert_yaxis()
            axes.axvline(0, color="#525f70", linewidth=0.8)
            axes.set_xlabel(_plain(part.unit))
        case Lines():
            for name, values in part.series.items():
                axes.plot(part.steps, values, marker="o" if len(values) <= _MOST_NAMES else None, label=_plain(name))
            axes.set_xlabel(_plain(part.across))
            axes.set_ylabel(_plain(part.unit))
            if len(part.series) > 1:
                axes.legend(fontsize=7)
        case Table():
            axes.axis("off")
            axes.text(
                0, 1, "\n".join(_written(part)), va="top", fontsize=8, family="monospace", transform=axes.transAxes
            )


def _draw_heatmap(place: Any, axes: Any, part: Heatmap) -> None:
    low, high = part.span
    image = axes.imshow(
        part.values, aspect="auto", cmap=_DIVERGING if part.is_diverging else _SEQUENTIAL, vmin=low, vmax=high
    )
    place.colorbar(image, ax=axes, label=_plain(part.unit))
    names: tuple[str, ...]
    for names, ticks in ((part.columns, axes.set_xticks), (part.rows, axes.set_yticks)):
        kept: list[int] = evenly(len(names), _MOST_TICKS)
        rotation = 90 if names is part.columns and max(map(len, names)) > 2 else 0
        ticks(kept, [_plain(str(names[each]))[:24] for each in kept], fontsize=7, rotation=rotation)
    axes.set_xlabel(_plain(part.across))
    axes.set_ylabel(_plain(part.upwards))
    if part.values.size > _MOST_CELL_TEXTS or len(part.columns) > _MOST_NAMES:
        return
    middle = (low + high) / 2
    for row, column in product(range(len(part.rows)), range(len(part.columns))):
        value = part.values[row, column]
        if np.isfinite(value):
            is_dark = abs(value) > 0.6 * high if part.is_diverging else value > middle
            text = f"{value:.2f}" if part.texts is None else _plain(part.texts[row][column])[:8]
            colour = "white" if is_dark else "#10151d"
            axes.text(column, row, text, ha="center", va="center", fontsize=5.5, color=colour)


def _draw_grid(place: Any, part: Grid) -> None:
    place.suptitle(_heading(part), x=0.02, ha="left", fontsize=10)
    counts = [-(-len(maps) // _COLUMNS) for maps in part.groups.values()]
    axes = place.subplots(sum(counts), _COLUMNS, squeeze=False)
    for each in axes.flat:
        each.axis("off")
    start = 0
    for (name, maps), count in zip(part.groups.items(), counts, strict=True):
        low, high = span(maps, is_diverging=False)
        for number, values in enumerate(maps):
            each = axes[start + number // _COLUMNS, number % _COLUMNS]
            each.imshow(values, cmap=_SEQUENTIAL, vmin=low, vmax=high, aspect="auto", interpolation="nearest")
            each.set_title(f"{_plain(name)}, {_plain(part.names[name][number])}", fontsize=6)
        start += count


def _written(part: Table) -> list[str]:
    return [_plain(line) for row in (part.head, *part.rows) for line in wrap("  ".join(row), 130)]


def _heading(part: Part) -> str:
    return "\n".join([_plain(part.title), *(_plain(line) for line in wrap(part.note, 130))])


def _plain(text: str) -> str:
    """A text without formulas: matplotlib reads `$`."""
    from lazarus_core.printable import printable_line

    return printable_line(text).replace("$", r"\$")
