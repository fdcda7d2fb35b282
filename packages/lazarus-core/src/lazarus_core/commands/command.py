"""The classes of all commands and groups of commands: what every command line of Lazarus has in common.

Each has `-h`, help in the width of the terminal, and names that are like an unknown one. A command has `-q` and examples; the
group that a console script runs has the options of shell completion.
"""

import contextlib
import io
import re
import sys
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypeVar, cast

import typer
from typer.core import TyperCommand, TyperGroup

from lazarus_core import console
from lazarus_core.command_names import as_called
from lazarus_core.commands import help as cli_help
from lazarus_core.commands.values import may_be_empty, unusable
from lazarus_core.console.color import has_color
from lazarus_core.errors import LazarusError

HELP_NAMES = ("-h", "--help")
Method = TypeVar("Method", bound=Callable[..., Any])


def override(method: Method) -> Method:
    """Marks a method that overrides one of Typer, which documents it (`typing.override` of Python 3.12)."""
    return method


class Alias(str):
    """A name of an option that works and that help leaves out: `typer.Option("-d", "--data", Alias("--file"))`."""


class UnknownShell(LazarusError):
    """Completion is not made for the shell that runs this command, or the shell cannot be found out."""


class Command(TyperCommand):
    """A command, with options of `bare_option`.

    Its help leaves out aliases, and the types that Typer writes behind arguments: `runs... <list[Path]>`.
    """

    @override
    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return super().make_context(info_name, args, parent, **_with_manners(extra))

    @override
    def get_help(self, ctx: Any) -> str:
        return cli_help.broken(super().get_help(ctx))

    @override
    def get_params(self, ctx: Any) -> Any:
        params: list[Any] = list(super().get_params(ctx))
        if any("--quiet" in each.opts for each in params):
            return params
        at = len(params) - (self.get_help_option(ctx) is not None)
        return [*params[:at], quiet_option(), *params[at:]]

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        bare: dict[str, str] = getattr(self.callback, "bare_options", {})
        given: list[str] = []
        for word, following in zip(args, [*args[1:], "--"], strict=False):
            given += [word, bare[word]] if word in bare and following.startswith("-") else [word]
        try:
            rest = super().parse_args(ctx, [*given])  # it empties the list
            self._check_values(ctx, given)
        except typer.BadParameter as error:
            names = [] if error.param is None else [each for each in error.param.opts if not isinstance(each, Alias)]
            if error.param is not None and len(names) < len(error.param.opts):
                error.param_hint = names  # the error names the option as help does
            raise
        except Exception as error:
            _name_near_option(self, ctx, error)
            raise
        if ctx.params.get("quiet") is True:  # a command with its own `--quiet`
            _be_quiet(ctx)
        return rest

    def _check_values(self, ctx: Any, given: list[str]) -> None:
        """Refuses values that no option can use."""
        is_blank = any(word == "" or word.endswith("=") for word in given)
        texts = may_be_empty(self.callback)
        params: list[Any] = list(self.get_params(ctx))
        for param in params:
            source = ctx.get_parameter_source(param.name)
            if source is None or source.name != "COMMANDLINE":
                continue
            value: Any = ctx.params.get(param.name)
            several: list[Any] = list(cast("list[Any]", value)) if isinstance(value, list | tuple) else [value]
            for each in several:
                reason = unusable(each, given, is_blank=is_blank, is_text=param.name in texts)
                if reason is not None:
                    raise typer.BadParameter(reason, ctx=ctx, param=param)

    @override
    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        pieces = [self.options_metavar] if self.options_metavar else []
        for param in super().get_params(ctx):
            if param.param_type_name == "argument" and not getattr(param, "hidden", False):
                name = (param.metavar or str(param.name)) if param.required else f"[{param.metavar or param.name}]"
                pieces.append(name + ("..." if param.nargs == -1 else ""))
        return pieces

    @override
    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        _write_help_text(self, ctx, formatter)

    @override
    def format_options(self, ctx: Any, formatter: Any) -> None:
        _write_params(self, ctx, formatter)

    @override
    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        _, examples = cli_help.split_examples(self.help)
        if examples:
            cli_help.write_examples(formatter, _path(ctx), examples, has_color=bool(ctx.color))
        super().format_epilog(ctx, formatter)

    @override
    def get_short_help_str(self, limit: int = 0) -> str:
        return cli_help.first_sentence(self.short_help or self.help)


class Group(TyperGroup):
    """A group of commands."""

    @override
    def make_context(self, info_name: Any, args: list[str], parent: Any = None, **extra: Any) -> Any:
        return super().make_context(info_name, args, parent, **_with_manners(extra))

    @override
    def main(self, *args: Any, **given: Any) -> Any:
        completion_options()  # registers the shells
        return super().main(*args, **given)

    @override
    def get_help(self, ctx: Any) -> str:
        return cli_help.broken(super().get_help(ctx))

    @override
    def get_params(self, ctx: Any) -> Any:
        params: list[Any] = list(super().get_params(ctx))
        if ctx.parent is not None:
            return params
        at = len(params) - (self.get_help_option(ctx) is not None)
        return [*params[:at], *completion_options(), *params[at:]]

    @override
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            _name_near_option(self, ctx, error)
            raise

    @override
    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name = args[0]
        if not name.startswith("-") and not ctx.resilient_parsing and self.get_command(ctx, name) is None:
            near = [f"`{each}`" for each in cli_help.nearest(name, self.known_names(ctx))]
            ctx.fail(f"No such command {name!r}{cli_help.did_you_mean(near)}")
        return super().resolve_command(ctx, args)

    def listed(self, ctx: Any) -> dict[str, str]:
        """The commands that help lists: names, and one sentence of each."""
        commands = {name: self.commands.get(name) for name in self.list_commands(ctx)}
        return {
            name: cli_help.first_sentence(command.short_help or command.help)
            for name, command in commands.items()
            if command is not None and not command.hidden
        }

    def known_names(self, ctx: Any) -> list[str]:
        """Names that may have been meant by an unknown one."""
        return list(self.listed(ctx))

    @override
    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        _write_help_text(self, ctx, formatter)

    @override
    def format_options(self, ctx: Any, formatter: Any) -> None:
        if listed := self.listed(ctx):
            rows = [(name, cli_help.unbroken(words)) for name, words in listed.items()]
            cli_help.write_sections(formatter, {"Commands": rows}, has_color=bool(ctx.color))
        _write_params(self, ctx, formatter)

    @override
    def get_short_help_str(self, limit: int = 0) -> str:
        return cli_help.first_sentence(self.short_help or self.help)


def _with_manners(extra: dict[str, Any]) -> dict[str, Any]:
    manners = {
        "help_option_names": list(HELP_NAMES),
        "terminal_width": cli_help.help_width(),
        "color": has_color(sys.stdout),
    }
    return {**manners, **extra}


def _path(ctx: Any) -> str:
    """The command as it was called, without its arguments."""
    names: list[str] = []
    while ctx is not None:
        names.insert(0, ctx.info_name or "")
        ctx = ctx.parent
    return " ".join(names)


def _write_help_text(command: Any, ctx: Any, formatter: Any) -> None:
    words = cli_help.unbroken(as_called(cli_help.split_examples(command.help)[0], ctx.find_root().info_name))
    if words:
        formatter.write_paragraph()
        with formatter.indentation():
            formatter.write_text(words)


def _write_params(command: Any, ctx: Any, formatter: Any) -> None:
    sections: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        if (record := help_record(param, ctx)) is not None:
            sections.setdefault(cli_help.section_of(param), []).append(record)
    ordered = {heading: sections[heading] for heading in cli_help.ordered_sections(sections)}
    cli_help.write_sections(formatter, ordered, has_color=bool(ctx.color))


def help_record(param: Any, ctx: Any) -> tuple[str, str] | None:
    """Names and words of an option or argument as help shows them; None for a hidden one.

    Args:
        param: Of a command.
        ctx: Context of the command.
    """
    record = param.get_help_record(ctx)
    if record is None:
        return None
    names, words = record[0], record[1].replace("\\[", "[")  # as older versions of Typer escape it
    for alias in (each for each in param.opts if isinstance(each, Alias)):
        names = names.replace(f", {alias}", "", 1)
    if param.param_type_name == "argument":
        names = re.sub(r" <[a-z][^<>]*>$", "", names)
        names += "..." if param.nargs == -1 and not names.endswith("...") else ""
    shown = cli_help.with_notes(words, is_repeatable=bool(getattr(param, "multiple", False)))
    return names, cli_help.unbroken(as_called(shown, ctx.find_root().info_name))


def _name_near_option(command: Any, ctx: Any, error: Any) -> None:
    """Completes the parser's error about an unknown option by the names that help shows."""
    if type(error).__name__ != "NoSuchOption":
        return
    shown: list[str] = []
    for param in command.get_params(ctx):
        if param.param_type_name == "option" and not getattr(param, "hidden", False):
            shown += [name for name in (*param.opts, *param.secondary_opts) if not isinstance(name, Alias)]
    near = cli_help.nearest(error.option_name, [name for name in shown if name.startswith("--")])
    error.possibilities = None
    error.message = f"No such option: {error.option_name}{cli_help.did_you_mean(near)}"


def _be_quiet(ctx: Any) -> None:
    ctx.find_root().with_resource(console.quiet())


def _on_quiet(ctx: typer.Context, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        _be_quiet(ctx)


@cache
def quiet_option() -> Any:
    """The option `-q` of every command, made by Typer from a declaration."""

    def declaration(
        quiet: Annotated[
            bool,
            typer.Option(
                "-q",
                "--quiet",
                callback=_on_quiet,
                expose_value=False,
                help="Print results, warnings and errors only.",
            ),
        ] = False,
    ) -> None: ...

    app = typer.Typer(add_completion=False, rich_markup_mode=None)
    app.command()(declaration)
    return typer.main.get_command(app).params[0]


@cache
def completion_options() -> list[Any]:
    """The options `--install-completion` and `--show-completion` of Typer, with errors as those of other options."""
    options: list[Any] = list(typer.main.get_install_completion_arguments())
    for option in options:
        option.callback = _with_one_error(option.callback)
    return options


def _with_one_error(act: Any) -> Any:
    def run(ctx: Any, param: Any, value: Any) -> Any:
        printed = io.StringIO()
        try:
            with contextlib.redirect_stdout(printed):
                result = act(ctx, param, value)
        except (SystemExit, typer.Exit) as end:
            code = end.code if isinstance(end, SystemExit) else end.exit_code
            if code:
                raise UnknownShell(
                    "the shell is not known: run this from bash, zsh, fish or PowerShell", "LC-E150"
                ) from end
            console.write(printed.getvalue())
            raise typer.Exit from end
        return result

    return run
