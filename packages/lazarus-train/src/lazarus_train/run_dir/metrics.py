"""Two logs of a run, one JSON object per line.

`metrics.jsonl` contains results of data and weights (loss, rate, norm). A resumed run writes the same bytes as an
uninterrupted one. `throughput.jsonl` contains results of the machine (seconds, tokens per second).
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
    """Appends one line.

    Args:
        path: The log.
        members: The JSON object.
    """
    with path.open("a", encoding="utf-8", newline="\n") as log:
        log.write(json.dumps(members, separators=(",", ":"), allow_nan=False) + "\n")


def finite_or_none(value: float) -> float | None:
    """A JSON number: null if it is infinite or NaN."""
    return value if math.isfinite(value) else None


def read_lines(path: Path) -> list[JSON]:
    """The complete lines of a log; an incomplete last line is dropped."""
    raw = path.read_bytes().splitlines() if path.is_file() else []
    return [members for line in raw if (members := _members(line))]


def held_out_losses(metrics: Sequence[JSON], eval_set: str | None) -> dict[int, float]:
    """The finite losses of a held-out set, by step.

    Args:
        metrics: Lines of `metrics.jsonl`.
        eval_set: Name of the held-out set; None gives an empty result.
    """
    lines = (line for line in metrics if "eval_set" in line and line["eval_set"] == eval_set)
    return {line["step"]: line["eval_loss"] for line in lines if line["eval_loss"] is not None}


def keep_lines(path: Path, is_kept: Callable[[JSON], bool]) -> None:
    """Removes lines of a log that belong to steps which are computed again.

    Args:
        path: The log; it may be missing.
        is_kept: Called with each complete line. Damaged lines are removed.
    """
    if not path.is_file():
        return
    raw = path.read_bytes().splitlines(keepends=True)
    kept = [line for line in raw if (members := _members(line)) and is_kept(members)]
    with whole_file(path) as log:
        log.writelines(kept)


def _members(line: bytes) -> JSON | None:
    """The object in a line; None if the line is damaged."""
    try:
        members = parse_object(line)
        return members if isinstance(members["step"], int) else None
    except (MalformedJson, KeyError):
        return None
