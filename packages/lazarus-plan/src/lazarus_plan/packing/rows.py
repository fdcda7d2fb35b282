"""Mode packed: samples share rows. Pack each source, mix the rows, deal them to steps, lay them out.

`_Supply` packs a source pass by pass (`packing`: lengths to patterns of rows; `by_length`: items into them), `mixture` says how
many rows each step takes of each source, `balance` which ones, `lay_out` puts them end to end.
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
"""Exact fill is tried up to here: its time grows with the square of the row, and best fit gains with longer rows."""


class Rows(NamedTuple):
    """Rows of one source, before they are dealt.

    Args:
        item: Position in Items of every segment, row after row.
        length: Its tokens.
        row_splits: Row i holds item[row_splits[i]:row_splits[i + 1]].
    """

    item: Integers
    length: Integers
    row_splits: Integers

    def first(self, count: int) -> "Rows":
        """Some of them."""
        end = int(self.row_splits[count])
        return Rows(self.item[:end], self.length[:end], self.row_splits[: count + 1])


def place_packed(
    items: Items, config: PlanConfig, epoch: int, number: int, stage: Stage, consumed: NDArray[np.int64] | None
) -> Placed:
    """Places one stage of an epoch.

    Args:
        items: What there is, of all sources.
        config: Resolved.
        epoch: Which one.
        number: Of the stage in the epoch.
        stage: Which sources it mixes, and how.
        consumed: How often each item was placed before in this stage, None for not at all, (M,).
    """
    supplies = [_Supply(items, config, epoch, number, source, consumed) for source in stage.sources]
    weights, total = stage_weights([supply.rows for supply in supplies], stage)
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
    np.subtract(cheapness.max(), cheapness, out=cheapness)
    samples = narrow_lengths(np.diff(rows.row_splits), config.resolved_row_len)
    step = np.empty(total, dtype=np.int32)
    first = 0
    for source, count, share in zip(stage.sources, wanted, shares, strict=True):
        mine = slice(first, first + count)
        step[mine] = deal(cheapness[mine], samples[mine], share, seed=config.seed, source=source, epoch=epoch)
        first += count
    del samples  # of ten million samples every column counts
    order = order_by(step, cheapness)
    del step, cheapness
    order = narrow(order, total)
    return lay_out(rows, order, step_sizes, config, part)


def _shares(weights: Sequence[int], step_sizes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows that each step takes of each source, (sources, steps)."""
    if len(weights) == 1:
        return step_sizes[np.newaxis]
    order = schedule(weights, int(step_sizes.sum()))
    step = np.repeat(np.arange(len(step_sizes)), step_sizes)
    return np.stack([np.bincount(step[order == place], minlength=len(step_sizes)) for place in range(len(weights))])


@dataclass
class _Supply:
    """Rows of one source, pass after pass, each pass shuffled and packed anew.

    What was placed before is taken into account: pass t goes over the items that were placed t times at most.
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
        """Rows of all the passes that were asked for."""
        return sum(len(each.row_splits) - 1 for each in self._passes[: self._repeats])

    def take(self, count: int) -> tuple[Rows, tuple[int, int]]:
        """The first `count` rows, and how many passes that makes with what was placed before.

        Returns:
            The rows; whole passes, and rows of one more, at least one where some of its items were placed before.
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
        """Packs the source once, in windows of the keyed order; from the second pass on in other company."""
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
    """Lengths as packing sees them: a segment takes up all of its last `align` tokens."""
    return length if config.align == 1 else -(-length // config.align)


def _in_other_company(rows: Rows, items: Items, config: PlanConfig, key: Callable[[str], int]) -> Rows:
    """The same items in rows that packing by length alone would not make."""
    chosen = np.sort(rows.item)
    length = _in_units(items.length[chosen], config).tolist()
    content = np.split(np.searchsorted(chosen, rows.item), rows.row_splits[1:-1])
    dealt = deal_anew([row.tolist() for row in content], length, config.resolved_row_len // config.align, key)
    item = chosen[[place for row in dealt for place in row]]
    return Rows(item, items.length[item], narrow(np.cumsum([0, *map(len, dealt)]), len(chosen)))


def pack_window(chosen: Integers, items: Items, config: PlanConfig) -> Rows:
    """Packs some items. Those of one length are interchangeable to the packing: their order decides which stands where.

    Args:
        chosen: The items, in their order; is overwritten.
        items: What there is.
        config: Resolved.
    """
    length = _in_units(items.length[chosen], config)
    counts = histogram(length)
    patterns = pack(tuple(sorted(counts.items())), config.resolved_row_len // config.align)
    ordered = np.empty_like(chosen)
    for part, order, rank in by_length(length, counts):
        ordered[rank] = chosen[part][order]
    del length
    slot_length, row_splits = slots(patterns, config.resolved_row_len)
    item = chosen  # whose memory it takes: of ten million items every column counts
    for part, order, rank in by_length(slot_length, counts):
        item[part][order] = ordered[rank]
    return Rows(item, slot_length if config.align == 1 else items.length[item], row_splits)


@lru_cache(maxsize=1)  # the next epoch has the same lengths
def pack(counts: tuple[tuple[int, int], ...], row_len: int) -> list[Pattern]:
    """Best fit, or exact fill where that takes fewer rows.

    Args:
        counts: (length, items), ascending.
        row_len: Tokens a row.
    """
    best_fit = best_fit_decreasing(dict(counts), row_len)
    rows = sum(pattern.rows for pattern in best_fit)
    if row_len > MAX_EXACT_FILL_ROW_LEN or rows == lower_bounds(dict(counts), row_len).l2:
        return best_fit
    exact = exact_fill(dict(counts), row_len)
    return exact if sum(pattern.rows for pattern in exact) < rows else best_fit


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Rows of several packings, one behind the other."""
    if len(parts) == 1:
        return parts[0]
    offsets = np.cumsum([0, *(len(part.item) for part in parts[:-1])])
    splits = [part.row_splits[:-1].astype(np.int64) + offset for part, offset in zip(parts, offsets, strict=True)]
    end = sum(len(part.item) for part in parts)
    return Rows(
        np.concatenate([part.item for part in parts]),
        np.concatenate([part.length for part in parts]),
        narrow(np.concatenate([*splits, [end]]), end),
    )


def lay_out(rows: Rows, order: Integers, step_sizes: NDArray[np.int64], config: PlanConfig, part: StagePart) -> Placed:
    """The rows in their order, one behind the other in their steps' buffers.

    Args:
        rows: All rows.
        order: Rows by step, and by descending cost within one: what lets `assign` balance ranks without looking at them.
        step_sizes: Rows of each step.
        config: Resolved.
        part: What the stage is.
    """
    step_rows = np.concatenate([[0], np.cumsum(step_sizes)])
    step_splits = np.cumsum(np.add.reduceat(np.diff(rows.row_splits)[order], step_rows[:-1], dtype=np.int64))
    item, length = np.empty_like(rows.item), np.empty_like(rows.length)
    start = np.empty(len(item), dtype=narrow_type(config.token_budget))
    end = 0
    for begin in range(0, len(order), BLOCK_ROWS):
        chosen = order[begin : begin + BLOCK_ROWS]
        first = rows.row_splits[chosen]
        size = rows.row_splits[chosen + 1] - first
        placed = slice(end, end := end + int(size.sum()))
        source = _ranges(first, size)
        item[placed], length[placed] = rows.item[source], rows.length[source]
        taken = length[placed].astype(np.int64)
        if config.align > 1:
            taken = -(-taken // config.align) * config.align
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
    """Of rows begin..end (half-open), which row of its step each is; step i has rows step_rows[i]..step_rows[i + 1].

    >>> _places_in_steps(np.array([0, 3, 5, 8]), 2, 7).tolist()
    [2, 0, 1, 0, 1]
    """
    first, last = np.searchsorted(step_rows, [begin, end - 1], side="right").tolist()
    splits = np.concatenate([[begin], step_rows[first:last], [end]])
    return np.arange(begin, end) - np.repeat(step_rows[first - 1 : last], np.diff(splits))


def _ranges(first: Integers, size: Integers) -> NDArray[np.int64]:
    """first[0], first[0] + 1, .., first[1], ..: `size[i]` integers from each `first[i]`."""
    ends = np.cumsum(size)
    return np.arange(int(ends[-1])) + np.repeat(first - (ends - size), size)
