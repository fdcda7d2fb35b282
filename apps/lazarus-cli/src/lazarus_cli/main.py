"""The command `lazarus`. A package is imported only when one of its commands is called."""

from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from lazarus_cli.catalog import KNOWN, children, installed
from lazarus_core.cli_app import App, Deferred
from lazarus_core.console import show
from lazarus_core.errors import LazarusError


class NotInstalled(LazarusError):
    """The package of a command is not installed; the message names it."""


class _LazyGroup(TyperGroup):
    """A group that finds its commands by name."""

    prefix = ""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(children(self.prefix))

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        name = self.prefix + cmd_name
        if name in installed():
            return _load(name, cmd_name)
        if cmd_name in children(self.prefix):
            return _group(name + ".", cmd_name)
        if name in KNOWN:
            raise NotInstalled(
                f"`lazarus {name.replace('.', ' ')}` comes with {KNOWN[name].distribution}: "
                f"uv pip install {KNOWN[name].distribution}",
                "LC-E100",
            )
        return None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(children(self.prefix).items()))


def _load(name: str, cmd_name: str) -> Any:
    """The command of an entry point: a Typer app, a function, or a deferred command."""
    target = installed()[name].load()
    if isinstance(target, Deferred):
        target = target.function
    if not isinstance(target, typer.Typer):
        single = App()
        single.command(cmd_name)(target)
        target = single
    command = get_command(target)
    command.name = cmd_name
    return command


def _group(prefix: str, cmd_name: str) -> Any:
    cls = type(f"_Lazy{cmd_name.title()}", (_LazyGroup,), {"prefix": prefix})
    app = App(cls=cls, no_args_is_help=True)

    @app.callback()
    def _callback() -> None: ...  # pyright: ignore[reportUnusedFunction] # typer calls it

    command = get_command(app)
    command.name = cmd_name
    return command


app = App(
    name="lazarus",
    cls=_LazyGroup,
    help="Training runs as reproducible as builds: plan once, follow the plan, verify the result.",
    no_args_is_help=True,
)


def _print_versions(wanted: bool) -> None:
    if wanted:
        for name in sorted({point.dist.name for point in installed().values() if point.dist}):
            show(f"{name} {version(name)}")
        raise typer.Exit


@app.callback()
def _root(
    versions: Annotated[
        bool, typer.Option("--version", callback=_print_versions, is_eager=True, help="Show all versions and exit.")
    ] = False,
) -> None:
    """Training runs as reproducible as builds: plan once, follow the plan, verify the result."""
