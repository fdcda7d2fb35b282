"""Where the result of a command goes: a table, JSON, an HTML page, a PNG file. `writes_result` adds the options."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_core.commands import Force, shared_options
from lazarus_core.console import say, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lazarus_introspect.analysis.results import PlainResult
    from lazarus_introspect.pictures import Part

_AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_Html = Annotated[Path | None, typer.Option("--html", help="Write the pictures of the result as a page.")]
_Png = Annotated[
    Path | None, typer.Option("--png", help="Write the pictures as a PNG file (extra lazarus-introspect[png]).")
]
_READ = ("model", "first", "second", "adapter", "data", "files", "run", "plan", "direction")
"""Parameters that name what a command reads: no output replaces it."""
NOT_SETTINGS = ("as_json", "html", "png", "output", "force", "quiet", "help")
"""Parameters that choose outputs: they change no number."""


@dataclass(frozen=True)
class Outputs:
    """The outputs that were asked for; `publish` writes them."""

    context: Any
    html: Path | None
    png: Path | None
    as_json: bool

    @property
    def has_pictures(self) -> bool:
        """Whether pictures are asked for."""
        return self.html is not None or self.png is not None

    def publish(self, result: "PlainResult") -> bool:
        """Writes the files, and prints JSON if that was asked for.

        Args:
            result: The result; the command line is added to it.

        Returns:
            Whether JSON was printed: a table has no place then.
        """
        result = result.model_copy(update={"command": command_of(self.context)})
        if self.as_json:
            show(result.to_json())
        if self.html is not None:
            from lazarus_core.html import this_command

            _write(self.html, result.to_html(origin=this_command()).encode())
        if self.png is not None:
            from lazarus_introspect.pictures import png

            _write(self.png, png(result.title, result.pictures()))
        return self.as_json


def _write(path: Path, content: bytes) -> None:
    from lazarus_core.atomic import whole_file

    with whole_file(path) as file:
        file.write(content)
    say(f"wrote {path}")


def _outputs(
    context: typer.Context, as_json: _AsJson = False, html: _Html = None, png: _Png = None, force: Force = False
) -> Outputs:
    """The outputs of a command; files are checked before any work is done."""
    from lazarus_core.html import PAGE
    from lazarus_core.outputs import OutputKind, begins_with, check_output

    picture = OutputKind("a PNG of Lazarus", begins_with(r"\x89PNG\r\n\x1a\n.{0,400}Software\x00Lazarus"))
    there = [each for each in _inputs(context) if each.exists()]
    if html is not None:
        check_output(html, PAGE, inputs=there, force=force)
    if png is not None:
        from lazarus_introspect.pictures import check_png

        check_output(png, picture, inputs=there, force=force)
        check_png()
    return Outputs(context, html, png, as_json)


def _inputs(context: typer.Context) -> list[Path]:
    """The paths that a command reads."""
    found: list[Any] = []
    for name in _READ:
        value: Any = context.params.get(name) or []
        found += value if isinstance(value, list | tuple) else [value]
    return [Path(each) for each in found]


writes_result = shared_options("outputs", _outputs)
"""Replaces the parameter `outputs` of a command by `--json`, `--html`, `--png` and `--force`."""


def show_pictures(parts: "Sequence[Part]") -> None:
    """Prints pictures, as wide as the terminal; a file or pipe gets whole tables."""
    import shutil

    from lazarus_core.console import has_color, show_colored
    from lazarus_introspect.pictures import terminal
    from lazarus_introspect.pictures.terminal import UNLIMITED

    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else UNLIMITED
    for part in parts:
        show_colored("\n" + terminal(part, width=width, has_color=has_color(sys.stdout)))


def command_of(context: Any) -> dict[str, Any]:
    """A command with all its settings, as `replay` runs it again.

    Args:
        context: Context of the command.
    """
    names: list[str] = []
    at = context
    while at is not None:
        names.insert(0, str(at.info_name))
        at = at.parent
    below = names.index("introspect") + 1 if "introspect" in names else 1
    settings: dict[str, Any] = {}
    for each in context.command.params:
        value = context.params.get(each.name)
        if each.name in NOT_SETTINGS or value is None or (isinstance(value, list | tuple) and not value):
            continue
        name = each.name if each.param_type_name == "argument" else option_name(each, value)
        settings[name] = _plain(value)
    return {"name": " ".join(names[below:]), "settings": settings}


def option_name(parameter: Any, value: Any) -> str:
    """The long name of an option; of a switch that is off, the name that switches it off if it has one.

    Args:
        parameter: The option, as the command declares it.
        value: Its value.
    """
    names = parameter.secondary_opts if value is False and parameter.secondary_opts else parameter.opts
    return str(max(names, key=lambda name: (name.startswith("--"), len(name))))


def _plain(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]  # pyright: ignore[reportUnknownVariableType] (values of an option)
    return value if isinstance(value, bool | int | float | str) else str(getattr(value, "value", value))
