"""Assign rows to steps by strata of attention cost: every step gets one row of each stratum.

The cost of a row is the sum of its squared segment lengths, since attention is quadratic in a segment. With one row of
every stratum, the cost of a step varies by tenths of a percent instead of several percent, so no rank waits for another.
Rows of a stratum cost about the same and are assigned by their number of samples, which then varies a third to a
seventieth as much as after a shuffle (`tools/benchmarks/plan.py`).
"""

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.packing.permutation import keyed_permutation, shuffle_key
from lazarus_plan.packing.sorting import order_by, stable_order
from lazarus_plan.plan import Integers, narrow

BLOCK_ROWS = 1 << 12
"""Rows per block, so that intermediate arrays stay in the processor's cache."""


def row_costs(length: Integers, row_splits: Integers) -> NDArray[np.int64]:
    """Attention cost of each row: the sum of its squared segment lengths.

    Args:
        length: Tokens of each segment, row after row, (N,).
        row_splits: Position of the first segment of each row, and at the end N, (rows + 1,). No row is empty.

    Returns:
        Squared tokens, int64 (rows,).
    """
    cost = np.empty(len(row_splits) - 1, dtype=np.int64)
    for begin in range(0, len(cost), BLOCK_ROWS):
        splits = row_splits[begin : begin + BLOCK_ROWS + 1]
        squares = length[splits[0] : splits[-1]].astype(np.int64)
        squares *= squares
        # reduceat sums from each split to the next; splits are made relative to the block. Rows are never empty.
        cost[begin : begin + BLOCK_ROWS] = np.add.reduceat(squares, splits[:-1] - splits[0])
    return cost


def even_sizes(rows: int, rows_per_step: int) -> NDArray[np.int64]:
    """Number of rows of each step: the fewest steps possible, with sizes that differ by at most one row.

    >>> even_sizes(10, 4).tolist()
    [4, 3, 3]

    Args:
        rows: Number of rows, >= 0.
        rows_per_step: Maximum number of rows per step, >= 1.

    Returns:
        int64 (steps,), in descending order; the sum is `rows`.
    """
    steps = -(-rows // rows_per_step)
    # floor of a negative is minus the ceiling, so these are ceil(k * rows / steps): larger steps come first.
    return -np.diff(np.arange(0, -steps - 1, -1, dtype=np.int64) * rows // steps)


def deal(
    cheapness: Integers, samples: Integers, sizes: NDArray[np.int64], *, seed: int, source: int, epoch: int
) -> NDArray[np.int32]:
    """Assign the rows of a source to steps.

    Rows are sorted by descending cost (ties in keyed order) and cut into strata of one row per step. The strata are
    processed from the last, whose rows have many short samples, to the first. In each stratum the steps are shuffled by
    key, and the row with the most samples goes to the step with the fewest samples so far, and so on.

    Args:
        cheapness: Cost of the most expensive row minus the cost of each row, (rows,).
        samples: Number of samples in each row, (rows,).
        sizes: Number of rows that each step takes of this source, (steps,). Their sum is the number of rows.
        seed: Seed of the plan.
        source: 0-based position of the source.
        epoch: 0-based epoch.

    Returns:
        The step of each row, int32 (rows,).
    """
    rows = len(cheapness)
    ranked = narrow(keyed_permutation(rows, shuffle_key("ties", seed, source, epoch)), rows)
    # Stable: rows of equal cost keep the keyed order. Ascending cheapness is descending cost.
    ranked = order_by(cheapness, among=ranked)
    ranked = narrow(ranked, rows)
    step_of = np.empty(rows, dtype=np.int32)
    held = np.zeros(len(sizes), dtype=np.int64)  # samples of each step so far
    end = rows
    for stratum in reversed(range(int(sizes.max(initial=0)))):
        # Steps that take more than `stratum` rows; the others have no row in this stratum.
        steps = np.flatnonzero(sizes > stratum)
        chosen = ranked[end - len(steps) : end]
        steps = steps[keyed_permutation(len(steps), shuffle_key(f"stratum-{stratum}", seed, source, epoch))]
        size = samples[chosen]
        # Equal sizes need no sort: the keyed order decides.
        if size.min() < size.max():
            steps = steps[stable_order(held[steps])]
            # Most samples first: subtracting from the maximum turns an ascending stable sort into a descending one.
            by_size = stable_order(size.max() - size)
            chosen, size = chosen[by_size], size[by_size]
        step_of[chosen] = steps
        held[steps] += size
        end -= len(steps)
    return step_of
