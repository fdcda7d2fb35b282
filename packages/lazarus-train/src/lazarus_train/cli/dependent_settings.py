"""Settings of a run that depend on others: contradictions are refused, what follows is filled in."""

import itertools
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import typer

from lazarus_core.console import say
from lazarus_train.cli.training_commands import COMMANDS, SFT, Command
from lazarus_train.run_dir.layout import INITIAL

if TYPE_CHECKING:
    from lazarus_core.settings import Key, Layers
    from lazarus_train.run_settings import RunSettings


CONTRADICTION, OTHER_COMMAND = "LR-E183", "LR-E185"


def complete(command: Command, layers: "Layers[RunSettings]") -> None:
    """Refuses contradicting settings, and fills in dependent ones.

    Args:
        command: The training command.
        layers: What was given; settings that follow are added as defaults.

    Raises:
        typer.BadParameter: Options contradict each other, or one is missing.
        InputError: What a file or `--set` gives contradicts itself.
    """
    _check_objective(command, layers)
    has_folder = layers.source(("output",)) is not None
    _require(command, layers)
    _choose_plan(layers)
    _choose_model(command, layers)
    if _holds(layers, "lora"):
        from lazarus_train.config import LORA_RATE

        layers.add_default(("optimizer", "learning_rate"), LORA_RATE)
    elif needless := _flags_of(layers, "lora"):
        raise typer.BadParameter(f"{_option(needless[0])} needs --use-lora")
    given = _flags_of(layers, "early_stop")
    if given == [("early_stop", "min_gap")] and not _holds(layers, "early_stop"):
        raise typer.BadParameter("--min-gap needs --patience")
    if command is SFT and layers.get(("objective", "kind")) == "diffusion":
        layers.add_default(("objective", "truncated_share"), 0.0)
    if not has_folder:
        say(f"no -o: the folder of this run is {layers.get(('output',))}; give it as -o to resume the run")


def _check_objective(command: Command, layers: "Layers[RunSettings]") -> None:
    kind_key = ("objective", "kind")
    layers.add_default(kind_key, command.kinds[0])
    kind = layers.get(kind_key)
    if kind not in command.kinds:
        others = " or ".join(f"`{each.name}`" for each in COMMANDS if kind in each.kinds)
        way = f"; use {others}" if others else ""
        words = f"`objective.kind` is {kind}: `{command.name}` trains {' or '.join(command.kinds)}{way}"
        layers.refuse(kind_key, words, OTHER_COMMAND)
        layers.check()
    if ("objective", "classes") in _flags_of(layers, "objective") and kind == "regression":
        raise typer.BadParameter("--classes has no effect with --numbers")


def _require(command: Command, layers: "Layers[RunSettings]") -> None:
    """Refuses a run without a required setting, as Typer does for a missing option."""
    from lazarus_core.settings import missing

    needed = {"model": "'--model'", "data": "'--data'"}
    for name, option in needed.items():
        if layers.source((name,)) is None and not (name == "model" and command.from_nothing):
            raise missing(option)
    if layers.source(("output",)) is None:
        layers.add_default(("output",), _dated_folder(command))


def _dated_folder(command: Command) -> Path:
    """The folder of a run without `--output`: a new one, named after the command and the time."""
    from lazarus_core.settings import missing
    from lazarus_train.distributed import is_launched

    if is_launched():  # each process would take its own time
        raise missing("'-o' / '--output'")
    name = f"{command.name}-{datetime.now().astimezone():%Y-%m-%d-%H%M%S}"
    names = (name if number == 1 else f"{name}-{number}" for number in itertools.count(1))
    return next(folder for each in names if not (folder := Path("checkpoints") / each).exists())


def _choose_plan(layers: "Layers[RunSettings]") -> None:
    given = layers.source(("batch_plan",))
    built = layers.source(("build_plan",)) if _holds(layers, "build_plan") else None
    if built is not None and given is not None and built.rank != given.rank:
        layers.drop(("build_plan",) if given.rank > built.rank else ("batch_plan",))
        built, given = (None, given) if given.rank > built.rank else (built, None)
    if built is not None and given is not None and given.is_named:
        layers.refuse(("batch_plan",), "give `batch_plan` or the table `build_plan`, not both", CONTRADICTION)
        layers.check()
    if (built is None) == (given is None):
        raise typer.BadParameter("give a plan with --batch-plan, or build one with --build-plan")
    if built is None:
        if needless := _flags_of(layers, "build_plan"):
            raise typer.BadParameter(f"{_option(needless[0])} needs --build-plan")
        return
    weights = layers.get(("build_plan", "weights"))
    data: Any = layers.get(("data",))
    sources = 1 if isinstance(data, str | Path) else len(data)
    if isinstance(weights, list | tuple) and (count := len(cast("list[Any]", weights))) != sources:
        words = f"`build_plan.weights` has {count} numbers for {sources} files of `data`: give one for each"
        layers.refuse(("build_plan", "weights"), words, CONTRADICTION)
        layers.check()
    if isinstance(weights, str):
        from lazarus_train.cli.option_names import read_weights

        key = ("build_plan", "weights")
        layers.add_flags({key: read_weights(weights, sources)}, {key: "--weights"})
    layers.add_default(("batch_plan",), Path(layers.get(("output",))) / "batch_plan")


def _choose_model(command: Command, layers: "Layers[RunSettings]") -> None:
    model = layers.source(("model",))
    shapes = [each for key in ("preset", "config") if (each := layers.source(("init_model", key))) is not None]
    if not command.from_nothing:
        if _holds(layers, "init_model") or shapes:
            layers.refuse(
                ("init_model",), f"`init_model` has no effect with `{command.name}`; use `pretrain`", OTHER_COMMAND
            )
            layers.check()
        return
    rank = max((each.rank for each in shapes), default=None)
    if model is not None and rank is not None and rank != model.rank:
        layers.drop(("init_model",) if model.rank > rank else ("model",))
        model, shapes = (model, []) if model.rank > rank else (None, shapes)
    if (model is not None) + len(shapes) != 1:
        raise typer.BadParameter("give one of --model, --preset and --config")
    tokenizer, rows = (layers.get(("init_model", name)) for name in ("tokenizer", "vocab_size"))
    if (model is None) is not (tokenizer is not None):
        raise typer.BadParameter(
            "--tokenizer has no effect with --model" if model else "--preset and --config need --tokenizer"
        )
    if model is not None and rows is not None:
        raise typer.BadParameter("--vocab-size has no effect with --model")
    layers.add_default(("model",), Path(layers.get(("output",))) / INITIAL)


def _holds(layers: "Layers[RunSettings]", table: str) -> bool:
    """Whether a table was given: by its option, or by its name in the file or in `--set`."""
    source = layers.get((table,))
    named = [key for key in layers.given((table,)) if (each := layers.source(key)) is not None and each.is_named]
    return source is not None or bool(named)


def _flags_of(layers: "Layers[RunSettings]", table: str) -> "list[Key]":
    """Settings of a table that were given as options."""
    return [key for key in layers.given((table,)) if (each := layers.source(key)) is not None and each.kind == "flag"]


def _option(key: "Key") -> str:
    from lazarus_train.cli.option_names import option_of_key

    return option_of_key(key)
