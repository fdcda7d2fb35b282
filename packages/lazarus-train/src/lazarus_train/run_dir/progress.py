"""Where a run is: steps, loss, speed, time left, and whether its newest checkpoint is intact.

Only the ends of the logs and the small files of the newest checkpoint are read, so runs of any size answer at once.
"""

import fcntl
import statistics
from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple, cast

from lazarus_core.errors import LazarusError
from lazarus_core.strict_json import MalformedJson, parse_object, read_object
from lazarus_plan import PlanReader
from lazarus_plan.audit import Entry, parse_entry
from lazarus_plan.errors import CorruptPlan
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.checkpoint import STATE, TENSORS, checkpoint_step, checkpoints
from lazarus_train.run_dir.layout import RunFolder
from lazarus_train.run_dir.sealed_read import BrokenSeal, Sealed

JSON = dict[str, Any]
MAX_RECORD = 16 << 20
"""Largest `config.json` that is read, in bytes."""
_TAIL = 1 << 18
"""Bytes that are read from the end of a log: some hundred lines."""
_RECENT = 20
"""Steps from which speed and time left are computed."""


class Stage(StrEnum):
    """Whether a process works on a run, and whether anything is left to do."""

    RUNNING = "running"
    STOPPED = "stopped"
    FINISHED = "finished"


class RunProgress(NamedTuple):
    """Progress of a run.

    Args:
        objective: Kind of the objective.
        stage: Running, stopped or finished.
        step: Optimizer steps done.
        steps: Steps of the whole run; None if the plan cannot be read.
        loss: Loss of the last step; None before the first.
        eval_loss: Last held-out loss of the deciding set; None without one.
        tokens_per_s: Tokens a second over the last steps; None before the first.
        seconds_left: Estimated seconds of the remaining steps; None if they or their speed are unknown.
        checkpoint: Step of the newest checkpoint; None if there is none.
        damage: What is wrong with the newest checkpoint; None if its small files match their digests and the audit log
            binds it. Tensors are not read.
    """

    objective: str
    stage: Stage
    step: int
    steps: int | None
    loss: float | None
    eval_loss: float | None
    tokens_per_s: float | None
    seconds_left: float | None
    checkpoint: int | None
    damage: str | None


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run, finished or not."""
    return _record(path) is not None


def run_record(path: Path) -> JSON:
    """Content of a run's `config.json`, with its `config` and `folder`.

    Raises:
        SetupError: The folder is not a run.
    """
    record = _record(path)
    if record is None:
        raise SetupError(f"{path} is not the folder of a run, which has a record in config.json", "LR-E107")
    return record


def run_progress(path: Path) -> RunProgress:
    """Reads how far a run is.

    Raises:
        SetupError: The folder is not a run.
    """
    record, folder = run_record(path), RunFolder(path)
    steps = [line for line in _last_lines(folder.metrics) if "loss" in line]
    held_out = [line for line in _last_lines(folder.metrics) if "eval_set" in line]
    decides = next(iter(record["config"].get("eval_data") or ()), None)
    losses = [line.get("eval_loss") for line in held_out if line["eval_set"] == decides]
    speed = [line for line in _last_lines(folder.throughput) if _is_speed(line)][-_RECENT:]
    done = int(steps[-1]["step"]) if steps else 0
    total = _total_steps(record, folder)
    seconds = sum(line["seconds"] for line in speed)
    tokens = sum(line["seconds"] * line["tokens_per_s"] for line in speed)
    found = checkpoints(folder.checkpoints)
    is_busy = is_training(path)
    is_done = folder.final.is_dir() and _last_entry(folder.audit, "final", done) is not None
    left = None if total is None or not speed else max(0, total - done)
    middle = statistics.median(line["seconds"] for line in speed) if speed else 0.0
    return RunProgress(
        objective=str(record["config"]["objective"].get("kind", "?")),
        stage=Stage.RUNNING if is_busy else Stage.FINISHED if is_done else Stage.STOPPED,
        step=done,
        steps=total,
        loss=steps[-1]["loss"] if steps else None,
        eval_loss=losses[-1] if losses else None,
        tokens_per_s=round(tokens / seconds, 1) if seconds else None,
        seconds_left=None if left is None else 0.0 if is_done else round(left * middle, 1),
        checkpoint=checkpoint_step(found[-1]) if found else None,
        damage=_damage(folder, found[-1]) if found else None,
    )


def is_training(path: Path) -> bool:
    """Whether a process trains in a run's folder. Its lock is tried and released at once."""
    try:
        with RunFolder(path).lock.open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # no lock yet, or a disk without locks
        return False
    return False


def _record(path: Path) -> JSON | None:
    try:
        found = read_object(RunFolder(path).config, max_bytes=MAX_RECORD)
    except (LazarusError, OSError):
        return None
    config = found.get("config")
    if not isinstance(config, dict) or not isinstance(found.get("plan_id"), str) or "folder" not in found:
        return None
    return found if isinstance(cast("JSON", config).get("objective"), dict) else None


def _total_steps(record: JSON, folder: RunFolder) -> int | None:
    """Steps of the run: those of its plan, or `max_steps` of them."""
    config, began_in = record["config"], Path(str(record["folder"]))
    own, recorded = began_in / str(config.get("output")), began_in / str(config.get("batch_plan"))
    moved = folder.path / recorded.relative_to(own) if recorded.is_relative_to(own) else recorded
    most = config.get("max_steps")
    try:
        with PlanReader(moved) as plan:
            return min(len(plan), most or len(plan))
    except (LazarusError, OSError, ValueError):
        return most if isinstance(most, int) else None


def _damage(folder: RunFolder, checkpoint: Path) -> str | None:
    """What the small files of a checkpoint and the audit log show of its damage."""
    try:
        sealed = Sealed.read(checkpoint)
        sealed.check(but=TENSORS)
        state = parse_object(sealed.read_bytes(STATE))
    except (BrokenSeal, MalformedJson, OSError) as error:
        return str(error)
    if not isinstance(state.get("plan"), dict) or state["plan"].get("next_step") != checkpoint_step(checkpoint):
        return f"{STATE} is of another step"
    entry = _last_entry(folder.audit, "checkpoint", checkpoint_step(checkpoint))
    if entry is None or not entry.binds(sealed.binding("checkpoint")):
        return f"{folder.audit.name} does not bind it"
    return None


def _last_entry(audit: Path, kind: str, step: int) -> Entry | None:
    """The last line of an audit log that binds an object of a kind after `step` steps; None if there is none."""
    found: Entry | None = None
    if not audit.is_file():
        return None
    with audit.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if f'"bind":"{kind}"'.encode() not in line:
                continue
            try:
                entry = parse_entry(line, number)
            except CorruptPlan:
                continue
            found = entry if (entry.kind, entry.step) == (kind, step) else found
    return found


def _last_lines(path: Path) -> list[JSON]:
    """The complete lines at the end of a log."""
    try:
        with path.open("rb") as log:
            size = log.seek(0, 2)
            log.seek(max(0, size - _TAIL))
            raw = log.read(_TAIL).split(b"\n")
    except OSError:
        return []
    lines: list[JSON] = []
    for line in raw[1 if size > _TAIL else 0 : -1]:
        try:
            members = parse_object(line)
        except MalformedJson:
            continue
        if isinstance(members.get("step"), int):
            lines.append(members)
    return lines


def _is_speed(line: JSON) -> bool:
    return all(isinstance(line.get(name), int | float) for name in ("seconds", "tokens_per_s"))
