"""The largest micro-batch that fits this machine and the fastest set-up, by trying them: a process and a time limit each.

Every trial is written down as soon as it ends, so a sweep that was stopped goes on where it was.
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
"""Part of the machine's memory that a trial may take unless told otherwise."""
SUMMARY = "summary.md"
TRIAL_LOG = OutputKind("a log of trials", begins_with(r'\{"setup":'), "LR-E160")
SUMMARY_PAGE = OutputKind("a summary of a sweep", begins_with(r"\| row length \| weights \|"), "LR-E160")
TRIALS = "trials.jsonl"


class Trial(BaseModel):
    """A set-up and what came of it."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    setup: Setup
    """What was tried."""
    outcome: Outcome
    """Whether its steps were measured; if not, why."""
    measured: Measured | None = None
    """What they took."""
    words: str = ""
    """The last line that a trial that failed said."""


@dataclass(frozen=True)
class Sweep:
    """What is tried.

    Args:
        model: Directory of the model.
        row_lens: Tokens a row.
        lora_ranks: Ranks of adapters; 0 trains all weights.
        recomputes: With or without gradient checkpointing.
        max_rows: No more rows at once than these.
        steps: Measured of each trial.
        time_limit_s: Of a trial, from its start.
        memory_bytes: That a trial may hold.
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
        """Every set-up with one row at once."""
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
    asked: Sweep, folder: Path, on_trial: Callable[[Trial], object] = lambda _: None, *, force: bool = False
) -> list[Trial]:
    """Tries every set-up with 1, 2, 4, .. rows until one does not fit, then the numbers between by halving.

    Args:
        asked: What to try.
        folder: Keeps `trials.jsonl`; what stands there is not tried again, unless it failed: its reason may be mended.
        on_trial: Given every trial, old or new.
        force: Replace other files of these names.

    Raises:
        OutputTaken: Another file has the name of one of the sweep's.
        SetupError: `trials.jsonl` is not one.
    """
    check_sweep(folder, force=force)
    folder.mkdir(parents=True, exist_ok=True)
    is_log = not force or not (folder / TRIALS).is_file() or TRIAL_LOG.is_own(folder / TRIALS)
    earlier = read_trials(folder / TRIALS) if is_log else []
    known = {trial.setup: trial for trial in earlier if trial.outcome != "failed"}
    _write_trials(folder / TRIALS, list(known.values()))  # without a line that was cut off
    found: list[Trial] = []

    def fits(setup: Setup) -> bool:
        trial = known.get(setup) or _try(setup, asked.time_limit_s)
        if setup not in known:
            with (folder / TRIALS).open("a", encoding="utf-8") as log:
                log.write(trial.model_dump_json() + "\n")
        found.append(trial)
        on_trial(trial)
        return trial.outcome == "fits"

    for kind in asked.kinds():
        largest_that_fits(lambda rows, kind=kind: fits(kind.model_copy(update={"rows": rows})), asked.max_rows)
    return found


def check_sweep(folder: Path, *, force: bool = False) -> None:
    """Checks that a folder takes the files of a sweep: none of them is there, or they are of an earlier sweep.

    Raises:
        OutputTaken: Another file has the name of one of them; `force` replaces it.
    """
    if folder.exists() and not folder.is_dir():
        raise OutputTaken(f"{folder} is a file: give the name of a folder for a sweep", "LR-E160")
    check_output(folder / TRIALS, TRIAL_LOG, force=force)
    check_output(folder / SUMMARY, SUMMARY_PAGE, force=force)


def largest_that_fits(fits: Callable[[int], bool], most: int) -> int:
    """The largest number that fits, by doubling and then halving; 0 where one does not.

    Asks for each number once, and for at most 2 log2(most) of them.

    Args:
        fits: Whether a number does; what fits, fits for all smaller ones.
        most: The largest that is asked for.
    """
    low, high = 0, most + 1
    while low < most:
        asked = min(max(1, 2 * low), most) if high > most else (low + high) // 2
        if asked == low:
            break
        if fits(asked):
            low = asked
        else:
            high = asked
    return low


def read_trials(path: Path) -> list[Trial]:
    """The trials of a sweep; a last line that was cut off is left out.

    Raises:
        SetupError: Another line is no trial.
    """
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    trials: list[Trial] = []
    for number, line in enumerate(lines, 1):
        try:
            trials.append(Trial.model_validate_json(line))
        except ValidationError as error:
            if number == len(lines) and not line.endswith(b"\n"):
                break
            raise SetupError(f"{path}:{number} is no trial of a sweep; choose another --output", "LR-E160") from error
    return trials


def _write_trials(path: Path, trials: Sequence[Trial]) -> None:
    with whole_file(path) as log:
        log.writelines(f"{trial.model_dump_json()}\n".encode() for trial in trials)


def physical_memory() -> int:
    """Bytes of the machine's memory."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def summary(trials: Sequence[Trial]) -> str:
    """The sweep as Markdown: a line a set-up, and what to take."""
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
        return "Nothing ran: the table says why. What failed is tried again the next time."
    time = ", more time with --time-limit" if any(trial.outcome == "out of time" for trial in trials) else ""
    return (
        f"Nothing fits: try shorter rows with --row-len, adapters with --lora-rank 8, --gradient-checkpointing{time}."
    )


def _end(trials: Sequence[Trial]) -> str:
    """Why there are no more rows."""
    reasons = {trial.outcome for trial in trials if trial.outcome != "fits"}
    return f" ({', '.join(sorted(reasons))} beyond)" if reasons else ""


def _suggestion(setup: Setup, measured: Measured) -> str:
    options = [f"--micro-rows {setup.rows}"]
    options += [f"--use-lora --lora-rank {setup.lora_rank}"] if setup.lora_rank else []
    options += ["--gradient-checkpointing"] if setup.recomputes else []
    return (
        f"Fastest: rows of {setup.row_len} tokens, {setup.rows} at once: {measured.tokens_per_s:,.0f} tokens/s. Plan with "
        f"`--row-len {setup.row_len}` and a token budget that is a multiple of {setup.row_len * setup.rows}, and train with "
        f"`{' '.join(options)}`."
    )


def _millions(tokens: float) -> str:
    return f"{tokens / 1e6:,.1f} M"


def _try(setup: Setup, time_limit_s: float) -> Trial:
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
