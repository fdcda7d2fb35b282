"""Modes padded and bucketed: one sample per row; all rows of a step have the same length.

Padded sorts by length inside shuffled windows and cuts steps by the budget: 97 to 99 % of the budget is tokens. Bucketed
rounds every sample up to the next edge: 69 to 75 % with the usual edges. The rest is padding.
"""

from itertools import islice

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.config import PlanConfig, Stage
from lazarus_plan.packing.items import Items, Placed
from lazarus_plan.packing.permutation import keyed_permutation, shuffle_key
from lazarus_plan.plan import Integers, StagePart, narrow

PADDED_WINDOW = 16_384
"""Samples per window: steps stay mixed from all of the data, and few are shortened at the end of a window."""


def place_rows(
    items: Items, config: PlanConfig, epoch: int, number: int, stage: Stage, consumed: NDArray[np.int64] | None
) -> Placed:
    """Place one stage of an epoch, one sample per row (modes padded and bucketed).

    Args:
        items: Items of all sources.
        config: Resolved configuration.
        epoch: 0-based epoch.
        number: 0-based stage within the epoch.
        stage: Sources of the stage.
        consumed: How often each item was already placed in this stage, (M,), or None for never.
    """
    repeats = [config.repeats[source] if config.repeats else 1 for source in stage.sources]
    passes = [
        _left(items.of(source), consumed, done)
        for source, count in zip(stage.sources, repeats, strict=True)
        for done in range(count)
    ]
    pool, rows = np.concatenate(passes), iter(map(len, passes))
    key = shuffle_key(f"rows-{number}", config.seed, 0, epoch)
    # One permutation over all passes of all sources mixes them.
    pool = narrow(pool[keyed_permutation(len(pool), key)], len(items))
    length = items.length[pool]
    cut = _cut_buckets if config.mode == "bucketed" else _cut_windows
    order, sizes, row_lens = cut(length, config)
    # Steps of equal shape would follow one another: a shuffle of steps mixes them.
    steps = keyed_permutation(len(sizes), shuffle_key(f"steps-{number}", config.seed, 0, epoch))
    # First row of each step before the shuffle; below, the same after it.
    first = np.cumsum(sizes) - sizes
    sizes, row_lens = sizes[steps], row_lens[steps]
    # Place of each row within its step: 0, 1, ..
    place = np.arange(len(pool)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    # Gather the steps in shuffled order: start of the old step plus the place within it.
    item = pool[order[np.repeat(first[steps], sizes) + place]]
    step = np.repeat(np.arange(len(sizes)), sizes)
    item = item[np.lexsort((-items.length[item].astype(np.int64), step))]  # heavy rows first: `assign` relies on it
    part = StagePart(
        first_step=0,
        steps=len(sizes),
        sources=stage.sources,
        rows=tuple(sum(islice(rows, count)) for count in repeats),
        passes=tuple((count, 0) for count in repeats),
    )
    return Placed(
        item=item,
        length=items.length[item],
        start=narrow(place * np.repeat(row_lens, sizes), config.token_budget),
        step_splits=np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        row_lens=row_lens,
        stages=(part,),
    )


def _left(of: slice, consumed: NDArray[np.int64] | None, done: int) -> NDArray[np.int64]:
    """The items of a source that were placed at most `done` times."""
    every = np.arange(int(of.start), int(of.stop))
    return every if consumed is None else every[consumed[of] <= done]


def _cut_windows(
    length: Integers, config: PlanConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sort each window by descending length and cut it into steps. The first row of a step gives the row length.

    Returns:
        The order of the samples, and the number of rows and the row length of each step.
    """
    window = config.window or PADDED_WINDOW
    place = np.arange(len(length))
    # The last key is primary: window, then descending length, then position, so the order is unique.
    order = np.lexsort((place, -length.astype(np.int64), place // window))
    sizes: list[int] = []
    row_lens: list[int] = []
    rounded = (-(-length[order].astype(np.int64) // config.align) * config.align).tolist()
    for begin in range(0, len(order), window):
        end = min(begin + window, len(order))
        while begin < end:
            # The first row is the longest of the step, so its rounded length times the rows stays in the budget.
            rows = min(config.token_budget // rounded[begin], end - begin)
            sizes.append(rows)
            row_lens.append(rounded[begin])
            begin += rows
    return order, np.array(sizes, dtype=np.int64), np.array(row_lens, dtype=np.int64)


def _cut_buckets(
    length: Integers, config: PlanConfig
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Put each sample into the smallest bucket that fits and cut buckets into steps; returns as `_cut_windows`."""
    edges = np.array(config.bucket_edges, dtype=np.int64)
    # First edge >= length; the stable sort keeps the shuffled order within a bucket.
    bucket = np.searchsorted(edges, length, side="left")
    order = np.argsort(bucket, kind="stable")
    sizes: list[int] = []
    row_lens: list[int] = []
    for edge, count in zip(edges.tolist(), np.bincount(bucket, minlength=len(edges)).tolist(), strict=True):
        rows = config.token_budget // edge
        full, rest = divmod(count, rows)
        sizes += [rows] * full + [rest] * bool(rest)
        row_lens += [edge] * (full + bool(rest))
    return order, np.array(sizes, dtype=np.int64), np.array(row_lens, dtype=np.int64)
