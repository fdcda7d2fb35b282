"""Computes the share of padding in batches, for different ways to form batches."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from lazarus_tokenkit.errors import TokenkitError


def padding_waste(
    lengths: NDArray[np.int64] | Sequence[int], batch_size: int, max_length: int | None = None
) -> dict[str, float]:
    """Computes the share of padding for batches `in order`, `sorted` by length, and padded `to the longest` sample.

    >>> padding_waste([2, 4, 2, 4], batch_size=2)
    {'in order': 0.25, 'sorted': 0.0, 'to the longest': 0.25}

    Args:
        lengths: Number of tokens of each sample.
        batch_size: Samples a batch, at least 1.
        max_length: Longer samples are truncated to this length; None truncates none.

    Returns:
        Share of padding, 0 to 1, by the way to form batches.

    Raises:
        TokenkitError: There are no lengths.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    if not len(sizes):
        raise TokenkitError("there are no lengths to batch", "LT-E601")
    sizes = sizes if max_length is None else np.minimum(sizes, max_length)
    tokens = int(sizes.sum())
    room = {
        "in order": _room(sizes, batch_size),
        "sorted": _room(np.sort(sizes), batch_size),
        "to the longest": int(sizes.max()) * len(sizes),
    }
    return {way: 1 - tokens / size for way, size in room.items()}


def _room(sizes: NDArray[np.int64], batch_size: int) -> int:
    # A batch takes its longest sample times its number of samples.
    return sum(int(batch.max()) * len(batch) for batch in np.split(sizes, range(batch_size, len(sizes), batch_size)))
