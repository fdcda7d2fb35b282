"""Two logs of a run, one JSON object a line.

`metrics.jsonl` holds what the data and the weights decide (loss, rate, norm): a resumed run writes the bytes of an
uninterrupted one. `throughput.jsonl` holds what the machine decides (seconds, tokens a second).
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from lazarus_core.atomic import whole_file
from lazarus_core.strict_json import MalformedJson, parse_object

JSON = dict[str, Any]


def append_line(path: Path, members: JSON) -> None:
    """Adds one line."""
    with path.open("a", encoding="utf-8", newline="\n") as log:
        log.write(json.dumps(members, separators=(",", ":"), allow_nan=False) + "\n")


def finite_or_none(value: float) -> float | None:
    """A number as JSON has it: null where it is infinite or NaN."""
    return value if math.isfinite(value) else None


def read_lines(path: Path) -> list[JSON]:
    """The lines of a log; what a kill cut off in the middle is left out."""
    raw = path.read_bytes().splitlines() if path.is_file() else []
    return [members for line in raw if (members := _members(line))]


def held_out_losses(metrics: Sequence[JSON], eval_set: str | None) -> dict[int, float]:
    """The finite losses of some held-out rows, by step.

    Args:
        metrics: Lines of `metrics.jsonl`.
        eval_set: Name of the rows; None of none.
    """
    lines = (line for line in metrics if "eval_set" in line and line["eval_set"] == eval_set)
    return {line["step"]: line["eval_loss"] for line in lines if line["eval_loss"] is not None}


def keep_lines(path: Path, is_kept: Callable[[JSON], bool]) -> None:
    """Drops lines of a log: they belong to a run that was cut off and is done again from there.

    Args:
        path: The log; one that is not there stays away.
        is_kept: Given each whole line. Damaged ones are dropped.
    """
    if not path.is_file():
        return
    raw = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in raw if (members := _members(line)) and is_kept(members)]
    with whole_file(path) as log:
        log.writelines(kept)


def _members(line: bytes) -> JSON | None:
    """What a line holds; None where it is damaged."""
    try:
        members = parse_object(line)
        return members if isinstance(members["step"], int) else None
    except (MalformedJson, KeyError):
        return None
