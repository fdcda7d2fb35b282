"""Where a run stands in its plan, for one rank of any number of ranks. Seeking is free, so resuming is too."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from lazarus_core.canonical import JSON
from lazarus_plan.errors import StalePlan
from lazarus_plan.plan import BatchPlan, Row, Step
from lazarus_plan.shard import Policy, assign


class RankStep(NamedTuple):
    """One rank's part of one step.

    Args:
        step: The whole step: its token count is the loss's denominator on every rank.
        micro_batches: Rows of each micro-step; all ranks have the same number, some may be empty.
    """

    step: Step
    micro_batches: tuple[tuple[Row, ...], ...]


@dataclass(frozen=True)
class PlanCursor:
    """The steps of a plan as one rank sees them.

    Args:
        plan: What to follow.
        rank: 0-based.
        world_size: Number of ranks; may change from one run to the next.
        micro_rows: Rows a rank computes at once; None takes all of its rows.
        next_step: The step to begin with.
        policy: How rows are dealt to ranks.
    """

    plan: BatchPlan
    rank: int = 0
    world_size: int = 1
    micro_rows: int | None = None
    next_step: int = 0
    policy: Policy = "snake"

    def __post_init__(self) -> None:
        assert 0 <= self.rank < self.world_size, f"rank {self.rank} of {self.world_size}"
        assert self.micro_rows is None or self.micro_rows >= 1, f"micro_rows is {self.micro_rows}"
        assert 0 <= self.next_step <= len(self.plan), f"next_step {self.next_step} of {len(self.plan)}"

    def __iter__(self) -> Iterator[RankStep]:
        return map(self.share, range(self.next_step, len(self.plan)))

    def share(self, index: int) -> RankStep:
        """What this rank computes of one step."""
        step = self.plan.step(index)
        shares = assign(step.rows, self.world_size, self.policy)
        size = self.micro_rows or max(1, max(map(len, shares)))
        rows = [step.rows[position] for position in shares[self.rank]]
        count = -(-max(map(len, shares)) // size)
        return RankStep(step, tuple(tuple(rows[i * size : (i + 1) * size]) for i in range(count)))

    def state(self, next_step: int, audit_head: str) -> JSON:
        """What a checkpoint keeps of the plan."""
        return {"plan_id": self.plan.plan_id, "next_step": next_step, "audit_head": audit_head}


def check_state(plan: BatchPlan, state: JSON) -> int:
    """The step to go on with. A plan that was rebased at that step goes on where its parent stopped.

    Raises:
        StalePlan: The checkpoint followed another plan.
    """
    parent = plan.metadata.parent
    is_parent = parent is not None and (state["plan_id"], state["next_step"]) == (parent.plan_id, parent.steps)
    if state["plan_id"] != plan.plan_id and not is_parent:
        raise StalePlan(
            f"the checkpoint followed plan {state['plan_id']}, this is {plan.plan_id}: give the plan it was trained "
            "with, or start a new run with `--resume none`",
            "LP-E172",
        )
    return int(state["next_step"])
