"""Keyed permutations: shuffles that are equal on every machine and in any language.

NumPy guarantees its random streams only within a version. A sort of unique integers has exactly one result.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

BLOCK = 1 << 14
"""Elements per block, so that they stay in the processor's cache."""


def shuffle_key(purpose: str, seed: int, dataset: int, epoch: int) -> int:
    """The first 8 bytes, little-endian, of SHA-256("lazarus-plan/1|purpose|seed|dataset|epoch").

    Never `seed + epoch`: seed 42 in epoch 1 would be seed 43 in epoch 0.

    Args:
        purpose: Name of the use, such as `shuffle` for samples.
        seed: The plan's seed.
        dataset: Position of the source in `metadata.sources`.
        epoch: 0-based epoch.
    """
    text = f"lazarus-plan/1|{purpose}|{seed}|{dataset}|{epoch}"
    return int.from_bytes(hashlib.sha256(text.encode("ascii")).digest()[:8], "little")


def keyed_permutation(size: int, key: int) -> NDArray[np.int64]:
    """The permutation of 0..size-1 that `key` determines.

    Element i is sorted by the high bits of splitmix64(key + i), followed by i in the low bits. These values are unique,
    so every sorting algorithm gives the same order.

    >>> keyed_permutation(6, shuffle_key("shuffle", 0, 0, 0)).tolist()
    [2, 5, 4, 0, 3, 1]

    Args:
        size: Number of elements, >= 0.
        key: Key of the shuffle, 0..2^64-1, from `shuffle_key`.

    Returns:
        The numbers 0..size-1 in shuffled order, int64 (size,). It is the same on every machine.
    """
    # Bits that the largest index needs.
    low = np.uint64(max(size - 1, 0).bit_length())
    tagged = np.empty(size, dtype=np.uint64)
    for begin in range(0, size, BLOCK):
        index = np.arange(begin, min(begin + BLOCK, size), dtype=np.uint64)
        # Clear the low bits of the hash and put the index there: ties of hashes are broken by the index.
        tagged[begin : begin + BLOCK] = (splitmix64(index + np.uint64(key)) >> low << low) | index
    tagged.sort()
    # The low bits are the permutation; it reuses the memory of the keys.
    tagged &= (np.uint64(1) << low) - np.uint64(1)
    return tagged.view(np.int64)


def splitmix64(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014), modulo 2^64, of each integer."""
    # The increment is 2^64 divided by the golden ratio, made odd. Arithmetic wraps modulo 2^64.
    # Each shift brings high bits down, each odd factor carries low bits up; both steps are invertible.
    mixed = state + np.uint64(0x9E3779B97F4A7C15)
    mixed ^= mixed >> np.uint64(30)
    mixed *= np.uint64(0xBF58476D1CE4E5B9)
    mixed ^= mixed >> np.uint64(27)
    mixed *= np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
