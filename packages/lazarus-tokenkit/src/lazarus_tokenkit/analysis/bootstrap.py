"""Intervals by the bootstrap over documents: how far a figure would move with another sample of the same kind."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 1000
MEMORY = 20_000_000
"""Numbers held at a time."""

Columns = Mapping[str, NDArray[np.int64]]
Sums = Mapping[str, NDArray[np.float64]]


def interval(
    columns: Columns, figure: Callable[[Sums], NDArray[np.float64]], seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """The interval that a figure lies in for `level` of the resamples.

    >>> low, high = interval({"a": np.arange(100), "b": np.ones(100, int)}, lambda sums: sums["a"] / sums["b"])
    >>> 40 < low < 49.5 < high < 60
    True

    Args:
        columns: By name, one number a document, (N,).
        figure: From sums by name, (R,), to the figure, (R,).
        seed: Of the resampling.
        level: Share of resamples inside.
    """
    rng = np.random.default_rng(seed)
    count = len(next(iter(columns.values())))
    table = np.stack([column.astype(np.float64) for column in columns.values()], axis=1)
    step = max(1, MEMORY // max(count, 1))
    parts = [
        rng.multinomial(count, np.full(count, 1 / count), size=min(step, NUM_RESAMPLES - done)) @ table
        for done in range(0, NUM_RESAMPLES, step)
    ]
    sums = np.concatenate(parts)
    values = figure({name: sums[:, place] for place, name in enumerate(columns)})
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
