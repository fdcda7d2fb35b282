"""What a plan costs and wastes, in integers: `stats.json`. Recomputed wherever it matters, never trusted."""

from typing import Any

import numpy as np

from lazarus_plan.canonical import JSON
from lazarus_plan.packing import histogram, lower_bounds
from lazarus_plan.plan import BatchPlan


def plan_stats(plan: BatchPlan) -> JSON:
    """The content of `stats.json`. Ratios are [numerator, denominator]."""
    row = np.unique(_row_numbers(plan))
    tokens = int(plan.tokens.sum())
    steps_of_rows = row // _rows_per_step(plan)
    rows_by_step = np.bincount(steps_of_rows, minlength=len(plan))
    length = plan.end - plan.start
    cost = np.add.reduceat(length * length, plan.step_splits[:-1])
    config = plan.metadata.config
    return {
        "stats_format_version": 1,
        "steps": len(plan),
        "samples": len(plan.sample),
        "tokens": tokens,
        "rows": len(row),
        "row_len": plan.row_len,
        "rows_per_step": _rows_per_step(plan),
        "efficiency": [tokens, len(row) * plan.row_len],
        "budget_use": [tokens, len(plan) * config.token_budget],
        "rows_a_step": _range(rows_by_step),
        "tokens_a_step": _range(plan.tokens),
        "cost_a_step": _range(cost),
        "packing": [_epoch_packing(plan, epoch) for epoch in range(len(plan.metadata.epochs))],
    }


def _epoch_packing(plan: BatchPlan, epoch: int) -> JSON:
    """The certificate of one epoch: rows used against the rows that any packing needs."""
    about = plan.metadata.epochs[epoch]
    steps = slice(about.first_step, about.first_step + about.steps)
    begin, end = plan.step_splits[steps.start], plan.step_splits[steps.stop]
    bounds = lower_bounds(histogram(plan.end[begin:end] - plan.start[begin:end]), plan.row_len)
    rows = len(np.unique(_row_numbers(plan)[begin:end]))
    return {"rows": rows, "l1": bounds.l1, "l2": bounds.l2, "gap": rows - bounds.l2, "optimal": rows == bounds.l2}


def _rows_per_step(plan: BatchPlan) -> int:
    return plan.metadata.config.token_budget // plan.row_len


def _row_numbers(plan: BatchPlan) -> Any:
    """A number for the row of each placed sample that no other row has."""
    step = np.repeat(np.arange(len(plan)), np.diff(plan.step_splits))
    return step * _rows_per_step(plan) + plan.start // plan.row_len


def _range(values: Any) -> JSON:
    return {"min": int(values.min()), "max": int(values.max())}
