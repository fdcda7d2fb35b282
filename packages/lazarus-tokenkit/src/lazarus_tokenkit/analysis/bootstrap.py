"""Bootstrap confidence intervals over documents: how much a metric varies between samples of the same kind."""

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

NUM_RESAMPLES = 1000
MEMORY = 20_000_000
"""Largest number of resampling counts in memory at a time."""

Columns = Mapping[str, NDArray[np.int64]]
Sums = Mapping[str, NDArray[np.float64]]


def interval(
    columns: Columns, figure: Callable[[Sums], NDArray[np.float64]], seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Computes the interval that contains a metric in the given share of resamples.

    >>> low, high = interval({"a": np.arange(100), "b": np.ones(100, int)}, lambda sums: sums["a"] / sums["b"])
    >>> 40 < low < 49.5 < high < 60
    True

    Args:
        columns: Counts by name, one number a document, (N,).
        figure: Function from the sums of the columns, (R,) each, to the metric, (R,). R is the number of resamples.
        seed: Random seed of the resampling.
        level: Share of the resamples inside the interval, 0 to 1.

    Returns:
        Lower and upper end of the interval.
    """
    rng = np.random.default_rng(seed)
    count = len(next(iter(columns.values())))
    table = np.stack([column.astype(np.float64) for column in columns.values()], axis=1)
    # A resample is a multinomial count for each document; blocks of resamples bound the memory of the counts.
    step = max(1, MEMORY // max(count, 1))
    parts = [
        rng.multinomial(count, np.full(count, 1 / count), size=min(step, NUM_RESAMPLES - done)) @ table
        for done in range(0, NUM_RESAMPLES, step)
    ]
    sums = np.concatenate(parts)
    values = figure({name: sums[:, place] for place, name in enumerate(columns)})
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
