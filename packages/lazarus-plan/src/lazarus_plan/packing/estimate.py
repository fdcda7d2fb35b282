"""What a plan will take before it is made: so that a million epochs are refused in a moment, not after an hour."""

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
"""Bytes: 10M samples are built and written within 0.55 GB (`tools/benchmarks/plan.py`)."""
TIME_A_PLACE_US = 0.6
"""10M samples of code, 20M places, take 12 s of one core."""
TIME_A_DEALT_PLACE_US = 30
"""Where row mates change from epoch to epoch (`mates`): 65,536 samples take two seconds."""
TIME_AN_EPOCH_US = 1500
"""An epoch of twenty samples: what does not depend on their number."""
MEMORY_AN_EPOCH = 6000
"""Bytes: its members of the metadata, as objects and as text."""
GB = 1e9


class Estimate(NamedTuple):
    """How large a plan will be, to a factor of about two.

    Args:
        places: Samples, or pieces of them, over all epochs.
        disk_bytes: Of the folder.
        memory_bytes: While it is built.
        seconds: Of one core.
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
    """How large the plan of a resolved configuration will be; sources that weights repeat count once."""
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
    """Refuses what this machine cannot hold.

    Args:
        expected: From `estimate_plan`.
        config: What was asked for.
        path: Folder for the plan, where it is written.

    Raises:
        PlanningError: More memory or disk than there is.
    """
    rooms = [("memory", expected.memory_bytes, _memory_bytes())]
    if path is not None:
        rooms.append(("disk", expected.disk_bytes, _free_bytes(path)))
    for what, needed, room in rooms:
        if needed > room:
            raise PlanningError(
                f"{config.epochs:,} epochs are {expected}; this machine has {room / GB:,.1f} GB of {what}: plan fewer "
                "epochs, and `rebase` with more `--epochs` when they are used up",
                "LP-E005",
            )


def _memory_bytes() -> int:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not POSIX
        return int(np.iinfo(np.int64).max)


def _free_bytes(path: Path) -> int:
    """Of the disk that will hold `path`."""
    return shutil.disk_usage(next(each for each in path.absolute().parents if each.exists())).free
