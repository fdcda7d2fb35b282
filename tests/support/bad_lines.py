"""Command lines with bad input, made for every command and every option from what the commands declare.

A line is a command with its required options on good input, and one of its options with one bad value. `BAD` lists the
values by the kind of the option; the folder in which the lines run is made by the test.
"""

import inspect
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import typer
from typer.models import ArgumentInfo, OptionInfo

from lazarus_core.cli_app import Alias, Deferred, deferred_of

OWN = {"lazarus_gym": "lazarus_gym.cli:app", "lazarus_introspect": "lazarus_introspect.cli:app"}
"""Command lines of packages whose commands `lazarus` does not mount, or not all of them."""
WRITTEN = {"output", "html", "png", "save", "fix", "report", "train", "validation_output", "items"}
"""Names of parameters that take a path to write; every other path is read."""
HUGE = str(10**30)
LARGE = str(2**53)
NOT_UTF8 = "bad\udcff"
BAD: Mapping[str, Mapping[str, str]] = {
    "read": {
        "missing": "nix",
        "empty string": "",
        "folder": "folder",
        "text": "notes.txt",
        "empty file": "empty.jsonl",
        "binary": "noise.jsonl",
        "not UTF-8": NOT_UTF8,
        "below a file": "notes.txt/nix",
        "name too long": "n" * 300,
    },
    "written": {
        "empty string": "",
        "folder": "folder",
        "text": "notes.txt",
        "below a file": "notes.txt/nix",
        "not UTF-8": NOT_UTF8,
        "name too long": "n" * 300,
        "below a device": "/dev/null/nix",
    },
    "int": {
        "negative": "-1",
        "huge": HUGE,
        "large": LARGE,
        "NaN": "nan",
        "fraction": "1.5",
        "empty string": "",
        "word": "many",
    },
    "float": {"negative": "-1", "infinite": "inf", "NaN": "nan", "huge": "1e400", "empty string": "", "word": "much"},
    "choice": {"word": "nix", "empty string": ""},
    "text": {"empty string": "", "not UTF-8": NOT_UTF8, "word": "nix"},
    "command": {"unknown option": "--nix", "extra words": "nix"},
}
"""Bad values by the kind of an option, each with its name."""
GOOD = {
    "adapter": "nix",
    "batch_plan": "plan",
    "data": "data.jsonl",
    "output": "made/new",
    "plan": "plan",
    "lock": "lock",
    "lengths": "lengths.jsonl",
    "model": "model",
    "tokenizer": "byte",
    "first": "byte",
    "second": "byte",
    "token_budget": "512",
    "step": "0",
    "world": "1",
    "rank": "0",
    "resume_world": "1",
    "kill_at": "1",
    "run": "run",
    "runs": "run",
    "old": "plan",
    "new": "plan",
    "proof": "proof.json",
    "log": "run/batches.jsonl",
    "ids": "1,2",
    "preset": "nano",
    "text": "hello",
    "tasks": "tasks.jsonl",
    "replies": "replies.jsonl",
    "conversation": "chat.json",
    "suite": "tests.json",
    "models": "nix",
    "to": "torch",
    "codes": "LP-E001",
    "search": "a",
}
"""Good values of required options, by the name of the parameter."""
NAMED = {
    **{
        ("introspect", f"{what}-diff", side): "model"
        for what in ("weight", "activation")
        for side in ("first", "second")
    },
    ("data", "images", "prepare", "source"): "images.npz",
    ("data", "images", "grid", "data"): "images.jsonl",
    ("model", "images", "model"): "drawing",
    ("tokenizer", "templates", "show", "name"): "chatml",
    ("tokenizer", "templates", "validate", "name"): "chatml",
    ("tokenizer", "templates", "apply", "name"): "chatml",
    ("train", "objective", "kind"): "causal",
    ("model", "info", "path"): "model",
    ("model", "estimate", "path"): "model",
    ("train", "checkpoints", "path"): "run",
    ("verify", "path"): "run",
    ("cleanup", "path"): "run",
    ("report", "folder"): "recipe",
    ("run", "recipe"): "recipe.toml",
    ("lock", "recipe"): "recipe.toml",
    ("remote", "recipe"): "remote.toml",
    ("remote", "host"): "gpu1",
    ("backup", "source"): "run",
    ("restore", "source"): "copy",
    ("push", "source"): "plan",
    ("push", "place"): "made/new",
    ("pull", "source"): "copy",
    ("train", "verify", "path"): "run",
}
"""Good values of one command, where the name of the parameter does not say it."""
MORE: Mapping[tuple[str, ...], Mapping[str, str]] = {
    ("data", "corpus", "build"): (corpus := {"data": "data.jsonl", "text_field": "completion"}),
    ("data", "corpus", "analyze"): corpus,
    ("data", "corpus", "dedup"): corpus,
    ("eval", "run"): (evaluating := {"tasks": "eval.toml", "model": "model"}),
    ("eval", "compare"): evaluating | {"against": "model"},
    ("eval", "report"): {"reports": "evaluated.json"},
    ("model", "images"): {"grid": "1x1"},
    ("bench", "infer"): {"new_tokens": "2", "repeats": "1", "prompt_tokens": "4", "batch_sizes": "1"},
    ("bench",): {"data": "data.jsonl", "steps": "1", "num_samples": "8", "token_budget": "512", "output": "made/new"},
    ("infer",): {"model": "model", "prompt": "hello", "max_tokens": "1"},
    ("chat",): {"max_tokens": "1"},
    ("serve",): {"model": "nix"},
    ("quickstart",): {"output": "made/new"},
    ("run",): {"output": "made/new"},
    ("sweep",): (sweep := {"steps": "1", "row_len": "16", "max_rows": "1", "output": "made/new"}),
    ("train", "sweep"): sweep,
    ("plan-budget",): (budget := {"preset": "nano", "vocab_size": "300", "measured": "10"}),
    ("train", "plan-budget"): budget,
    ("generate",): {"count": "1"},
    ("gym", "export"): (export := {"name": "lights_out", "to": "trl", "output": "made/new.py", "count": "1"}),
    ("export",): export,
    ("data", "batchplan", "rebase"): {"step": "1"},
    ("data", "batchplan", "ci"): {"lock": "lock", "lengths": "lengths.jsonl"},
    ("data", "batchplan", "explain"): {"step": "0"},
    ("data", "batchplan", "lock"): {"plan": "plan"},
    ("data", "batchplan", "materialise"): {"output": "made/new"},
    ("model", "convert"): {"dtype": "float16"},
    ("tokenizer", "train", "sentencepiece"): {"vocab_size": "290"},
    ("tokenizer", "compare"): {"text": "hello"},
    **{
        ("introspect", group, name): {"model": "routed"}
        for group, names in {
            "moe": ("route", "utilisation", "co-activation", "specialists", "ablate", "pipeline", "vocab-contrib"),
            "moe-expert": ("analyze", "heatmap", "pipeline", "vocab-contrib"),
        }.items()
        for name in (*names, "compression")
    },
    ("introspect", "circuit", "rates"): {"planted": "1", "random": "1", "detectors": "attribution"},
    ("tokenizer", "encode"): {"output": "made/new.jsonl", "data": "data.jsonl"},
    ("introspect", "probe"): (probing := {"data": "labelled.jsonl", "layers": "1"}) | {"permutations": "19"},
    ("introspect", "neurons"): probing,
    ("introspect", "clusters"): probing | {"nulls": "19"},
    ("introspect", "directions"): {"files": "direction.json"},
    ("introspect", "embedding"): {"prompts": "10", "permutations": "19"},
    ("introspect", "operand-directions"): (grid := {"values": "2-5", "layers": "1", "permutations": "19"}),
    ("introspect", "commutativity"): grid | {"controls": "19"},
    ("introspect", "arithmetic"): {"count": "2", "digits": "1"},
    ("introspect", "uncertainty"): {"prompt": "hello"},
    ("introspect", "evolve"): {"prompt": "hello"},
}
"""Further options that keep the good line of a command short, by the name of the parameter."""
TRAINING = {"data": "data.jsonl", "batch_plan": "plan", "output": "made/new", "max_steps": "1", "model": "model"}
"""Those of all training commands."""
PAIRS = {"data": "pairs.jsonl", "batch_plan": "pairs.plan"}
"""Those of objectives that compare two answers."""


class Option(NamedTuple):
    """An option or argument of a command: the parameter, its shortest option (None for an argument), the kind of value."""

    name: str
    option: str | None
    kind: str
    is_required: bool
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Leaf:
    """A command without subcommands.

    Args:
        module: What `python -m` runs.
        words: Its name.
        options: What it takes.
    """

    module: str
    words: tuple[str, ...]
    options: tuple[Option, ...]

    def good(self) -> dict[str, list[str]]:
        """Words of a line with good input, by the name of the option that they give."""
        names = {each.name for each in self.options}
        is_training = self.words[0] == "train" and {"batch_plan", "output"} <= names
        pairs = PAIRS if self.words[-1] in ("dpo", "reward") else {}
        more = TRAINING | pairs if is_training else MORE.get(self.words, {})
        found: dict[str, list[str]] = {}
        for each in self.options:
            value = more.get(each.name)
            if (
                value is None
                and each.is_required
                and not (self.words == ("tokenizer", "encode") and each.name == "text")
            ):
                value = NAMED.get((*self.words, each.name)) or GOOD.get(each.name, "nix")
            if value is not None:
                found[each.name] = [value] if each.option is None else [each.option, value]
        return found


class Line(NamedTuple):
    """A command line: the command, the option with the bad value, the name of the value and all words."""

    leaf: Leaf
    option: Option | None
    bad: str
    value: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words).encode("utf-8", "backslashreplace").decode()


def leaves() -> list[Leaf]:
    """All commands, in the order of their names."""
    found = [
        Leaf("lazarus_cli", words, tuple(_options(function)))
        for point in sorted(entry_points(group="lazarus.commands"), key=lambda point: point.name)
        for words, function in _commands(point.load(), tuple(point.name.split(".")))
    ]
    mounted = {point.value for point in entry_points(group="lazarus.commands")}
    for module, where in OWN.items():
        path, _, attribute = where.partition(":")
        for words, function in _commands(getattr(import_module(path), attribute), ()):
            if words and f"{path}:{words[0]}" not in mounted:
                found.append(Leaf(module, words, tuple(_options(function))))
    return found


def lines(leaf: Leaf) -> Iterator[Line]:
    """The command lines with one bad value of a command."""
    good = leaf.good()
    every = sum(good.values(), list[str]())
    for bad, value in BAD["command"].items():
        words = [*every, *([value] * (1 if bad == "unknown option" else 9))]
        yield Line(leaf, None, bad, value, (*leaf.words, *words))
    if any(each.is_required for each in leaf.options):
        yield Line(leaf, None, "no words", "", leaf.words)
    for each in leaf.options:
        for bad, value in BAD.get(each.kind, {}).items():
            given = {**good, each.name: [value] if each.option is None else [each.option, value]}
            ordered = sorted(given, key=[option.name for option in leaf.options].index)  # as arguments are declared
            yield Line(leaf, each, bad, value, (*leaf.words, *(word for name in ordered for word in given[name])))


def _commands(target: Any, names: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(target, Deferred):
        yield names, target.function
        return
    if not isinstance(target, typer.Typer):
        yield names, target
        return
    for each in target.registered_commands:
        assert each.callback is not None
        deferred = deferred_of(each.callback)
        function = each.callback if deferred is None else deferred.function
        yield (*names, each.name or function.__name__.replace("_", "-")), function
    for group in target.registered_groups:
        assert group.typer_instance is not None
        name = group.name if isinstance(group.name, str) else group.typer_instance.info.name
        yield from _commands(group.typer_instance, (*names, str(name)))


def _options(function: Any) -> Iterator[Option]:
    for name, parameter in inspect.signature(function).parameters.items():
        annotation, infos = parameter.annotation, ()
        if get_origin(annotation) is Annotated:
            annotation, *infos = get_args(annotation)
        info = next((each for each in infos if isinstance(each, OptionInfo | ArgumentInfo)), None)
        if info is None or info.hidden:
            continue
        is_required = parameter.default is inspect.Parameter.empty
        option, names = None, ()
        if isinstance(info, OptionInfo):
            declared = (info.default, *(info.param_decls or ()))  # Typer takes the first name for a default
            names = tuple(
                each
                for each in declared
                if isinstance(each, str) and each.startswith("-") and not isinstance(each, Alias)
            ) or ("--" + name.replace("_", "-"),)
            option = names[0]
        yield Option(name, option, _kind(name, annotation), is_required, names)


def _kind(name: str, annotation: Any) -> str:
    """The kind of a value: a key of `BAD`, or "flag"."""
    origin, inner = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType, list, tuple, Annotated):
        kinds = [_kind(name, each) for each in inner if each not in (type(None), Ellipsis)]
        kinds = [each for each in kinds if each != "flag"] or kinds
        return "text" if len(set(kinds)) > 1 and "text" in kinds else kinds[0]
    if origin is Literal:
        return "choice"
    if annotation is Path:
        return "written" if name in WRITTEN else "read"
    return {int: "int", float: "float", bool: "flag"}.get(annotation, "text")
