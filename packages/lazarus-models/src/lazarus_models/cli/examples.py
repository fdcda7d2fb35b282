"""The command `examples`: published models by family, and tiny models of each family that run without a download.

`run_example` is the command line of the scripts in `examples/inference`.
"""

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.cli_app import App
from lazarus_core.command_names import as_called
from lazarus_core.console import run, say, show, show_line
from lazarus_models.cli.options import AsJson

if TYPE_CHECKING:
    from lazarus_models.loading.published import Published

TestTiny = Annotated[
    bool, typer.Option("--test-tiny", help="Generate with a new tiny model of each family, without a download.")
]
QUESTIONS = {"starcoder2": "def fibonacci(n):", "mamba": "The capital of France is"}
"""Prompts of families whose published models continue texts; the others are asked a question."""
QUESTION = "What is the capital of France?"
TINY_TOKENS = 16


def examples(
    family: Annotated[
        str | None, typer.Argument(metavar="FAMILY", help="An example such as llama, or a model_type.")
    ] = None,
    list_models: Annotated[
        bool, typer.Option("--list", help="List the models and a command for each (default).")
    ] = False,
    test_tiny: TestTiny = False,
    as_json: AsJson = False,
) -> None:
    """List published models by family, each with a command, or try every family without a download.

    Example: llama
    Example: --test-tiny
    """
    from lazarus_models.errors import GenerationError

    if test_tiny and list_models:
        raise GenerationError("--list and --test-tiny exclude each other", "LM-E144")
    group = _group(family)
    if test_tiny:
        _try_tiny(group, as_json)
        return
    if as_json:
        show(json.dumps({name: model._asdict() for name, model in _models(group).items()}))
        return
    _list(group)


def run_example(group: str, default: str) -> None:
    """Runs the command line of an example script.

    Args:
        group: A key of `GROUPS`.
        default: Short name of the model that is asked without `--model`.
    """
    app = App(name=f"{group} example", pretty_exceptions_enable=False)

    @app.command()
    def example(  # pyright: ignore[reportUnusedFunction] (typer calls it)
        model: Annotated[str, typer.Option("-m", "--model", help="A short name, directory or owner/name.")] = default,
        prompt: Annotated[str | None, typer.Option("-p", "--prompt", help="Ask this instead of the example.")] = None,
        system: Annotated[str | None, typer.Option("--system", help="Use this system message.")] = None,
        chats: Annotated[bool, typer.Option("--chat", help="Chat with the model.")] = False,
        interactive: Annotated[bool, typer.Option("--interactive", help="Continue each line of the terminal.")] = False,
        max_tokens: Annotated[int, typer.Option("--max-tokens", min=1, help="Generate at most this many.")] = 100,
        temperature: Annotated[float, typer.Option("--temperature", min=0.0, help="0 is greedy.")] = 0.0,
        list_models: Annotated[bool, typer.Option("--list", help="List the published models.")] = False,
        test_tiny: TestTiny = False,
    ) -> None:
        """Ask a published model of the family, which is downloaded once."""
        from lazarus_models.cli.answering import infer

        if list_models or test_tiny:
            examples(group, list_models=list_models, test_tiny=test_tiny)
            return
        talks = chats or interactive
        arguments: dict[str, Any] = {
            "model": model,
            "system": system,
            "max_tokens": max_tokens,
            "temperature": temperature,
            "chats": chats,
            "interactive": interactive,
            "raw": group in QUESTIONS and not chats,
            "prompt": [] if talks and prompt is None else [prompt or QUESTIONS.get(group, QUESTION)],
        }
        infer(**arguments)

    run(app, f"{group} example")


def _group(family: str | None) -> tuple[str, ...]:
    """The families of an example; all without a name.

    Raises:
        ConfigError: There is no such example.
    """
    from lazarus_models.errors import ConfigError
    from lazarus_models.loading.published import GROUPS

    every = tuple(each for families in GROUPS.values() for each in families)
    if family is None:
        return every
    if family in GROUPS:
        return GROUPS[family]
    if family in every:
        return (family,)
    raise ConfigError(f"no example {family!r}; there are {', '.join(sorted({*GROUPS, *every}))}", "LM-E233")


def _models(group: tuple[str, ...]) -> "dict[str, Published]":
    from lazarus_models.loading.published import PUBLISHED

    return {name: model for name, model in PUBLISHED.items() if model.family in group}


def _list(group: tuple[str, ...]) -> None:
    models = _models(group)
    width, wide = max(map(len, models)), max(len(model.repository) for model in models.values())
    for family in group:
        show_line(family)
        for name, model in models.items():
            if model.family == family:
                command = as_called(f"lazarus infer -m {name} -p {_quoted(family)}")
                show_line(f"  {name:<{width}}  {model.repository:<{wide}}  {command}")


def _quoted(family: str) -> str:
    return f'"{QUESTIONS[family]}" --raw' if family in QUESTIONS else f'"{QUESTION}"'


def _try_tiny(group: tuple[str, ...], as_json: bool) -> None:
    from lazarus_models.composition.presets import init_model
    from lazarus_models.composition.tiny import tiny_config
    from lazarus_models.generation.autoregressive import generate
    from lazarus_models.generation.sampling import GenerationConfig
    from lazarus_models.trees import parameter_count
    from lazarus_tokenkit import load_tokenizer

    tokenizer = load_tokenizer("byte")
    for family in sorted(group):
        lm = init_model(tiny_config(family), tokenizer, seed=0)
        done = generate(lm, "2 + 2 = ", GenerationConfig(max_new_tokens=TINY_TOKENS), raw=True)
        said = {"family": family, "parameters": parameter_count(lm.model), "tokens": len(done.ids)}
        if as_json:
            show(json.dumps(said))
        else:
            show_line(f"{family}: {said['parameters']:,} parameters, {said['tokens']} tokens")
    say("tiny models with random weights and a byte tokenizer; nothing was downloaded")
