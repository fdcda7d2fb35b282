"""Vectorised conversion of integers to and from ASCII digits. It makes the lines of a plan as fast as a binary file.

A text consists of numbers and the bytes between them. Both directions process all numbers at once, one decimal place
after another, for those numbers that have it.
"""

import numpy as np
from numpy.typing import NDArray

from lazarus_plan.plan import Integers

MAX_WIDTH = 16
"""Digits of the largest integer below 2^53."""
_POWERS = 10 ** np.arange(MAX_WIDTH + 1, dtype=np.int64)
_ZERO = ord("0")
# "0000".."9999" as 32-bit integers whose lowest byte is the first digit: memory order is text order.
_FOUR_DIGITS = np.frombuffer(b"".join(b"%04d" % value for value in range(10_000)), dtype="<u4")
_SHORT = 10**8
"""Integers below this have at most 8 digits, which are written as one 64-bit integer."""
_LEADING = np.array(
    [int.from_bytes(b"%d" % value if value else b"", "little") for value in range(10_000)], dtype=np.uint64
)
"""The digits before the last four, first digit first; empty for 0."""
_LEADING_BITS = np.array([8 * len(str(value)) if value else 0 for value in range(10_000)], dtype=np.uint64)
_LAST = np.array(
    [int.from_bytes((b"%04d" % value).ljust(8, b","), "little") for value in range(10_000)]
    + [int.from_bytes((b"%d" % value).ljust(8, b","), "little") for value in range(10_000)],
    dtype=np.uint64,
)
"""The last four digits, followed by commas. Entries from 10,000 on have no leading zeros, for numbers of at most four digits."""
_LAST_WIDTH = np.array([4] * 10_000 + [len(str(value)) for value in range(10_000)], dtype=np.int64)
_WINDOW = 8
"""Digits read at once: the bytes of one 64-bit integer."""
# Keep the low half of each byte ("7" is 0x37) in the last `width` bytes and zero the bytes before them.
# Little-endian: the last digit is the highest byte.
_DIGITS_OF_WIDTH = np.array(
    [0x0F0F0F0F0F0F0F0F >> 8 * (_WINDOW - width) << 8 * (_WINDOW - width) for width in range(_WINDOW + 1)],
    dtype=np.uint64,
)
_SUMS = [
    (np.uint64(8), np.uint64(10), np.uint64(0x00FF00FF00FF00FF)),
    (np.uint64(16), np.uint64(100), np.uint64(0x0000FFFF0000FFFF)),
    (np.uint64(32), np.uint64(10_000), np.uint64(0x00000000FFFFFFFF)),
]
"""How neighbouring digits are combined: shift, factor, mask."""


def widths(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number of decimal digits of each value; values are >= 0."""
    width = np.ones(len(values), dtype=np.int64)
    largest = int(values.max(initial=0))
    for power in _POWERS[1:].tolist():
        if largest < power:
            break
        width += values >= power
    return width


def write(text: NDArray[np.uint8], ends: NDArray[np.int64], values: Integers) -> None:
    """Write decimal digits into a buffer: four digits at once, then the remaining ones one by one.

    Args:
        text: Buffer, changed in place, uint8 (bytes,).
        ends: Position after the last digit of each value, (N,). The digits of values must not overlap.
        values: Integers 0..2^53-1, (N,). Each takes as many bytes before its end as it has digits.
    """
    left = values.astype(np.uint32 if int(values.max(initial=0)) <= np.iinfo(np.uint32).max else np.uint64)
    last = ends - 1
    is_begun = np.zeros(len(left), dtype=np.bool_)
    # Overlapping view with a stride of one byte: element i is text[i:i + 4], so one store writes four digits.
    quadruple = np.ndarray(max(len(text) - 3, 0), dtype="<u4", buffer=text.data, strides=(1,))
    longer = np.flatnonzero(left >= 1000)
    while len(longer):
        rest, four = np.divmod(left[longer], left.dtype.type(10_000))
        quadruple[last[longer] - 3] = _FOUR_DIGITS[four]
        left[longer] = rest
        last[longer] -= 4
        is_begun[longer] = True
        longer = longer[rest >= 1000]
    # What is left: at most three digits, or a 0 that has not been written.
    longer = np.flatnonzero((left > 0) | ~is_begun)
    left, last = left[longer], last[longer]
    while len(left):
        rest = left // left.dtype.type(10)
        text[last] = (left - rest * left.dtype.type(10)).astype(np.uint8) + np.uint8(_ZERO)
        longer = np.flatnonzero(rest)
        left, last = rest[longer], last[longer] - 1


def words(values: NDArray[np.int64]) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Each value below 10^8 as 8 bytes, its digits followed by commas, and its number of digits.

    >>> text, width = words(np.array([7, 1234567]))
    >>> text.tobytes(), width.tolist()
    (b'7,,,,,,,1234567,', [1, 7])
    """
    short = values.astype(np.uint32)
    # Split into the digits before the last four, and the last four.
    leading = short // np.uint32(10_000)
    short -= leading * np.uint32(10_000)
    # Without leading digits, use the half of the table that has no leading zeros.
    short += (leading == 0) * np.uint32(10_000)
    bits = _LEADING_BITS[leading]
    text = _LAST[short]
    # Move the last digits behind the leading ones; the commas at the top fall out.
    text <<= bits
    text |= _LEADING[leading]
    return text, _LAST_WIDTH[short] + (bits >> np.uint64(3)).astype(np.int64)


def write_all(
    values: NDArray[np.int64], gaps: NDArray[np.int64], first: int
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Write all values into a text of commas.

    Args:
        values: Integers >= 0, (N,).
        gaps: Number of bytes after each value, at least 1, (N,).
        first: Position of the first value.

    Returns:
        The text, and the position after the last digit of each value.
    """
    # Numbers of nine digits or more do not fit a word: they get their space here and are written below.
    longer = np.flatnonzero(values >= _SHORT)
    text, width = words(np.where(values < _SHORT, values, 0) if len(longer) else values)
    if len(longer):
        width[longer] = widths(values[longer])
    ends = np.cumsum(width + gaps)
    size = first + int(ends[-1])
    ends += first - gaps
    # Eight bytes a number, one number after the other: each writes over the commas of the one before.
    # Ascending stores; the spare bytes at the end take the commas of the last word.
    out = np.full(size + _WINDOW, ord(","), dtype=np.uint8)
    np.ndarray(size + 1, dtype="<u8", buffer=out.data, strides=(1,))[ends - width] = text
    if len(longer):
        write(out, ends[longer], values[longer])
    return out[:size], ends


def read(text: NDArray[np.uint8]) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Read every run of digits.

    Returns:
        The values, the position of their first digit, and the position after their last digit. Runs of more than 16
        digits give an arbitrary value.
    """
    # One comparison per byte: unsigned subtraction maps bytes below "0" to values above 9.
    # A false entry at both ends closes runs at the borders of the text.
    is_digit = np.zeros(len(text) + 2, dtype=np.bool_)
    np.less(text - np.uint8(_ZERO), 10, out=is_digit[1:-1])
    edges = np.flatnonzero(is_digit[1:] != is_digit[:-1])
    # Changes alternate between the start of a run and its end.
    begins, ends = edges[::2], edges[1::2]
    width = ends - begins
    # Zeros in front, so that a window before an early number stays inside the buffer.
    # Index e + 8 of the padded text is byte e - 8 of the text: the window ends at e.
    padded = np.concatenate([np.zeros(MAX_WIDTH, dtype=np.uint8), text])
    values = _eight(padded, ends + _WINDOW, width)
    longer = np.flatnonzero(width > _WINDOW)
    if len(longer):
        values[longer] += _eight(padded, ends[longer], width[longer] - _WINDOW) * _POWERS[_WINDOW]
    return values, begins, ends


def _eight(padded: NDArray[np.uint8], windows: NDArray[np.int64], width: NDArray[np.int64]) -> NDArray[np.int64]:
    """The value of the last 8 digits, or fewer, of numbers. `windows` are the positions of their last 8 bytes.

    Eight bytes are read as one integer; digits are combined in pairs, then pairs of pairs, then halves.
    """
    every = np.ndarray(len(padded) - _WINDOW + 1, dtype="<u8", buffer=padded.data, strides=(1,))
    digits = every[windows]
    digits &= _DIGITS_OF_WIDTH[np.minimum(width, _WINDOW)]
    for bits, power, mask in _SUMS:
        # A lane has its more significant half in the low bits: low * factor + high, for all lanes at once.
        low = digits >> bits
        digits *= power
        digits += low
        digits &= mask
    return digits.astype(np.int64)
