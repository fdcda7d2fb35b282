"""Packing algorithms of other loaders, for comparison only. Plans never use them.

Next fit in file order is greedy packing. Best fit in random order is what loaders with a buffer do. Without packing, the
longest sample of each batch determines the padding.
"""

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.packing.permutation import keyed_permutation, shuffle_key
from lazarus_plan.plan import Integers

MAX_SAMPLES = 50_000
"""Maximum number of lengths to compare, chosen by key: the Python loops take a second for them."""


def fill_by_packer(length: Integers, row_len: int, rows_per_batch: int) -> dict[str, tuple[int, int]]:
    """Tokens and capacity of the batches of each algorithm, as (tokens, capacity).

    >>> fill_by_packer(np.array([6, 4, 5, 5]), row_len=10, rows_per_batch=2)["next fit, file order"]
    (20, 20)

    Args:
        length: Tokens of each sample, 1..row_len, (N,).
        row_len: Tokens per row.
        rows_per_batch: Samples of a padded batch.
    """
    chosen = np.sort(keyed_permutation(len(length), shuffle_key("packers", 0, 0, 0))[:MAX_SAMPLES])
    length = length[chosen].astype(np.int64)
    tokens = int(length.sum())
    shuffled = length[keyed_permutation(len(length), shuffle_key("packers", 1, 0, 0))]
    return {
        "padded to the longest, random batches": (tokens, _padded(shuffled, rows_per_batch)),
        "padded to the longest, sorted batches": (tokens, _padded(np.sort(length), rows_per_batch)),
        "next fit, file order": (tokens, _next_fit(length.tolist(), row_len) * row_len),
        "best fit, random order": (tokens, _best_fit(shuffled.tolist(), row_len) * row_len),
    }


def _padded(length: NDArray[np.int64], rows: int) -> int:
    begin = np.arange(0, len(length), rows)
    size = np.diff(np.append(begin, len(length)))
    return int((np.maximum.reduceat(length, begin) * size).sum())


def _next_fit(length: list[int], row_len: int) -> int:
    rows, left = 0, 0
    for each in length:
        if each > left:
            rows, left = rows + 1, row_len
        left -= each
    return rows


def _best_fit(length: list[int], row_len: int) -> int:
    """Number of rows of best fit in the given order."""
    rows, residuals = 0, list[int]()
    for each in length:
        at = bisect_left(residuals, each)
        if at < len(residuals):
            left = residuals.pop(at)
        else:
            rows, left = rows + 1, row_len
        if left > each:
            insort(residuals, left - each)
    return rows
