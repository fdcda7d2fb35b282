"""The training commands: one command for each group of objectives, all with the same training loop.

A command reads a run from four layers: defaults, `--config FILE`, `--set NAME=VALUE`, options.
"""

import inspect
import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.cli_app import Deferred, bare_option
from lazarus_core.console import duration, say, show
from lazarus_train.callbacks.profiling import DEFAULT_STEPS
from lazarus_train.cli.dependent_settings import complete
from lazarus_train.cli.training_commands import OBJECTIVE, Command

if TYPE_CHECKING:
    from lazarus_core.settings import Key, Read, SettingsCommand
    from lazarus_core.time_box import TimeBox
    from lazarus_train.config import TrainConfig
    from lazarus_train.engine.training_loop import RunResult
    from lazarus_train.run_settings import InitModelSettings, RunSettings

CONFIG_HELP = "Settings of the run: a .toml file, or the config.json of an earlier run."
SHAPE_HELP = "Settings of the run, as for `sft`; or, for random weights, a model's config.json or its directory."
AsJson = Annotated[
    bool, typer.Option("--json", help="Print folder, steps, losses, tokens, seconds and audit head as a JSON object.")
]
KIND_HELP = "Kind of the objective; --set objective.NAME=VALUE gives its settings."


def deferred(command: Command) -> Deferred:
    """A command that builds its options from the settings when it is called."""
    return Deferred(command.name, command.words, lambda: _function(command))


def _function(command: Command) -> Any:
    """A function whose parameters are the options of a command; `objective` has its kind as an argument too."""
    bare = bare_option("--profile", str(DEFAULT_STEPS))
    function = _settings_command(command).function()
    if command is not OBJECTIVE:
        return bare(function)

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
    return bare(run)


def _settings_command(command: Command) -> "SettingsCommand[RunSettings]":
    from lazarus_core.settings import SettingsCommand
    from lazarus_train.cli.option_names import errors_with_options, option_of_key, refusal
    from lazarus_train.run_settings import RunSettings, settings_of

    def begin(settings: RunSettings, *, as_json: bool) -> None:
        with errors_with_options([option_of_key((name,)) for name in command.fields if name != "label_field"]):
            start(settings, as_json=as_json)

    return SettingsCommand(
        title=" ".join(("lazarus train", command.name, *(command.kinds if command.name == OBJECTIVE.name else ()))),
        # Settings of other objectives have the same names with other meanings.
        model=settings_of(command.kinds[0]) if command.kinds and command.is_of_one_objective else RunSettings,
        options=command.options(),
        start=begin,
        refusal=refusal,
        more=[inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson)],
        complete=lambda layers: complete(command, layers),
        names=[("model",), ("expect_plan",), ("template",), ("init_model", "tokenizer"), ("objective", "reward")],
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


def start(settings: "RunSettings", *, as_json: bool) -> None:
    """Creates the model and the plan if requested, then trains.

    Args:
        settings: Settings of the run.
        as_json: Whether to print the result as a JSON object, and not only the folder of the model.
    """
    from lazarus_train.build_plan import plan_run
    from lazarus_train.callbacks.loggers import telling
    from lazarus_train.callbacks.profiling import PROFILE, TRACE, Profiler, profile_table
    from lazarus_train.cli.figures import Figures, box_as_json, result_as_json
    from lazarus_train.cli.option_names import name_options
    from lazarus_train.cli.progress import watching
    from lazarus_train.distributed import init
    from lazarus_train.engine.trainer import train
    from lazarus_train.errors import TimeIsUp
    from lazarus_train.objectives import make_objective

    box = settings.time_box()
    config, resume = settings.train_config(), settings.resume
    make_objective(config.objective).check()
    planning = None if settings.build_plan is None else settings.build_plan.planning()
    processes = init()
    if settings.init_model is not None:
        _make_model(settings.init_model, config, resume)
    if planning is not None:
        budget = plan_run(config, planning, resume=resume, writes=processes.is_first)
        if budget is not None and "token_budget" not in planning:
            say(f"no -b: the plan has {budget:,} tokens a step, suggested from the lengths; give -b for another")
        processes.check_same(planning=planning)  # wait until the plan is written
    if box is not None:
        say(f"time box: ends before {box.end:%Y-%m-%d %H:%M:%S}, in {duration(box.left_s)}")
    figures = Figures()
    profiler = Profiler(settings.profile or 0)
    try:
        with (
            watching(config, is_shown=processes.is_first, figures=figures) as watcher,
            telling(watcher, settings.log_to if processes.is_first else (), config) as teller,
        ):
            result = train(config, resume=resume, watcher=teller, time_box=box, profiler=profiler)
        if settings.control:
            _control(config, resume, box)
    except TimeIsUp as ended:
        if processes.is_first:
            say(name_options(ended.message))
            if as_json:
                show(json.dumps(box_as_json(ended, config.output, figures)))
            elif ended.left is not None and ended.left.checkpoint is not None:
                show(str(ended.left.checkpoint))
        return
    if not processes.is_first:
        return
    if profiler.is_wanted:
        for line in profile_table(profiler.report()):
            say(line)
        if profiler.steps:
            say(f"wrote {config.output / PROFILE} and {TRACE}, which opens in https://ui.perfetto.dev")
    say(f"{result.steps} of {result.plan_steps} steps of the plan")
    say(
        f"audit head {result.audit_head}, data head {result.data_head}; write down the audit head and the plan_id elsewhere"
    )
    _say_next(config, result)
    show(json.dumps(result_as_json(result, config.output, figures)) if as_json else str(result.final))


def _make_model(asked: "InitModelSettings", config: "TrainConfig", resume: str) -> None:
    """Creates the model that the run starts from."""
    from lazarus_train.distributed import init
    from lazarus_train.init_model import FreshModel, make_model

    shape, processes = asked.preset or asked.config, init()
    assert shape is not None, "the settings have a shape"
    fresh = FreshModel(shape, asked.tokenizer, asked.vocab_size, seed=config.seed)
    if processes.is_first:
        make_model(fresh, config.output, resume=resume)
    processes.check_same(fresh=str(fresh))  # wait until the model is written


def _say_next(config: "TrainConfig", result: "RunResult") -> None:
    """Says the command that uses the trained model."""
    model = shlex.quote(str(result.final))
    if config.sample_images is not None:
        method = "" if config.objective.image_method == "diffusion" else " --method next-token"
        say(f"next: lazarus model images --model {model}{method} -o images.png")
    elif config.objective.allows_generation:
        say(f'next: lazarus infer --model {model} --prompt "..."')
    elif needed := config.objective.inference_settings:
        options = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in needed.items())
        say(f'next: lazarus infer --model {model} {options} --prompt "..."')


def _control(config: "TrainConfig", resume: str, box: "TimeBox | None") -> None:
    """Trains again with random rewards, into the folder `control` of the run, within the same time box."""
    from lazarus_train.cli.figures import Figures
    from lazarus_train.cli.progress import watching
    from lazarus_train.distributed import init
    from lazarus_train.engine.trainer import train
    from lazarus_train.run_dir.layout import CONTROL

    objective = config.objective.model_copy(update={"is_control": True})
    control = config.model_copy(update={"objective": objective, "output": config.output / CONTROL})
    say(f"the same run with random rewards, in {control.output}")
    with watching(control, is_shown=init().is_first, figures=Figures()) as watcher:
        train(control, resume=resume if resume in ("auto", "none") else "auto", watcher=watcher, time_box=box)
