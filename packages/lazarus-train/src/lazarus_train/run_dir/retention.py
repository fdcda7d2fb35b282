"""Removes old checkpoints and updates the links `latest` and `best`."""

from collections.abc import Mapping
from pathlib import Path

from lazarus_core.atomic import remove_folder, replace_link
from lazarus_train.run_dir.checkpoint import checkpoint_step, checkpoints

LATEST, BEST = "latest", "best"
"""Links in the checkpoint folder: to the newest one, and to the one with the lowest held-out loss."""


def best_checkpoint(folder: Path, losses: Mapping[int, float]) -> Path | None:
    """The checkpoint with the lowest held-out loss, the earliest of equals; None if no loss was measured.

    Args:
        folder: Folder of the checkpoints.
        losses: Held-out losses by step.
    """
    measured = [path for path in checkpoints(folder) if checkpoint_step(path) in losses]
    return min(measured, key=lambda path: losses[checkpoint_step(path)], default=None)


def tidy(folder: Path, losses: Mapping[int, float], keep: int | None) -> None:
    """Updates the links, and removes checkpoints that are neither the best nor among the newest.

    A link is replaced atomically after its target is complete.

    Args:
        folder: Folder of the checkpoints.
        losses: Held-out losses by step.
        keep: Number of newest checkpoints to keep; None keeps all.
    """
    found, best = checkpoints(folder), best_checkpoint(folder, losses)
    for name, target in ((LATEST, found[-1] if found else None), (BEST, best)):
        _point(folder / name, target)
    for old in found[:-keep] if keep is not None else ():
        if old != best:
            remove_folder(old)


def _point(link: Path, target: Path | None) -> None:
    if target is None:
        link.unlink(missing_ok=True)
        return
    replace_link(link, target.name)
