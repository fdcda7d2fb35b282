"""The command `lazarus`. A package is imported only when one of its commands is called."""

from functools import cache
from importlib.metadata import version
from typing import Annotated, Any

import typer
from typer.main import get_command

from lazarus_cli.catalog import GROUP_HELP, HIDDEN, KNOWN, children, installed
from lazarus_core.cli_app import App, Deferred
from lazarus_core.commands import Group
from lazarus_core.console import show
from lazarus_core.errors import LazarusError


class NotInstalled(LazarusError):
    """The package of a command is not installed; the message names it."""


class _LazyGroup(Group):
    """A group that finds its commands by name."""

    prefix = ""
    is_listing = False
    """Whether commands are asked for their names and help alone, which imports nothing."""

    def list_commands(self, ctx: Any) -> list[str]:
        return list(children(self.prefix))

    def below(self, name: str) -> list[str]:
        """Commands below one that does something itself: `infer` of `lazarus bench` and `lazarus bench infer`."""
        begin = f"{self.prefix}{name}."
        known = {*installed(), *KNOWN} if self.prefix + name in installed() else set[str]()
        return sorted(each.removeprefix(begin) for each in known if each.startswith(begin))

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        if len(args) > 1 and args[1] in self.below(args[0]):
            return " ".join(args[:2]), self.get_command(ctx, ".".join(args[:2])), args[2:]
        return super().resolve_command(ctx, args)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        name = self.prefix + cmd_name
        if self.is_listing:
            return Group(name=cmd_name, help=children(self.prefix)[cmd_name])
        if name in installed():
            return _load(name, cmd_name)
        if cmd_name in children(self.prefix):
            return _group(name + ".", cmd_name)
        if name in KNOWN and not ctx.resilient_parsing:
            raise NotInstalled(
                f"`lazarus {name.replace('.', ' ')}` comes with {KNOWN[name].distribution}: "
                f"uv pip install {KNOWN[name].distribution}",
                "LC-E100",
            )
        return None

    def listed(self, ctx: Any) -> dict[str, str]:
        return children(self.prefix)

    def known_names(self, ctx: Any) -> list[str]:
        missing = (name.removeprefix(self.prefix) for name in KNOWN if name.startswith(self.prefix))
        return sorted({*children(self.prefix), *(name for name in missing if "." not in name)})

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        self.is_listing = True
        try:
            return super().shell_complete(ctx, incomplete)
        finally:
            self.is_listing = False


@cache
def _load(name: str, cmd_name: str) -> Any:
    """The command of an entry point: a Typer app, a function, or a deferred command."""
    target = installed()[name].load()
    if isinstance(target, Deferred):
        target = target.function
    if not isinstance(target, typer.Typer):
        single = App()
        single.command(cmd_name)(target)
        target = single
    command: Any = get_command(target)
    command.name = cmd_name
    for hidden in HIDDEN.get(name, ()):
        command.commands[hidden].hidden = True
    return command


@cache
def _group(prefix: str, cmd_name: str) -> Any:
    cls = type(f"_Lazy{cmd_name.title()}", (_LazyGroup,), {"prefix": prefix})
    app = App(cls=cls, no_args_is_help=True, help=GROUP_HELP.get(prefix.removesuffix("."), ""))

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
        bool,
        typer.Option("-V", "--version", callback=_print_versions, is_eager=True, help="Show all versions and exit."),
    ] = False,
) -> None:
    """Training runs as reproducible as builds: plan once, follow the plan, verify the result."""
