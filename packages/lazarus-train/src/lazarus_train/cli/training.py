"""The training commands: one command for each group of objectives, all with the same training loop.

A command reads a run from four layers: defaults, `--config FILE`, `--set NAME=VALUE`, options.
"""

import inspect
import itertools
import json
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from lazarus_core.cli_app import Deferred
from lazarus_core.console import say, show
from lazarus_train.run_dir.layout import INITIAL

if TYPE_CHECKING:
    from lazarus_core.settings import Key, Layers, Option, Read, SettingsCommand
    from lazarus_train.run_settings import RunSettings

CONTRADICTION, OTHER_COMMAND = "LR-E183", "LR-E185"
CONFIG_HELP = "Settings of the run: a .toml file, or the config.json of an earlier run."
SHAPE_HELP = "Settings of the run, as for `sft`; or, for random weights, a model's config.json or its directory."


@dataclass(frozen=True)
class Command:
    """A training command.

    Args:
        name: Name on the command line.
        words: Help text.
        kinds: Objectives that it trains; the first is the default.
        objective: Objective settings that have an option.
        fields: Row fields that have an option.
    """

    name: str
    words: str
    kinds: tuple[str, ...]
    objective: tuple[str, ...] = ()
    fields: tuple[str, ...] = ()

    @property
    def from_nothing(self) -> bool:
        """Whether a run may start from random weights."""
        return self.name == "pretrain"

    def options(self) -> list["Option"]:
        """Options for settings, in the order of the help."""
        from lazarus_core.settings import Option
        from lazarus_train.cli import option_names as names

        options = [
            *names.shared_options(),
            *(names.model_options() if self.from_nothing else ()),
            *names.field_options(self.fields),
            *names.objective_options(self.kinds if self.name != "classify" else (), self.objective),
        ]
        if self.name == "classify":
            numbers = "Answers are numbers (regression)"
            options.append(
                Option(
                    ("objective", "kind"),
                    ("--numbers",),
                    is_flag=True,
                    help=numbers,
                    default="",
                    read=lambda _: "regression",
                )
            )
        return [replace(option, heading=names.heading_of(option.key)) for option in options]


PRETRAIN = Command(
    "pretrain",
    "Pretrain on documents, from a model or random weights, on next or masked tokens.\n\n"
    "Example: --preset nano -t byte --data text.jsonl --build-plan -b 8192 -o run\n"
    "Example: --model smollm2-135m --data web.jsonl --batch-plan plan -o run",
    ("causal", "diffusion", "mntp"),
    ("mask_id", "causal_share", "truncated_share", "mask_share", "draws"),
    ("text_field",),
)
SFT = Command(
    "sft",
    "Fine-tune a model on prompts and answers.\n\n"
    "Example: --model smollm2-360m --data train.jsonl --batch-plan plan --use-lora -o run\n"
    "Example: --model smollm2-360m --data train.jsonl --build-plan -e 3 --eval-data test.jsonl -o run",
    ("causal", "diffusion"),
    ("mask_id", "draws"),
    ("prompt_field", "completion_field", "messages_field", "text_field"),
)
DPO = Command(
    "dpo",
    "Train a model on preference pairs (DPO and variants) or on labelled answers (KTO).\n\n"
    "Example: --model run/final --data pairs.jsonl --batch-plan plan --loss dpo --beta 0.1 -o dpo_run",
    ("preference",),
    (
        *("loss", "beta", "label_smoothing", "is_length_normalized", "likelihood", "desirable_weight"),
        *("undesirable_weight", "margin", "reference"),
    ),
    ("label_field",),
)
REWARD = Command(
    "reward",
    "Train a reward model on preference pairs.\n\n"
    "Example: --model smollm2-360m --data pairs.jsonl --batch-plan plan -o reward_run",
    ("reward",),
    ("center",),
)
CLASSIFY = Command(
    "classify",
    "Train a classifier or a regression model.\n\n"
    "Example: --model smollm2-135m --data labels.jsonl --batch-plan plan --classes positive,negative -o run",
    ("classification", "regression"),
    ("classes",),
    ("prompt_field", "completion_field"),
)
OBJECTIVE = Command(
    "objective",
    "Train a model with any installed objective, including those of other packages.\n\n"
    "Example: causal --model smollm2-135m --data text.jsonl --batch-plan plan -o run",
    (),
    (),
    ("prompt_field", "completion_field", "messages_field", "text_field"),
)
COMMANDS = (PRETRAIN, SFT, DPO, REWARD, CLASSIFY, OBJECTIVE)
AsJson = Annotated[
    bool, typer.Option("--json", help="Print folder, steps, losses, tokens, seconds and audit head as a JSON object.")
]
KIND_HELP = "Kind of the objective; --set objective.NAME=VALUE gives its settings."


def deferred(command: Command) -> Deferred:
    """A command that builds its options from the settings when it is called."""
    return Deferred(command.name, command.words, lambda: _function(command))


def _function(command: Command) -> Any:
    """A function whose parameters are the options of a command; `objective` has its kind as an argument too."""
    function = _settings_command(command).function()
    if command is not OBJECTIVE:
        return function

    def run(kind: str, **given: Any) -> None:
        _settings_command(replace(command, kinds=(kind,))).function()(**given)

    kind = inspect.Parameter(
        "kind",
        inspect.Parameter.KEYWORD_ONLY,
        annotation=Annotated[str, typer.Argument(metavar="KIND", help=KIND_HELP)],
    )
    parameters = [kind, *inspect.signature(function).parameters.values()]
    run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess] (typer reads it)
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _settings_command(command: Command) -> "SettingsCommand[RunSettings]":
    from lazarus_core.settings import SettingsCommand
    from lazarus_train.cli.option_names import errors_with_options, refusal
    from lazarus_train.run_settings import RunSettings, settings_of

    def begin(settings: RunSettings, *, as_json: bool) -> None:
        with errors_with_options():
            start(settings, as_json=as_json)

    return SettingsCommand(
        title=" ".join(("lazarus train", command.name, *(command.kinds if command.name == OBJECTIVE.name else ()))),
        model=settings_of(command.kinds[0]) if command.name == OBJECTIVE.name and command.kinds else RunSettings,
        options=command.options(),
        start=begin,
        refusal=refusal,
        more=[inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)],
        complete=lambda layers: _complete(command, layers),
        names=[("model",), ("expect_plan",), ("template",), ("init_model", "tokenizer")],
        unwrap=_settings_of_record,
        other_config=lambda path: ("init_model", "config") if command.from_nothing and not _is_run_file(path) else None,
        derived=_derived,
        config_help=SHAPE_HELP if command.from_nothing else CONFIG_HELP,
    )


def _derived(settings: "RunSettings") -> "list[Key]":
    """Paths of the plan and the model of a run that creates them."""
    found: list[Key] = [("batch_plan",)] if settings.build_plan is not None else []
    return [*found, ("model",)] if settings.init_model is not None else found


def _is_run_file(path: Path) -> bool:
    """Whether `--config` of `pretrain` is a run file; otherwise it is a model's `config.json`."""
    from lazarus_core.errors import LazarusError
    from lazarus_core.settings import read_settings

    if path.suffix.lower() == ".toml" or not path.is_file():
        return path.suffix.lower() == ".toml"
    try:
        tree = read_settings(path).tree
    except LazarusError:
        return False
    return "model_type" not in tree and bool(
        tree.keys() & {"record_version", "data", "output", "objective", "optimizer"}
    )


def _settings_of_record(read: "Read") -> "Read":
    """The settings in a run's `config.json`. Relative paths are resolved in the folder that it names."""
    config, folder = read.tree.get("config"), read.tree.get("folder")
    if "record_version" not in read.tree or not isinstance(config, dict) or not isinstance(folder, str):
        return read
    began_in = Path(folder)
    return read._replace(tree=config, folder=Path() if began_in == Path.cwd() else began_in)


def _complete(command: Command, layers: "Layers[RunSettings]") -> None:
    """Refuses contradicting settings, and fills in dependent ones."""
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


def start(settings: "RunSettings", *, as_json: bool) -> None:
    """Creates the model and the plan if requested, then trains.

    Args:
        settings: Settings of the run.
        as_json: Whether to print the result as a JSON object, and not only the folder of the model.
    """
    from lazarus_train.build_plan import plan_run
    from lazarus_train.callbacks.loggers import telling
    from lazarus_train.cli.figures import Figures, result_as_json
    from lazarus_train.cli.progress import watching
    from lazarus_train.distributed import init
    from lazarus_train.engine.trainer import train

    config, resume = settings.train_config(), settings.resume
    planning = None if settings.build_plan is None else settings.build_plan.planning()
    processes = init()
    if settings.init_model is not None:
        from lazarus_train.init_model import FreshModel, make_model

        asked = settings.init_model
        shape = asked.preset or asked.config
        assert shape is not None, "the settings have a shape"
        fresh = FreshModel(shape, asked.tokenizer, asked.vocab_size, seed=config.seed)
        if processes.is_first:
            make_model(fresh, config.output, resume=resume)
        processes.check_same(fresh=str(fresh))  # wait until the model is written
    if planning is not None:
        budget = plan_run(config, planning, resume=resume, writes=processes.is_first)
        if budget is not None and "token_budget" not in planning:
            say(f"no -b: the plan has {budget:,} tokens a step, suggested from the lengths; give -b for another")
        processes.check_same(planning=planning)  # wait until the plan is written
    figures = Figures()
    with (
        watching(config, is_shown=processes.is_first, figures=figures) as watcher,
        telling(watcher, settings.log_to if processes.is_first else (), config) as teller,
    ):
        result = train(config, resume=resume, watcher=teller)
    if not processes.is_first:
        return
    say(f"{result.steps} of {result.plan_steps} steps of the plan")
    say(
        f"audit head {result.audit_head}, data head {result.data_head}; write down the audit head and the plan_id elsewhere"
    )
    if config.objective.allows_generation:
        say(f'next: lazarus infer --model {result.final} --prompt "..."')
    elif needed := config.objective.inference_settings:
        options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in needed.items())
        say(f'next: lazarus infer --model {result.final} {options} --prompt "..."')
    show(json.dumps(result_as_json(result, config.output, figures)) if as_json else str(result.final))
