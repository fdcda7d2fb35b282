"""Charts with axes: histograms, and lines over steps.

The plot is an SVG picture that stretches to its box. Ticks and titles are HTML text of constant size, so that a chart is
readable at any width. The page's script shows the values under the pointer.
"""

from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_core.html.tables import series_key
from lazarus_core.html.theme import NUM_COLOURS
from lazarus_core.html.ticks import round_ticks, short_figure, tick_labels, ticks_between

SIZE = 1000
"""Width and height of the coordinate system of a plot."""
MAX_POINTS = 400
"""Maximum number of points of a line. With more steps, the minimum and maximum of each group are drawn."""
_ZERO = 1e-290
_FLAT = 1e-9
"""Values that differ by less than this share are drawn as equal."""
FEW_POINTS = 30
"""Lines of at most this many points have a marker at each."""


class Curve(NamedTuple):
    """Values at some steps.

    Args:
        steps: Ascending, (N,).
        values: Finite, (N,).
        colour: Number of the colour; eight colours repeat.
        name: Name in the legend, as plain text.
    """

    steps: NDArray[np.integer]
    values: NDArray[np.floating]
    colour: int
    name: str = ""


def columns(counts: Sequence[int], edges: Sequence[int], unit: str, upwards: str = "samples") -> str:
    """Draw a histogram.

    Args:
        counts: Height of each column, (N,).
        edges: Boundaries of the columns, (N + 1,).
        unit: Unit of the boundaries: the title of the horizontal axis.
        upwards: What is counted: the title of the vertical axis.
    """
    ticks = round_ticks(0, max(1, *counts), is_whole=True)
    first, last, high = edges[0], edges[-1], ticks[-1]
    gap = 0.1 * (last - first) / len(counts)
    parts: list[str] = []
    for count, left, right in zip(counts, edges[:-1], edges[1:], strict=True):
        x0, x1 = ((each - first) / (last - first) * SIZE for each in (left + gap / 2, right - gap / 2))
        height = max(count / high * SIZE, 3)
        if count:
            parts.append(
                f'<rect class="column" x="{x0:.1f}" y="{SIZE - height:.1f}" width="{x1 - x0:.1f}" height="{height:.1f}"/>'
            )
    data = ";".join(f"{left},{right},{count}" for left, right, count in zip(edges[:-1], edges[1:], counts, strict=True))
    parts.append(f'<g data-points="{data}" data-name="{escape(upwards)}" data-colour="0"></g>')
    mode = int(np.argmax(counts))
    words = f"Histogram of {sum(counts):,} {upwards} from {first:,} to {last - 1:,} {unit}. Most, {counts[mode]:,}, from {edges[mode]:,} to {edges[mode + 1] - 1:,}."
    return _figure("".join(parts), ticks, (first, last), (unit, unit), upwards, words)


def lines(series: Sequence[NDArray[Any]], across: str, unit: str, names: Sequence[str] = ()) -> str:
    """Draw values by position, one line for each series.

    Args:
        series: Values, each (N,).
        across: Title of the horizontal axis.
        unit: Unit of the values: the title of the vertical axis.
        names: Name of each series.
    """
    found = [
        Curve(np.arange(len(each)), np.asarray(each, dtype=np.float64), number, names[number] if names else "")
        for number, each in enumerate(series)
    ]
    is_whole = all(np.issubdtype(each.dtype, np.integer) for each in series)
    return curves(
        found, unit, across=across, from_zero=bool(min(each.min() for each in series) >= 0), is_whole=is_whole
    )


def curves(
    found: Sequence[Curve], unit: str, *, from_zero: bool = False, across: str = "step", is_whole: bool = False
) -> str:
    """Draw curves with their own steps on one pair of axes.

    Every curve stores its points in the attribute `data-points`, for the page's script.

    Args:
        found: One curve or more, none empty.
        unit: Unit of the values: the title of the vertical axis.
        from_zero: Whether the vertical axis starts at zero instead of near the minimum.
        across: Title of the horizontal axis.
        is_whole: Whether the values are whole numbers.
    """
    low, high = (float(getattr(np, name)([getattr(each.values, name)() for each in found])) for name in ("min", "max"))
    low = min(low, 0.0) if from_zero else low
    if max(abs(low), abs(high)) < _ZERO:  # floats of this size have no digits to draw
        low = high = 0.0
    if high - low <= _FLAT * max(abs(low), abs(high)):  # a line in the middle
        low, high = (min(0.0, 2 * low), max(0.0, 2 * low)) if low else (0.0, 1.0)
    ticks = round_ticks(low, high, is_whole=is_whole)
    low, high = ticks[0], ticks[-1]
    first, last = min(int(each.steps[0]) for each in found), max(int(each.steps[-1]) for each in found)
    parts: list[str] = []
    for each in found:
        points = _thinned(each)
        places = [
            f"{((step - first) / (last - first) if last > first else 0.5) * SIZE:.1f},{(high - value) / (high - low) * SIZE:.1f}"
            for step, value in points
        ]
        colour = each.colour % NUM_COLOURS
        data = ";".join(f"{step:g},{value:.6g}" for step, value in points)
        parts.append(
            f'<path class="curve path{colour}" data-name="{escape(each.name)}" data-colour="{colour}" data-points="{data}"'
            f' d="M{"L".join(places)}"/>'
        )
        if len(points) <= FEW_POINTS:
            dots = "".join(f"M{place}h0" for place in places)
            parts.append(f'<path class="dots path{colour}" d="{dots}"/>')
    words = " ".join(
        f"{each.name + ': ' if each.name else ''}{unit} by {across}, {short_figure(float(each.values[0]))} at {each.steps[0]:,},"
        f" {short_figure(float(each.values[-1]))} at {each.steps[-1]:,}."
        for each in found
    )
    legend = "".join(
        f"<li>{series_key(each.colour, each.name)} <b>{short_figure(float(each.values[-1]))}</b></li>"
        for each in found
        if len(found) > 1 and each.name
    )
    return _figure("".join(parts), ticks, (first, last), (across, across), unit, words, legend)


def _thinned(curve: Curve) -> list[tuple[float, float]]:
    """Reduce a curve to the minimum and maximum of each group of points, in their order, if it has too many."""
    group = -(-2 * len(curve.steps) // MAX_POINTS)
    kept: set[int] = {0, len(curve.steps) - 1}
    for begin in range(0, len(curve.steps), group):
        part = curve.values[begin : begin + group]
        kept |= {begin + int(part.argmin()), begin + int(part.argmax())}
    return [(float(curve.steps[at]), float(curve.values[at])) for at in sorted(kept)]


def _figure(
    parts: str,
    ticks: Sequence[float],
    ends: tuple[int, int],
    across: tuple[str, str],
    upwards: str,
    words: str,
    legend: str = "",
) -> str:
    first, last = ends
    low, high = ticks[0], ticks[-1]
    heights = [(each - low) / (high - low) for each in ticks]
    rows = tick_labels(ticks)
    base = 0 if 0 in ticks else low
    grid = "".join(
        f'<line{" class=base" if tick == base else ""} x1="0" x2="{SIZE}" y1="{(1 - each) * SIZE:.1f}" y2="{(1 - each) * SIZE:.1f}"/>'
        for tick, each in zip(ticks, heights, strict=True)
    )
    left = "".join(
        f'<span style="bottom:{100 * each:.1f}%">{label}</span>' for each, label in zip(heights, rows, strict=True)
    )
    stops = ticks_between(first, last)
    below = "".join(
        f'<span style="left:{100 * (each - first) / (last - first) if last > first else 50:.1f}%">{label}</span>'
        for each, label in zip(stops, tick_labels(stops), strict=True)
    )
    listed = f'<ul class="legend" role="list">{legend}</ul>' if legend else ""
    return (
        f'<figure class="chart">{listed}<div class="up-title">{escape(upwards)}</div><div class="axes">'
        f'<div class="up" aria-hidden="true"><b>{max(rows, key=len)}</b>{left}</div>'
        f'<div class="plot" tabindex="0" role="group" aria-label="{escape(words)}" data-first="{first}" data-last="{last}"'
        f' data-low="{low:.9g}" data-high="{high:.9g}" data-across="{escape(across[0])}">'
        f'<svg aria-hidden="true" viewBox="0 0 {SIZE} {SIZE}" preserveAspectRatio="none"><g class="grid">{grid}</g>{parts}</svg></div>'
        f'<div class="across" aria-hidden="true">{below}</div><div class="axis-title">{escape(across[1])}</div></div></figure>'
    )
