"""Cost and padding of a plan in integers: `stats.json`. Checks recompute it and never trust the file."""

from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lazarus_core.canonical import JSON
from lazarus_plan.packing.balance import row_costs
from lazarus_plan.packing.best_fit import histogram, lower_bounds
from lazarus_plan.plan import BatchPlan


def plan_stats(plan: BatchPlan) -> JSON:
    """The content of `stats.json`. Ratios are [numerator, denominator]."""
    rows = rows_a_step(plan)
    # Capacity of all rows, padding included.
    tokens, room = int(plan.tokens.sum()), int((rows * plan.row_lens).sum())
    config = plan.metadata.config
    return {
        "stats_format_version": 1,
        "steps": len(plan),
        "samples": len(plan.sample),
        "tokens": tokens,
        "rows": int(rows.sum()),
        "row_len": plan.row_len,
        "rows_per_step": config.rows_per_step,
        "efficiency": [tokens, room],
        "budget_use": [tokens, len(plan) * config.token_budget],
        "rows_a_step": _range(rows),
        "samples_a_step": _range(np.diff(plan.step_splits)),
        "tokens_a_step": _range(plan.tokens),
        "cost_a_step": _range(step_costs(plan)),
        "packing": [_certificate(plan, epoch, rows) for epoch in range(len(plan.metadata.epochs))],
    }


def rows_a_step(plan: BatchPlan) -> NDArray[np.int64]:
    """Number of rows of each step, int64 (S,). Segments are ordered, so the last one is in the last row."""
    last = plan.step_splits[1:] - 1
    # End of the last segment divided by the row length, rounded up. int64, because a 32-bit sum could overflow.
    return -(-(plan.start[last].astype(np.int64) + plan.length[last]) // plan.row_lens)


def step_costs(plan: BatchPlan) -> NDArray[np.int64]:
    """Attention cost of each step: the sum of squared segment lengths, int64 (S,)."""
    return np.concatenate([row_costs(part.length, part.step_splits) for part in plan.blocks()])


def _certificate(plan: BatchPlan, epoch: int, rows: NDArray[np.int64]) -> JSON:
    """Rows of one epoch compared with the lower bounds; meaningless for modes with one sample per row."""
    about = plan.metadata.epochs[epoch]
    steps = slice(about.first_step, about.first_step + about.steps)
    used = int(rows[steps].sum())
    config = plan.metadata.config
    if not config.shares_rows:
        return {"rows": used}
    counts = Counter[int]()
    for part in plan.blocks(steps.start, steps.stop):
        # Lengths in units of `align`, rounded up, as the packer saw them.
        counts.update(histogram(-(-part.length // config.align)))
    # The same unit for the row, so the bounds are those of the packed problem.
    bounds = lower_bounds(counts, plan.row_len // config.align)
    return {"rows": used, "l1": bounds.l1, "l2": bounds.l2, "gap": used - bounds.l2, "optimal": used == bounds.l2}


def _range(values: Any) -> JSON:
    return {"min": int(values.min()), "max": int(values.max())}
