"""Sort by several columns at once, packed into one integer if they fit: a fifth of the time of `lexsort`."""

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.plan import Integers

BLOCK = 1 << 14
"""Elements per block, so that they stay in the processor's cache."""


def order_by(*columns: Integers, among: Integers | None = None) -> NDArray[np.int64]:
    """Positions sorted by the first column, then by the next; equal ones keep their order.

    The sorted integers end with their own position. They are unique, so every sorting algorithm gives the same order.

    >>> order_by(np.array([1, 0, 1, 0]), np.array([5, 6, 4, 6])).tolist()
    [1, 3, 2, 0]
    >>> order_by(np.array([1, 0, 1, 0]), among=np.array([3, 2, 1])).tolist()
    [3, 1, 2]

    Args:
        columns: Integers >= 0, each (N,).
        among: Positions to sort, in the order that equal ones keep; all if None.
    """
    first, rest = columns[0], columns[1:]
    size = len(first) if among is None else len(among)
    # Bits of every column but the first, and of the position.
    room = [int(column.max(initial=0)).bit_length() for column in rest] + [max(size - 1, 0).bit_length()]
    # More than 64 bits: sort by the last columns first, then stably by the first.
    if int(first.max(initial=0)).bit_length() + sum(room) > np.iinfo(np.uint64).bits:
        if rest:
            return order_by(first, among=order_by(*rest, among=among))
        order = np.argsort(first if among is None else first[among], kind="stable")
        return order if among is None else among[order].astype(np.int64)
    key = np.empty(size, dtype=np.uint64)
    for begin in range(0, size, BLOCK):
        part = key[begin : begin + BLOCK]
        of = slice(begin, begin + BLOCK) if among is None else among[begin : begin + BLOCK]
        # Most significant first: shift the key left by the next column's bits and put its value there.
        part[:] = first[of]
        for column, bits in zip(rest, room, strict=False):
            part <<= np.uint64(bits)
            # Values are >= 0, so the unsigned view has the same bits and needs no copy.
            part |= column[of].view(f"u{column.itemsize}")
        part <<= np.uint64(room[-1])
        part |= np.arange(begin, begin + len(part), dtype=np.uint64)
    key.sort()
    # The low bits are the sorted positions.
    key &= np.uint64((1 << room[-1]) - 1)
    order = key.view(np.int64)
    if among is not None:
        for begin in range(0, size, BLOCK):  # in place: of ten million rows every column counts
            order[begin : begin + BLOCK] = among[order[begin : begin + BLOCK]]
    return order


def stable_order(values: Integers) -> NDArray[np.int64]:
    """Positions sorted by value (integers >= 0); equal ones keep their order."""
    # numpy sorts 16 bits by radix, ten times as fast
    is_short = int(values.max(initial=0)) <= np.iinfo(np.uint16).max
    return np.argsort(values.astype(np.uint16) if is_short else values, kind="stable")
