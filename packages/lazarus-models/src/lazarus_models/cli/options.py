"""Options and functions that several commands share."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_core.console import read_stdin, say, show, show_line
from lazarus_core.errors import reworded

if TYPE_CHECKING:
    from lazarus_models.loading.loaded_model import LoadedModel

Model = Annotated[
    str,
    typer.Option(
        "-m",
        "--model",
        envvar="LAZARUS_MODEL",
        help="Use the model in this directory, owner/name[@revision], or a name of `infer --list`.",
    ),
]
Adapter = Annotated[Path | None, typer.Option("--adapter", help="Add the LoRA adapter in this directory.")]
AnyBase = Annotated[bool, typer.Option("--any-base", help="Accept an adapter that was trained on another base model.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def load_model(model: str, adapter: Path | None, *, any_base: bool = False) -> "LoadedModel":
    """Loads a model and its adapter.

    Args:
        model: Value of `--model`.
        adapter: Directory of a LoRA adapter; None for none.
        any_base: Accept an adapter that was trained on other weights.
    """
    from lazarus_models.backend import KERNELS
    from lazarus_models.loading.huggingface import load

    if KERNELS is not None and KERNELS.first_run:
        say(KERNELS.first_run)
    check_any_base(adapter, any_base=any_base)
    lm = load(model)
    if adapter is not None:
        add_adapter(lm, adapter, any_base=any_base)
    return in_fast_form(lm)


def check_any_base(adapter: Path | None, *, any_base: bool) -> None:
    """Refuses `--any-base` without an adapter.

    Args:
        adapter: Value of `--adapter`.
        any_base: Value of `--any-base`.

    Raises:
        AdapterError: There is no adapter.
    """
    from lazarus_models.errors import AdapterError

    if any_base and adapter is None:
        raise AdapterError("`--any-base` has no effect without `--adapter`; remove it", "LM-E132")


def add_adapter(lm: "LoadedModel", adapter: Path, *, any_base: bool) -> None:
    """Adds an adapter to a model; errors name options instead of fields.

    Args:
        lm: The model.
        adapter: Directory of a LoRA adapter.
        any_base: Accept an adapter that was trained on other weights.
    """
    from lazarus_models.adapters.files import load_adapter

    with reworded(lambda words: words.replace("set `any_base`", "give --any-base")):
        load_adapter(lm.model, adapter, any_base=any_base)


def in_fast_form(lm: "LoadedModel") -> "LoadedModel":
    """The model, with plain weights in place of quantized ones where these are slow and memory suffices."""
    from lazarus_models.backend import on_cpu
    from lazarus_models.loading.dequantized import dequantize, fits_plain, plain_bytes

    if fits_plain(lm):
        say(
            f"quantized weights are slow on a CPU: they are converted to float32 once ({plain_bytes(lm) / 2**20:,.0f} MiB)"
        )
        return dequantize(lm)
    if on_cpu() and plain_bytes(lm):
        say("quantized weights are slower than float32 on a CPU, but memory for float32 is short")
    return lm


def read_text(file: Path) -> str:
    """Reads a text file, or standard input for `-`, without a byte order mark."""
    from lazarus_core.strict_json import BOM
    from lazarus_models.errors import GenerationError

    try:
        return (read_stdin() if str(file) == "-" else file.read_bytes()).removeprefix(BOM).decode("utf-8")
    except UnicodeDecodeError as error:
        raise GenerationError(f"{file}: not UTF-8 (byte {error.start}); save the file as UTF-8", "LM-E144") from error


def show_table(rows: Mapping[str, object], as_json: bool) -> None:
    """Prints a table.

    Args:
        rows: Values by name, printed one a line.
        as_json: Print a JSON object instead.
    """
    if as_json:
        show(json.dumps(rows, ensure_ascii=False))
        return
    width = max(map(len, rows))
    for name, value in rows.items():
        show_line(f"{name:<{width}}  {value:,}" if type(value) is int else f"{name:<{width}}  {value}")
