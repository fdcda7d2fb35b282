"""Plan the rest of a run again: trained steps stay, later steps are planned from the current data.

Use it in the middle of a run when data was corrected or added, or for another budget or number of epochs. The child's
metadata names its parent and the Merkle root of the common steps, so a checkpoint of the parent at that step can continue
with the child. All samples keep their numbers; appended rows get the next ones (`lazarus_plan.numbering`).

Kept epochs and stages stay unchanged. In the stage that the cut falls into, every sample is placed as often as is still
due: pass t of a source uses the samples that the kept steps placed at most t times.
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
from lazarus_plan.numbering import NUMBERED_VERSION, Numbering
from lazarus_plan.packing.items import Items, Placed, apply_policies
from lazarus_plan.packing.mixture import stages_of
from lazarus_plan.plan import FORMAT_VERSION, BatchPlan, Epoch, Integers, Parent, StagePart

FIXED = ("row_len", "align", "mode", "bucket_edges", "oversize", "repeats", "stages")
"""Settings that must not change."""


def rebase_plan(
    parent: BatchPlan, steps: int, lengths: LengthCache | Sequence[LengthCache], config: PlanConfig | None = None
) -> BatchPlan:
    """Keep the first steps of a plan and plan the rest again.

    Samples that the kept steps of the current epoch placed are not placed again in it; all other samples are.

    Args:
        parent: The plan that the run followed.
        steps: Number of trained steps.
        lengths: Length caches of the current data, one per source. Samples of the kept steps must have their old
            positions. Rows may be appended to any source.
        config: Configuration of the rest; None keeps the parent's. Budget, epochs, seed, window and the policy for empty
            samples may change.

    Raises:
        PlanningError: Another setting differs, no step is kept or left, or a kept stage lacks rows.
        StalePlan: A sample of the kept steps has changed.
    """
    caches = [lengths] if isinstance(lengths, LengthCache) else list(lengths)
    config = _settle(parent, steps, config or parent.metadata.config)
    _check_sources(parent, caches)
    numbering = Numbering.of_plan(parent.metadata).extended(list(map(len, caches)))
    items, excluded = apply_policies(caches, config)
    kept = _Kept.of(parent, steps, items, caches, numbering)
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
            "plan_format_version": FORMAT_VERSION if numbering.stored is None else NUMBERED_VERSION,
            "config": config,
            "seed": config.seed,
            "sources": sources_of(caches, numbering),
            "numbering": numbering.stored,
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
    prints = fingerprint_plan(caches, config, encode_lines(plan), metadata.parent, metadata.numbering)
    return replace(plan, fingerprints=prints)


def rebuild_child(child: BatchPlan, caches: Sequence[LengthCache]) -> BatchPlan:
    """Rebuild a rebased plan from its own first steps and its length caches.

    Args:
        child: A rebased plan.
        caches: Its length caches, one per source.

    Raises:
        PlanError: As `rebase_plan`.
    """
    parent = child.metadata.parent
    assert parent is not None, "asked for rebased plans only"
    again = rebase_plan(child, parent.steps, caches, child.metadata.config)
    metadata = again.metadata.model_copy(update={"parent": parent})
    prints = fingerprint_plan(caches, metadata.config, encode_lines(again), parent, metadata.numbering)
    return replace(again, metadata=metadata, fingerprints=prints)


def _settle(parent: BatchPlan, steps: int, config: PlanConfig) -> PlanConfig:
    """The resolved configuration of the child.

    Raises:
        PlanningError: The configuration is not possible.
    """
    asked = parent.metadata.config
    if config.row_len is None:
        config = config.model_copy(update={"row_len": parent.row_len})
    changed = [name for name in FIXED if getattr(config, name) != getattr(asked, name)]
    if changed:
        raise PlanningError(
            f"`{changed[0]}` cannot change from {getattr(asked, changed[0])} to {getattr(config, changed[0])} in the "
            "middle of a plan: build a new one",
            "LP-E134",
        )
    if not 0 < steps < len(parent):
        raise PlanningError(
            f"{steps} of {len(parent)} steps to keep: give `steps` above 0 and below the number of steps", "LP-E134"
        )
    return config


def _check_sources(parent: BatchPlan, caches: Sequence[LengthCache]) -> None:
    """Check that every sample of the parent is still there.

    Raises:
        PlanningError: The number of sources differs.
        StalePlan: Rows are missing.
    """
    about = parent.metadata.sources
    if len(caches) != len(about):
        raise PlanningError(f"{len(caches)} length caches for the plan's {len(about)} sources", "LP-E133")
    for source, cache in zip(about, caches, strict=True):
        if len(cache) < source.count:
            raise StalePlan(f"{cache.name} has {len(cache)} samples, the plan has {source.count}", "LP-E130")


@dataclass(frozen=True)
class _Kept:
    """The kept steps.

    Args:
        plan: The parent's first steps.
        items: Items of the current data.
        item: Position in Items of every placed sample of `plan`, (N,).
        numbering: Sample numbers of the current data.
    """

    plan: BatchPlan
    items: Items
    item: Integers
    numbering: Numbering

    @classmethod
    def of(
        cls, parent: BatchPlan, steps: int, items: Items, caches: Sequence[LengthCache], numbering: Numbering
    ) -> "_Kept":
        """Find the placed samples of the kept steps among the items.

        Raises:
            StalePlan: A sample now has another length or other tokens, or would be excluded.
        """
        plan = parent.steps(0, steps)
        place, length = _piece_ids(plan.sample, plan.span_start), plan.length
        every = np.arange(len(items))
        samples = numbering.numbers(items.samples(every))
        span_starts = items.span_starts(every)
        pieces = _piece_ids(samples, span_starts)
        # Items are in the order of the sources; their sample numbers ascend only if the sources follow one another.
        order = every if numbering.stored is None else np.argsort(pieces)
        item = order[np.minimum(np.searchsorted(pieces, place, sorter=order), len(pieces) - 1)]
        is_other = (pieces[item] != place) | (items.length[item] != length)
        trained = np.zeros(sum(source.count for source in parent.metadata.sources), dtype=np.bool_)
        trained[plan.sample] = True
        is_other |= _has_other_end(parent, trained, (samples, span_starts, items.length))[plan.sample]
        prefixes = prefixes_of(caches)
        if prefixes is not None and parent.prefixes is not None:
            now = numbering.by_number(prefixes)
            is_other |= (now[: len(trained)] != parent.prefixes).any(axis=1)[plan.sample]
        if is_other.any():
            raise StalePlan(
                f"sample {int(plan.sample[np.argmax(is_other)])} was trained and has another length or other content now: "
                "append or correct only rows that are not trained yet, and keep the positions of the others",
                "LP-E130",
            )
        return cls(plan, items, item, numbering)

    def finish_epoch(self, epoch: Epoch, config: PlanConfig) -> Placed:
        """Complete an epoch of which some or all steps are kept: whole kept stages, the rest of a partial one, new ones.

        Raises:
            PlanningError: A stage that is kept whole lacks samples of the current sources.
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
                raise PlanningError("a stage with `until` 'first' and `repeats` cannot be kept in part", "LP-E134")
            tail = PLACE[config.mode](self.items, config, epoch.epoch, number, stage, counts)
            parts.append(_join(head, tail))
        return join_stages(parts)

    def _placed(self, begin: int, end: int, about: StagePart) -> Placed:
        """The placed items of steps begin..end (half-open) of one stage."""
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
                first = self.items.samples(lacking[:1] + self.items.of(source).start)
                sample = int(self.numbering.numbers(first)[0])
                raise PlanningError(
                    f"stage {number} of the epoch is trained, without sample {sample}: rebase at the end of an epoch to add rows",
                    "LP-E134",
                )


def _join(head: Placed, tail: Placed) -> Placed:
    """Join the kept and the new steps of a stage. `passes` of the new steps include the kept ones."""
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
    """Which trained samples have another last piece now. Of a split sample, one piece may be trained and another not yet."""
    ends = [np.zeros(len(trained), dtype=np.int64) for _ in range(2)]
    then = parent.sample, parent.span_start, parent.length
    for end, (sample, span_start, length) in zip(ends, (then, now), strict=True):
        known = sample < len(trained)
        np.maximum.at(end, sample[known], (np.maximum(span_start, 0).astype(np.int64) + length)[known])
    return trained & (ends[0] != ends[1])


def _with_absent(epoch: Epoch, placed: Placed, items: Items, caches: Sequence[LengthCache], left_out: int) -> Epoch:
    """Record how many samples a kept epoch lacks, if it differs from the current exclusions."""
    times = np.bincount(items.samples(placed.item), minlength=sum(map(len, caches)))
    absent = int((times == 0).sum())
    return epoch.model_copy(update={"absent": None if absent == left_out else absent})
