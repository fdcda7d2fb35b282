"""Descriptions of pictures, without a way to draw them: each output draws the same numbers.

R = rows of a map, C = columns, M = maps of a group. A missing value is NaN; it is drawn empty.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Heatmap:
    """A matrix as colours. `heatmap` makes one."""

    title: str
    values: Values
    """(R, C)"""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...] | None
    """Text of each cell; None writes the number."""
    details: tuple[tuple[str, ...], ...] | None
    """Further lines of each cell, shown under the pointer."""
    unit: str
    upwards: str
    across: str
    is_diverging: bool
    """Whether colours are centred at zero; otherwise they begin at the smallest value, or at zero."""
    note: str

    @property
    def span(self) -> tuple[float, float]:
        """The values of the ends of the colour scale."""
        return span(self.values, is_diverging=self.is_diverging)


@dataclass(frozen=True)
class Grid:
    """Groups of small maps, such as the heads of each layer. `map_grid` makes one."""

    title: str
    groups: dict[str, Values]
    """Maps by the name of their group, each (M, R, C)."""
    names: dict[str, tuple[str, ...]]
    """Names of the maps of each group."""
    rows: tuple[str, ...]
    columns: tuple[str, ...]
    unit: str
    upwards: str
    across: str
    note: str


@dataclass(frozen=True)
class Bars:
    """Numbers as bars. `bars` makes one."""

    title: str
    values: dict[str, float]
    unit: str
    note: str


@dataclass(frozen=True)
class Lines:
    """Numbers over steps or layers. `lines` makes one."""

    title: str
    series: dict[str, Values]
    """Values by name, each (N,)."""
    steps: NDArray[np.int64]
    """Ascending, (N,)."""
    unit: str
    across: str
    note: str


@dataclass(frozen=True)
class Table:
    """Texts in rows. `table` makes one."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str


Part = Heatmap | Grid | Bars | Lines | Table


def heatmap(
    title: str,
    values: ArrayLike,
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    texts: Sequence[Sequence[str]] | None = None,
    details: Sequence[Sequence[str]] | None = None,
    unit: str = "value",
    upwards: str = "",
    across: str = "",
    is_diverging: bool = False,
    note: str = "",
) -> Heatmap:
    """Describes a matrix as colours.

    Args:
        title: What it shows.
        values: Numbers, (R, C); NaN for a missing one.
        rows: Names of the rows, from the top, (R,).
        columns: Names of the columns, (C,).
        texts: Text of each cell, (R, C); None writes the number.
        details: Further lines of each cell under the pointer, (R, C).
        unit: What the numbers are.
        upwards: What the rows are.
        across: What the columns are.
        is_diverging: Whether zero has the neutral colour, and negative values their own.
        note: One sentence of explanation.

    Raises:
        ValueError: Names or texts do not fit the matrix.
    """
    matrix = np.asarray(values, dtype=np.float64)
    if matrix.shape != (len(rows), len(columns)) or not matrix.size:
        raise ValueError(
            f"`values` has the shape {matrix.shape}, but there are {len(rows)} rows and {len(columns)} columns"
        )
    for name, found in (("texts", texts), ("details", details)):
        if found is not None and [len(row) for row in found] != [len(columns)] * len(rows):
            raise ValueError(f"`{name}` needs a text for each cell of `values`")
    return Heatmap(
        title=title,
        values=matrix,
        rows=tuple(rows),
        columns=tuple(columns),
        texts=None if texts is None else tuple(map(tuple, texts)),
        details=None if details is None else tuple(map(tuple, details)),
        unit=unit,
        upwards=upwards,
        across=across,
        is_diverging=is_diverging,
        note=note,
    )


def map_grid(
    title: str,
    groups: Mapping[str, ArrayLike],
    *,
    rows: Sequence[str],
    columns: Sequence[str],
    names: Mapping[str, Sequence[str]] | None = None,
    unit: str = "value",
    upwards: str = "",
    across: str = "",
    note: str = "",
) -> Grid:
    """Describes small maps in groups: patterns of the heads of each layer.

    Args:
        title: What it shows.
        groups: Maps by the name of their group, each (M, R, C), in [0, 1].
        rows: Names of the rows of each map, (R,).
        columns: Names of the columns, (C,).
        names: Names of the maps of each group; None for `head 0`, `head 1`, ...
        unit: What the numbers are.
        upwards: What the rows are.
        across: What the columns are.
        note: One sentence of explanation.

    Raises:
        ValueError: A group is empty, or names do not fit the maps.
    """
    found = {name: np.asarray(maps, dtype=np.float64) for name, maps in groups.items()}
    for name, maps in found.items():
        if maps.ndim != 3 or maps.shape[1:] != (len(rows), len(columns)) or not maps.size:
            raise ValueError(f"`groups` {name!r} has the shape {maps.shape}: rows and columns do not fit")
    given = names or {name: [f"head {place}" for place in range(len(maps))] for name, maps in found.items()}
    if {name: len(maps) for name, maps in found.items()} != {name: len(each) for name, each in given.items()}:
        raise ValueError("`names` needs a name for each map")
    return Grid(
        title=title,
        groups=found,
        names={name: tuple(each) for name, each in given.items()},
        rows=tuple(rows),
        columns=tuple(columns),
        unit=unit,
        upwards=upwards,
        across=across,
        note=note,
    )


def bars(title: str, values: Mapping[str, float], *, unit: str = "value", note: str = "", most: int = 60) -> Bars:
    """Describes numbers as bars, in the order that is given.

    Args:
        title: What they show.
        values: Numbers by name.
        unit: What the numbers are.
        note: One sentence of explanation.
        most: Largest number of bars; of more, those farthest from zero are kept, and the note says so.
    """
    shown = dict(values)
    if len(shown) > most:
        kept = sorted(shown, key=lambda name: -abs(shown[name]))[:most]
        note = f"{note} The {most} largest of {len(shown):,} by absolute value.".strip()
        shown = {name: shown[name] for name in values if name in set(kept)}
    return Bars(title=title, values={name: float(value) for name, value in shown.items()}, unit=unit, note=note)


def lines(
    title: str,
    series: Mapping[str, ArrayLike],
    *,
    steps: Sequence[int] | None = None,
    unit: str = "value",
    across: str = "layer",
    note: str = "",
) -> Lines:
    """Describes numbers over layers or steps as lines.

    Args:
        title: What they show.
        series: Numbers by name, each (N,), finite.
        steps: Ascending, (N,); None for 0, 1, ...
        unit: What the numbers are.
        across: What the steps are.
        note: One sentence of explanation.

    Raises:
        ValueError: A series has another length, or a number is not finite.
    """
    found = {name: np.asarray(values, dtype=np.float64) for name, values in series.items()}
    count = len(next(iter(found.values()))) if steps is None else len(steps)
    places = np.arange(count) if steps is None else np.asarray(steps)
    for name, values in found.items():
        if values.shape != (count,) or not count:
            raise ValueError(f"`series` {name!r} has the shape {values.shape}, not ({count},)")
        if not np.isfinite(values).all():
            raise ValueError(f"`series` {name!r} has a number that is not finite")
    return Lines(title=title, series=found, steps=places.astype(np.int64), unit=unit, across=across, note=note)


def table(title: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, note: str = "") -> Table:
    """Describes texts in rows.

    Args:
        title: What they are.
        head: Names of the columns.
        rows: Texts, as many in each row as there are columns.
        note: One sentence of explanation.

    Raises:
        ValueError: A row has another number of texts.
    """
    if any(len(row) != len(head) for row in rows):
        raise ValueError(f"each of the `rows` needs {len(head)} texts")
    return Table(title=title, head=tuple(head), rows=tuple(map(tuple, rows)), note=note)


def span(values: Values, *, is_diverging: bool) -> tuple[float, float]:
    """The values of the ends of a colour scale.

    Args:
        values: Numbers; NaN is passed over.
        is_diverging: Whether the scale is symmetric around zero.

    >>> span(np.array([0.2, -3.0]), is_diverging=True), span(np.array([0.2, 0.7]), is_diverging=False)
    ((-3.0, 3.0), (0.0, 0.7))
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (-1.0, 1.0) if is_diverging else (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if is_diverging:
        most = max(abs(low), abs(high)) or 1.0
        return -most, most
    low = min(low, 0.0)
    return low, (high if high > low else low + 1.0)
