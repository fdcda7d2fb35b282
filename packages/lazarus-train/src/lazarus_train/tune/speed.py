"""Tokens a second of training: measured on this machine, or read from a run."""

import statistics
import tempfile
from pathlib import Path
from typing import Any

from lazarus_core.reasons import absent_or
from lazarus_models import ModelConfig, init_model, save
from lazarus_tokenkit import load_tokenizer
from lazarus_train.errors import SetupError
from lazarus_train.run_dir.reader import RunRecord
from lazarus_train.tune.budget import Speed
from lazarus_train.tune.measure import Setup
from lazarus_train.tune.search import try_setup

_NEWEST = 100
"""Steps of a run whose median is its speed; earlier ones may be of another machine."""
_STEPS = 3
"""Measured steps, after one to warm up."""


def speed_of_run(run: Path) -> Speed:
    """The median speed of the newest steps of a run.

    Args:
        run: Folder of the run, finished or not.

    Raises:
        SetupError: The folder is not a run with a step.
    """
    lines = RunRecord.read(run).throughput[-_NEWEST:]
    speeds = [line["tokens_per_s"] for line in lines if _is_speed(line.get("tokens_per_s"))]
    if not speeds:
        problem = absent_or(run / "throughput.jsonl", "has no speed of a step")
        raise SetupError(f"{problem}: give `measured` instead of `run`", "LR-E283")
    return Speed(statistics.median(speeds), f"median of {len(speeds)} steps of {run}")


def _is_speed(value: Any) -> bool:
    return isinstance(value, int | float) and value > 0


def measure_speed(config: ModelConfig, rows: int, row_len: int, time_limit_s: float) -> Speed:
    """Measures steps of a model with random weights and random tokens, in a process of its own.

    Args:
        config: The model.
        rows: Rows at once.
        row_len: Tokens a row.
        time_limit_s: Most seconds that it may take.

    Raises:
        SetupError: The steps take longer, need more memory, or fail.
    """
    with tempfile.TemporaryDirectory(prefix="lazarus-") as name:
        model = Path(name) / "model"
        save(init_model(config, load_tokenizer("byte"), seed=0, vocab_size=config.vocab_size), model)
        trial = try_setup(Setup(model=model, row_len=row_len, rows=rows, steps=_STEPS), time_limit_s)
    if trial.measured is None:
        raise SetupError(
            f"the speed could not be measured: {trial.outcome}{f' ({trial.words})' if trial.words else ''}; give `measured` or `run`",
            "LR-E284",
        )
    return Speed(trial.measured.tokens_per_s, f"measured here: {_STEPS} steps of {rows} x {row_len} tokens")
