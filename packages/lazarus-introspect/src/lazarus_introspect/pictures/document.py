"""Pictures on one HTML page that loads nothing: maps on canvases, bars and lines as on the other pages of Lazarus.

The numbers of a map are JSON inside the page, those of grids bytes in base64. A map is drawn when it is first seen, a group
of a grid when it is chosen. Texts of users are escaped: `<` in JSON is written as an escape of the string.
"""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import chain
from typing import Any

import numpy as np

from lazarus_core.html import Bar, Curve, Origin, curves, facts, section
from lazarus_core.html import bars as html_bars
from lazarus_core.html import page as html_page
from lazarus_core.html import table as html_table
from lazarus_introspect.pictures.map_script import MAP_SCRIPT, MAP_STYLE
from lazarus_introspect.pictures.parts import Bars, Grid, Heatmap, Lines, Part, Table, span
from lazarus_introspect.pictures.reduction import reduced_grid, reduced_heatmap

LEVELS = 255
"""Steps of the numbers of a grid: a byte each."""
_MOST_NAMES = 8
"""Lines on one pair of axes; more are drawn on further ones."""


def page(title: str, parts: Iterable[Part], *, about: Mapping[str, str] = {}, origin: Origin | None = None) -> str:
    """Builds a page of pictures.

    Args:
        title: Its title and heading, as plain text; it names what the page is of.
        parts: The pictures, in their order.
        about: Facts under the title by name, such as model and prompt.
        origin: Command and time for the footer; see `lazarus_core.html.this_command`.
    """
    content = f"<header><h1>{escape(title)}</h1>{facts(about) if about else ''}</header>\n"
    body = content + "".join(chain.from_iterable(map(_sections, parts)))
    has_maps = 'class="map"' in body
    return html_page(
        title,
        body,
        "lazarus-introspect",
        MAP_SCRIPT if has_maps else "",
        style=MAP_STYLE if has_maps else "",
        origin=origin,
    )


def _sections(part: Part) -> list[str]:
    match part:
        case Heatmap():
            drawn = reduced_heatmap(part)
            return [section(part.title, escape(drawn.note), _map("heat", _heat_data(drawn), _words(drawn)))]
        case Grid():
            grid = reduced_grid(part)
            words = f"{sum(map(len, grid.groups.values()))} maps of {len(grid.rows)} x {len(grid.columns)} cells."
            return [section(part.title, escape(grid.note), _map("grid", _grid_data(grid), words))]
        case Bars():
            return [section(part.title, escape(part.note), _bars(part))]
        case Lines():
            return [section(part.title, escape(part.note), _lines(part))]
        case Table():
            drawn = html_table(part.head, part.rows, long=[len(part.head) - 1], label=part.title)
            return [section(part.title, escape(part.note), drawn)]


def _map(kind: str, numbers: dict[str, Any], words: str) -> str:
    data = json.dumps(numbers, ensure_ascii=False, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    chooser = '<div class="map-choose"></div><div class="map-small" role="group" aria-label="Maps"></div>'
    return (
        f'<figure class="map" data-kind="{kind}">{chooser if kind == "grid" else ""}<div class="map-key" aria-hidden="true"></div>'
        f'<div class="map-view" tabindex="0" role="group" aria-label="{escape(words)}"><div class="map-size"></div>'
        f'<canvas></canvas></div><div class="tip" role="status" hidden></div><script type="application/json">{data}</script></figure>'
    )


def _words(part: Heatmap) -> str:
    found = part.values[np.isfinite(part.values)]
    ends = f" from {found.min():.4g} to {found.max():.4g}" if found.size else ""
    return f"Map of {len(part.rows)} rows and {len(part.columns)} columns; {part.unit}{ends}. Arrow keys read cells."


def _heat_data(part: Heatmap) -> dict[str, Any]:
    low, high = part.span
    return {
        **_labels(part),
        "diverging": part.is_diverging,
        "low": _short(low),
        "high": _short(high),
        "values": [[_short(value) for value in row] for row in part.values.tolist()],
        "texts": _indexed(part.texts),
        "details": _indexed(part.details),
    }


def _grid_data(part: Grid) -> dict[str, Any]:
    ends = [span(maps, is_diverging=False) for maps in part.groups.values()]
    low, high = min(low for low, _ in ends), max(high for _, high in ends)
    groups = {
        name: {"names": part.names[name], "maps": [_as_bytes(each, low, high) for each in maps]}
        for name, maps in part.groups.items()
    }
    return {**_labels(part), "diverging": False, "low": _short(low), "high": _short(high), "groups": groups}


def _labels(part: Heatmap | Grid) -> dict[str, Any]:
    return {
        "rows": part.rows,
        "columns": part.columns,
        "unit": part.unit,
        "upwards": part.upwards,
        "across": part.across,
    }


def _as_bytes(values: Any, low: float, high: float) -> str:
    levels = np.rint((np.nan_to_num(values, nan=low) - low) / (high - low) * LEVELS)
    return base64.b64encode(levels.clip(0, LEVELS).astype(np.uint8).tobytes()).decode("ascii")


def _indexed(texts: Sequence[Sequence[str]] | None) -> dict[str, Any] | None:
    """Texts of cells as a list of the distinct ones and their indices."""
    if texts is None:
        return None
    places: dict[str, int] = {}
    cells = [[places.setdefault(text, len(places)) for text in row] for row in texts]
    return {"distinct": list(places), "cells": cells}


def _short(value: float) -> float | None:
    """A number with 5 digits; None if it is not finite."""
    return float(f"{value:.5g}") if np.isfinite(value) else None


def _bars(part: Bars) -> str:
    most = max((abs(value) for value in part.values.values()), default=0.0) or 1.0
    found = [
        Bar(name, abs(value) / most, f"{value:+.4g}" if _has_signs(part) else f"{value:.4g}", value >= 0)
        for name, value in part.values.items()
    ]
    return html_bars(found)


def _has_signs(part: Bars) -> bool:
    return any(value < 0 for value in part.values.values())


def _lines(part: Lines) -> str:
    names = list(part.series)
    charts: list[str] = []
    for start in range(0, len(names), _MOST_NAMES):
        found = [
            Curve(part.steps, part.series[name], colour, name)
            for colour, name in enumerate(names[start : start + _MOST_NAMES])
        ]
        from_zero = min(float(each.values.min()) for each in found) >= 0
        charts.append(curves(found, part.unit, from_zero=from_zero, across=part.across))
    return "".join(charts)
