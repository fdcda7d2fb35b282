"""Checkpoints: the complete state of a run. A resumed run continues bitwise as if it had not stopped.

```
OUT/checkpoints/step-0000006/
  config.json, model.safetensors, tokenizer   a model that mlx-lm and transformers open
  adapters.safetensors                        with LoRA, instead of model.safetensors
  optimizer.safetensors                       moments and step counts
  state.json                                  position in plan and audit log, settings that determine the weights,
                                              digests of the initial model and of the logs
  manifest.json                               SHA-256 of every file; written last
```
A checkpoint is a sealed folder (see `sealed_write`). It is complete once it has its name, and it is verified before
use. The audit log binds its manifest.
"""

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any, NamedTuple, cast

from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_train.errors import CorruptCheckpoint
from lazarus_train.run_dir.base_digest import Base
from lazarus_train.run_dir.sealed_read import BrokenSeal, Sealed
from lazarus_train.run_dir.sealed_write import seal, write_json

JSON = dict[str, Any]
STATE = "state.json"
OPTIMIZER = "optimizer.safetensors"
WEIGHTS = "model.safetensors"
ADAPTERS = "adapters.safetensors"
MEAN_FILE, SCORE_FILE, VALUE_FILE = "ema.safetensors", "score.safetensors", "value_head.safetensors"
"""EMA of the weights; with adapters, also the score layer."""
CHECKPOINT_VERSION = 2
"""Version of checkpoints. The audit log did not bind version 1."""
TENSORS = {WEIGHTS, ADAPTERS, OPTIMIZER, MEAN_FILE, SCORE_FILE, VALUE_FILE}
_NAME = re.compile(r"step-(\d{7,})")


def checkpoint_path(folder: Path, step: int) -> Path:
    """Path of a checkpoint, which may not exist.

    Args:
        folder: Folder of the checkpoints.
        step: Optimizer steps done, at least 0; written with at least seven digits.
    """
    return folder / f"step-{step:07d}"


def checkpoints(folder: Path) -> list[Path]:
    """Checkpoints of a run, oldest first, complete or damaged."""
    if not folder.is_dir():
        return []
    found = [(int(match[1]), path) for path in folder.iterdir() if (match := _NAME.fullmatch(path.name))]
    return [path for _, path in sorted(found)]


def is_checkpoint(path: Path) -> bool:
    """Whether a path has the name of a checkpoint."""
    return _NAME.fullmatch(path.name) is not None


def checkpoint_step(path: Path) -> int:
    """Optimizer steps of a checkpoint, from its name."""
    return int(path.name.removeprefix("step-"))


def write_checkpoint(path: Path, state: JSON, write_files: Callable[[Path], None]) -> Sealed:
    """Writes a checkpoint.

    Args:
        path: The folder; an existing one is replaced.
        state: Content of `state.json`.
        write_files: Writes model and optimizer into the folder it is given.
    """

    def write_all(folder: Path) -> None:
        write_files(folder)
        write_json(folder / STATE, {"checkpoint_version": CHECKPOINT_VERSION, **state})

    return seal(path, write_all)


class State(NamedTuple):
    """Content of `state.json`.

    Args:
        plan: Position in the plan and the audit log, as `PlanCursor.state` gives it.
        resume_key: Settings that determine the weights (member `trajectory`).
        base: Initial model of the run.
        logs: `bytes` and `sha256` of metrics and samples at the time of writing, by file name.
        micro_batch_rows: Rows per forward pass (member `micro_rows`); None computes a whole step at once.
        sealed: The checkpoint's manifest.
    """

    plan: JSON
    resume_key: JSON
    base: Base
    logs: JSON
    micro_batch_rows: int | None
    sealed: Sealed

    @property
    def next_step(self) -> int:
        """Steps done."""
        return int(self.plan["next_step"])

    @property
    def audit_head(self) -> str:
        """Hash of the audit chain after these steps."""
        return str(self.plan["audit_head"])

    @property
    def plan_id(self) -> str:
        """Id of the plan."""
        return str(self.plan["plan_id"])


def read_state(path: Path, *, is_loaded_next: bool = False) -> State:
    """Verifies a checkpoint and returns the content of its `state.json`.

    Args:
        path: The checkpoint.
        is_loaded_next: Skips tensors, which `TrainState.restored` hashes while it loads them.

    Raises:
        CorruptCheckpoint: A file is missing, not listed or differs from the manifest; the last good checkpoint is
            named.
    """
    try:
        sealed = _read_whole(path, but=TENSORS if is_loaded_next else ())
        content = sealed.read_bytes(STATE)
    except BrokenSeal as error:
        raise damaged(path, str(error)) from error
    return _parse_state(path, content, sealed)


def damaged(path: Path, problem: str) -> CorruptCheckpoint:
    """An error for a damaged checkpoint. The message names the last good one.

    Args:
        path: The checkpoint.
        problem: Description of the damage.
    """
    good = [other for other in checkpoints(path.parent) if other != path and not find_damage(other)]
    way_out = f"set `resume` to the last good one, {good[-1]}" if good else "set `resume` to `none` to start again"
    return CorruptCheckpoint(f"{path}: {problem}; {way_out}", "LR-E201")


def find_damage(path: Path) -> str | None:
    """Description of a checkpoint's damage; None if it is undamaged."""
    try:
        _read_whole(path)
    except BrokenSeal as error:
        return str(error)
    return None


def _read_whole(path: Path, but: Collection[str] = ()) -> Sealed:
    """The manifest of a checkpoint whose files are exactly those listed."""
    sealed = Sealed.read(path)
    sealed.check(but)
    names = sealed.digests.keys()
    missing = [name for name in (STATE, OPTIMIZER) if name not in names]
    if not names & {WEIGHTS, ADAPTERS}:
        missing.append(f"{WEIGHTS} or {ADAPTERS}")
    if missing:
        raise BrokenSeal(f"{missing[0]} is missing")
    foreign = [name for name in sorted(names) if _is_foreign(name)]
    if foreign:
        raise BrokenSeal(f"{foreign[0]} does not belong to a checkpoint: remove it")
    return sealed


def _is_foreign(name: str) -> bool:
    """Whether a file could be loaded as weights although no run writes it."""
    return (name.endswith(".safetensors") and name not in TENSORS) or name.endswith(".safetensors.index.json")


def _parse_state(path: Path, content: bytes, sealed: Sealed) -> State:
    try:
        state = parse_object(content)
        version = state.get("checkpoint_version")
        if type(version) is not int:
            raise ValueError("no `checkpoint_version`")
    except (MalformedLine, ValueError) as error:
        raise CorruptCheckpoint(f"{path}: {STATE} is not the state of a run ({error})", "LR-E201") from error
    if version > CHECKPOINT_VERSION:
        raise CorruptCheckpoint(
            f"{path} has checkpoint format {version}, this version reads {CHECKPOINT_VERSION}: upgrade", "LR-E202"
        )
    if version < CHECKPOINT_VERSION:
        raise CorruptCheckpoint(
            f"{path} has checkpoint format {version}, which the audit log does not bind; this version reads {CHECKPOINT_VERSION}: train again",
            "LR-E202",
        )
    members = ("checkpoint_version", "plan", "trajectory", "base", "base_files", "logs", "micro_rows")
    wrong = next((name for name in members if name not in state), None) or next(iter(state.keys() - set(members)), None)
    if wrong is not None or not _is_typed(state):
        raise CorruptCheckpoint(f"{path}: {STATE} is not the state of a run (`{wrong or 'plan'}`)", "LR-E201")
    base = Base(cast("dict[str, str]", state["base_files"]))
    if base.digest != state["base"]:
        raise CorruptCheckpoint(f"{path}: {STATE}: `base` is not the digest of `base_files`", "LR-E201")
    return State(state["plan"], state["trajectory"], base, state["logs"], state["micro_rows"], sealed)


def _is_typed(state: JSON) -> bool:
    """Whether the members of a state have the right types."""
    objects = ("plan", "trajectory", "base_files", "logs")
    if not all(isinstance(state[name], dict) for name in objects) or not isinstance(state["base"], str):
        return False
    plan, rows = cast("JSON", state["plan"]), state["micro_rows"]
    return (
        (rows is None or (type(rows) is int and rows > 0))
        and type(plan.get("next_step")) is int
        and isinstance(plan.get("plan_id"), str)
        and isinstance(plan.get("audit_head"), str)
        and all(isinstance(digest, str) for digest in cast("JSON", state["base_files"]).values())
    )
