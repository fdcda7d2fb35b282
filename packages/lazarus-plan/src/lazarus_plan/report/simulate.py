"""Simulate a crash and a resume on a different number of ranks, without training."""

from collections import Counter

from lazarus_core.canonical import JSON
from lazarus_plan.cursor import PlanCursor
from lazarus_plan.errors import PlanError
from lazarus_plan.plan import BatchPlan, Row
from lazarus_plan.shard import Policy

MAX_SIMULATED = 1 << 12
"""Largest number of ranks: every rank computes the assignment of all rows, which takes seconds a step for so many."""


def simulate(plan: BatchPlan, world_size: int, kill_at: int, resume_world_size: int, policy: Policy = "snake") -> JSON:
    """Assign every step to ranks, with one number of ranks before the crash and another after it.

    Args:
        plan: The plan.
        world_size: Number of ranks before the crash.
        kill_at: The first step that is not completed before the crash.
        resume_world_size: Number of ranks after the crash.
        policy: Policy that assigns rows to ranks.

    Returns:
        `is_equal`: whether every step's rows were trained exactly once; the trained rows and tokens; for each part the
        largest load of a rank divided by the mean of its step, as a ratio [numerator, denominator] of squared tokens.

    Raises:
        PlanError: `kill_at` is outside the plan, or there are too many ranks to simulate.
    """
    for name, size in (("world_size", world_size), ("resume_world_size", resume_world_size)):
        if not 1 <= size <= MAX_SIMULATED:
            raise PlanError(f"`{name}` is {size}: a simulation has 1 to {MAX_SIMULATED:,} ranks", "LP-E008")
    if not 0 <= kill_at <= len(plan):
        raise PlanError(f"step {kill_at} is outside 0..{len(plan)}", "LP-E008")
    before = _play(plan, 0, kill_at, world_size, policy)
    after = _play(plan, kill_at, len(plan), resume_world_size, policy)
    return {
        "steps": len(plan),
        "kill_at": kill_at,
        "world_sizes": [world_size, resume_world_size],
        "is_equal": before["is_equal"] and after["is_equal"],
        "rows": before["rows"] + after["rows"],
        "tokens": before["tokens"] + after["tokens"],
        "worst_load": [before["worst_load"], after["worst_load"]],
    }


def _play(plan: BatchPlan, begin: int, end: int, world_size: int, policy: Policy) -> JSON:
    cursors = [PlanCursor(plan, rank, world_size, next_step=begin, policy=policy) for rank in range(world_size)]
    is_equal, rows, tokens, worst = True, 0, 0, [1, 1]
    for index in range(begin, end):
        shares = [[row for batch in cursor.share(index).micro_batches for row in batch] for cursor in cursors]
        dealt = [row for share in shares for row in share]
        is_equal &= Counter[Row](dealt) == Counter[Row](plan.step(index).rows)
        rows, tokens = rows + len(dealt), tokens + sum(row.tokens for row in dealt)
        loads = [sum(row.cost for row in share) for share in shares]
        load = [max(loads) * world_size, sum(loads)]
        if load[0] * worst[1] > worst[0] * load[1]:
            worst = load
    return {"is_equal": is_equal, "rows": rows, "tokens": tokens, "worst_load": worst}
