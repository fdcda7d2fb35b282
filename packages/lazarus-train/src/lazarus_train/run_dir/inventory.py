"""Lists the checkpoints of a run with damage, size and held-out loss."""

from pathlib import Path
from typing import NamedTuple

from lazarus_core.reasons import absent_or
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.checkpoint import checkpoint_step, checkpoints, find_damage
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.metrics import held_out_losses
from lazarus_train.run_dir.reader import RunRecord
from lazarus_train.run_dir.retention import BEST, LATEST


class Listed(NamedTuple):
    """A checkpoint.

    Args:
        name: Name of its folder.
        step: Optimizer steps done.
        bytes: Size of its files in bytes.
        damage: Description of the damage, or None.
        held_out_loss: Held-out loss after its step on the deciding set; None if not measured.
        names: Names of the links to it.
    """

    name: str
    step: int
    bytes: int
    damage: str | None
    held_out_loss: float | None
    names: tuple[str, ...]


def list_checkpoints(run: Path) -> list[Listed]:
    """Every checkpoint of a run, oldest first. All files are read and hashed.

    Raises:
        SetupError: There is none.
    """
    folder = RunFolder(run)
    found = checkpoints(folder.checkpoints)
    if not found:
        raise SetupError(f"{absent_or(run, 'has no checkpoints')}: give the folder of a run", "LR-E107")
    record = RunRecord.read(run)
    losses = held_out_losses(record.metrics, next(iter(record.eval_sets), None))
    link_targets = {name: (folder.checkpoints / name).resolve().name for name in (LATEST, BEST)}
    return [
        Listed(
            name=path.name,
            step=checkpoint_step(path),
            bytes=sum(file.stat().st_size for file in path.rglob("*") if file.is_file()),
            damage=find_damage(path),
            held_out_loss=losses.get(checkpoint_step(path)),
            names=tuple(name for name, target in link_targets.items() if target == path.name),
        )
        for path in found
    ]
