"""Maps with fewer cells: what is drawn of a map that is too large, and the sentence that says so."""

import numpy as np

from lazarus_introspect.pictures.parts import Grid, Heatmap, Values

MAX_CELLS = 20_000
"""Cells of a heatmap on a page: 200 tokens by 100 layers. 20,000 cells with a text each are 0.6 MB."""
MAX_GRID_CELLS = 600_000
"""Cells of all maps of a grid on a page. At 4 characters a cell they are 2.4 MB, within the 3 MB of a page."""


def reduced_heatmap(part: Heatmap, most: int = MAX_CELLS) -> Heatmap:
    """A heatmap of at most this many cells; the note says which columns and rows are left.

    Args:
        part: The map.
        most: Largest number of cells.
    """
    count_rows, count_columns = part.values.shape
    across = max(1, -(-count_rows * count_columns // most))
    kept_columns = _every(count_columns, min(across, count_columns))
    down = max(1, -(-count_rows * len(kept_columns) // most))
    kept_rows = _every(count_rows, down)
    if len(kept_rows) == count_rows and len(kept_columns) == count_columns:
        return part
    return chosen_cells(part, kept_rows, kept_columns)


def chosen_cells(part: Heatmap, rows: list[int], columns: list[int]) -> Heatmap:
    """Some rows and columns of a heatmap, with a note that names their number.

    Args:
        part: The map.
        rows: Their indices.
        columns: Their indices.
    """
    total_rows, total_columns = part.values.shape
    said = [
        f"{len(kept):,} of {total:,} {name or plain}"
        for kept, total, name, plain in (
            (rows, total_rows, part.upwards and f"rows ({part.upwards})", "rows"),
            (columns, total_columns, part.across and f"columns ({part.across})", "columns"),
        )
        if len(kept) < total
    ]
    note = f"{part.note} Drawn: {' and '.join(said)}, evenly spaced.".strip() if said else part.note

    def picked(texts: tuple[tuple[str, ...], ...] | None) -> tuple[tuple[str, ...], ...] | None:
        return None if texts is None else tuple(tuple(texts[row][column] for column in columns) for row in rows)

    return Heatmap(
        title=part.title,
        values=part.values[np.ix_(rows, columns)],
        rows=tuple(part.rows[row] for row in rows),
        columns=tuple(part.columns[column] for column in columns),
        texts=picked(part.texts),
        details=picked(part.details),
        unit=part.unit,
        upwards=part.upwards,
        across=part.across,
        is_diverging=part.is_diverging,
        note=note,
    )


def evenly(count: int, most: int) -> list[int]:
    """At most this many indices, evenly spaced from the first to the last.

    >>> evenly(10, 4), evenly(3, 4)
    ([0, 3, 6, 9], [0, 1, 2])

    Args:
        count: Number of all.
        most: Largest number that is chosen, at least 1.
    """
    if count <= most:
        return list(range(count))
    return sorted({round(place * (count - 1) / max(most - 1, 1)) for place in range(most)})


def _every(count: int, step: int) -> list[int]:
    return evenly(count, -(-count // step))


def reduced_grid(part: Grid, most: int = MAX_GRID_CELLS) -> Grid:
    """A grid of at most this many cells: blocks of neighbouring cells become their mean, and the note says so.

    Args:
        part: The grid.
        most: Largest number of cells of all maps.
    """
    total = sum(maps.size for maps in part.groups.values())
    size = 1
    rows, columns = len(part.rows), len(part.columns)
    count = sum(len(maps) for maps in part.groups.values())
    while count * -(-rows // size) * -(-columns // size) > most and size < max(rows, columns):
        size += 1
    if size == 1:
        return part
    said = f"Drawn: the mean of {size} x {size} neighbouring cells, of {total:,} cells in all; names are those of the first."
    return Grid(
        title=part.title,
        groups={name: np.stack([block_means(each, size) for each in maps]) for name, maps in part.groups.items()},
        names=part.names,
        rows=part.rows[::size],
        columns=part.columns[::size],
        unit=part.unit,
        upwards=part.upwards,
        across=part.across,
        note=f"{part.note} {said}".strip(),
    )


def block_means(values: Values, size: int) -> Values:
    """Means of square blocks; those at the right and lower edge are of the cells that there are.

    >>> block_means(np.array([[1.0, 3.0, 5.0]]), 2)
    array([[2., 5.]])

    Args:
        values: A map, (R, C).
        size: Rows and columns of a block.
    """
    starts = [range(0, length, size) for length in values.shape]
    sums = np.add.reduceat(np.add.reduceat(values, list(starts[0]), axis=0), list(starts[1]), axis=1)
    heights, widths = (np.diff([*start, length]) for start, length in zip(starts, values.shape, strict=True))
    return sums / np.outer(heights, widths)
