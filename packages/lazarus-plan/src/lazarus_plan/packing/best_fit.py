"""Best-fit decreasing on the histogram of lengths. It gives the same rows as the algorithm on samples.

L = row_len. A *row* has up to L tokens of whole items. A *pattern* is the content of a row, as (length, count) pairs in
descending length, with the number of rows of that content. Equal rows are filled together, so the cost depends on the
number of distinct lengths and not on the number of samples: a million samples are packed in milliseconds.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.packing.sorting import stable_order
from lazarus_plan.plan import Integers, length_type, narrow_type

BLOCK = 1 << 20
"""Items counted per block."""
SORTED = 1 << 17
"""Items sorted per block, so that intermediate arrays stay in the processor's cache."""


class Pattern(NamedTuple):
    """Rows of equal content.

    Args:
        content: (length, count) pairs, longest first.
        rows: Number of rows with this content.
    """

    content: tuple[tuple[int, int], ...]
    rows: int


class LowerBounds(NamedTuple):
    """Lower bounds on the number of rows of any packing.

    Args:
        l1: ceil(tokens / row_len).
        l2: The bound of Martello and Toth (1990), never below l1.
    """

    l1: int
    l2: int


def histogram(length: Integers) -> dict[int, int]:
    """Number of items by length, ascending.

    >>> histogram(np.array([3, 5, 3]))
    {3: 2, 5: 1}
    """
    counts = np.zeros(int(length.max(initial=0)) + 1, dtype=np.int64)
    for begin in range(0, len(length), BLOCK):  # bincount works on a copy of 8 bytes an item
        counts += np.bincount(length[begin : begin + BLOCK], minlength=len(counts))
    values = np.flatnonzero(counts)
    return dict(zip(values.tolist(), counts[values].tolist(), strict=True))


class Group(NamedTuple):
    """A block of items, sorted by length.

    Args:
        part: Range of the block.
        order: Positions in the block by length; equal lengths keep their order.
        rank: Rank of each of them among all items by descending length; equal lengths keep their order.
    """

    part: slice
    order: NDArray[np.int64]
    rank: NDArray[np.int64]


def by_length(length: Integers, counts: Mapping[int, int]) -> Iterator[Group]:
    """Sort items by descending length, one block in memory at a time (counting sort).

    >>> lengths = np.array([3, 5, 3])
    >>> [(group.order.tolist(), group.rank.tolist()) for group in by_length(lengths, histogram(lengths))]
    [([0, 2, 1], [1, 2, 0])]

    Args:
        length: Tokens of each item, (M,).
        counts: Number of items by length.
    """
    largest = max(counts, default=0)
    block = max(SORTED, 4 * largest)  # so that the counting costs less than the sorting
    first = np.zeros(largest + 1, dtype=np.int64)  # the rank that the next item of each length takes
    first[list(counts)] = list(counts.values())
    # Suffix sum without the length's own count: the number of longer items is the first rank of a length.
    first[:] = np.cumsum(first[::-1])[::-1] - first
    for begin in range(0, len(length), block):
        part = slice(begin, min(begin + block, len(length)))
        of = length[part]
        order = stable_order(of)
        found = np.bincount(of, minlength=largest + 1)
        # found summed exclusively is where a length starts in the sorted block; minus that, plus the position
        # (`arange`), is the item's index among its equals.
        rank = (first - (np.cumsum(found) - found))[of[order]]
        rank += np.arange(len(of))
        # The next block continues after the items of this one.
        first += found
        yield Group(part, order, rank)


def best_fit_decreasing(counts: Mapping[int, int], row_len: int) -> list[Pattern]:
    """Pack items, longest first, each into the fullest row with enough room.

    Rows and residuals equal those of the algorithm that places one item at a time: the row that was just used keeps the
    smallest residual r >= length until it is too small, so filling it with as many items as fit changes nothing.

    >>> best_fit_decreasing({6: 2, 4: 1, 3: 3}, row_len=10)
    [Pattern(content=((6, 1), (4, 1)), rows=1), Pattern(content=((6, 1), (3, 1)), rows=1), Pattern(content=((3, 2),), rows=1)]

    Args:
        counts: Number of items by length; lengths are 1..row_len.
        row_len: Tokens per row.
    """
    by_residual: dict[int, list[Pattern]] = defaultdict(list)
    open_residuals = 0  # bit r is set while some row has r > 0 tokens left

    def put(residual: int, pattern: Pattern) -> None:
        nonlocal open_residuals
        by_residual[residual].append(pattern)
        # `& ~1` leaves out bit 0: a full row takes no more items.
        open_residuals |= (1 << residual) & ~1

    for length in sorted(counts, reverse=True):
        left = counts[length]
        while left:
            # Drop the bits of rows with too little room; the lowest bit that remains is the tightest fit.
            fitting = open_residuals >> length
            if fitting:
                residual = length + (fitting & -fitting).bit_length() - 1
                content, rows = by_residual[residual].pop()
                if not by_residual[residual]:
                    open_residuals &= ~(1 << residual)
            else:
                # No open row fits: open as many as the remaining items of this length fill.
                residual, content, rows = row_len, (), -(-left // (row_len // length))
            per_row = residual // length
            full = min(rows, left // per_row)
            left -= full * per_row
            if full:
                put(residual - per_row * length, Pattern((*content, (length, per_row)), full))
            # One more row takes the rest, fewer than `per_row` items.
            if left and full < rows:
                put(residual - left * length, Pattern((*content, (length, left)), 1))
                full, left = full + 1, 0
            # Rows that got none stay as they were.
            if full < rows:
                put(residual, Pattern(content, rows - full))
    return [pattern for residual in sorted(by_residual) for pattern in by_residual[residual]]


def lower_bounds(counts: Mapping[int, int], row_len: int) -> LowerBounds:
    """Lower bounds on the number of rows, by volume (L1) and by items that cannot share a row (L2).

    L2 (Martello and Toth 1990, "Lower bounds and reduction procedures for the bin packing problem"): for a threshold
    a <= L/2, every item longer than L/2 needs its own row. Items of a or more tokens that do not fit into the remaining
    room of rows with an item of at most L - a need further rows. The best threshold is used.

    >>> lower_bounds({6: 3}, row_len=10)
    LowerBounds(l1=2, l2=3)

    Args:
        counts: Number of items by length; lengths are 1..row_len.
        row_len: Tokens per row.
    """
    if not counts:
        return LowerBounds(0, 0)
    length = np.array(sorted(counts), dtype=np.int64)
    number = np.array([counts[int(each)] for each in length], dtype=np.int64)
    number_below = np.concatenate([[0], np.cumsum(number)])  # items shorter than length[i]
    tokens_below = np.concatenate([[0], np.cumsum(number * length)])
    l1 = -(-int(tokens_below[-1]) // row_len)

    threshold = np.concatenate([[0], length[2 * length <= row_len]])
    alone = np.searchsorted(length, row_len - threshold, side="right")  # first length > L - a
    half = np.searchsorted(2 * length, row_len, side="right")  # first length > L/2
    small = np.searchsorted(length, threshold, side="left")  # first length >= a
    over_half = number_below[-1] - number_below[half]  # items over L - a and over L/2 together
    # Room left in rows whose item is in (L/2, L - a], and the tokens in [a, L/2] that exceed it.
    beside = (number_below[alone] - number_below[half]) * row_len - (tokens_below[alone] - tokens_below[half])
    excess = tokens_below[half] - tokens_below[small] - beside
    l2 = int(np.max(over_half + np.maximum(0, -(-excess // row_len))))
    return LowerBounds(l1, max(l1, l2))


def slots(patterns: list[Pattern], row_len: int) -> tuple[Integers, Integers]:
    """Expand patterns to rows.

    Args:
        patterns: Contents of rows.
        row_len: Tokens per row.

    Returns:
        The length of every slot, row by row, and row_splits (rows + 1,): row i has the slots
        row_splits[i]..row_splits[i + 1].
    """
    sizes = [sum(count for _, count in content) for content, _ in patterns]
    total = sum(size * rows for size, (_, rows) in zip(sizes, patterns, strict=True))
    slot_length = np.empty(total, dtype=length_type(row_len))
    row_splits = np.zeros(sum(rows for _, rows in patterns) + 1, dtype=narrow_type(total))
    begin = row = 0
    for size, (content, rows) in zip(sizes, patterns, strict=True):
        length, count = np.array(content, dtype=np.int32).T
        # Broadcast: the slots of one row are written to all equal rows.
        slot_length[begin : begin + size * rows].reshape(rows, size)[:] = np.repeat(length, count)
        row_splits[row + 1 : row + rows + 1] = size
        begin, row = begin + size * rows, row + rows
    # Slots per row become row boundaries, in the same memory.
    return slot_length, np.cumsum(row_splits, out=row_splits)
