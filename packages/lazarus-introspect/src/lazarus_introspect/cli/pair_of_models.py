"""Two models, of which the second can be the first with a LoRA adapter."""

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from lazarus_introspect.cli.options import opened

if TYPE_CHECKING:
    from collections.abc import Generator

    from lazarus_introspect.analysis import ModelAnalyzer

First = Annotated[
    str, typer.Argument(metavar="FIRST", help="First model, in the forms of `analyze --model`.", show_default=False)
]
Second = Annotated[
    str,
    typer.Argument(
        metavar="SECOND", help="Second model, or the directory of a LoRA adapter of the first.", show_default=False
    ),
]


@contextmanager
def opened_pair(first: str, second: str) -> "Generator[tuple[ModelAnalyzer, ModelAnalyzer]]":
    """Context manager: two models.

    Args:
        first: A model.
        second: A model, or the directory of a LoRA adapter of the first.
    """
    folder = Path(second)
    is_adapter = (folder / "adapter_config.json").is_file() and not (folder / "config.json").is_file()
    with opened(first) as one, opened(first, folder) if is_adapter else opened(second) as other:
        yield one, other
