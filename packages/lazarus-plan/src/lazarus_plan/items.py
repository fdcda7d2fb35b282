"""What is placed: samples, or pieces of samples where the oversize policy cut them. Nothing is dropped in silence."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.config import PlanConfig
from lazarus_plan.errors import PlanningError
from lazarus_plan.lengths import LengthCache
from lazarus_plan.plan import WHOLE, Excluded, Integers, StagePart, narrow, narrow_type

ROW_LEN_MULTIPLE = 64
"""Chosen row lengths are multiples of this: fast on every GPU, and few distinct shapes."""


@dataclass(frozen=True)
class Items:
    """Samples to place, in the order of the length caches.

    Args:
        sample: Sample id of the plan, (M,).
        length: Tokens, (M,).
        span_start: First token of the sample, WHOLE where all of it is meant, (M,).
        splits: Source i has items splits[i]..splits[i + 1], (sources + 1,).
    """

    sample: Integers
    length: Integers
    span_start: Integers
    splits: NDArray[np.int64]

    def of(self, source: int) -> slice:
        """The items of one source."""
        return slice(int(self.splits[source]), int(self.splits[source + 1]))


@dataclass(frozen=True)
class Placed:
    """Some items in their places, step after step.

    Args:
        item: Position in Items, (M,).
        start: First token in the step's flat buffer, (M,).
        step_splits: Step i places item[step_splits[i]:step_splits[i + 1]], (S + 1,).
        row_lens: Tokens a row of each step, (S,).
        stages: Which steps mix which sources.
    """

    item: Integers
    start: Integers
    step_splits: NDArray[np.int64]
    row_lens: NDArray[np.int64]
    stages: tuple[StagePart, ...]


def resolve(caches: Sequence[LengthCache], config: PlanConfig) -> PlanConfig:
    """The configuration with `row_len` as a number: given, the last bucket edge, or what the longest sample needs.

    Raises:
        PlanningError: The longest sample needs more than the budget, and no policy says what to do.
    """
    if config.row_len is None:
        row_len = config.bucket_edges[-1] if config.bucket_edges else _fitting_row_len(caches, config)
        config = config.model_copy(update={"row_len": row_len})
    if config.resolved_row_len > config.token_budget:
        raise PlanningError(f"rows of {config.row_len} tokens do not fit a step of {config.token_budget}", "LP-E131")
    return config


def _fitting_row_len(caches: Sequence[LengthCache], config: PlanConfig) -> int:
    """The smallest multiple of 64 that holds the longest sample, or the budget where a policy cuts what is longer."""
    longest = max(int(cache.length.max(initial=0)) for cache in caches)
    multiple = int(np.lcm(ROW_LEN_MULTIPLE, config.align))
    fitting = -(-max(longest, 1) // multiple) * multiple
    if fitting <= config.token_budget:
        return fitting
    largest = config.token_budget // config.align * config.align
    if longest <= largest or config.oversize != "error":
        return largest
    raise PlanningError(
        f"the longest sample has {longest} tokens and a step only {config.token_budget}: raise the token budget, "
        "or choose a policy with `--oversize exclude|truncate|split`",
        "LP-E131",
    )


def apply_policies(caches: Sequence[LengthCache], config: PlanConfig) -> tuple[Items, Excluded]:
    """Excludes, cuts or refuses what cannot stand in a row as it is.

    Raises:
        PlanningError: An oversize or empty sample without a policy for it, or nothing left to plan.
    """
    pieces = [_cut(cache, config) for cache in caches]
    offsets = np.concatenate([[0], np.cumsum([len(cache) for cache in caches])])
    total = int(offsets[-1])
    items = Items(
        sample=_joined(
            [_shifted(each.sample, int(offset), total) for each, offset in zip(pieces, offsets, strict=False)]
        ),
        length=_joined([each.length for each in pieces]),
        span_start=_joined([each.span_start for each in pieces]),
        splits=np.concatenate([[0], np.cumsum([len(each.sample) for each in pieces])]).astype(np.int64),
    )
    for cache, each in zip(caches, pieces, strict=True):
        if not len(each.sample):
            raise PlanningError(f"no sample of {cache.name} is left to plan: all {len(cache)} are excluded", "LP-E131")
    oversize = sum(each.oversize for each in pieces)
    return items, Excluded(oversize=oversize, zero_length=sum(each.empty for each in pieces))


@dataclass(frozen=True)
class _Cut:
    """What is left of one source."""

    sample: Integers
    length: Integers
    span_start: Integers
    oversize: int
    empty: int


def _cut(cache: LengthCache, config: PlanConfig) -> _Cut:
    row_len = config.resolved_row_len
    is_empty, is_oversize = cache.length == 0, cache.length > row_len
    empty, oversize = int(is_empty.sum()), int(is_oversize.sum())
    if empty and config.zero_length == "error":
        raise PlanningError(
            f"{_first(cache, is_empty)} has no tokens, and the zero-length policy is `error`: mend the data, or choose "
            "`--zero-length exclude`",
            "LP-E132",
        )
    if oversize and config.oversize == "error":
        more = f" (and {oversize - 1} more)" if oversize > 1 else ""
        raise PlanningError(
            f"{_first(cache, is_oversize)}{more} is longer than a row of {row_len}, and the oversize policy is `error`: "
            f"raise `--row-len` (longest sample: {int(cache.length.max())}), or choose "
            "`--oversize exclude|truncate|split`",
            "LP-E131",
        )
    if not oversize and not empty:
        every = np.arange(len(cache), dtype=narrow_type(len(cache)))
        return _Cut(every, narrow(cache.length, row_len), _whole(len(cache)), 0, 0)
    keep = ~is_empty & ~is_oversize if config.oversize == "exclude" else ~is_empty
    sample = narrow(np.flatnonzero(keep), len(cache))
    if config.oversize == "exclude" or not oversize:
        return _Cut(sample, narrow(cache.length[keep], row_len), _whole(len(sample)), oversize, empty)
    whole = narrow(cache.length[sample], int(cache.length.max()))
    pieces = -(-whole // row_len) if config.oversize == "split" else np.ones_like(whole)
    begins = np.cumsum(pieces) - pieces
    first = np.arange(int(pieces.sum()), dtype=whole.dtype)
    first -= np.repeat(begins.astype(whole.dtype), pieces)
    first *= row_len
    length = np.repeat(whole, pieces)
    is_whole = length <= row_len
    length -= first
    first[is_whole] = WHOLE
    return _Cut(np.repeat(sample, pieces), narrow(np.minimum(length, row_len, out=length), row_len), first, 0, empty)


def _whole(size: int) -> Integers:
    """WHOLE `size` times, in no memory."""
    return np.broadcast_to(np.int32(WHOLE), size)


def _shifted(sample: Integers, offset: int, total: int) -> Integers:
    """Samples of a cache as samples of the plan."""
    shifted = narrow(sample, total)
    shifted += offset
    return shifted


def _joined(columns: Sequence[Integers]) -> Integers:
    if len(columns) == 1:
        return columns[0]
    if all(column.strides == (0,) for column in columns):
        return _whole(sum(map(len, columns)))
    return np.concatenate(columns)


def _first(cache: LengthCache, where: NDArray[np.bool_]) -> str:
    position = int(np.argmax(where))
    return f"sample {cache.ids[position]!r} ({cache.name}, sample {position}, {int(cache.length[position])} tokens)"
