"""Which checkpoints stay, and what `latest` and `best` point to."""

import os
from collections.abc import Mapping
from pathlib import Path

from lazarus_train.run_dir.checkpoint import checkpoint_step, checkpoints
from lazarus_train.run_dir.sealed_write import unseal

LATEST, BEST = "latest", "best"
"""Links beside the checkpoints: to the newest, and to the one of the lowest held-out loss."""


def best_checkpoint(folder: Path, losses: Mapping[int, float]) -> Path | None:
    """The checkpoint of the lowest held-out loss, the earliest of equals; None where none was measured.

    Args:
        folder: Of the checkpoints.
        losses: Held out, by step.
    """
    measured = [path for path in checkpoints(folder) if checkpoint_step(path) in losses]
    return min(measured, key=lambda path: losses[checkpoint_step(path)], default=None)


def tidy(folder: Path, losses: Mapping[int, float], keep: int | None) -> None:
    """Points the links anew, and removes checkpoints that are neither among the newest nor the best.

    A link is replaced in one motion once what it points to is whole, so it never points to less.

    Args:
        folder: Of the checkpoints.
        losses: Held out, by step.
        keep: How many of the newest stay; None keeps all.
    """
    found, best = checkpoints(folder), best_checkpoint(folder, losses)
    for name, target in ((LATEST, found[-1] if found else None), (BEST, best)):
        _point(folder / name, target)
    for old in found[:-keep] if keep is not None else ():
        if old != best:
            unseal(old)


def _point(link: Path, target: Path | None) -> None:
    if target is None:
        link.unlink(missing_ok=True)
        return
    beside = link.with_name(f".{link.name}.{os.getpid()}.tmp")
    beside.unlink(missing_ok=True)
    beside.symlink_to(target.name)
    beside.replace(link)
