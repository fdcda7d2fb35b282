"""Build a plan from lengths. Deterministic: the same input gives the same bytes.

lengths -> `packing.items` (items to place) -> `packing.rows`, `padded` or `stable` (positions, stage by stage) -> this module
(the whole plan) -> `format.step_codec` (lines) -> `format.fingerprint` (digests) -> `format.store` (folder).
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lazarus_core.printable import utf8_name
from lazarus_plan.config import PlanConfig
from lazarus_plan.errors import PlanningError
from lazarus_plan.format.fingerprint import fingerprint_plan
from lazarus_plan.format.step_codec import encode_lines
from lazarus_plan.format.store import check_replaceable, new_folder, write_lines, write_rest
from lazarus_plan.lengths.cache import LengthCache
from lazarus_plan.malloc_hint import keep_freed
from lazarus_plan.numbering import Numbering, plain_ranges
from lazarus_plan.packing.estimate import check_room, estimate_plan
from lazarus_plan.packing.items import Items, Placed, apply_policies, resolve
from lazarus_plan.packing.mixture import stages_of
from lazarus_plan.packing.padded import place_rows
from lazarus_plan.packing.rows import place_packed
from lazarus_plan.packing.stable import place_stable
from lazarus_plan.plan import FORMAT_VERSION, WHOLE, BatchPlan, Epoch, Integers, Metadata, Source

PLACE = {"packed": place_packed, "stable": place_stable, "padded": place_rows, "bucketed": place_rows}
"""Function that places a stage of an epoch, by mode."""


def build_plan(
    lengths: LengthCache | Sequence[LengthCache],
    config: PlanConfig,
    path: Path | str | None = None,
    *,
    force: bool = True,
) -> BatchPlan:
    """Plan every step of a run.

    >>> from lazarus_plan import LengthCache, LengthRow, PlanConfig
    >>> cache = LengthCache.from_rows([LengthRow("a", 40), LengthRow("b", 24), LengthRow("c", 60)])
    >>> plan = build_plan(cache, PlanConfig(token_budget=64))
    >>> [step.samples for step in map(plan.step, range(len(plan)))]
    [(2,), (0, 1)]

    Args:
        lengths: Length cache of one source, or of several to mix.
        config: Requested configuration.
        path: Folder to save the plan in, or None. Saving shares the pass over the lines with fingerprinting.
        force: Replace another plan at `path`.

    Raises:
        PlanningError: A sample is oversize or empty under the policy "error", no sample is left, the plan is too large, or
            two caches were measured with different tokenizers.
        OutputTaken: `path` has another plan, other content or other files. Nothing is changed.
    """
    keep_freed()
    caches = [lengths] if isinstance(lengths, LengthCache) else list(lengths)
    config, path = resolve(caches, config), None if path is None else Path(path)
    check_room(estimate_plan(caches, config), config, path)
    if path is not None:
        check_replaceable(path, force=force)  # before the work, not after it
    items, excluded = apply_policies(caches, config)
    epochs = [place_epoch(items, config, epoch, len(caches)) for epoch in range(config.epochs)]
    metadata = Metadata(
        plan_format_version=FORMAT_VERSION,
        tool_version=f"lazarus-plan {version('lazarus-plan')}",
        seed=config.seed,
        created_at=_now(),
        config=config,
        sources=sources_of(caches),
        epochs=number_epochs(epochs),
        excluded=excluded,
    )
    plan = assemble(items, epochs, metadata, prefixes_of(caches))
    if path is None:
        return replace(plan, fingerprints=fingerprint_plan(caches, config, encode_lines(plan)))
    with new_folder(path, force=force) as folder:
        plan = replace(plan, fingerprints=fingerprint_plan(caches, config, write_lines(folder, encode_lines(plan))))
        write_rest(folder, plan)
    return plan


def place_epoch(items: Items, config: PlanConfig, epoch: int, num_sources: int) -> Placed:
    """Place the items of one epoch in rows and steps, stage by stage.

    Args:
        items: Items of all sources.
        config: Resolved configuration: `row_len` is a number.
        epoch: 0-based epoch, which is a part of every shuffle's key.
        num_sources: Number of length caches, at least 1. Without stages, all of them form one stage.
    """
    stages = stages_of(config, num_sources)
    return join_stages(
        [PLACE[config.mode](items, config, epoch, number, stage, None) for number, stage in enumerate(stages)]
    )


def join_stages(parts: Sequence[Placed]) -> Placed:
    """Concatenate the stages of an epoch."""
    if len(parts) == 1:
        return parts[0]
    first_steps = np.cumsum([0, *(len(part.row_lens) for part in parts)]).tolist()
    return Placed(
        item=np.concatenate([part.item for part in parts]),
        length=np.concatenate([part.length for part in parts]),
        start=np.concatenate([part.start for part in parts]),
        step_splits=_joined_splits([np.diff(part.step_splits) for part in parts]),
        row_lens=np.concatenate([part.row_lens for part in parts]),
        stages=tuple(
            stage.model_copy(update={"first_step": first})
            for part, first in zip(parts, first_steps, strict=False)
            for stage in part.stages
        ),
    )


def assemble(
    items: Items, epochs: Sequence[Placed], metadata: Metadata, prefixes: NDArray[np.uint32] | None
) -> BatchPlan:
    """Join placed epochs into one plan. Its fingerprints are empty.

    Samples get the numbers of the metadata's `numbering`.

    Args:
        items: Items of all sources.
        epochs: Placed items of each epoch, in order; at least one.
        metadata: Metadata of the plan, with its resolved configuration.
        prefixes: From `prefixes_of`.
    """
    start, item, length = (
        _concatenate(columns)
        for columns in zip(*((each.start, each.item, each.length) for each in epochs), strict=True)
    )
    step_splits = _joined_splits([np.diff(epoch.step_splits) for epoch in epochs])
    row_lens = np.concatenate([epoch.row_lens for epoch in epochs])
    numbering = Numbering.of_plan(metadata)
    sample = numbering.numbers(items.samples(item))
    span_start = items.span_starts(item)
    if span_start.flags.writeable:  # some samples are cut
        _mark_full(span_start, length, step_splits, metadata.config)
    if prefixes is not None:
        prefixes = numbering.by_number(prefixes)
    return BatchPlan(metadata, {}, sample, start, length, step_splits, row_lens, span_start, prefixes)


def sources_of(caches: Sequence[LengthCache], numbering: Numbering | None = None) -> tuple[Source, ...]:
    """The metadata of the length caches.

    Args:
        caches: The length caches, one per source.
        numbering: Numbers of their samples; None if the sources follow one another.
    """
    if numbering is None:
        numbering = Numbering(plain_ranges(list(map(len, caches))), len(caches))
    return tuple(
        Source(name=utf8_name(cache.name), offset=offset, count=len(cache), lengths=cache.digest)
        for cache, offset in zip(caches, numbering.offsets, strict=True)
    )


def prefixes_of(caches: Sequence[LengthCache]) -> NDArray[np.uint32] | None:
    """Row and token prefixes of all samples in the order of the caches, uint32 (samples, 2), if every cache has them."""
    prefixes = [cache.prefixes for cache in caches]
    known = [each for each in prefixes if each is not None]
    return np.concatenate(known) if len(known) == len(prefixes) else None


def _mark_full(span_start: Integers, length: Integers, step_splits: NDArray[np.int64], config: PlanConfig) -> None:
    """Mark whole samples of row_len tokens as cut in steps with spans, because their line cannot distinguish the two."""
    has_spans = np.logical_or.reduceat(span_start != WHOLE, step_splits[:-1])
    full = np.flatnonzero((length == config.row_len) & (span_start == WHOLE))
    step = np.searchsorted(step_splits, full, side="right") - 1
    span_start[full[has_spans[step]]] = 0


def number_epochs(placed: Sequence[Placed]) -> tuple[Epoch, ...]:
    """The metadata of the epochs."""
    epochs: list[Epoch] = []
    for number, epoch in enumerate(placed):
        first_step = epochs[-1].first_step + epochs[-1].steps if epochs else 0
        stages = (stage.model_copy(update={"first_step": first_step + stage.first_step}) for stage in epoch.stages)
        epochs.append(
            Epoch(
                epoch=number,
                first_step=first_step,
                steps=len(epoch.row_lens),
                samples=len(epoch.item),
                tokens=int(epoch.length.sum(dtype=np.int64)),
                stages=tuple(stages),
            )
        )
    return tuple(epochs)


def _concatenate(columns: Sequence[Integers]) -> Integers:
    return columns[0] if len(columns) == 1 else np.concatenate(columns)


def _joined_splits(sizes: Sequence[NDArray[np.int64]]) -> NDArray[np.int64]:
    return np.concatenate([[0], np.cumsum(np.concatenate(sizes))]).astype(np.int64)


def _now() -> datetime:
    """The build time; `SOURCE_DATE_EPOCH` (reproducible-builds.org) sets it."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise PlanningError(f"SOURCE_DATE_EPOCH is {epoch!r}, not a number of seconds", "LP-E005") from error
