"""From lengths to a plan: place, pack, deal, number, fingerprint. Pure: the same input gives the same bytes."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.balance import row_costs, stratified_steps
from lazarus_plan.codec import encode_lines
from lazarus_plan.config import PlanConfig
from lazarus_plan.errors import PlanningError
from lazarus_plan.fingerprint import fingerprint_plan
from lazarus_plan.keyed import keyed_permutation, shuffle_key
from lazarus_plan.lengths import LengthCache
from lazarus_plan.packing import Pattern, best_fit_decreasing, histogram, slots
from lazarus_plan.plan import FORMAT_VERSION, WHOLE, BatchPlan, Epoch, Excluded, Metadata, Source

ROW_LEN_MULTIPLE = 64
"""Chosen row lengths are multiples of this: fast on every GPU, and few distinct shapes."""


@dataclass(frozen=True)
class Items:
    """What is packed: samples, or pieces of samples where the oversize policy cut them.

    Args:
        sample: Position in the length cache, int64 (M,).
        length: Tokens, int64 (M,).
        span_start: First token of the sample, WHOLE where all of it is meant, int64 (M,).
    """

    sample: NDArray[np.int64]
    length: NDArray[np.int64]
    span_start: NDArray[np.int64]


def build_plan(lengths: LengthCache, config: PlanConfig) -> BatchPlan:
    """Plans every step of a run.

    >>> from lazarus_plan import LengthCache, LengthRow, PlanConfig
    >>> cache = LengthCache.from_rows([LengthRow("a", 40), LengthRow("b", 24), LengthRow("c", 60)])
    >>> plan = build_plan(cache, PlanConfig(token_budget=64))
    >>> [step.samples for step in map(plan.step, range(len(plan)))]
    [(0, 1), (2,)]

    Raises:
        PlanningError: An oversize or empty sample without a policy for it, or nothing to plan.
    """
    row_len = config.row_len or _fitting_row_len(lengths.length, config)
    config = config.model_copy(update={"row_len": row_len})
    items, excluded = _apply_policies(lengths, config, row_len)
    if not len(items.sample):
        raise PlanningError(f"no sample of {lengths.name} is left to plan: all {len(lengths)} are excluded", "LP-E131")

    patterns = best_fit_decreasing(histogram(items.length), row_len)
    placed = [_place_epoch(items, patterns, config, row_len, epoch) for epoch in range(config.epochs)]
    metadata = Metadata(
        plan_format_version=FORMAT_VERSION,
        tool_version=f"lazarus-plan {version('lazarus-plan')}",
        seed=config.seed,
        created_at=_now(),
        config=config,
        sources=(Source(name=lengths.name, offset=0, count=len(lengths), lengths=lengths.digest),),
        epochs=_number_epochs(placed),
        excluded=excluded,
    )
    plan = _concatenate(placed, metadata, lengths)
    return replace(plan, fingerprints=fingerprint_plan([lengths], config, encode_lines(plan)))


def _fitting_row_len(length: NDArray[np.int64], config: PlanConfig) -> int:
    """The smallest multiple of 64 that holds the longest sample, or the budget where a policy cuts what is longer."""
    longest = int(length.max(initial=0))
    fitting = -(-max(longest, 1) // ROW_LEN_MULTIPLE) * ROW_LEN_MULTIPLE
    if fitting <= config.token_budget:
        return fitting
    if longest <= config.token_budget or config.oversize != "error":
        return config.token_budget
    raise PlanningError(
        f"the longest sample has {longest} tokens and a step only {config.token_budget}: raise the token budget, "
        "or choose a policy with `--oversize exclude|truncate|split`",
        "LP-E131",
    )


def _apply_policies(lengths: LengthCache, config: PlanConfig, row_len: int) -> tuple[Items, Excluded]:
    """Excludes, cuts or refuses what cannot stand in a row as it is."""
    is_empty = lengths.length == 0
    is_oversize = lengths.length > row_len
    if is_empty.any() and config.zero_length == "error":
        raise PlanningError(
            f"{_first(lengths, is_empty)} has no tokens, and the zero-length policy is `error`: mend the data, or choose "
            "`--zero-length exclude`",
            "LP-E132",
        )
    if is_oversize.any() and config.oversize == "error":
        count = int(is_oversize.sum())
        more = f" (and {count - 1} more)" if count > 1 else ""
        raise PlanningError(
            f"{_first(lengths, is_oversize)}{more} is longer than a row of {row_len}, and the oversize policy is `error`: "
            f"raise `--row-len` (longest sample: {int(lengths.length.max())}), or choose `--oversize exclude|truncate|split`",
            "LP-E131",
        )
    keep = ~is_empty & ~is_oversize if config.oversize == "exclude" else ~is_empty
    sample = np.flatnonzero(keep).astype(np.int64)
    pieces = -(-lengths.length[sample] // row_len) if config.oversize == "split" else np.ones_like(sample)
    sample = np.repeat(sample, pieces)
    piece = np.arange(len(sample)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    whole_length = lengths.length[sample]
    length = np.minimum(whole_length - piece * row_len, row_len)
    items = Items(sample, length, np.where(length == whole_length, WHOLE, piece * row_len))
    oversize = int(is_oversize.sum()) if config.oversize == "exclude" else 0
    return items, Excluded(oversize=oversize, zero_length=int(is_empty.sum()))


def _first(lengths: LengthCache, where: NDArray[np.bool_]) -> str:
    position = int(np.argmax(where))
    return (
        f"sample {lengths.ids[position]!r} ({lengths.name}, sample {position}, {int(lengths.length[position])} tokens)"
    )


@dataclass(frozen=True)
class _Placed:
    """One epoch's samples in their places, step after step."""

    items: Items
    start: NDArray[np.int64]
    step_splits: NDArray[np.int64]


def _place_epoch(items: Items, patterns: list[Pattern], config: PlanConfig, row_len: int, epoch: int) -> _Placed:
    """Puts items into the patterns' slots by keyed order, and rows into steps by strata."""
    slot_length, row_splits = slots(patterns)
    # Items of one length are interchangeable to the packing: the keyed order decides which stands where.
    keyed = keyed_permutation(len(items.sample), shuffle_key("shuffle", config.seed, 0, epoch))
    item_at = np.empty(len(keyed), dtype=np.int64)
    item_at[np.argsort(-slot_length, kind="stable")] = keyed[np.argsort(-items.length[keyed], kind="stable")]

    rows_per_step = config.token_budget // row_len
    order, step_rows = stratified_steps(
        row_costs(slot_length, row_splits), rows_per_step, seed=config.seed, epoch=epoch
    )
    row_size = np.diff(row_splits)[order]
    slot = _ranges(row_splits[order], row_size)
    length = slot_length[slot]
    within_row = np.cumsum(length) - length
    within_row -= np.repeat(within_row[np.cumsum(row_size) - row_size], row_size)
    row_in_step = np.arange(len(order)) - np.repeat(step_rows[:-1], np.diff(step_rows))
    start = within_row + np.repeat(row_in_step * row_len, row_size)
    step_splits = np.concatenate([[0], np.cumsum(row_size)])[step_rows].astype(np.int64)
    chosen = item_at[slot]
    span_start = items.span_start[chosen]
    has_spans = np.repeat(np.logical_or.reduceat(span_start != WHOLE, step_splits[:-1]), np.diff(step_splits))
    span_start[has_spans & (length == row_len)] = np.maximum(span_start[has_spans & (length == row_len)], 0)
    return _Placed(Items(items.sample[chosen], length, span_start), start, step_splits)


def _ranges(first: NDArray[np.int64], size: NDArray[np.int64]) -> NDArray[np.int64]:
    """first[0], first[0] + 1, .., first[1], ..: `size[i]` integers from each `first[i]`."""
    return np.arange(int(size.sum())) + np.repeat(first - (np.cumsum(size) - size), size)


def _number_epochs(placed: Sequence[_Placed]) -> tuple[Epoch, ...]:
    epochs: list[Epoch] = []
    for number, epoch in enumerate(placed):
        epochs.append(
            Epoch(
                epoch=number,
                first_step=sum(each.steps for each in epochs),
                steps=len(epoch.step_splits) - 1,
                samples=len(epoch.start),
                tokens=int(epoch.items.length.sum()),
            )
        )
    return tuple(epochs)


def _concatenate(placed: Sequence[_Placed], metadata: Metadata, lengths: LengthCache) -> BatchPlan:
    sizes = np.concatenate([np.diff(epoch.step_splits) for epoch in placed])
    start = np.concatenate([epoch.start for epoch in placed])
    return BatchPlan(
        metadata=metadata,
        fingerprints={},
        sample=np.concatenate([epoch.items.sample for epoch in placed]),
        start=start,
        end=start + np.concatenate([epoch.items.length for epoch in placed]),
        step_splits=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        span_start=np.concatenate([epoch.items.span_start for epoch in placed]),
        prefixes=lengths.prefixes,
    )


def _now() -> datetime:
    """The build time; `SOURCE_DATE_EPOCH` (reproducible-builds.org) sets it."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH")
    if epoch is None:
        return datetime.now(UTC).replace(microsecond=0)
    try:
        return datetime.fromtimestamp(int(epoch), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise PlanningError(f"SOURCE_DATE_EPOCH is {epoch!r}, not a number of seconds", "LP-E005") from error
