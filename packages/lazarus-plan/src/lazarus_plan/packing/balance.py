"""Which rows make a step: strata of attention cost, one row of each stratum to every step.

A row costs the sum of its squared segment lengths (attention is quadratic in a segment). With one row of every stratum
the cost of a step varies by tenths of a percent instead of several percent, and no rank waits for another. Inside a
stratum rows cost about the same, so the number of samples decides: it varies a third to a seventieth as much as if rows
were shuffled (`tools/benchmarks/plan.py`).
"""

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.packing.permutation import keyed_permutation, shuffle_key
from lazarus_plan.packing.sorting import order_by, stable_order
from lazarus_plan.plan import Integers, narrow

BLOCK_ROWS = 1 << 12
"""Rows looked at together: what is made of them stays in the processor's cache."""


def row_costs(length: Integers, row_splits: Integers) -> NDArray[np.int64]:
    """Sum of squared segment lengths of each row, int64 (rows,)."""
    cost = np.empty(len(row_splits) - 1, dtype=np.int64)
    for begin in range(0, len(cost), BLOCK_ROWS):
        splits = row_splits[begin : begin + BLOCK_ROWS + 1]
        squares = length[splits[0] : splits[-1]].astype(np.int64)
        squares *= squares
        cost[begin : begin + BLOCK_ROWS] = np.add.reduceat(squares, splits[:-1] - splits[0])
    return cost


def even_sizes(rows: int, rows_per_step: int) -> NDArray[np.int64]:
    """Rows of each step: as few steps as hold them all, differing by one row at most.

    >>> even_sizes(10, 4).tolist()
    [4, 3, 3]
    """
    steps = -(-rows // rows_per_step)
    return -np.diff(np.arange(0, -steps - 1, -1, dtype=np.int64) * rows // steps)


def deal(
    cheapness: Integers, samples: Integers, sizes: NDArray[np.int64], *, seed: int, source: int, epoch: int
) -> NDArray[np.int32]:
    """Deals the rows of a source to steps.

    Rows are ranked by descending cost (ties in keyed order) and cut into strata of one row a step. From the last stratum,
    where rows of many short samples stand, to the first, the steps are brought into keyed order; then the row with most
    samples goes to the step that has fewest so far, and so on.

    Args:
        cheapness: Of each row, how much less than the costliest one it costs.
        samples: Of each row, how many it holds.
        sizes: Rows that each step takes of this source; their sum is the number of rows.
        seed: The plan's.
        source: Which one.
        epoch: Which one.

    Returns:
        The step of each row, int32 (rows,).
    """
    rows = len(cheapness)
    ranked = narrow(keyed_permutation(rows, shuffle_key("ties", seed, source, epoch)), rows)
    ranked = order_by(cheapness, among=ranked)
    ranked = narrow(ranked, rows)
    step_of = np.empty(rows, dtype=np.int32)
    held = np.zeros(len(sizes), dtype=np.int64)  # samples of each step so far
    end = rows
    for stratum in reversed(range(int(sizes.max(initial=0)))):
        steps = np.flatnonzero(sizes > stratum)
        chosen = ranked[end - len(steps) : end]
        steps = steps[keyed_permutation(len(steps), shuffle_key(f"stratum-{stratum}", seed, source, epoch))]
        size = samples[chosen]
        if size.min() < size.max():
            steps = steps[stable_order(held[steps])]
            by_size = stable_order(size.max() - size)
            chosen, size = chosen[by_size], size[by_size]
        step_of[chosen] = steps
        held[steps] += size
        end -= len(steps)
    return step_of
