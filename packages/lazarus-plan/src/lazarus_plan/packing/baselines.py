"""What other loaders' ways of filling rows make of the same lengths: for comparison, never for a plan.

Their algorithms, not their code: next fit in file order is greedy packing, best fit in random order what loaders with a
buffer do; the longest of each batch decides the rest where nothing is packed.
"""

from bisect import bisect_left, insort

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.packing.permutation import keyed_permutation, shuffle_key
from lazarus_plan.plan import Integers

MAX_SAMPLES = 50_000
"""Lengths compared, a keyed choice of all: plain Python loops need a second for so many."""


def fill_by_packer(length: Integers, row_len: int, rows_per_batch: int) -> dict[str, tuple[int, int]]:
    """Real tokens and room of each way, as (tokens, room).

    >>> fill_by_packer(np.array([6, 4, 5, 5]), row_len=10, rows_per_batch=2)["next fit, file order"]
    (20, 20)

    Args:
        length: Tokens of the samples, 1..row_len.
        row_len: Tokens a row.
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
    """Best fit in the given order, which is what loaders with a buffer do."""
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
