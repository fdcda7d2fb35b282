"""Estimate disk, memory and time of a plan before it is built, so that a million epochs are refused at once."""

import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lazarus_plan.config import PlanConfig
from lazarus_plan.errors import PlanningError
from lazarus_plan.lengths.cache import LengthCache
from lazarus_plan.packing.reshuffle import MAX_ITEMS

MEMORY_A_PLACE = 55
"""Bytes of memory per placed item: 10M samples are built and written within 0.55 GB (`tools/benchmarks/plan.py`)."""
TIME_A_PLACE_US = 0.6
"""Microseconds per placed item: 10M samples of code, 20M placed items, take 12 s of one core."""
TIME_A_DEALT_PLACE_US = 30
"""Microseconds per item that `reshuffle` places again in each epoch: 65,536 samples take two seconds."""
TIME_AN_EPOCH_US = 1500
"""Microseconds per epoch, independent of the number of samples."""
MEMORY_AN_EPOCH = 6000
"""Bytes of memory per epoch for its metadata, as objects and as text."""
GB = 1e9


class Estimate(NamedTuple):
    """Estimated size of a plan, within a factor of about two.

    Args:
        places: Number of samples or pieces of samples over all epochs.
        disk_bytes: Size of the folder.
        memory_bytes: Peak memory of the build.
        seconds: CPU time of one core.
    """

    places: int
    disk_bytes: int
    memory_bytes: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"about {self.places:,} placed samples, {self.disk_bytes / GB:,.1f} GB on disk, "
            f"{self.memory_bytes / GB:,.1f} GB of memory, {self.seconds:,.0f} s"
        )


def estimate_plan(caches: Sequence[LengthCache], config: PlanConfig) -> Estimate:
    """Estimate the plan of a resolved configuration. Repetitions by weights are not counted.

    Args:
        caches: Length caches of the sources, in order.
        config: Resolved configuration.
    """
    row_len, samples = config.resolved_row_len, sum(map(len, caches))
    places = dealt = 0
    for source, cache in enumerate(caches):
        pieces = int((-(-cache.length // row_len)).sum()) if config.oversize == "split" else len(cache)
        placed = pieces * config.epochs * (config.repeats[source] if source < len(config.repeats) else 1)
        places += placed
        dealt += placed - pieces if config.mode == "packed" and pieces <= MAX_ITEMS else 0
    # A sample's number and a comma, the two ends of its range and `[,],`.
    place_bytes = len(str(samples)) + 1 + 2 * len(str(config.token_budget)) + 4
    return Estimate(
        places=places,
        disk_bytes=places * place_bytes + samples * 8 + config.epochs * MEMORY_AN_EPOCH // 10,
        memory_bytes=places * MEMORY_A_PLACE + config.epochs * MEMORY_AN_EPOCH,
        seconds=(places * TIME_A_PLACE_US + dealt * TIME_A_DEALT_PLACE_US + config.epochs * TIME_AN_EPOCH_US) / 1e6,
    )


def check_room(expected: Estimate, config: PlanConfig, path: Path | None) -> None:
    """Refuse a plan that is too large for this machine.

    Args:
        expected: Estimate from `estimate_plan`.
        config: Requested configuration.
        path: Output folder, or None if the plan is not written.

    Raises:
        PlanningError: The plan needs more memory or disk than is available.
    """
    rooms = [("memory", expected.memory_bytes, _memory_bytes())]
    if path is not None:
        rooms.append(("disk", expected.disk_bytes, _free_bytes(path)))
    for what, needed, room in rooms:
        if needed > room:
            raise PlanningError(
                f"{config.epochs:,} epochs are {expected}; this machine has {room / GB:,.1f} GB of {what}: plan fewer "
                "`epochs`, and extend the plan later with `rebase_plan`",
                "LP-E005",
            )


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not POSIX
        return int(np.iinfo(np.int64).max)


def _free_bytes(path: Path) -> int:
    """Free bytes on the disk of `path`."""
    return shutil.disk_usage(next(each for each in path.absolute().parents if each.exists())).free
