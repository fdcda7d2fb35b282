"""A hint for glibc's allocator. Building and checking allocate thousands of arrays; new pages are their main cost."""

import numpy as np

LARGEST_KEPT = 8 << 20
"""Bytes; larger than any array of a block. Keeping larger ones would only take memory."""


def keep_freed() -> None:
    """Make glibc reuse freed memory up to `LARGEST_KEPT` instead of returning it to the system.

    glibc keeps allocations smaller than the largest one freed so far (`M_MMAP_THRESHOLD` in mallopt(3)), so freeing one is
    enough; it is never touched and takes no memory. With 10M samples of code (2 cores, numpy 2.4): verify 7.8 -> 6.1 s,
    build 10.2 -> 9.3 s. It has no effect on other allocators.
    """
    np.empty(LARGEST_KEPT, dtype=np.uint8)
