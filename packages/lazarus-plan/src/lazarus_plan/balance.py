"""Which rows make a step: strata of attention cost, one row of each stratum to every step.

A row costs the sum of its squared segment lengths (attention is quadratic in a segment). With one row of every stratum
the cost of a step varies by tenths of a percent instead of several percent, and no rank waits for another.
"""

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.keyed import keyed_permutation, shuffle_key
from lazarus_plan.order import order_by
from lazarus_plan.plan import Integers


def row_costs(length: Integers, row_splits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of squared segment lengths of each row, int64 (rows,)."""
    if len(row_splits) == 1:
        return np.zeros(0, dtype=np.int64)
    squares = length.astype(np.int64)
    squares *= squares
    return np.add.reduceat(squares, row_splits[:-1])


def even_sizes(rows: int, rows_per_step: int) -> NDArray[np.int64]:
    """Rows of each step: as few steps as hold them all, differing by one row at most.

    >>> even_sizes(10, 4).tolist()
    [4, 3, 3]
    """
    steps = -(-rows // rows_per_step)
    return -np.diff(np.arange(0, -steps - 1, -1, dtype=np.int64) * rows // steps)


def deal(cost: NDArray[np.int64], sizes: NDArray[np.int64], *, seed: int, source: int, epoch: int) -> NDArray[np.int64]:
    """Deals the rows of a source to steps.

    Rows are ranked by descending cost (ties in keyed order) and cut into strata of one row a step; each stratum is
    dealt by a permutation of its own.

    Args:
        cost: Of each row.
        sizes: Rows that each step takes of this source; their sum is the number of rows.
        seed: The plan's.
        source: Which one.
        epoch: Which one.

    Returns:
        The step of each row, int64 (rows,).
    """
    ties = keyed_permutation(len(cost), shuffle_key("ties", seed, source, epoch))
    ranked = ties[order_by(cost.max(initial=0) - cost[ties])]
    step_of = np.empty(len(cost), dtype=np.int64)
    first = 0
    for stratum in range(int(sizes.max(initial=0))):
        steps = np.flatnonzero(sizes > stratum)
        dealt = keyed_permutation(len(steps), shuffle_key(f"stratum-{stratum}", seed, source, epoch))
        step_of[ranked[first : first + len(steps)]] = steps[dealt]
        first += len(steps)
    return step_of
