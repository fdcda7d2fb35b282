"""Checks `metrics.jsonl` and `samples.jsonl` against the chain, the plan and the learning-rate schedule."""

import hashlib
from collections.abc import Sequence
from itertools import repeat
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from lazarus_core.jsonl import MalformedLine, parse_object
from lazarus_plan import BatchPlan
from lazarus_plan.report import count_mixture
from lazarus_train.config import OptimizerSettings
from lazarus_train.engine.schedule import learning_rate
from lazarus_train.errors import CorruptCheckpoint

JSON = dict[str, Any]


def check_covered(logs: Sequence[Path], covered: JSON, *, is_whole: bool) -> None:
    """Checks that logs start with the bytes that a checkpoint recorded, and optionally that no bytes follow.

    Args:
        logs: Metrics and samples.
        covered: `bytes` and `sha256` by file name; a file without an entry did not exist.
        is_whole: Whether no bytes may follow.

    Raises:
        CorruptCheckpoint: A log was changed.
    """
    for log in logs:
        content = log.read_bytes() if log.is_file() else b""
        recorded = covered.get(log.name, {"bytes": 0, "sha256": hashlib.sha256().hexdigest()})
        starts_equal = hashlib.sha256(content[: recorded["bytes"]]).hexdigest() == recorded["sha256"]
        has_entry = log.is_file() is (log.name in covered) or not is_whole
        is_longer = len(content) > recorded["bytes"]
        if not starts_equal or not has_entry or len(content) < recorded["bytes"] or (is_whole and is_longer):
            raise CorruptCheckpoint(f"{log} was changed: its digest differs from the audit log", "LR-E208")


def read_metrics(path: Path) -> list[JSON]:
    """The lines of a log, read strictly; an incomplete last line is dropped.

    Raises:
        CorruptCheckpoint: A line is invalid.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    found: list[JSON] = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(parse_object(line))
        except MalformedLine as error:
            if number == len(lines) and not line.endswith(b"\n"):
                break
            raise CorruptCheckpoint(f"{path}:{number}: {error.problem}", "LR-E208") from error
    return found


def check_metrics(
    path: Path,
    lines: Sequence[JSON],
    plan: BatchPlan,
    units: NDArray[np.int64],
    optimizer: OptimizerSettings,
    rebased_at: int,
) -> int:
    """Recomputes the values of every step that plan and schedule determine: index, tokens, denominator, learning
    rate, mixture. A run of an earlier version has no mixture.

    Args:
        path: Path for messages.
        lines: Lines of the metrics.
        plan: The plan of the run.
        units: Denominator of each step's loss, int64 (S,).
        optimizer: Settings of the schedule.
        rebased_at: Number of steps under earlier plans, whose schedules are unknown.

    Returns:
        Number of steps in the lines.

    Raises:
        CorruptCheckpoint: A line does not match its step.
    """
    steps = [line for line in lines if "loss" in line]
    mixtures = count_mixture(plan) if any("mixture" in line for line in steps) else repeat(None)
    for done, line in enumerate(steps, 1):
        mixture = next(mixtures, None)
        rate = learning_rate(optimizer, done - 1, len(plan)) if rebased_at < done <= len(plan) else None
        counted = next((name for name in reversed(line) if name.startswith("loss_")), "loss_tokens")
        expected: JSON = {"step": done, "tokens": None, counted: None, "learning_rate": rate}
        if done <= len(plan):
            expected |= {"tokens": int(plan.tokens[done - 1]), counted: int(units[done - 1])}
        if mixture is not None and "mixture" in line:
            # Under an earlier plan, a stage without weights may have asked for other shares.
            asked = {} if done > rebased_at else {"asked": _member(line["mixture"], "asked")}
            expected["mixture"] = mixture.to_json() | asked
        wrong = next(
            (name for name, value in expected.items() if name not in line or not _equals(line[name], value)), None
        )
        if wrong is not None:
            raise CorruptCheckpoint(
                f"{path}: `{wrong}` of step {done} is {line.get(wrong)!r}, but plan and settings give {expected[wrong]!r}",
                "LR-E208",
            )
    return len(steps)


def _member(value: object, name: str) -> object:
    return cast("JSON", value).get(name) if isinstance(value, dict) else None


def _equals(value: object, expected: object) -> bool:
    """Whether a value equals the expected one in value and type; an expected None means unknown and matches."""
    return expected is None or (type(value) is type(expected) and value == expected)
