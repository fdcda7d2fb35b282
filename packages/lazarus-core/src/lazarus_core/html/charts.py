"""Charts as SVG text: histograms, lines and curves over steps, bars."""

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

WIDTH, HEIGHT, LEFT, BOTTOM = 440, 180, 60, 24
MAX_POINTS = 400
"""Maximum number of points of a line. With more steps, the minimum and maximum of each group are drawn."""
COLOURS = ("var(--mark)", "var(--other)", "#3f9a6b", "#8a5fd0", "#c79a1c", "#c4467f", "#2a9db3", "var(--soft)")
"""Colours of lines, in this order; further lines start again with the first."""
_DOT = "h4"
"""Width of the stroke that draws a single point, since a path of one point is invisible."""
BAR_HEIGHT, BAR_LEFT, BAR_WIDTH = 24, 250, 700


class Bar(NamedTuple):
    """One bar.

    Args:
        name: Label at the left.
        share: Length, 0 to 1.
        text: Label at the right.
        is_ours: Whether the first colour is used.
    """

    name: str
    share: float
    text: str
    is_ours: bool


def columns(counts: Sequence[int], edges: Sequence[int], unit: str) -> str:
    """Draw a histogram.

    Args:
        counts: Height of each column, (N,).
        edges: Boundaries of the columns, (N + 1,).
        unit: Name of the horizontal axis.
    """
    width, high = (WIDTH - LEFT) / len(counts), max(counts)
    parts = [
        f'<rect class="mark" x="{LEFT + at * width:.1f}" y="{_y(count / high):.1f}" width="{max(width - 1, 0.5):.1f}" '
        f'height="{_y(0) - _y(count / high):.1f}"><title>{edges[at]:,} to {edges[at + 1]:,}: {count:,}</title></rect>'
        for at, count in enumerate(counts)
        if count
    ]
    return _frame([*parts, *_labels(0, high, edges[0], edges[-1], unit)])


def lines(series: Sequence[NDArray[Any]], across: str, unit: str) -> str:
    """Draw values by step, one path for each series.

    Args:
        series: Values by name, each (N,).
        across: Name of the horizontal axis.
        unit: Unit of the values.
    """
    low = min(0.0, *(float(each.min()) for each in series))
    high = max(low + 1e-9, *(float(each.max()) for each in series))
    parts = [
        f'<path class="path{number % len(COLOURS)}" d="{_path(each, low, high)}"/>'
        for number, each in enumerate(series)
    ]
    return _frame([*parts, *_labels(low, high, 0, len(series[0]) - 1, f"{across} ({unit} upwards)")])


class Curve(NamedTuple):
    """Values at some steps.

    Args:
        steps: Ascending, (N,).
        values: Finite, (N,).
        colour: Index into `COLOURS`.
    """

    steps: NDArray[np.integer]
    values: NDArray[np.floating]
    colour: int


def curves(found: Sequence[Curve], unit: str, *, from_zero: bool = False) -> str:
    """Draw curves with their own steps on one pair of axes.

    Every curve stores its points in the attribute `data-points`, for the page's script.

    Args:
        found: One curve or more, none empty.
        unit: Unit of the values.
        from_zero: Whether the vertical axis starts at zero instead of the minimum.
    """
    low = 0.0 if from_zero else min(float(each.values.min()) for each in found)
    high = max(float(each.values.max()) for each in found)
    high = high if high > low else low + (abs(low) or 1.0)
    first, last = min(int(each.steps[0]) for each in found), max(int(each.steps[-1]) for each in found)
    parts: list[str] = []
    for each in found:
        points = _thinned(each)
        path = "L".join(
            f"{_x((step - first) / max(last - first, 1)):.1f},{_y((value - low) / (high - low)):.1f}"
            for step, value in points
        ) + (_DOT if len(points) == 1 else "")
        data = ";".join(f"{step:g},{value:.6g}" for step, value in points)
        parts.append(
            f'<path class="path{each.colour % len(COLOURS)}" data-colour="{each.colour}" data-points="{data}" d="M{path}"/>'
        )
    scale = f'data-first="{first}" data-last="{last}" data-left="{LEFT}" data-right="{WIDTH - 4}"'
    hair = f'<line class="hair" x1="0" x2="0" y1="{_y(1):.1f}" y2="{_y(0):.1f}"/>'
    return _frame([*parts, *_labels(low, high, first, last, f"step ({unit} upwards)"), hair], scale)


def bars(found: Sequence[Bar]) -> str:
    """Horizontal bars with names and figures."""
    parts: list[str] = []
    for at, bar in enumerate(found):
        y = at * BAR_HEIGHT
        width = max(bar.share * (BAR_WIDTH - BAR_LEFT - 160), 1)
        parts.append(
            f'<text class="label" x="{BAR_LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(bar.name)}</text>'
            f'<rect class="{"mark" if bar.is_ours else "other"}" x="{BAR_LEFT}" y="{y + 4}" width="{width:.1f}" height="16" rx="2"/>'
            f'<text x="{BAR_LEFT + width + 8:.1f}" y="{y + 16}">{escape(bar.text)}</text>'
        )
    height = len(found) * BAR_HEIGHT + 4
    return f'<svg role="img" viewBox="0 0 {BAR_WIDTH} {height}">{"".join(parts)}</svg>'


def _path(values: NDArray[Any], low: float, high: float) -> str:
    group = -(-2 * len(values) // MAX_POINTS)
    points: list[tuple[float, float]] = []
    for begin in range(0, len(values), group):
        part = values[begin : begin + group]
        ends = (float(part.min()), float(part.max())) if group > 1 else (float(part[0]),)
        points += [(begin / max(len(values) - 1, 1), (value - low) / (high - low)) for value in ends]
    return "M" + "L".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in points) + (_DOT if len(points) == 1 else "")


def _thinned(curve: Curve) -> list[tuple[float, float]]:
    """Reduce a curve to the minimum and maximum of each group of points, in their order, if it has too many."""
    group = -(-2 * len(curve.steps) // MAX_POINTS)
    kept: set[int] = {0, len(curve.steps) - 1}
    for begin in range(0, len(curve.steps), group):
        part = curve.values[begin : begin + group]
        kept |= {begin + int(part.argmin()), begin + int(part.argmax())}
    return [(float(curve.steps[at]), float(curve.values[at])) for at in sorted(kept)]


def _x(share: float) -> float:
    return LEFT + share * (WIDTH - LEFT - 4)


def _y(share: float) -> float:
    return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - 10)


def _labels(low: float, high: float, first: int, last: int, unit: str) -> list[str]:
    base = HEIGHT - 6
    return [
        f'<line class="axis" x1="{LEFT}" y1="{_y(0):.1f}" x2="{WIDTH}" y2="{_y(0):.1f}"/>',
        f'<text x="{LEFT - 6}" y="{_y(1) + 8:.1f}" text-anchor="end">{_short(high)}</text>',
        f'<text x="{LEFT - 6}" y="{_y(0):.1f}" text-anchor="end">{_short(low)}</text>',
        f'<text x="{LEFT}" y="{base}">{first:,}</text>',
        f'<text x="{WIDTH}" y="{base}" text-anchor="end">{last:,}</text>',
        f'<text x="{(LEFT + WIDTH) // 2}" y="{base}" text-anchor="middle">{escape(unit)}</text>',
    ]


def _short(value: float) -> str:
    """A number in few characters: 12, 3.4k, 5.6M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def _frame(parts: Sequence[str], data: str = "") -> str:
    return f'<svg class="chart" role="img" viewBox="0 0 {WIDTH} {HEIGHT}" {data}>{"".join(parts)}</svg>'
