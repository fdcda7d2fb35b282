"""Integers to and from ASCII digits, a million at a time: what makes a plan's lines as fast as a binary file.

A text of integers is *numbers* and what stands between them. Both directions work on all numbers at once, one decimal
place after the other, on those that are that long.
"""

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.plan import Integers

MAX_WIDTH = 16
"""Digits of the largest integer below 2^53."""
_POWERS = 10 ** np.arange(MAX_WIDTH + 1, dtype=np.int64)
_ZERO = ord("0")


def widths(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Decimal digits of each value, which are 0 or more."""
    width = np.ones(len(values), dtype=np.int64)
    largest = int(values.max(initial=0))
    for power in _POWERS[1:].tolist():
        if largest < power:
            break
        width += values >= power
    return width


def write(text: NDArray[np.uint8], ends: NDArray[np.int64], values: Integers) -> None:
    """Writes each value so that its last digit stands before `ends`."""
    place = ends - 1
    left = values.astype(np.uint32) if int(values.max(initial=0)) <= np.iinfo(np.uint32).max else values
    while len(left):
        rest = left // 10
        text[place] = left - rest * 10 + _ZERO
        longer = np.flatnonzero(rest)
        left, place = rest[longer], place[longer] - 1


def read(text: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every run of digits.

    Returns:
        The values, and where each begins. Runs of more than 16 digits give an arbitrary value.
    """
    is_digit = np.zeros(len(text) + 2, dtype=np.bool_)
    np.less(text - np.uint8(_ZERO), 10, out=is_digit[1:-1])
    edges = np.flatnonzero(is_digit[1:] != is_digit[:-1])
    begins, ends = edges[::2], edges[1::2]
    values = np.zeros(len(begins), dtype=np.int64)
    width = ends - begins
    for place in range(min(int(width.max(initial=0)), MAX_WIDTH)):
        longer = np.flatnonzero(width > place) if place else slice(None)
        values[longer] += (text[ends[longer] - 1 - place].astype(np.int64) - _ZERO) * _POWERS[place]
    return values, begins
