"""Options that several commands share, and how they read and print."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.console import read_stdin, show, show_line

if TYPE_CHECKING:
    from lazarus_models.loading.loaded_model import LoadedModel

Model = Annotated[
    str, typer.Option("--model", help="A directory, owner/name[@revision] on the hub, or a name of `infer --list`.")
]
Adapter = Annotated[Path | None, typer.Option("--adapter", help="Directory of a LoRA adapter.")]
AnyBase = Annotated[
    bool, typer.Option("--any-base", help="Take an adapter that was trained on another base model too (`any_base`).")
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load_model(model: str, adapter: Path | None, *, any_base: bool = False) -> "LoadedModel":
    """The model of that name, with its adapter."""
    from lazarus_models.adapters.files import load_adapter
    from lazarus_models.loading.huggingface import load

    lm = load(model)
    if adapter is not None:
        load_adapter(lm.model, adapter, any_base=any_base)
    return lm


def read_text(file: Path) -> str:
    """What a file says, or standard input for `-`."""
    from lazarus_models.errors import GenerationError

    try:
        return (read_stdin() if str(file) == "-" else file.read_bytes()).decode("utf-8")
    except UnicodeDecodeError as error:
        raise GenerationError(f"{file}: no text in UTF-8 (byte {error.start}); save it as that", "LM-E144") from error


def show_table(rows: Mapping[str, object], as_json: bool) -> None:
    """Prints names and values, one a line, or as JSON."""
    if as_json:
        show(json.dumps(rows, ensure_ascii=False))
        return
    width = max(map(len, rows))
    for name, value in rows.items():
        show_line(f"{name:<{width}}  {value:,}" if type(value) is int else f"{name:<{width}}  {value}")
