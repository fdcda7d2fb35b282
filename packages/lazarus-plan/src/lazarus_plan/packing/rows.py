"""Mode packed: samples share rows. Pack each source, mix the rows, assign them to steps, lay them out.

`_Supply` packs a source pass by pass (`best_fit` gives patterns of rows, `by_length` assigns items to them). `mixture`
gives the number of rows of each source in each step, `balance` selects the rows, and `lay_out` concatenates them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.config import PlanConfig, Stage
from lazarus_plan.packing.balance import BLOCK_ROWS, deal, even_sizes, row_costs
from lazarus_plan.packing.best_fit import Pattern, best_fit_decreasing, by_length, histogram, lower_bounds, slots
from lazarus_plan.packing.exact_fill import exact_fill
from lazarus_plan.packing.items import Items, Placed
from lazarus_plan.packing.mixture import schedule, stage_weights
from lazarus_plan.packing.permutation import keyed_permutation, shuffle_key
from lazarus_plan.packing.reshuffle import MAX_ITEMS, deal_anew
from lazarus_plan.packing.sorting import order_by
from lazarus_plan.plan import Integers, StagePart, narrow, narrow_lengths, narrow_type

MAX_EXACT_FILL_ROW_LEN = 8192
"""Maximum row length for exact fill: its time grows with the square of the row length, and best fit improves with it."""


class Rows(NamedTuple):
    """Rows of one source, before they are assigned to steps.

    Args:
        item: Position in Items of every segment, row by row, (M,).
        length: Tokens of every segment, (M,).
        row_splits: Row i has item[row_splits[i]:row_splits[i + 1]], (rows + 1,).
    """

    item: Integers
    length: Integers
    row_splits: Integers

    def first(self, count: int) -> "Rows":
        """The first `count` rows."""
        end = int(self.row_splits[count])
        return Rows(self.item[:end], self.length[:end], self.row_splits[: count + 1])


def place_packed(
    items: Items, config: PlanConfig, epoch: int, number: int, stage: Stage, consumed: NDArray[np.int64] | None
) -> Placed:
    """Place one stage of an epoch.

    Args:
        items: Items of all sources.
        config: Resolved configuration.
        epoch: 0-based epoch.
        number: 0-based stage within the epoch.
        stage: Sources and weights of the stage.
        consumed: How often each item was already placed in this stage, (M,), or None for never.
    """
    supplies = [_Supply(items, config, epoch, number, source, consumed) for source in stage.sources]
    weights, total = stage_weights([supply.rows for supply in supplies], stage)
    # Decide the number of rows of each source in each step, then take that many rows of each source.
    step_sizes = even_sizes(total, config.rows_per_step)
    shares = _shares(weights, step_sizes)
    wanted = shares.sum(axis=1).tolist()
    taken = [supply.take(count) for supply, count in zip(supplies, wanted, strict=True)]
    rows = join_rows([each for each, _ in taken])
    part = StagePart(
        first_step=0,
        steps=len(step_sizes),
        sources=stage.sources,
        rows=tuple(wanted),
        passes=tuple(passes for _, passes in taken),
    )
    if not total:  # all of it was placed before
        return Placed(*rows, np.zeros(1, dtype=np.int64), np.zeros(0, dtype=np.int64), (part,))
    cheapness = narrow(row_costs(rows.length, rows.row_splits), config.resolved_row_len**2)
    # Descending cost becomes ascending cheapness, in place: the sort needs integers >= 0.
    np.subtract(cheapness.max(), cheapness, out=cheapness)
    samples = narrow_lengths(np.diff(rows.row_splits), config.resolved_row_len)
    step = np.empty(total, dtype=np.int32)
    first = 0
    for source, count, share in zip(stage.sources, wanted, shares, strict=True):
        mine = slice(first, first + count)
        step[mine] = deal(cheapness[mine], samples[mine], share, seed=config.seed, source=source, epoch=epoch)
        first += count
    del samples  # of ten million samples every column counts
    # By step, and within a step the most expensive row first.
    order = order_by(step, cheapness)
    del step, cheapness
    order = narrow(order, total)
    return lay_out(rows, order, step_sizes, config, part)


def _shares(weights: Sequence[int], step_sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of rows of each source in each step, (sources, steps)."""
    if len(weights) == 1:
        return step_sizes[np.newaxis]
    order = schedule(weights, int(step_sizes.sum()))
    step = np.repeat(np.arange(len(step_sizes)), step_sizes)
    # Rows in mixture order belong to consecutive steps; count them per source.
    return np.stack([np.bincount(step[order == place], minlength=len(step_sizes)) for place in range(len(weights))])


@dataclass
class _Supply:
    """Rows of one source, pass by pass. Each pass is shuffled and packed separately.

    Pass t uses the items that were placed at most t times before.
    """

    items: Items
    config: PlanConfig
    epoch: int
    stage: int
    source: int
    consumed: NDArray[np.int64] | None

    def __post_init__(self) -> None:
        self._passes = [self._pack(number) for number in range(self._repeats)]

    @property
    def rows(self) -> int:
        """Number of rows of all requested passes."""
        return sum(len(each.row_splits) - 1 for each in self._passes[: self._repeats])

    def take(self, count: int) -> tuple[Rows, tuple[int, int]]:
        """The first `count` rows, and the number of passes including earlier ones.

        Returns:
            The rows; the number of whole passes; the rows of a further pass, at least 1 if some of its items were
            placed before.
        """
        whole = 0
        chosen: list[Rows] = []
        while True:
            if whole == len(self._passes):
                if not count and not self._is_begun(whole):
                    return join_rows(chosen), (whole, 0)
                self._passes.append(self._pack(whole))
            rows = self._passes[whole]
            num_rows = len(rows.row_splits) - 1
            if num_rows > count:
                chosen.append(rows.first(count))
                return join_rows(chosen), (whole, count or int(self._is_begun(whole)))
            chosen.append(rows)
            count -= num_rows
            whole += 1

    def _is_begun(self, number: int) -> bool:
        """Whether some items of a pass were placed before."""
        return self.consumed is not None and bool((self.consumed[self.items.of(self.source)] > number).any())

    @property
    def _repeats(self) -> int:
        return self.config.repeats[self.source] if self.config.repeats else 1

    def _pack(self, number: int) -> Rows:
        """Pack the source once, in windows of the keyed order. From the second pass on, samples change their rows."""
        of = self.items.of(self.source)
        again = "" if (self.stage, number) == (0, 0) else f"-{self.stage}-{number}"

        def key(purpose: str) -> int:
            return shuffle_key(purpose + again, self.config.seed, self.source, self.epoch)

        if self.consumed is None:
            keyed = narrow(keyed_permutation(of.stop - of.start, key("shuffle")), len(self.items))
            keyed += of.start
        else:
            left = np.flatnonzero(self.consumed[of] <= number) + of.start
            keyed = narrow(left[keyed_permutation(len(left), key("shuffle"))], len(self.items))
        if not len(keyed):
            return Rows(keyed, keyed, np.zeros(1, dtype=np.int64))
        window = self.config.window or len(keyed)
        rows = join_rows(
            [pack_window(keyed[i : i + window], self.items, self.config) for i in range(0, len(keyed), window)]
        )
        if len(keyed) > MAX_ITEMS or not (self.epoch or again):
            return rows
        return _in_other_company(rows, self.items, self.config, key)


def _in_units(length: Integers, config: PlanConfig) -> Integers:
    """Lengths in units of `align` tokens, rounded up."""
    return length if config.align == 1 else -(-length // config.align)


def _in_other_company(rows: Rows, items: Items, config: PlanConfig, key: Callable[[str], int]) -> Rows:
    """Redistribute the items so that other samples share a row than in earlier passes."""
    chosen = np.sort(rows.item)
    length = _in_units(items.length[chosen], config).tolist()
    # Replace items by their positions in `chosen`, which index `length`.
    content = np.split(np.searchsorted(chosen, rows.item), rows.row_splits[1:-1])
    dealt = deal_anew([row.tolist() for row in content], length, config.resolved_row_len // config.align, key)
    item = chosen[[place for row in dealt for place in row]]
    return Rows(item, items.length[item], narrow(np.cumsum([0, *map(len, dealt)]), len(chosen)))


def pack_window(chosen: Integers, items: Items, config: PlanConfig) -> Rows:
    """Pack some items. Items of equal length are placed in their given order.

    Args:
        chosen: The items, in their order; the array is overwritten.
        items: All items.
        config: Resolved configuration.
    """
    length = _in_units(items.length[chosen], config)
    counts = histogram(length)
    patterns = pack(tuple(sorted(counts.items())), config.resolved_row_len // config.align)
    ordered = np.empty_like(chosen)
    # Scatter: all items by descending length.
    for part, order, rank in by_length(length, counts):
        ordered[rank] = chosen[part][order]
    del length
    slot_length, row_splits = slots(patterns, config.resolved_row_len)
    item = chosen  # whose memory it takes: of ten million items every column counts
    # Gather: the slot with the same rank has the same length. `item` reuses the memory of `chosen`.
    for part, order, rank in by_length(slot_length, counts):
        item[part][order] = ordered[rank]
    return Rows(item, slot_length if config.align == 1 else items.length[item], row_splits)


@lru_cache(maxsize=1)  # the next epoch has the same lengths
def pack(counts: tuple[tuple[int, int], ...], row_len: int) -> list[Pattern]:
    """Pack by best fit, or by exact fill if it needs fewer rows.

    Args:
        counts: Number of items by length, ascending.
        row_len: Tokens per row.
    """
    best_fit = best_fit_decreasing(dict(counts), row_len)
    rows = sum(pattern.rows for pattern in best_fit)
    if row_len > MAX_EXACT_FILL_ROW_LEN or rows == lower_bounds(dict(counts), row_len).l2:
        return best_fit
    exact = exact_fill(dict(counts), row_len)
    return exact if sum(pattern.rows for pattern in exact) < rows else best_fit


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Concatenate the rows of several packings."""
    if len(parts) == 1:
        return parts[0]
    # Each packing's splits count from 0; shift them behind the earlier packings.
    offsets = np.cumsum([0, *(len(part.item) for part in parts[:-1])])
    splits = [part.row_splits[:-1].astype(np.int64) + offset for part, offset in zip(parts, offsets, strict=True)]
    end = sum(len(part.item) for part in parts)
    return Rows(
        np.concatenate([part.item for part in parts]),
        np.concatenate([part.length for part in parts]),
        narrow(np.concatenate([*splits, [end]]), end),
    )


def lay_out(rows: Rows, order: Integers, step_sizes: NDArray[np.int64], config: PlanConfig, part: StagePart) -> Placed:
    """Lay out rows in the flat buffers of their steps.

    Args:
        rows: All rows.
        order: Rows by step, and by descending cost within a step, so that `assign` balances ranks by position alone.
        step_sizes: Number of rows of each step.
        config: Resolved configuration.
        part: The stage.
    """
    # Segments per row, summed over the rows of a step, then accumulated to splits.
    step_rows = np.concatenate([[0], np.cumsum(step_sizes)])
    step_splits = np.cumsum(np.add.reduceat(np.diff(rows.row_splits)[order], step_rows[:-1], dtype=np.int64))
    item, length = np.empty_like(rows.item), np.empty_like(rows.length)
    start = np.empty(len(item), dtype=narrow_type(config.token_budget))
    end = 0
    for begin in range(0, len(order), BLOCK_ROWS):
        chosen = order[begin : begin + BLOCK_ROWS]
        # Segments of the chosen rows, one row after another.
        first = rows.row_splits[chosen]
        size = rows.row_splits[chosen + 1] - first
        placed = slice(end, end := end + int(size.sum()))
        source = _ranges(first, size)
        item[placed], length[placed] = rows.item[source], rows.length[source]
        taken = length[placed].astype(np.int64)
        if config.align > 1:
            taken = -(-taken // config.align) * config.align
        # Tokens before each segment in the block. Less the value at the row's first segment, it is the offset
        # within the row; plus row * row_len, the offset within the step.
        before = np.cumsum(taken) - taken
        row = _places_in_steps(step_rows, begin, begin + len(chosen))
        start[placed] = before + np.repeat(row * config.resolved_row_len - before[np.cumsum(size) - size], size)
    return Placed(
        item=item,
        length=length,
        start=start,
        step_splits=np.concatenate([[0], step_splits]),
        row_lens=np.full(part.steps, config.resolved_row_len, dtype=np.int64),
        stages=(part,),
    )


def _places_in_steps(step_rows: NDArray[np.int64], begin: int, end: int) -> NDArray[np.int64]:
    """Position within its step of each row begin..end (half-open). Step i has the rows step_rows[i]..step_rows[i + 1].

    >>> _places_in_steps(np.array([0, 3, 5, 8]), 2, 7).tolist()
    [2, 0, 1, 0, 1]
    """
    # Steps that contain the first and the last row of the range; cut the range at the borders between them.
    first, last = np.searchsorted(step_rows, [begin, end - 1], side="right").tolist()
    splits = np.concatenate([[begin], step_rows[first:last], [end]])
    return np.arange(begin, end) - np.repeat(step_rows[first - 1 : last], np.diff(splits))


def _ranges(first: Integers, size: Integers) -> NDArray[np.int64]:
    """Concatenated ranges: `size[i]` integers from each `first[i]`."""
    # One arange over all ranges, shifted for each range from its position in the output to its first value.
    ends = np.cumsum(size)
    return np.arange(int(ends[-1])) + np.repeat(first - (ends - size), size)
