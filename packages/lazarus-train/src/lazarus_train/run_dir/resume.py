"""Finds the checkpoint to resume from, and checks that it is undamaged and of this run."""

from pathlib import Path
from typing import Any

from lazarus_core.changed_values import describe_changes
from lazarus_plan import BatchPlan
from lazarus_plan.cursor import check_state
from lazarus_train.config import TrainConfig
from lazarus_train.errors import ForeignCheckpoint, SetupError
from lazarus_train.run_dir.base_digest import Base
from lazarus_train.run_dir.checkpoint import (
    State,
    checkpoint_path,
    checkpoint_step,
    checkpoints,
    is_checkpoint,
    read_state,
)
from lazarus_train.run_dir.identity import check_continues
from lazarus_train.run_dir.layout import RunFolder

AUTO, NONE = "auto", "none"
"""Values of `resume`: the newest checkpoint of the output folder, or none and replace the run there."""


def find_checkpoint(folder: RunFolder, resume: str, plan: BatchPlan) -> Path | None:
    """The checkpoint to resume from, or None to start.

    A rebased plan continues from the checkpoint at which its parent stopped, unless the run already follows the
    rebased plan.

    Args:
        folder: The run's folder.
        resume: `auto`, `none` or a checkpoint's path.
        plan: The plan to follow.

    Raises:
        SetupError: The checkpoint is missing, or belongs to another or a finished run.
    """
    match resume:
        case "none":
            return None
        case "auto":
            found = checkpoints(folder.checkpoints)
            if not found and folder.final.exists():
                raise SetupError(
                    f"{folder.path} has a finished run without checkpoints: choose another `output`, or set "
                    "`resume=none` to replace it",
                    "LR-E111",
                )
            return _newest(found, plan) if found else None
        case _:
            path = Path(resume)
            if not resume or not path.is_dir() or not is_checkpoint(path.resolve()):
                raise SetupError(
                    f"`resume` {resume}: no such checkpoint; give `auto`, `none` or its folder, such as "
                    f"{checkpoint_path(folder.checkpoints, 1)}",
                    "LR-E103",
                )
            if path.resolve().parent != folder.checkpoints.resolve():
                raise SetupError(
                    f"`resume` {resume}: this checkpoint is not from the run in {folder.path}, and its audit log is elsewhere; "
                    "copy its run's folder and give the copy as `output`",
                    "LR-E109",
                )
            return folder.checkpoints / path.resolve().name


def _newest(found: list[Path], plan: BatchPlan) -> Path:
    """The newest checkpoint, or the one at the rebase if the newest follows the plan's parent."""
    parent = plan.metadata.parent
    if parent is None:
        return found[-1]
    state = read_state(found[-1])
    if state.plan_id != parent.plan_id:
        return found[-1]
    at = checkpoint_path(found[-1].parent, parent.steps)
    if at not in found:
        steps = ", ".join(str(checkpoint_step(path)) for path in found)
        raise SetupError(
            f"the plan was rebased after step {parent.steps}, where the run has no checkpoint: rebase after one of {steps}",
            "LR-E119",
        )
    return at


def check_checkpoint(checkpoint: Path, config: TrainConfig, plan: BatchPlan) -> State:
    """The state of a checkpoint that is of this run and undamaged. `TrainState.restored` checks its tensors.

    Args:
        checkpoint: Folder of the checkpoint, inside the checkpoint folder of its run.
        config: Settings of the run.
        plan: The plan to follow.

    Raises:
        CorruptCheckpoint: The checkpoint is damaged.
        ForeignCheckpoint: The checkpoint belongs to another run.
        SetupError: The checkpoint is after the last requested step.
    """
    state = read_state(checkpoint, is_loaded_next=True)
    done = check_state(plan, state.plan)
    if state.plan_id != plan.plan_id:
        check_continues(RunFolder(checkpoint.parent.parent).audit, plan)
    if config.max_steps is not None and done > config.max_steps:
        earlier = checkpoint_path(checkpoint.parent, config.max_steps)
        other = f"`resume` {earlier} goes back to it" if earlier.is_dir() else "give a higher one, or another `output`"
        raise SetupError(f"`max_steps={config.max_steps}`: the run has done {done} steps; {other}", "LR-E112")
    settings = config.resume_key()
    changes = describe_changes(_of_names(state.resume_key, settings), settings)
    if config.lora is None:  # adapters are put on the model itself, whose files are hashed as they are loaded
        Base.on_disk(config.model).check(state.base, config.model)
    if changes:
        raise ForeignCheckpoint(
            f"{checkpoint} was trained with other settings: {changes}; give the same ones, another `output`, or "
            "`resume=none` to start again",
            "LR-E210",
        )
    return state


def _of_names(stored: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """The stored settings that this version knows."""
    return {name: value for name, value in stored.items() if name in settings}
