import inspect
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from lazarus_core.commands import shared_options


def _sizes(
    width: Annotated[int, typer.Option("-w", "--width", help="Of the page.")],
    height: Annotated[int, typer.Option("--height")] = 3,
) -> tuple[int, int]:
    if width < 1:
        raise typer.BadParameter("--width 0: give 1 or more")
    return width, height


@shared_options("sizes", _sizes)
def draw(
    path: Annotated[Path, typer.Argument()],
    sizes: "tuple[int, int]",
    is_dark: Annotated[bool, typer.Option("--dark")] = False,
) -> None:
    """Draws a page."""
    typer.echo(f"{path} {sizes} {is_dark}")


app = typer.Typer(rich_markup_mode=None)
app.command()(draw)


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ("a -w 2", "a (2, 3) False"),
        ("--height 7 --dark a --width 2", "a (2, 7) True"),
    ],
)
def test_a_command_reads_shared_options_beside_its_own(words: str, shown: str):
    assert CliRunner().invoke(app, words.split()).output.strip() == shown


@pytest.mark.parametrize(("words", "said"), [("a", "Missing option"), ("a -w 0", "give 1 or more")])
def test_what_shared_options_refuse_is_bad_usage(words: str, said: str):
    result = CliRunner().invoke(app, words.split())
    assert result.exit_code == 2 and said in result.output


def test_help_shows_them_where_their_parameter_stands():
    told = CliRunner().invoke(app, ["--help"]).output
    assert told.index("Draws a page.") < told.index("Of the page.") < told.index("--dark") and "sizes" not in told


def test_an_option_that_a_command_declares_is_its_own_wherever_it_stands():
    def before(height: int = 9, *, sizes: tuple[int, int]) -> None: ...

    def behind(*, sizes: tuple[int, int], height: int = 9) -> None: ...

    for command in (before, behind):
        options = inspect.signature(shared_options("sizes", _sizes)(command)).parameters
        assert (sorted(options), options["height"].default) == (["height", "width"], 9)
