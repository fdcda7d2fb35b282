"""A new plan for the rest of a run: the steps that were trained stay, what follows is planned anew.

For data that was mended or appended, another budget, another number of epochs, in the middle of a run. The child's
metadata names its parent and the Merkle root of the steps that both have, so a checkpoint of the parent at that step
may go on with the child.
"""

from dataclasses import replace

import numpy as np

from lazarus_plan.build import assemble, number_epochs, prefixes_of, sources_of
from lazarus_plan.codec import encode_lines
from lazarus_plan.config import PlanConfig
from lazarus_plan.errors import PlanningError, StalePlan
from lazarus_plan.fingerprint import digest_lines, fingerprint_plan
from lazarus_plan.items import Items, Placed, apply_policies
from lazarus_plan.lengths import LengthCache
from lazarus_plan.mixture import stages_of
from lazarus_plan.packed import place_packed
from lazarus_plan.plan import BatchPlan, Parent, StagePart
from lazarus_plan.stats import rows_a_step


def rebase_plan(parent: BatchPlan, steps: int, lengths: LengthCache, config: PlanConfig | None = None) -> BatchPlan:
    """Keeps the first steps of a plan and plans the rest anew.

    Samples that the kept steps of the current epoch placed are not placed again in it; all others, also new ones, are.

    Args:
        parent: The plan that the run followed.
        steps: How many of its steps were trained.
        lengths: The data as they are now. Samples of the kept steps must stand at their old positions.
        config: What to ask of the rest; None is what was asked of the parent. `row_len` stays.

    Raises:
        PlanningError: A plan of several sources, or of another mode than packed; `row_len` differs; nothing is left.
        StalePlan: A sample of the kept steps has another length now.
    """
    config = config or parent.metadata.config
    if config.row_len is None:
        config = config.model_copy(update={"row_len": parent.row_len})
    _check_supported(parent, steps, config)
    kept = parent.steps(0, steps)
    _check_kept(kept, lengths)
    items, excluded = apply_policies([lengths], config)
    if not np.isin(np.unique(kept.sample), items.sample).all():
        raise StalePlan("a sample of the steps to keep would be excluded now", "LP-E130")

    whole = [epoch for epoch in parent.metadata.epochs if epoch.first_step + epoch.steps <= steps]
    if len(whole) > config.epochs or (len(whole) == config.epochs and steps > _end(parent, len(whole))):
        raise PlanningError(f"{config.epochs} epochs end before step {steps}", "LP-E134")
    placed = [
        _kept_epoch(parent, items, number, _end(parent, number), _end(parent, number + 1))
        for number in range(len(whole))
    ]
    for epoch in range(len(whole), config.epochs):
        begin = _end(parent, epoch) if epoch == len(whole) else steps
        head = _kept_epoch(parent, items, epoch, begin, steps) if begin < steps else None
        placed.append(_rest_of_epoch(items, head, config, epoch))
    _, root, _ = digest_lines(encode_lines(kept))
    metadata = parent.metadata.model_copy(
        update={
            "config": config,
            "seed": config.seed,
            "sources": sources_of([lengths]),
            "epochs": number_epochs(placed, items),
            "excluded": excluded,
            "parent": Parent(
                plan_id=parent.plan_id, steps=steps, prefix_root=root, token_budget=parent.metadata.config.token_budget
            ),
        }
    )
    plan = assemble(items, placed, metadata, prefixes_of([lengths]))
    plan = replace(plan, fingerprints=fingerprint_plan([lengths], config, encode_lines(plan)))
    assert digest_lines(encode_lines(plan.steps(0, steps)))[1] == root, "the kept steps are the parent's"
    return plan


def _check_supported(parent: BatchPlan, steps: int, config: PlanConfig) -> None:
    about = parent.metadata
    if len(about.sources) > 1 or {about.config.mode, config.mode} != {"packed"} or about.config.oversize == "split":
        raise PlanningError("`rebase` takes packed plans of one source whose samples are not split", "LP-E134")
    if (
        config.row_len != parent.row_len
        or config.align != about.config.align
        or config.oversize != about.config.oversize
    ):
        raise PlanningError(f"rows stay as they are: row_len {parent.row_len}, align, oversize policy", "LP-E134")
    if not 0 < steps < len(parent):
        raise PlanningError(f"{steps} steps to keep of {len(parent)}: nothing to keep, or nothing left", "LP-E134")


def _check_kept(kept: BatchPlan, lengths: LengthCache) -> None:
    """The samples of the kept steps are what they were."""
    if int(kept.sample.max()) >= len(lengths):
        raise StalePlan(f"sample {int(kept.sample.max())} of the steps to keep is not in {lengths.name}", "LP-E130")
    changed = np.minimum(lengths.length[kept.sample], kept.row_len) != kept.end - kept.start
    if changed.any():
        raise StalePlan(
            f"sample {int(kept.sample[np.argmax(changed)])} was trained and has another length now: append or mend rows "
            "that are still to come, and keep the positions of the others",
            "LP-E130",
        )


def _end(plan: BatchPlan, epochs: int) -> int:
    """The step at which the first `epochs` epochs end."""
    return sum(epoch.steps for epoch in plan.metadata.epochs[:epochs])


def _kept_epoch(parent: BatchPlan, items: Items, number: int, begin: int, end: int) -> Placed:
    """Steps of the parent, as they are, with the items that they place."""
    part = parent.steps(begin, end)
    rows = int(rows_a_step(part).sum())
    about = StagePart(first_step=0, steps=end - begin, sources=(0,), rows=(rows,), passes=((1, 0),))
    item = np.searchsorted(items.sample, part.sample).astype(items.sample.dtype)
    return Placed(item, part.start, part.step_splits, part.row_lens, (about,))


def _rest_of_epoch(items: Items, head: Placed | None, config: PlanConfig, epoch: int) -> Placed:
    """An epoch, but for what its kept steps place."""
    stage = stages_of(config, 1)[0]
    if head is None:
        return place_packed(items, config, epoch, 0, stage)
    is_left = np.ones(len(items.sample), dtype=np.bool_)
    is_left[head.item] = False
    left = np.flatnonzero(is_left)
    if not len(left):
        return head
    rest = Items(items.sample[left], items.length[left], items.span_start[left], np.array([0, len(left)]))
    placed = place_packed(rest, config, epoch, 0, stage)
    about = head.stages[0].model_copy(
        update={
            "steps": len(head.row_lens) + len(placed.row_lens),
            "rows": (head.stages[0].rows[0] + placed.stages[0].rows[0],),
        }
    )
    return Placed(
        item=np.concatenate([head.item, left[placed.item].astype(head.item.dtype)]),
        start=np.concatenate([head.start, placed.start]),
        step_splits=np.concatenate([head.step_splits, placed.step_splits[1:] + head.step_splits[-1]]),
        row_lens=np.concatenate([head.row_lens, placed.row_lens]),
        stages=(about,),
    )
