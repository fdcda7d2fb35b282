"""`OUT/time_boxes.jsonl`: the time boxes of a run, one line each. They depend on the machine and decide nothing of the weights."""

from datetime import datetime
from pathlib import Path
from typing import Literal, NamedTuple, cast

from lazarus_train.run_dir.metrics import append_line, read_lines

Ending = Literal["time is up", "finished", "stopped"]


class BoxLine(NamedTuple):
    """A time box that ended.

    Args:
        step: Steps of the run at the end of the box.
        trained: Steps trained in the box.
        ended: How it ended.
        began: Local time of its start.
        limit_s: Seconds from its start to its limit.
        elapsed_s: Seconds from its start to its end.
        save_s: Seconds of its slowest checkpoint; None if it wrote none.
    """

    step: int
    trained: int
    ended: Ending
    began: datetime
    limit_s: float
    elapsed_s: float
    save_s: float | None


def append_box(path: Path, line: BoxLine) -> None:
    """Appends a time box.

    Args:
        path: The log.
        line: The box.
    """
    seconds = {"limit_s": line.limit_s, "elapsed_s": line.elapsed_s, "save_s": line.save_s}
    rounded = {name: None if value is None else round(value, 3) for name, value in seconds.items()}
    append_line(path, {**line._asdict(), "began": line.began.isoformat(timespec="seconds"), **rounded})


def save_seconds(path: Path) -> float | None:
    """Seconds of a checkpoint in the newest time box that wrote one; None if none did.

    Args:
        path: The log; it may be missing.
    """
    found = [line.get("save_s") for line in read_lines(path)]
    measured = [each for each in found if isinstance(each, int | float) and each >= 0]
    return cast("float", measured[-1]) if measured else None
