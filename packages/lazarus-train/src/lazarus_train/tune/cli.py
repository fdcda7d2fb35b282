"""`lazarus sweep`: the command."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.cli_options import Force
from lazarus_core.console import say, show

if TYPE_CHECKING:
    from lazarus_train.tune.search import Trial

GIB = 2**30


def sweep(
    model: Annotated[Path, typer.Option("--model", help="Model directory.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for trials.jsonl and summary.md.")] = Path(
        "sweep"
    ),
    row_len: Annotated[str, typer.Option("--row-len", help="Tokens a row, several with commas.")] = "512",
    lora_rank: Annotated[
        str, typer.Option("--lora-rank", help="Ranks of adapters, several with commas; 0 trains all weights.")
    ] = "0",
    checkpointing: Annotated[
        bool, typer.Option("--gradient-checkpointing", help="Try each set-up with gradient checkpointing too.")
    ] = False,
    max_rows: Annotated[int, typer.Option("--max-rows", help="No more rows at once than these.", min=1)] = 64,
    steps: Annotated[int, typer.Option("--steps", help="Steps measured of each trial.", min=1)] = 3,
    time_limit: Annotated[float, typer.Option("--time-limit", help="Seconds a trial may take.", min=1.0)] = 120.0,
    memory: Annotated[
        float | None, typer.Option("--memory", min=0.01, help="GiB a trial may hold [default: 80 % of the machine's].")
    ] = None,
    force: Force = False,
) -> None:
    """Find the largest micro-batch that fits and the fastest set-up, each tried in a process of its own: exit 1 if none fits."""
    from lazarus_core.atomic import whole_file
    from lazarus_train.tune.search import SUMMARY, Sweep, check_sweep, run_sweep, summary

    check_sweep(output, force=force)
    if not (model / "config.json").is_file():
        raise typer.BadParameter(f"--model {model}: no directory with config.json")
    asked = Sweep(
        model=model,
        row_lens=_numbers("--row-len", row_len, least=2),
        lora_ranks=_numbers("--lora-rank", lora_rank, least=0),
        recomputes=(False, True) if checkpointing else (False,),
        max_rows=max_rows,
        steps=steps,
        time_limit_s=time_limit,
        memory_bytes=None if memory is None else int(memory * GIB),
    )
    trials = run_sweep(asked, output, on_trial=lambda trial: say(_line(trial)), force=force)
    with whole_file(output / SUMMARY) as file:
        file.write(summary(trials).encode())
    show(summary(trials).rstrip())
    say(f"wrote {output / SUMMARY}; every trial stands in {output / 'trials.jsonl'}")
    if not any(trial.outcome == "fits" for trial in trials):
        raise typer.Exit(1)


def _line(trial: "Trial") -> str:
    setup, measured = trial.setup, trial.measured
    kind = f"rank {setup.lora_rank}" if setup.lora_rank else "all weights"
    about = f"{setup.rows} x {setup.row_len}, {kind}{', checkpointing' if setup.recomputes else ''}"
    if measured is None:
        return f"{about}: {trial.outcome}{f' ({trial.words})' if trial.words else ''}"
    return f"{about}: {measured.tokens_per_s:,.0f} tokens/s, {measured.peak_bytes / 2**20:,.0f} MiB"


def _numbers(option: str, text: str, *, least: int) -> tuple[int, ...]:
    try:
        found = tuple(dict.fromkeys(int(part) for part in text.split(",")))
    except ValueError as error:
        raise typer.BadParameter(f"{option} {text}: give whole numbers with commas, as 512,1024") from error
    if min(found) < least:
        raise typer.BadParameter(f"{option} {text}: {least} is the least")
    return found
