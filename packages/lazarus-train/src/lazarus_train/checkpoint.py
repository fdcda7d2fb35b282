"""Checkpoints: everything a run needs to go on as if it had never stopped.

```
OUT/checkpoints/step-0000006/
  config.json, model.safetensors, tokenizer   a model that mlx-lm and transformers open  (adapters.safetensors with LoRA)
  optimizer.safetensors                       moments and step counts
  state.json                                  place in plan and audit log, settings that decide the weights, versions
  manifest.json                               SHA-256 of every file; written last
```
A checkpoint is a sealed folder (see `seal`): whole where it has its name, and verified before it is believed.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from lazarus_train.errors import CorruptCheckpoint
from lazarus_train.seal import seal, seal_damage, write_json

JSON = dict[str, Any]
STATE = "state.json"
OPTIMIZER = "optimizer.safetensors"
WEIGHTS = "model.safetensors"
ADAPTERS = "adapters.safetensors"
CHECKPOINT_VERSION = 1
_NAME = re.compile(r"step-(\d{7,})")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Where the checkpoint after `step` optimizer steps lies."""
    return folder / f"step-{step:07d}"


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first, whole or damaged."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def is_checkpoint(path: Path) -> bool:
    """Whether a path has the name of a checkpoint."""
    return _NAME.fullmatch(path.name) is not None


def checkpoint_step(path: Path) -> int:
    """Optimizer steps that a checkpoint was written after."""
    return int(path.name.removeprefix("step-"))


def write_checkpoint(path: Path, state: JSON, write_files: Callable[[Path], None]) -> None:
    """Writes a checkpoint.

    Args:
        path: The folder; one that is there is replaced.
        state: Content of `state.json`.
        write_files: Writes model and optimizer into the folder it is given.
    """

    def write_all(folder: Path) -> None:
        write_files(folder)
        write_json(folder / STATE, {"checkpoint_version": CHECKPOINT_VERSION, **state})

    seal(path, write_all)


class State(NamedTuple):
    """What `state.json` says.

    Args:
        plan: Place in the plan and the audit log, as `PlanCursor.state` gives it.
        trajectory: The settings that decide the weights.
        base: Digest of the model that the run began with.
    """

    plan: JSON
    trajectory: JSON
    base: str

    @property
    def next_step(self) -> int:
        """Steps done."""
        return int(self.plan["next_step"])

    @property
    def audit_head(self) -> str:
        """Hash of the audit chain after them."""
        return str(self.plan["audit_head"])


def read_state(path: Path) -> State:
    """Verifies a checkpoint and returns what its `state.json` says.

    Raises:
        CorruptCheckpoint: A file is missing or differs from the manifest; the last good checkpoint is named.
    """
    problem = find_damage(path)
    if problem:
        good = [other for other in checkpoints(path.parent) if other != path and not find_damage(other)]
        way_out = f"resume from the last good one: `--resume {good[-1]}`" if good else "start again: `--resume none`"
        raise CorruptCheckpoint(f"{path}: {problem}; {way_out}", "LR-E201")
    try:
        state: JSON = json.loads((path / STATE).read_bytes())
        written = int(state["checkpoint_version"])
        found = State(dict(state["plan"]), dict(state["trajectory"]), str(state["base"]))
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptCheckpoint(f"{path}: {STATE} is no state of a run ({error!r})", "LR-E201") from error
    if written > CHECKPOINT_VERSION:
        raise CorruptCheckpoint(
            f"{path} has checkpoint format {written}, this version reads {CHECKPOINT_VERSION}: upgrade", "LR-E202"
        )
    return found


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, in words, or None."""
    problem = seal_damage(path)
    if problem:
        return problem
    missing = [name for name in (STATE, OPTIMIZER) if not (path / name).is_file()]
    if not any((path / name).is_file() for name in (WEIGHTS, ADAPTERS)):
        missing.append(f"{WEIGHTS} or {ADAPTERS}")
    return f"{missing[0]} is missing" if missing else None
