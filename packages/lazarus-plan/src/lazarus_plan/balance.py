"""Which rows make a step: strata of attention cost, one row of each stratum to every step.

A row costs the sum of its squared segment lengths (attention is quadratic in a segment). With one row of every stratum
the cost of a step varies by tenths of a percent instead of several percent, and no rank waits for another.
"""

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.keyed import keyed_permutation, shuffle_key


def row_costs(length: NDArray[np.int64], row_splits: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum of squared segment lengths of each row, int64 (rows,)."""
    return np.add.reduceat(length * length, row_splits[:-1]) if len(row_splits) > 1 else np.zeros(0, dtype=np.int64)


def stratified_steps(
    cost: NDArray[np.int64], rows_per_step: int, *, seed: int, epoch: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Deals rows to steps.

    Rows are ranked by descending cost (ties in keyed order) and cut into strata of one row a step; each stratum is
    dealt by a permutation of its own. The last stratum may be short, so steps differ by one row at most. Within a
    step rows stand by descending cost, which is what lets `assign` balance ranks without looking at them.

    Returns:
        The order of rows, step after step, and step_splits (steps + 1,).
    """
    steps = -(-len(cost) // rows_per_step)
    ties = keyed_permutation(len(cost), shuffle_key("ties", seed, 0, epoch))
    ranked = ties[np.argsort(-cost[ties], kind="stable")]
    step_of = np.empty(len(cost), dtype=np.int64)  # step of ranked[i]
    for stratum, first in enumerate(range(0, len(cost), steps)):
        size = min(steps, len(cost) - first)
        dealt = keyed_permutation(steps, shuffle_key(f"stratum-{stratum}", seed, 0, epoch))
        step_of[first : first + size] = dealt[:size]
    order = ranked[np.argsort(step_of, kind="stable")]
    step_splits = np.concatenate([[0], np.cumsum(np.bincount(step_of, minlength=steps))]).astype(np.int64)
    return order, step_splits
