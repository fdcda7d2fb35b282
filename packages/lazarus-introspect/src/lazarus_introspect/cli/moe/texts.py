"""Options and lines that the commands about several texts share."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from lazarus_introspect.experts.results import TextsResult

_DATA_HELP = "Texts: JSON Lines with `text` and `label` [default: 48 built-in texts of 4 labels]."
Data = Annotated[Path | None, typer.Option("-d", "--data", help=_DATA_HELP)]
MoELayers = Annotated[
    str | None, typer.Option("--layers", help="Choose layers: 8-15, or 0,4,8 [default: every layer with experts].")
]


def read_texts(data: Path | None) -> dict[str, tuple[str, ...]] | None:
    """The texts of a file; None without one."""
    from lazarus_introspect.experts import read_labelled_texts

    return None if data is None else read_labelled_texts(data)


def show_texts_head(result: "TextsResult") -> None:
    """Prints what a result of several texts is of."""
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    show(aligned([(name.lower(), fact) for name, fact in result.about().items()]))
