"""A new plan for the rest of a run: the steps that were trained stay, what follows is planned anew.

For data that was mended or appended, another budget, another number of epochs, in the middle of a run. The child's
metadata names its parent and the Merkle root of the steps that both have, so a checkpoint of the parent at that step
may go on with the child.

Kept epochs and stages stand as they are. In the stage that the cut falls into, every sample is placed as often as it was
still due: pass t of a source goes over what the kept steps placed t times at most.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.build import PLACE, assemble, join_stages, number_epochs, place_epoch, prefixes_of, sources_of
from lazarus_plan.config import PlanConfig
from lazarus_plan.errors import PlanningError, StalePlan
from lazarus_plan.format.fingerprint import digest_lines, fingerprint_plan
from lazarus_plan.format.step_codec import encode_lines
from lazarus_plan.lengths.cache import LengthCache
from lazarus_plan.packing.items import Items, Placed, apply_policies
from lazarus_plan.packing.mixture import stages_of
from lazarus_plan.plan import BatchPlan, Epoch, Integers, Parent, StagePart

FIXED = ("row_len", "align", "mode", "bucket_edges", "oversize", "repeats", "stages")
"""What the kept steps and the rest have in common."""


def rebase_plan(
    parent: BatchPlan, steps: int, lengths: LengthCache | Sequence[LengthCache], config: PlanConfig | None = None
) -> BatchPlan:
    """Keeps the first steps of a plan and plans the rest anew.

    Samples that the kept steps of the current epoch placed are not placed again in it; all others, also new ones, are.

    Args:
        parent: The plan that the run followed.
        steps: How many of its steps were trained.
        lengths: The data as they are now, source by source. Samples of the kept steps stand at their old positions; of
            several sources only the last one may have grown.
        config: What to ask of the rest; None is what was asked of the parent. Budget, epochs, seed, window and the policy
            for empty samples may change.

    Raises:
        PlanningError: Another setting differs; nothing to keep or nothing is left; rows that a kept stage lacks.
        StalePlan: A sample of the kept steps is another one now.
    """
    caches = [lengths] if isinstance(lengths, LengthCache) else list(lengths)
    config = _settle(parent, steps, config or parent.metadata.config)
    _check_sources(parent, caches)
    items, excluded = apply_policies(caches, config)
    kept = _Kept.of(parent, steps, items, caches)
    before = {epoch.epoch: epoch for epoch in parent.metadata.epochs if epoch.first_step < steps}
    if len(before) > config.epochs:
        raise PlanningError(f"{config.epochs} epochs end before step {steps}", "LP-E134")
    placed = [
        kept.finish_epoch(before[number], config)
        if number in before
        else place_epoch(items, config, number, len(caches))
        for number in range(config.epochs)
    ]
    left_out = excluded.oversize + excluded.zero_length
    epochs = [
        _with_absent(epoch, each, items, caches, left_out) if epoch.epoch in before else epoch
        for epoch, each in zip(number_epochs(placed), placed, strict=True)
    ]
    earlier = parent.metadata.parent
    metadata = parent.metadata.model_copy(
        update={
            "config": config,
            "seed": config.seed,
            "sources": sources_of(caches),
            "epochs": tuple(epochs),
            "excluded": excluded,
            "parent": Parent(
                plan_id=parent.plan_id,
                steps=steps,
                prefix_root=digest_lines(encode_lines(kept.plan))[1],
                token_budget=max(parent.metadata.config.token_budget, earlier.token_budget if earlier else 0),
            ),
        }
    )
    plan = assemble(items, placed, metadata, prefixes_of(caches))
    return replace(plan, fingerprints=fingerprint_plan(caches, config, encode_lines(plan), metadata.parent))


def rebuild_child(child: BatchPlan, caches: Sequence[LengthCache]) -> BatchPlan:
    """Plan the rest of a rebased plan again, after its own first steps, under the parent that it names.

    Args:
        child: A rebased plan.
        caches: The lengths that it was made from, one per source.

    Raises:
        PlanError: As `rebase_plan`.
    """
    parent = child.metadata.parent
    assert parent is not None, "asked for rebased plans only"
    again = rebase_plan(child, parent.steps, caches, child.metadata.config)
    metadata = again.metadata.model_copy(update={"parent": parent})
    prints = fingerprint_plan(caches, metadata.config, encode_lines(again), parent)
    return replace(again, metadata=metadata, fingerprints=prints)


def _settle(parent: BatchPlan, steps: int, config: PlanConfig) -> PlanConfig:
    """The configuration of the child, resolved.

    Raises:
        PlanningError: It cannot be.
    """
    asked = parent.metadata.config
    if config.row_len is None:
        config = config.model_copy(update={"row_len": parent.row_len})
    changed = [name for name in FIXED if getattr(config, name) != getattr(asked, name)]
    if changed:
        raise PlanningError(
            f"`{changed[0]}` cannot change from {getattr(asked, changed[0])} to {getattr(config, changed[0])} in the middle "
            "of a plan: build a new one",
            "LP-E134",
        )
    if not 0 < steps < len(parent):
        raise PlanningError(f"{steps} steps to keep of {len(parent)}: nothing to keep, or nothing left", "LP-E134")
    return config


def _check_sources(parent: BatchPlan, caches: Sequence[LengthCache]) -> None:
    """Every sample of the parent is there, by its old number.

    Raises:
        PlanningError: Other sources, or an earlier one that has grown.
        StalePlan: Rows are missing.
    """
    about = parent.metadata.sources
    if len(caches) != len(about):
        raise PlanningError(f"{len(caches)} length caches for the plan's {len(about)} sources", "LP-E133")
    for source, cache in zip(about, caches, strict=True):
        if len(cache) < source.count:
            raise StalePlan(f"{cache.name} has {len(cache)} samples, the plan knows {source.count}", "LP-E130")
        if len(cache) > source.count and source is not about[-1]:
            raise PlanningError(
                f"{cache.name} has grown, which would give the samples of later sources other numbers: append rows to the "
                "last source",
                "LP-E134",
            )


@dataclass(frozen=True)
class _Kept:
    """The steps that stay.

    Args:
        plan: The parent's first steps.
        items: What there is to place now.
        item: Position in Items of every place of `plan`.
    """

    plan: BatchPlan
    items: Items
    item: Integers

    @classmethod
    def of(cls, parent: BatchPlan, steps: int, items: Items, caches: Sequence[LengthCache]) -> "_Kept":
        """Finds what the kept steps place among the items.

        Raises:
            StalePlan: A sample has another length or other tokens now, or would be excluded.
        """
        plan = parent.steps(0, steps)
        place, length = _piece_ids(plan.sample, plan.span_start), plan.length
        every = np.arange(len(items))
        samples = items.samples(every)
        span_starts = items.span_starts(every)
        pieces = _piece_ids(samples, span_starts)
        item = np.minimum(np.searchsorted(pieces, place), len(pieces) - 1)
        is_other = (pieces[item] != place) | (items.length[item] != length)
        trained = np.zeros(sum(source.count for source in parent.metadata.sources), dtype=np.bool_)
        trained[plan.sample] = True
        is_other |= _has_other_end(parent, trained, (samples, span_starts, items.length))[plan.sample]
        prefixes = prefixes_of(caches)
        if prefixes is not None and parent.prefixes is not None:
            is_other |= (prefixes[: len(trained)] != parent.prefixes).any(axis=1)[plan.sample]
        if is_other.any():
            raise StalePlan(
                f"sample {int(plan.sample[np.argmax(is_other)])} was trained and has another length or other content now: "
                "append or mend rows that are still to come, and keep the positions of the others",
                "LP-E130",
            )
        return cls(plan, items, item)

    def finish_epoch(self, epoch: Epoch, config: PlanConfig) -> Placed:
        """An epoch of which some or all steps are kept: its stages as they are, what is left of one, new ones.

        Raises:
            PlanningError: A stage that is kept whole lacks samples that its sources have now.
        """
        stages = stages_of(config, len(self.items.splits) - 1)
        parts: list[Placed] = []
        for number, (stage, about) in enumerate(zip(stages, epoch.stages, strict=True)):
            end = about.first_step + about.steps
            if about.first_step >= len(self.plan):
                parts.append(PLACE[config.mode](self.items, config, epoch.epoch, number, stage, None))
                continue
            head = self._placed(about.first_step, min(end, len(self.plan)), about)
            counts = np.bincount(head.item, minlength=len(self.items))
            if end <= len(self.plan):
                if epoch.first_step + epoch.steps > len(self.plan):
                    self._check_whole(counts, about, number)
                parts.append(head)
                continue
            if stage.until == "first" and config.repeats and max(config.repeats) > 1:
                raise PlanningError("a stage with `until` 'first' and `repeats` is kept whole or not at all", "LP-E134")
            tail = PLACE[config.mode](self.items, config, epoch.epoch, number, stage, counts)
            parts.append(_join(head, tail))
        return join_stages(parts)

    def _placed(self, begin: int, end: int, about: StagePart) -> Placed:
        """Steps begin..end (half-open), of one stage."""
        part = self.plan.steps(begin, end)
        item = self.item[int(self.plan.step_splits[begin]) : int(self.plan.step_splits[end])]
        begins_row = part.start % np.repeat(part.row_lens, np.diff(part.step_splits)) == 0
        source = np.searchsorted(self.items.splits, item[begins_row], side="right") - 1
        rows = tuple(int((source == each).sum()) for each in about.sources)
        about = about.model_copy(update={"first_step": 0, "steps": end - begin, "rows": rows})
        return Placed(item, part.length, part.start, part.step_splits, part.row_lens, (about,))

    def _check_whole(self, counts: NDArray[np.int64], about: StagePart, number: int) -> None:
        for source, (whole, _) in zip(about.sources, about.passes, strict=True):
            lacking = np.flatnonzero(counts[self.items.of(source)] < whole)
            if len(lacking):
                sample = int(self.items.samples(lacking[:1] + self.items.of(source).start)[0])
                raise PlanningError(
                    f"stage {number} of the epoch is trained, without sample {sample}: take new rows in at the end of an epoch",
                    "LP-E134",
                )


def _join(head: Placed, tail: Placed) -> Placed:
    """A stage whose first steps are kept; `passes` of the tail count what the head placed."""
    about, rest = head.stages[0], tail.stages[0]
    rows = tuple(first + last for first, last in zip(about.rows, rest.rows, strict=True))
    return Placed(
        item=np.concatenate([head.item, tail.item]),
        length=np.concatenate([head.length, tail.length]),
        start=np.concatenate([head.start, tail.start]),
        step_splits=np.concatenate([head.step_splits, tail.step_splits[1:] + head.step_splits[-1]]),
        row_lens=np.concatenate([head.row_lens, tail.row_lens]),
        stages=(rest.model_copy(update={"steps": about.steps + rest.steps, "rows": rows}),),
    )


def _piece_ids(sample: Integers, span_start: Integers) -> NDArray[np.int64]:
    """A number for each piece, ascending by sample and then by its first token."""
    first = np.maximum(span_start, 0).astype(np.int64)
    return (sample.astype(np.int64) << 31) + first


def _has_other_end(
    parent: BatchPlan, trained: NDArray[np.bool_], now: tuple[Integers, Integers, Integers]
) -> NDArray[np.bool_]:
    """Which trained samples end elsewhere now: of a sample in pieces, one may be trained and another to come."""
    ends = [np.zeros(len(trained), dtype=np.int64) for _ in range(2)]
    then = parent.sample, parent.span_start, parent.length
    for end, (sample, span_start, length) in zip(ends, (then, now), strict=True):
        known = sample < len(trained)
        np.maximum.at(end, sample[known], (np.maximum(span_start, 0).astype(np.int64) + length)[known])
    return trained & (ends[0] != ends[1])


def _with_absent(epoch: Epoch, placed: Placed, items: Items, caches: Sequence[LengthCache], left_out: int) -> Epoch:
    """Says how many samples a kept epoch lacks, where that is not what is excluded now: some came too late for it."""
    times = np.bincount(items.samples(placed.item), minlength=sum(map(len, caches)))
    absent = int((times == 0).sum())
    return epoch.model_copy(update={"absent": None if absent == left_out else absent})
