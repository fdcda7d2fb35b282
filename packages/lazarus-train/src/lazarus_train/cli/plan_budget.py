"""`lazarus plan-budget`: the command."""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from lazarus_core.console import say, show, show_table

if TYPE_CHECKING:
    from lazarus_models import ModelConfig
    from lazarus_train.tune.budget import Length, Speed

Optimizer = Literal["adamw", "muon", "adafactor", "lion", "sgd"]


def plan_budget(
    params: Annotated[
        str | None,
        typer.Option(
            "--params", help="Parameters of the model: 23M. The nearest preset, or a Llama of usual proportions."
        ),
    ] = None,
    preset: Annotated[str | None, typer.Option("--preset", help="Shape of the model by name, such as micro.")] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", help="Shape of a model: its directory, its config.json or another name of it."),
    ] = None,
    vocab_size: Annotated[
        int | None,
        typer.Option(
            "--vocab-size",
            min=1,
            max=1 << 24,
            help="With --params or --preset: rows of the embedding [default: 32768].",
        ),
    ] = None,
    tokens: Annotated[
        str | None, typer.Option("--tokens", help="Tokens of the run: 500M [default: 20 a parameter].")
    ] = None,
    tokens_per_parameter: Annotated[
        float | None, typer.Option("--tokens-per-parameter", min=0.001, max=1e6, help="Tokens of the run a parameter.")
    ] = None,
    data_tokens: Annotated[
        str | None, typer.Option("--data-tokens", help="Tokens of the data, for the epochs: 100M.")
    ] = None,
    batch_plan: Annotated[
        Path | None, typer.Option("--plan", "--batch-plan", help="Take tokens, steps and rows from this plan.")
    ] = None,
    token_budget: Annotated[
        int | None, typer.Option("-b", "--token-budget", min=1, help="Tokens a step [default: 8192].")
    ] = None,
    row_len: Annotated[int | None, typer.Option("--row-len", min=2, help="Tokens a row [default: 512].")] = None,
    optimizer: Annotated[Optimizer, typer.Option("--optimizer", help="Optimizer, for its moments.")] = "adamw",
    keep_checkpoints: Annotated[
        int,
        typer.Option(
            "--keep-checkpoints", min=1, max=100_000, help="Newest checkpoints that are kept, besides the best."
        ),
    ] = 2,
    measured: Annotated[
        float | None, typer.Option("--measured", min=0.001, max=1e12, help="Tokens a second of training, if known.")
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Take the tokens a second from the newest steps of this run.")
    ] = None,
    time_limit: Annotated[
        float,
        typer.Option("--time-limit", min=1.0, max=86400.0, help="Seconds that the measurement of the speed may take."),
    ] = 300.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Plan a training run: tokens, steps, epochs, time, memory and disk. Without --measured and --run it measures some steps here.

    Example: --params 23M --data-tokens 120M
    Example: --preset micro --tokens 200M -b 16384 --measured 5200
    Example: --model model --plan plan --run run --json
    """
    from lazarus_core.errors import reworded
    from lazarus_train.config import OptimizerSettings
    from lazarus_train.engine.resources.memory import StepShape, memory_limit
    from lazarus_train.tune.budget import Budget, disk_of, memory_of
    from lazarus_train.tune.shapes import count_parameters

    _refuse_contradictions(
        {"--params": params, "--preset": preset, "--model": model},
        {"--tokens": tokens, "--tokens-per-parameter": tokens_per_parameter, "-b": token_budget, "--row-len": row_len},
        has_plan=batch_plan is not None,
        vocab_size=vocab_size if model is not None else None,
    )
    if measured is not None and run is not None:
        raise typer.BadParameter("give one of --measured and --run")
    with reworded(_name_options):
        name, config = _shape(params, preset, model, vocab_size or 32768)
        parameters = count_parameters(config)
        length, row_len = _length(
            parameters, batch_plan, tokens, tokens_per_parameter, data_tokens, token_budget, row_len
        )
        settings = OptimizerSettings(name=optimizer)
        shape = StepShape(rows=max(1, length.tokens_per_step // row_len), row_len=row_len)
        memory = memory_of(config, shape, settings)
        speed = _speed(config, memory.rows, row_len, measured, run, time_limit)
    disk = disk_of(parameters, length, keep_checkpoints + 1, settings, is_fresh=model is None)
    budget = Budget(name, parameters, length, row_len, speed, memory, memory_limit(), disk)
    if as_json:
        show(json.dumps(budget.as_json(), indent=2))
    else:
        show_table("\n".join(budget.lines()), heads=())


def _name_options(text: str) -> str:
    """Replaces settings in backquotes by the options of this command, and functions by their commands."""
    from lazarus_train.cli.option_names import name_options

    own = "params|preset|model|vocab_size|tokens|data_tokens|measured|run"
    return name_options(re.sub(rf"`({own})`", lambda found: f"--{found[1].replace('_', '-')}", text))


def _refuse_contradictions(
    shapes: dict[str, object], lengths: dict[str, object], *, has_plan: bool, vocab_size: int | None
) -> None:
    if sum(value is not None for value in shapes.values()) != 1:
        raise typer.BadParameter(f"give one of {', '.join(shapes)}")
    given = [option for option, value in lengths.items() if value is not None]
    if has_plan and given:
        raise typer.BadParameter(f"{given[0]} has no effect with --plan")
    if lengths["--tokens"] is not None and lengths["--tokens-per-parameter"] is not None:
        raise typer.BadParameter("give one of --tokens and --tokens-per-parameter")
    if vocab_size is not None:
        raise typer.BadParameter("--vocab-size has no effect with --model")


def _shape(params: str | None, preset: str | None, model: str | None, vocab_size: int) -> "tuple[str, ModelConfig]":
    """A name of the model, and its config."""
    from lazarus_models import composition, read_config
    from lazarus_models.loading import locate
    from lazarus_train.tune.budget import read_count
    from lazarus_train.tune.shapes import shape_of

    if params is not None:
        return shape_of(read_count(params, "params"), vocab_size)
    if preset is not None:
        return f"preset {preset}", composition.preset(preset, vocab_size=vocab_size)
    assert model is not None, "one of three is given"
    path = Path(model) if Path(model).is_file() else locate(Path(model)).path
    return model, read_config(path)


def _length(
    parameters: int,
    batch_plan: Path | None,
    tokens: str | None,
    tokens_per_parameter: float | None,
    data_tokens: str | None,
    token_budget: int | None,
    row_len: int | None,
) -> "tuple[Length, int]":
    """The length of the run, and the tokens of a row."""
    from lazarus_train.tune.budget import TOKENS_PER_PARAMETER, Length, chinchilla_tokens, length_of_plan, read_count

    own = None if data_tokens is None else read_count(data_tokens, "data_tokens")
    if batch_plan is not None:
        return length_of_plan(batch_plan, own)
    if tokens is None:
        wanted = chinchilla_tokens(parameters, tokens_per_parameter or TOKENS_PER_PARAMETER)
    else:
        wanted = read_count(tokens, "tokens")
    budget = token_budget or max(8192, row_len or 0)
    row_len = row_len or min(512, budget)
    if row_len > budget:
        raise typer.BadParameter(f"--row-len {row_len} is above -b {budget}: a step has at least one row")
    whole_rows = budget // row_len * row_len
    return Length.of(max(1, wanted), whole_rows, own), row_len


def _speed(
    config: "ModelConfig", rows: int, row_len: int, measured: float | None, run: Path | None, time_limit: float
) -> "Speed":
    from lazarus_train.tune.budget import Speed
    from lazarus_train.tune.speed import measure_speed, speed_of_run

    if measured is not None:
        return Speed(measured, "as given")
    if run is not None:
        return speed_of_run(run)
    say(f"measuring training steps of {rows} x {row_len} tokens; --measured or --run skips this")
    return measure_speed(config, rows, row_len, time_limit)
