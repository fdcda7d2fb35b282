"""Arrays come and go by the thousand in building and checking; what they cost is mostly the pages of fresh memory."""

import numpy as np

LARGEST_KEPT = 31 << 20
"""glibc never keeps pieces of 32 MB and more (`DEFAULT_MMAP_THRESHOLD_MAX` in its malloc.c)."""


def keep_freed() -> None:
    """Makes glibc keep pieces up to 31 MB when they are freed, instead of asking the system for their pages anew.

    It keeps whatever is smaller than the largest piece that was freed so far, so freeing one is enough; it was never
    touched and took no memory. 1M samples of code (2 cores, numpy 2.4): verify 0.92 -> 0.62 s, build 1.44 -> 1.05 s.
    Other allocators do not mind.
    """
    np.empty(LARGEST_KEPT, dtype=np.uint8)
