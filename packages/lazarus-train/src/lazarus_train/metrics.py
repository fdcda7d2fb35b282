"""Two logs of a run, one JSON object a line.

`metrics.jsonl` holds what the data and the weights decide (loss, rate, norm): a resumed run writes the bytes of an
uninterrupted one. `throughput.jsonl` holds what the machine decides (seconds, tokens a second).
"""

import json
import os
from pathlib import Path
from typing import Any

JSON = dict[str, Any]


def append_line(path: Path, members: JSON) -> None:
    """Adds one line."""
    with path.open("a", encoding="utf-8", newline="\n") as log:
        log.write(json.dumps(members, separators=(",", ":")) + "\n")


def keep_steps(path: Path, last_step: int) -> None:
    """Drops lines beyond a step: they belong to a run that was cut off and is done again from there."""
    if not path.is_file():
        return
    kept = [line for line in path.read_bytes().splitlines(keepends=True) if _step(line) <= last_step]
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    beside.write_bytes(b"".join(kept))
    beside.replace(path)


def _step(line: bytes) -> float:
    """The step of a line; beyond every step for a line that was cut off in the middle."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return float("inf")
