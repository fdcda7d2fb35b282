"""`lazarus-models`, also `lazarus infer`, `chat`, `serve`, `doctor` and `model`: models made, described and asked."""

from typing import Annotated

import typer

from lazarus_core.console import version_option
from lazarus_models.cli.answering import chat, infer
from lazarus_models.cli.describing import estimate, info
from lazarus_models.cli.machine import doctor
from lazarus_models.cli.making import convert, new
from lazarus_models.cli.serving import serve

app = typer.Typer(
    name="lazarus-models",
    help="Language models on MLX, in the Hugging Face layout.",
    rich_markup_mode=None,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

model_app = typer.Typer(
    help="Make a new model, or describe one.", rich_markup_mode=None, no_args_is_help=True, add_completion=False
)
"""`lazarus model`."""

for command in (infer, chat, serve, info, new, estimate, convert, doctor):
    app.command()(command)
for command in (info, new, estimate, convert):
    model_app.command()(command)


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-models")] = False) -> None:  # pyright: ignore[reportUnusedFunction] (typer calls it)
    pass
