"""Options and functions that several commands share."""

import re
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.console import show
from lazarus_core.errors import reworded
from lazarus_introspect.errors import RequestError

if TYPE_CHECKING:
    from lazarus_introspect.analysis import ModelAnalyzer, Result, Token

_MODEL_HELP = "Use the model in this directory, owner/name[@revision], or a name of `infer --list`."
Model = Annotated[str, typer.Option("-m", "--model", envvar="LAZARUS_MODEL", help=_MODEL_HELP)]
Adapter = Annotated[Path | None, typer.Option("--adapter", help="Add the LoRA adapter in this directory.")]
PromptText = Annotated[str, typer.Option("-p", "--prompt", help="Read this prompt.")]
Raw = Annotated[bool, typer.Option("--raw", help="Continue the prompt as a text, without the chat template.")]
Layers = Annotated[
    str | None, typer.Option("--layers", help="Choose layers: 8-15, or 0,4,8, or both [default: every layer].")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Seed = Annotated[int, typer.Option("--seed", min=0, max=2**32 - 1, help="Random seed.")]
MaxTokens = Annotated[int, typer.Option("--max-tokens", min=1, help="Generate at most this many tokens.")]

_OPTIONS = {
    ", or set `any_base`": "",  # no option of these commands accepts another base
    "`multi_token` first": "--track takes the first",
    "`multi_token`": "--track",
    "`reference_prompts`": "--reference",
    "`reference`": "--reference",
    "`criterion`": "--criterion",
    "`expert_mode`": "--expert-mode",
    "the component `expert`": "--expert",
    "`mode`": "--mode",
    "`position`": "--position",
    "`kind`": "--site",
    "`custom_layers`": "--layers",
    "`direction`": "--direction",
    "`operator`": "--operator",
    "`template`": "--template",
    "`values`": "--values",
    "`digits`": "--digits",
    "`operators`": "--operators",
    "`clusters`": "--clusters",
    "`controls`": "--controls",
    "`samples`": "--samples",
    "`positive`": "--positive",
    "`negative`": "--negative",
    "`layer`": "--layer",
}
_RANGE = re.compile(r"(\d{1,6})(?:-(\d{1,6}))?")
_MOST_LAYERS = 1024


def parse_numbers(text: str | None, name: str = "--layers") -> list[int] | None:
    """Whole numbers and inclusive ranges, sorted; None for None.

    Args:
        text: Such as `8-15` or `0,4,8`.
        name: Option in messages.

    Raises:
        RequestError: The text is something else.

    >>> parse_numbers("22,0-2")
    [0, 1, 2, 22]
    """
    if text is None:
        return None
    found: set[int] = set()
    for each in text.split(","):
        matched = _RANGE.fullmatch(each.strip())
        first, last = (int(matched[1]), int(matched[2] or matched[1])) if matched else (1, 0)
        if last < first or last - first >= _MOST_LAYERS:
            raise RequestError(f"{name} {text!r}: {each!r} is no number or range; write 8-15 or 0,4,8", "LI-E146")
        found.update(range(first, last + 1))
    return sorted(found)


@contextmanager
def opened(model: str, adapter: Path | None = None) -> "Generator[ModelAnalyzer]":
    """Context manager: the analyzer of a model; errors in it name options instead of fields.

    Args:
        model: Value of `--model`.
        adapter: Directory of a LoRA adapter; None for none.
    """
    from lazarus_introspect.analysis import ModelAnalyzer
    from lazarus_models import load_adapter

    with reworded(_with_options):
        analyzer = ModelAnalyzer.from_pretrained(model)
        if adapter is not None:
            load_adapter(analyzer.lm.model, adapter)
        yield analyzer


def _with_options(message: str) -> str:
    for field, option in _OPTIONS.items():
        message = message.replace(field, option)
    return message


def show_json(result: "Result") -> None:
    """Prints a result as JSON."""
    show(result.to_json())


def show_head(result: "Result", more: Mapping[str, str] = {}) -> None:
    """Prints what a result is of.

    Args:
        result: The result.
        more: Further lines by name.
    """
    from lazarus_tokenkit.tables import aligned

    origin = result.provenance
    rows = [
        ("model", f"{origin.model} ({origin.family}, {origin.parameters:,} parameters, weights {origin.weights[:16]})"),
        ("prompt", f"{len(result.ids)} tokens: {quoted(''.join(result.tokens), 60)}"),
        *more.items(),
    ]
    show(aligned(rows))


def quoted(text: str, most: int = 16) -> str:
    """A text as a literal, shortened in the middle.

    Args:
        text: The text.
        most: Characters that are kept.

    >>> quoted(" Paris"), quoted("a" * 30, 8)
    ("' Paris'", "'aaaa...aaaa'")
    """
    half = most // 2
    return repr(text if len(text) <= most else f"{text[:half]}...{text[-half:]}")


def note_tokens(tokens: "tuple[Token, ...]") -> None:
    """Says which texts have several tokens and are followed by their first."""
    from lazarus_core.console import say

    for token in tokens:
        if token.num_tokens > 1:
            say(f"{token.text!r} has {token.num_tokens} tokens: following the first, {token.piece!r} (id {token.id})")
