"""Checkpoints: everything a run needs to go on as if it had never stopped.

```
OUT/checkpoints/step-0000006/
  config.json, model.safetensors, tokenizer   a model that mlx-lm and transformers open  (adapters.safetensors with LoRA)
  optimizer.safetensors                       moments and step counts
  state.json                                  place in plan and audit log, settings that decide the weights, versions
  manifest.json                               SHA-256 of every file; written last
```
Written beside and renamed, so a folder with the right name is whole; verified again before it is believed.
"""

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from lazarus_train.errors import CorruptCheckpoint

JSON = dict[str, Any]
MANIFEST = "manifest.json"
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


def clear_leftovers(folder: Path) -> None:
    """Removes checkpoints that a kill left half written."""
    for leftover in folder.glob(".step-*.tmp"):
        shutil.rmtree(leftover, ignore_errors=True)


def write_checkpoint(path: Path, state: JSON, write_files: Callable[[Path], None]) -> None:
    """Writes a checkpoint beside `path` and renames it into place.

    Args:
        path: The folder; one that is there is replaced.
        state: Content of `state.json`.
        write_files: Writes model and optimizer into the folder it is given.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir()
    try:
        write_files(beside)
        _write_json(beside / STATE, {"checkpoint_version": CHECKPOINT_VERSION, **state})
        digests = {file.relative_to(beside).as_posix(): file_digest(file) for file in _files(beside)}
        _write_json(beside / MANIFEST, {"sha256": digests})
        _flush(beside)
        if path.exists():
            shutil.rmtree(path)
        beside.rename(path)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def read_state(path: Path) -> JSON:
    """Verifies a checkpoint and returns `state.json`.

    Raises:
        CorruptCheckpoint: A file is missing or differs from the manifest; the last good checkpoint is named.
    """
    problem = find_damage(path)
    if problem:
        good = [other for other in checkpoints(path.parent) if other != path and not find_damage(other)]
        way_out = f"resume from the last good one: `--resume {good[-1]}`" if good else "start again: `--resume none`"
        raise CorruptCheckpoint(f"{path}: {problem}; {way_out}", "LR-E201")
    state = json.loads((path / STATE).read_bytes())
    if state["checkpoint_version"] > CHECKPOINT_VERSION:
        raise CorruptCheckpoint(
            f"{path} has checkpoint format {state['checkpoint_version']}, this version reads {CHECKPOINT_VERSION}: upgrade",
            "LR-E202",
        )
    return state


def find_damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, in words, or None."""
    try:
        digests: JSON = json.loads((path / MANIFEST).read_bytes())["sha256"]
    except FileNotFoundError:
        return f"no {MANIFEST}: not a whole checkpoint"
    except (ValueError, KeyError, TypeError):
        return f"{MANIFEST} is damaged"
    for name, digest in digests.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if file_digest(file) != digest:
            return f"{name} is damaged: its SHA-256 is not the manifest's"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(file for file in folder.rglob("*") if file.is_file())


def file_digest(file: Path) -> str:
    """SHA-256 of a file, 64 hex."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _write_json(path: Path, members: JSON) -> None:
    path.write_bytes(json.dumps(members, indent=2, ensure_ascii=False).encode() + b"\n")


def _flush(folder: Path) -> None:
    """Hands every file to the disk before the rename that makes it count."""
    for path in [*_files(folder), folder]:
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
