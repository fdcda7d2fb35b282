"""`lazarus-corpus`, also mounted as `lazarus data corpus`."""

from typing import Annotated

from lazarus_core.cli_app import App
from lazarus_core.console import version_option
from lazarus_corpus.cli.building import analyze, build
from lazarus_corpus.cli.checking import card, contamination, verify
from lazarus_corpus.cli.conversing import conversations, dialogues, preferences
from lazarus_corpus.cli.packing import pack
from lazarus_corpus.cli.parts import dedup, split

app = App(
    name="lazarus-corpus",
    help="Raw documents to clean, deduplicated, split samples; the same in any order.",
    no_args_is_help=True,
)
COMMANDS = (build, analyze, dedup, contamination, split, conversations, preferences, dialogues, pack, card, verify)
for command in COMMANDS:
    app.command()(command)


@app.callback()
def _root(version: Annotated[bool, version_option("lazarus-corpus")] = False) -> None:  # pyright: ignore[reportUnusedFunction] (typer calls it)
    """Raw documents to clean, deduplicated, split samples; the same in any order."""
