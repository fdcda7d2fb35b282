"""The position of a run in its plan, for one rank of any number of ranks. Seeking and resuming cost nothing."""

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
        micro_batches: Rows of each micro-batch. All ranks have the same number of micro-batches; some may be empty.
    """

    step: Step
    micro_batches: tuple[tuple[Row, ...], ...]


@dataclass(frozen=True)
class PlanCursor:
    """The steps of a plan for one rank.

    Args:
        plan: The plan.
        rank: 0-based rank.
        world_size: Number of ranks. It may change when a run is resumed.
        micro_rows: Rows per micro-batch; None takes all rows of the rank at once.
        next_step: First step.
        policy: Policy that assigns rows to ranks.
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
        """Part of one step for this rank."""
        step = self.plan.step(index)
        shares = assign(step.rows, self.world_size, self.policy)
        size = self.micro_rows or max(1, max(map(len, shares)))
        rows = [step.rows[position] for position in shares[self.rank]]
        count = -(-max(map(len, shares)) // size)
        return RankStep(step, tuple(tuple(rows[i * size : (i + 1) * size]) for i in range(count)))

    def state(self, next_step: int, audit_head: str) -> JSON:
        """The plan's part of a checkpoint, for `check_state`.

        Args:
            next_step: Number of completed steps, which is the 0-based step to continue with.
            audit_head: Head of the audit log after these steps, 64 hexadecimal digits.
        """
        return {"plan_id": self.plan.plan_id, "next_step": next_step, "audit_head": audit_head}


def check_state(plan: BatchPlan, state: JSON) -> int:
    """The step to continue with. A plan that was rebased at that step continues a run of its parent.

    Args:
        plan: The plan.
        state: State from a checkpoint.

    Raises:
        StalePlan: The checkpoint belongs to another plan.
    """
    parent = plan.metadata.parent
    is_parent = parent is not None and (state["plan_id"], state["next_step"]) == (parent.plan_id, parent.steps)
    if state["plan_id"] != plan.plan_id and not is_parent:
        raise StalePlan(
            f"the checkpoint followed plan {state['plan_id']}, this is {plan.plan_id}: give the plan of the "
            "checkpoint, or start a new run with `resume=none`",
            "LP-E172",
        )
    return int(state["next_step"])
