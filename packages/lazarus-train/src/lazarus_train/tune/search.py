"""Searches the largest micro-batch that fits and the fastest setup, by trials in separate processes with a time
limit.

Every trial is saved as soon as it ends, so a stopped sweep continues.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from lazarus_core.atomic import whole_file
from lazarus_core.errors import OutputTaken
from lazarus_core.outputs import OutputKind, begins_with, check_output
from lazarus_train.errors import SetupError
from lazarus_train.tune.measure import OUT_OF_MEMORY, Measured, Setup

Outcome = Literal["fits", "out of memory", "out of time", "failed"]
HOURS_8 = 8 * 3600
MEMORY_SHARE = 0.8
"""Default memory limit of a trial as a fraction of the machine's memory."""
SUMMARY = "summary.md"
TRIAL_LOG = OutputKind("a log of trials", begins_with(r'\{"setup":'), "LR-E160")
SUMMARY_PAGE = OutputKind("a summary of a sweep", begins_with(r"\| row length \| weights \|"), "LR-E160")
TRIALS = "trials.jsonl"


class Trial(BaseModel):
    """A setup and its result."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    setup: Setup
    """The setup."""
    outcome: Outcome
    """Whether the trial was measured; if not, why."""
    measured: Measured | None = None
    """Results of the measurement."""
    words: str = ""
    """Last output line of a failed trial."""


@dataclass(frozen=True)
class Sweep:
    """Settings of a search.

    Args:
        model: Directory of the model.
        row_lens: Tokens per row, one or several values.
        lora_ranks: Ranks of adapters; 0 trains all weights.
        recomputes: Whether to use gradient checkpointing, one or both values.
        max_rows: Largest number of rows per micro-batch.
        steps: Measured steps of each trial.
        time_limit_s: Time limit of a trial in seconds, from its start.
        memory_bytes: Memory limit of a trial in bytes.
    """

    model: Path
    row_lens: tuple[int, ...]
    lora_ranks: tuple[int, ...] = (0,)
    recomputes: tuple[bool, ...] = (False,)
    max_rows: int = 64
    steps: int = 3
    time_limit_s: float = 120.0
    memory_bytes: int | None = None

    def kinds(self) -> Iterator[Setup]:
        """Every setup with one row per micro-batch."""
        memory = self.memory_bytes or int(MEMORY_SHARE * physical_memory())
        for row_len, lora_rank, recomputes in product(self.row_lens, self.lora_ranks, self.recomputes):
            yield Setup(
                model=self.model,
                row_len=row_len,
                rows=1,
                lora_rank=lora_rank,
                recomputes=recomputes,
                steps=self.steps,
                memory_bytes=memory,
            )


def run_sweep(
    sweep: Sweep, folder: Path, on_trial: Callable[[Trial], object] = lambda _: None, *, force: bool = False
) -> list[Trial]:
    """Tries every setup with 1, 2, 4, .. rows until one does not fit, then bisects.

    Args:
        sweep: Dimensions and limits of the search.
        folder: Folder of `trials.jsonl`. Its trials are not repeated unless they failed.
        on_trial: Called with every trial, stored or new.
        force: Replace other files of these names.

    Raises:
        OutputTaken: Another file has the name of one of the sweep's.
        SetupError: `trials.jsonl` is not a file of trials.
    """
    check_sweep(folder, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    is_log = not force or not (folder / TRIALS).is_file() or TRIAL_LOG.is_own(folder / TRIALS)
    earlier = read_trials(folder / TRIALS) if is_log else []
    known = {trial.setup: trial for trial in earlier if trial.outcome != "failed"}
    _write_trials(folder / TRIALS, list(known.values()))  # without a line that was cut off
    found: list[Trial] = []

    def fits(setup: Setup) -> bool:
        trial = known.get(setup) or try_setup(setup, sweep.time_limit_s)
        if setup not in known:
            with (folder / TRIALS).open("a", encoding="utf-8") as log:
                log.write(trial.model_dump_json() + "\n")
        found.append(trial)
        on_trial(trial)
        return trial.outcome == "fits"

    for kind in sweep.kinds():
        largest_that_fits(lambda rows, kind=kind: fits(kind.model_copy(update={"rows": rows})), sweep.max_rows)
    return found


def check_sweep(folder: Path, *, force: bool = False) -> None:
    """Checks that a folder has no files with the sweep's names, except files of an earlier sweep.

    Args:
        folder: Output folder of the sweep; it may be missing.
        force: Replace other files of these names.

    Raises:
        OutputTaken: Another file has the name of one of them; `force` replaces it.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputTaken(f"{folder} is a file: give the name of a folder for a sweep", "LR-E160")
    check_output(folder / TRIALS, TRIAL_LOG, force=force)
    check_output(folder / SUMMARY, SUMMARY_PAGE, force=force)


def largest_that_fits(fits: Callable[[int], bool], most: int) -> int:
    """The largest number that fits, by doubling and then bisection; 0 if 1 does not fit.

    Tests each number once, and at most 2 log2(most) numbers.

    Args:
        fits: Whether a number fits; must be monotonic.
        most: Largest number to test.
    """
    low, high = 0, most + 1
    while low < most:
        candidate = min(max(1, 2 * low), most) if high > most else (low + high) // 2
        if candidate == low:
            break
        if fits(candidate):
            low = candidate
        else:
            high = candidate
    return low


def read_trials(path: Path) -> list[Trial]:
    """The trials of a sweep; an incomplete last line is dropped.

    Raises:
        SetupError: Another line is invalid.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    trials: list[Trial] = []
    for number, line in enumerate(lines, 1):
        try:
            trials.append(Trial.model_validate_json(line))
        except ValidationError as error:
            if number == len(lines) and not line.endswith(b"\n"):
                break
            raise SetupError(
                f"{path}:{number} is not a trial of a sweep; choose another `output`", "LR-E160"
            ) from error
    return trials


def _write_trials(path: Path, trials: Sequence[Trial]) -> None:
    with whole_file(path) as log:
        log.writelines(f"{trial.model_dump_json()}\n".encode() for trial in trials)


def physical_memory() -> int:
    """Memory of the machine in bytes."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def summary(trials: Sequence[Trial]) -> str:
    """The sweep as Markdown: one line per setup, and a recommendation."""
    lines = [
        "| row length | weights | checkpointing | most rows at once | fastest at | tokens/s | peak memory | tokens in 8 h |",
        "|---|---|---|---|---|---|---|---|",
    ]
    kinds = dict.fromkeys(trial.setup.model_copy(update={"rows": 1}) for trial in trials)
    best: tuple[Setup, Measured] | None = None
    for kind in kinds:
        mine = [each for each in trials if each.setup.model_copy(update={"rows": 1}) == kind]
        fitting = [(each.setup, each.measured) for each in mine if each.measured is not None]
        weights = f"LoRA, rank {kind.lora_rank}" if kind.lora_rank else "all"
        about = f"| {kind.row_len:,} | {weights} | {'yes' if kind.recomputes else 'no'}"
        if not fitting:
            lines.append(f"{about} | none: {mine[0].outcome}{f' ({mine[0].words})' if mine[0].words else ''} | | | | |")
            continue
        fastest = max(fitting, key=lambda pair: pair[1].tokens_per_s)
        best = fastest if best is None or fastest[1].tokens_per_s > best[1].tokens_per_s else best
        lines.append(
            f"{about} | {max(setup.rows for setup, _ in fitting)}{_end(mine)} | {fastest[0].rows} | "
            f"{fastest[1].tokens_per_s:,.0f} | {fastest[1].peak_bytes / 2**20:,.0f} MiB | "
            f"{_millions(fastest[1].tokens_per_s * HOURS_8)} |"
        )
    return "\n".join([*lines, "", _nothing_fits(trials) if best is None else _suggestion(*best)]) + "\n"


def _nothing_fits(trials: Sequence[Trial]) -> str:
    if all(trial.outcome == "failed" for trial in trials):
        return "Every trial failed; the table shows the reasons. The next sweep repeats failed trials."
    time = ", more time with `time_limit`" if any(trial.outcome == "out of time" for trial in trials) else ""
    return (
        f"Nothing fits: try shorter rows with `row_len`, adapters with `lora_rank=8`, `gradient_checkpointing`{time}."
    )


def _end(trials: Sequence[Trial]) -> str:
    """Reasons why more rows were not measured."""
    reasons = {trial.outcome for trial in trials if trial.outcome != "fits"}
    return f" ({', '.join(sorted(reasons))} beyond)" if reasons else ""


def _suggestion(setup: Setup, measured: Measured) -> str:
    settings = [f"`micro_rows={setup.rows}`"]
    settings += ["`lora`", f"`lora.rank={setup.lora_rank}`"] if setup.lora_rank else []
    settings += ["`recomputes`"] if setup.recomputes else []
    return (
        f"Fastest: rows of {setup.row_len} tokens, {setup.rows} at once: {measured.tokens_per_s:,.0f} tokens/s. Plan with "
        f"`row_len={setup.row_len}` and a token budget that is a multiple of {setup.row_len * setup.rows}, and train with "
        f"{', '.join(settings)}."
    )


def _millions(tokens: float) -> str:
    return f"{tokens / 1e6:,.1f} M"


def try_setup(setup: Setup, time_limit_s: float) -> Trial:
    """Measures a setup in a process of its own, which may run out of memory or time.

    Args:
        setup: What to measure.
        time_limit_s: Seconds after which the process is ended.
    """
    command = [sys.executable, "-m", "lazarus_train.tune.measure", setup.model_dump_json()]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=time_limit_s, check=False)
    except subprocess.TimeoutExpired:
        return Trial(setup=setup, outcome="out of time")
    if done.returncode == 0:
        return Trial(setup=setup, outcome="fits", measured=Measured.model_validate_json(done.stdout))
    words = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    is_memory = done.returncode in (OUT_OF_MEMORY, -9) or "alloc" in words.lower()  # -9: the system ended it
    return Trial(setup=setup, outcome="out of memory" if is_memory else "failed", words="" if is_memory else words)
