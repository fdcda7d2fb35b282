"""The command `lazarus-introspect`; it has no commands of its own yet."""

from typing import Annotated

import typer

from lazarus_core.cli_app import App
from lazarus_core.console import show, version_option

app = App()


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[bool, version_option("lazarus-introspect")] = False,
) -> None:
    """Looking inside language models on MLX. The work comes later: there are no commands yet."""
    show(context.get_help())
