"""`lazarus sweep`: the command."""

import inspect
import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.cli_app import Deferred
from lazarus_core.commands import Force
from lazarus_core.console import say, show
from lazarus_core.reasons import absent_or

if TYPE_CHECKING:
    from pydantic import ValidationError

    from lazarus_core.settings import Layers
    from lazarus_train.tune.search import Trial
    from lazarus_train.tune.settings import SweepSettings

GIB = 2**30
AsJson = Annotated[bool, typer.Option("--json", help="Print all trials and the fastest as JSON.")]
WORDS = """Find the largest micro-batch that fits and the fastest setup, each tried in a separate process: exit 1 if none fits.

Example: --model model --row-len 512,1024 --lora-rank 0,16 -o sweep
"""


def _make() -> Any:
    """The function whose parameters are the options."""
    from lazarus_core.settings import Option, SettingsCommand
    from lazarus_train.tune.settings import ROW_LEN_LEAST, SweepSettings

    options = [
        Option(("model",), ("--model",)),
        Option(("output",), ("-o", "--output")),
        Option(
            ("row_len",),
            ("--row-len",),
            read=lambda text: _numbers("--row-len", text, least=ROW_LEN_LEAST),
            metavar="N,...",
        ),
        Option(
            ("lora_rank",), ("--lora-rank",), read=lambda text: _numbers("--lora-rank", text, least=0), metavar="N,..."
        ),
        Option(("gradient_checkpointing",), ("--gradient-checkpointing",)),
        Option(("max_rows",), ("--max-rows",), least=1),
        Option(("steps",), ("--steps",), least=1),
        Option(("time_limit",), ("--time-limit",), least=1.0),
        Option(("memory",), ("--memory",), least=0.01),
    ]
    force = inspect.Parameter("force", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=Force)
    as_json = inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)
    return SettingsCommand(
        title="lazarus sweep",
        model=SweepSettings,
        options=options,
        start=_sweep,
        refusal=_refusal,
        more=[force, as_json],
        complete=_require_model,
    ).function()


sweep = Deferred("sweep", WORDS, _make)
"""The command."""


def _require_model(layers: "Layers[SweepSettings]") -> None:
    from lazarus_core.settings import missing

    if layers.source(("model",)) is None:
        raise missing("'--model'")


def _refusal(error: "ValidationError") -> typer.BadParameter:
    first = error.errors()[0]
    option = f"--{str(first['loc'][0]).replace('_', '-')}"
    return typer.BadParameter(f"{option}: {first['msg'][:1].lower()}{first['msg'][1:]}")


def _sweep(settings: "SweepSettings", *, force: bool, as_json: bool) -> None:
    from lazarus_core.atomic import whole_file
    from lazarus_train.cli.option_names import errors_with_options, name_options
    from lazarus_train.tune.search import SUMMARY, Sweep, check_sweep, run_sweep, summary

    output = settings.output
    check_sweep(output, force=force)
    if not (settings.model / "config.json").is_file():
        raise typer.BadParameter(
            f"--model {absent_or(settings.model, 'is not the directory of a model')}: give one with config.json"
        )
    asked = Sweep(
        model=settings.model,
        row_lens=settings.row_len,
        lora_ranks=settings.lora_rank,
        recomputes=(False, True) if settings.gradient_checkpointing else (False,),
        max_rows=settings.max_rows,
        steps=settings.steps,
        time_limit_s=settings.time_limit,
        memory_bytes=None if settings.memory is None else int(settings.memory * GIB),
    )
    with errors_with_options():
        trials = run_sweep(asked, output, on_trial=lambda trial: say(_line(trial)), force=force)
    text = name_options(summary(trials))
    with whole_file(output / SUMMARY) as file:
        file.write(text.encode())
    fitting = [trial for trial in trials if trial.measured is not None]
    if as_json:
        fastest = max(fitting, key=lambda trial: trial.measured.tokens_per_s if trial.measured else 0.0, default=None)
        found = {
            "output": str(output),
            "ok": fastest is not None,
            "fastest": None if fastest is None else fastest.model_dump(mode="json"),
            "trials": [trial.model_dump(mode="json") for trial in trials],
        }
        show(json.dumps(found, indent=2))
    else:
        show(text.rstrip())
    say(f"wrote {output / SUMMARY}; all trials are in {output / 'trials.jsonl'}")
    if not fitting:
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
