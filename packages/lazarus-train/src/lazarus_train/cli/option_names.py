"""Option names of the training commands, readers of option values, and errors with option names.

Settings have one definition, in `config.py`, `run_settings.py` and the objectives. This module defines only the
command line's part: names that differ, short names, and lists in one value.
"""

import re
from collections.abc import Generator, Iterable, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from lazarus_core.errors import LazarusError, reworded
from lazarus_core.reasons import plain_reason
from lazarus_core.settings import Key, Option
from lazarus_plan.command_names import name_commands

if TYPE_CHECKING:
    from pydantic import ValidationError

_SPELLED = {
    "early_stop": "patience",
    "is_length_normalized": "length-normalized",
    "kind": "objective",
    "lora": "use-lora",
    "name": "optimizer",
    "recomputes": "gradient-checkpointing",
    "run_for": "for",
    "sample_prompts": "sample-prompt",
    "shards_optimizer": "shard-optimizer",
    "stages": "weights",
}
"""Settings whose option has another name."""
_SHORT = {"output": "-o", "token_budget": "-b", "epochs": "-e", "tokenizer": "-t"}
_OF_FILES = ("LT-", "LG-", "LM-E103", "LP-E003")
"""Codes, or their beginnings, of errors that name columns of data and members of files, such as `output` or `seed`."""
_ASK_FOR_FIELDS = ("LT-E301", "LT-E310", "LT-E317")
_TABLES = ("objective", "optimizer", "lora", "early_stop", "build_plan", "init_model")
_HEADINGS = {
    "Model": ("model", "init_model", "freeze"),
    "Data": ("data", "template", "prompt_field", "completion_field", "messages_field", "text_field", "label_field"),
    "Plan": ("batch_plan", "expect_plan", "build_plan"),
    "Run": (
        "max_steps",
        "run_for",
        "stop_at",
        "seed",
        "micro_rows",
        "recomputes",
        "mixed_precision",
        "tf32",
        "fast_nondeterministic",
        "shards_optimizer",
    ),
    "LoRA": ("lora",),
    "Schedule": (
        "optimizer.schedule",
        "optimizer.warmup_steps",
        "optimizer.decay_steps",
        "optimizer.min_learning_rate",
    ),
    "Optimizer": ("optimizer", "ema"),
    "Objective": ("objective", "neftune_alpha", "control"),
    "Evaluation": ("eval_data", "eval_every", "sample_prompts", "sample_images", "early_stop"),
    "Checkpoints": ("save_every", "keep_checkpoints", "resume"),
    "Output": ("output", "log_to", "profile"),
}
"""Settings and tables of settings under each heading of the help; a setting of its own goes before its table."""
PLANNING, FRESH = "With --build-plan: ", "For random weights: "
"""Prefixes of the help of options that require another option."""


def option_of(name: str) -> str:
    """The option of a setting."""
    return f"--{_SPELLED.get(name, name).replace('_', '-').replace('.', '-')}"


def option_of_key(key: Key) -> str:
    """The option of a setting by its key: tables and name. Options of the table `lora` keep that prefix."""
    if key == ("build_plan", "seed"):
        return "--predictable"
    *tables, name = key
    return option_of(f"lora-{name}" if tables == ["lora"] else name)


def heading_of(key: Key) -> str:
    """The heading of the help under which the option of a setting is listed."""
    names = {name: heading for heading, settings in _HEADINGS.items() for name in settings}
    return names.get(".".join(key)) or names[key[0]]


def shared_options() -> list[Option]:
    """Options of every training command, in the order of its help."""
    return [
        *_named("model", "data", "output", "batch_plan", "expect_plan", "build_plan"),
        *(_named_in("build_plan", "token_budget", "row_len", "epochs", "mode", "oversize", "weights")),
        Option(
            ("build_plan", "seed"),
            ("--predictable",),
            is_flag=True,
            help=f"{PLANNING}seed 0, the same plan whenever it is built",
            default="",
            read=lambda _: 0,
        ),
        *_named("template", "max_steps", "save_every", "keep_checkpoints", "resume", "lora"),
        *_named_in("lora", "kind", "rank", "alpha", "dropout", "targets"),
        *_named("freeze"),
        *_named_in("optimizer", "name", "learning_rate", "muon_learning_rate", "min_learning_rate", "rate_factors"),
        *_named_in("optimizer", "schedule", "warmup_steps", "decay_steps", "beta1", "beta2", "epsilon", "momentum"),
        *_named_in("optimizer", "weight_decay", "max_grad_norm"),
        *_named("ema", "neftune_alpha", "shards_optimizer", "mixed_precision", "tf32", "fast_nondeterministic"),
        *_named("recomputes", "micro_rows", "seed"),
        *_named("eval_data", "eval_every", "sample_prompts", "sample_images", "log_to", "profile"),
        *_named("run_for", "stop_at"),
        Option(
            ("early_stop", "patience"),
            ("--patience",),
            help="Stop after so many measurements of the held-out loss without a better one",
            default="never",
        ),
        Option(
            ("early_stop", "min_gap"),
            ("--min-gap",),
            help="With --patience: stop only if the held-out loss is so far above the training loss",
            default="0",
        ),
    ]


def objective_options(kinds: Sequence[str], names: Iterable[str]) -> list[Option]:
    """Options of objectives.

    Args:
        kinds: Objectives of the command; with several, `--objective` selects one.
        names: Settings of these objectives.
    """
    options = list(_named_in("objective", *names))
    if len(kinds) > 1:
        chosen = Option(
            ("objective", "kind"),
            ("--objective",),
            choices=tuple(kinds),
            help="Objective to minimise: the next token or masked tokens",
            default=kinds[0],
        )
        options.insert(0, chosen)
    return options


def model_options() -> list[Option]:
    """Options of a run that may start from random weights."""
    return [
        Option(("init_model", "preset"), ("--preset",), prefix=FRESH),
        Option(("init_model", "tokenizer"), ("-t", "--tokenizer"), prefix=FRESH),
        Option(("init_model", "vocab_size"), ("--vocab-size",), prefix=FRESH, least=1),
    ]


def control_options() -> list[Option]:
    """Options of runs that learn from rewards."""
    return list(_named("control"))


def field_options(names: Iterable[str]) -> list[Option]:
    """Options of the fields of rows."""
    return list(_named(*names))


def _named(*names: str) -> Iterable[Option]:
    return (_option((name,)) for name in names)


def _named_in(table: str, *names: str) -> Iterable[Option]:
    return (_option((table, name)) for name in names)


def _option(key: Key) -> Option:
    option = option_of_key(key)
    if key[-1] == "is_length_normalized":
        return Option(key, (f"{option}/--no-{option[2:]}",), default="means for ipo, else sums")
    names = (_SHORT[key[-1]], option) if key[-1] in _SHORT else (option,)
    more: dict[str, Any] = dict(_READ.get(key[-1], {}))
    if key[0] == "build_plan" and len(key) > 1:
        more["prefix"] = PLANNING
    return Option(key, names, **more)


def read_named(given: Sequence[str]) -> dict[str, Path]:
    """Held-out sets by name: the given name, or the file's name without its suffix.

    Raises:
        typer.BadParameter: A value is not a file, or two files have one name.
    """
    found: list[tuple[str, Path]] = []
    for text in given:
        pair = re.fullmatch(r"(?:(\w[\w.-]*)=)?([^=].*)", text, re.DOTALL)
        if pair is None:
            raise typer.BadParameter(f"--eval-data {text!r}: give FILE or NAME=FILE")
        name, path = pair[1], Path(pair[2])
        found.append((name or re.sub(r"[^\w.-]+", "-", path.stem).lstrip("-.") or "held-out", path))
    names = [name for name, _ in found]
    for name in names:
        if names.count(name) > 1:
            raise typer.BadParameter(f"--eval-data: two are called {name!r}; write NAME=FILE")
    return dict(found)


def _read_factors(text: str) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in text.split(",") if pair]
    for pattern, equals, _ in pairs:
        if not equals:
            raise typer.BadParameter(f"--rate-factors: {pattern!r} has no =; write *embed*=0.1,*norm*=2")
    return {pattern: factor for pattern, _, factor in pairs}


def _read_loggers(text: str) -> tuple[str, ...]:
    names = tuple(text.split(",")) if text else ()
    for name in names:
        if name not in ("tensorboard", "wandb"):
            raise typer.BadParameter(f"--log-to {name}: give tensorboard, wandb or both, with a comma")
    return names


def _read_classes(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _read_data(paths: Sequence[Path]) -> Path | tuple[Path, ...]:
    return paths[0] if len(paths) == 1 else tuple(paths)


_READ: dict[str, dict[str, Any]] = {
    "classes": {"read": _read_classes},
    "data": {"is_repeated": True, "read": _read_data},
    "eval_data": {"is_repeated": True, "read": read_named, "metavar": "[NAME=]PATH"},
    "learning_rate": {"default": "1e-4, with LoRA 1e-3"},
    "log_to": {"read": _read_loggers},
    "output": {"default": "a dated one in checkpoints"},
    "run_for": {"metavar": "TIME"},
    "stop_at": {"metavar": "TIME"},
    "rate_factors": {"read": _read_factors, "metavar": "PATTERN=X,..."},
    "sample_prompts": {"is_repeated": True},
    "weights": {"read": str},
}
"""Readers of option values that need more than the setting's own type."""


def read_weights(text: str, sources: int) -> tuple[int, ...]:
    """Ratios of rows, one for each source.

    Args:
        text: Comma-separated whole numbers.
        sources: Number of data files.

    Raises:
        typer.BadParameter: The number of values differs from `sources`, or a value is not a whole number above 0.
    """
    ratios = tuple(int(part) for part in text.split(",") if part.strip().isdigit())
    if len(ratios) != sources or len(text.split(",")) != sources or 0 in ratios:
        raise typer.BadParameter(
            f"--weights {text}: give a whole number for each --data, as {','.join(['1'] * sources)}"
        )
    return ratios


def refusal(error: "ValidationError") -> typer.BadParameter:
    """A validation error of settings as one line with option names."""
    first = error.errors()[0]
    match first["loc"], first["type"]:
        case ("objective", str(kind), str(name)), "extra_forbidden":
            return typer.BadParameter(f"{option_of(name)} has no effect with --objective {kind}")
        case ("objective", str(kind), str(name)), "missing":
            return typer.BadParameter(f"--objective {kind} needs {option_of(name)}")
        case _:
            pass
    said = re.sub(r"`([\w.]+)`", lambda name: option_of(name[1]), plain_reason(first["msg"]))
    return typer.BadParameter(f"{_place(first['loc'])}{said[0].lower()}{said[1:]}")


@cache
def _options_by_field() -> dict[str, str]:
    fields = field_options(("prompt_field", "completion_field", "messages_field", "text_field", "label_field"))
    options = [*fields, *model_options(), *shared_options()]
    by_key = {".".join(option.key): option.names[-1] for option in options}
    by_name = {option.key[-1]: option.names[-1] for option in options if option.key[-1] not in ("kind", "name")}
    top = {option.key[0]: option.names[-1] for option in options if len(option.key) == 1}
    sweep = {name: option_of(name) for name in ("lora_rank", "gradient_checkpointing", "time_limit")}
    return {**by_name, **by_key, **top, **sweep, "audit_head": "--audit-head"}


def name_options(text: str) -> str:
    """Replaces fields in backquotes by their options, and functions by their commands. Other words stay.

    >>> name_options("choose another `output`, or `resume=none`; `final` stays")
    'choose another --output, or --resume none; `final` stays'
    """

    def option(found: re.Match[str]) -> str:
        name = _options_by_field().get(found[1])
        return found[0] if name is None else f"{name} {found[2]}" if found[2] else name

    return name_commands(re.sub(r"`([a-z][\w.]*)(?:=([^`]*))?`", option, text))


@contextmanager
def errors_with_options(fields: Sequence[str] = ()) -> Generator[None]:
    """Context manager: errors of the library leave it with options in place of fields; class and code stay.

    Args:
        fields: Options of the command that name fields of rows; an error that asks for such names ends with them.
    """
    try:
        with reworded(name_options, keeps=_OF_FILES):
            yield
    except LazarusError as error:
        if fields and error.code in _ASK_FOR_FIELDS:
            words = "option is" if len(fields) == 1 else "options are"
            error.args = (f"{error.message} (the {words} {', '.join(fields)})",)
        raise


def _place(location: tuple[int | str, ...]) -> str:
    """The option of a setting at an error's location; empty for errors of several settings."""
    match location:
        case ("lora", name, *_):
            return f"{option_of(f'lora-{name}')}: "
        case ("optimizer" | "early_stop" | "build_plan" | "init_model", name, *_) | ("objective", _, name, *_):
            return f"{option_of(str(name))}: "
        case (name, *_) if name not in _TABLES or name == "early_stop":
            return f"{option_of(str(name))}: "
        case _:
            return ""
