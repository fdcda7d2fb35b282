"""The one `Typer` of every Lazarus command line: help without names of types, and commands whose options are made late.

`PATH`, `N` (a whole number), `X` (a number) and `TEXT` name the values of options that have no name of their own.
"""

import inspect
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.core import TyperCommand, TyperGroup
from typer.models import OptionInfo

Function = Callable[..., Any]
MAX_INTEGER = 2**63 - 1
"""Largest whole number of an option. Counts and sizes have lower bounds of their own."""
MAY_BE_EMPTY = frozenset({"text", "prompt", "system"})
"""Names of parameters whose empty text is a text; an empty value of any other option is a mistake."""


class Alias(str):
    """A name of an option that works and that help leaves out: `typer.Option("-d", "--data", Alias("--file"))`."""


def bare_option(name: str, value: str) -> Callable[[Function], Function]:
    """Lets an option with a value be given without one, before another option or at the end.

    Args:
        name: The option, such as `--fix`.
        value: Its value if none is given.
    """

    def decorate(function: Function) -> Function:
        bare: dict[str, str] = getattr(function, "bare_options", {})
        function.bare_options = {**bare, name: value}  # pyright: ignore[reportFunctionMemberAccess]
        return function

    return decorate


class Deferred:
    """A command whose options are declared by a function that is called when they are first needed.

    Help of the group needs the name and the docstring alone, so it loads no settings.

    Args:
        name: Of the command.
        words: Its help.
        make: Makes the function with the options in its signature.
    """

    def __init__(self, name: str, words: str, make: Callable[[], Function]) -> None:
        self.__name__ = name
        self.__doc__ = words
        self._make = make
        self._made: Function | None = None

    @property
    def function(self) -> Function:
        """The function with the options in its signature."""
        if self._made is None:
            self._made = self._make()
            self._made.__doc__ = self.__doc__
        return self._made


class App(typer.Typer):
    """A command line. Commands are added by `command`, and by `add_deferred` where options are made late."""

    def __init__(self, **settings: Any) -> None:
        given: dict[str, Any] = {"cls": _Group, "rich_markup_mode": None, "add_completion": False, **settings}
        super().__init__(**given)
        self.deferred: dict[str, Deferred] = {}

    def command(self, *args: Any, **settings: Any) -> Callable[[Function], Function]:  # pyright: ignore[reportIncompatibleMethodOverride] (the same call)
        """Register a function as a command, whose help names the values of options.

        Args:
            args: Name of the command; without it, Typer makes one from the function's name.
            settings: Further arguments of `typer.Typer.command`.
        """
        register = super().command(*args, **{"cls": _Command, **settings})

        def decorate(function: Function) -> Function:
            name_values(function)
            return register(function)

        return decorate

    def add_deferred(self, command: Deferred) -> None:
        """Adds a command whose options are made when it is called."""
        self.deferred[command.__name__] = command

        def placeholder() -> None: ...

        placeholder.__doc__ = command.__doc__
        placeholder.deferred = command  # pyright: ignore[reportFunctionMemberAccess]
        super().command(command.__name__)(placeholder)


class _Command(TyperCommand):
    """A command with options of `bare_option`.

    Its help leaves out aliases, and the types that Typer writes behind arguments: `runs... <list[Path]>`.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        bare: dict[str, str] = getattr(self.callback, "bare_options", {})
        given: list[str] = []
        for word, following in zip(args, [*args[1:], "--"], strict=False):
            given += [word, bare[word]] if word in bare and following.startswith("-") else [word]
        try:
            rest = super().parse_args(ctx, given)
            self._check_values(ctx, given)
            return rest
        except typer.BadParameter as error:
            names = [] if error.param is None else [each for each in error.param.opts if not isinstance(each, Alias)]
            if error.param is not None and len(names) < len(error.param.opts):
                error.param_hint = names  # the error names the option as help does
            raise

    def _check_values(self, ctx: Any, given: list[str]) -> None:
        """Refuses values that no option can use: empty paths and texts, numbers without bound."""
        is_blank = any(word == "" or word.endswith("=") for word in given)
        for param in self.get_params(ctx):
            value = ctx.params.get(param.name)
            for each in value if isinstance(value, list | tuple) else [value]:
                if reason := _unusable(param.name, each, given, is_blank=is_blank):
                    raise typer.BadParameter(reason, ctx=ctx, param=param)

    def format_options(self, ctx: Any, formatter: Any) -> None:
        for kind, title in (("argument", "Arguments"), ("option", "Options")):
            params = [each for each in self.get_params(ctx) if each.param_type_name == kind]
            records = [record for each in params if (record := _help_record(each, ctx)) is not None]
            if records:
                with formatter.section(title):
                    formatter.write_dl([(re.sub(r" <[a-z][^<>]*>$", "", name), words) for name, words in records])


def _unusable(name: str, value: Any, given: list[str], *, is_blank: bool) -> str | None:
    """Why a value cannot be used by any option, if so.

    Args:
        name: Of the parameter.
        value: Its value.
        given: The words of the command line.
        is_blank: Whether one of them is empty.
    """
    match value:
        case bool():
            return None
        case int() if abs(value) > MAX_INTEGER:
            return f"must be at most {MAX_INTEGER:,} in size"
        case float() if not math.isfinite(value):
            return "must be a finite number"
        case Path() if is_blank and value == Path() and not {".", "./"} & {*given}:
            return "the path is empty: give one, or omit the option"
        case "" if is_blank and name not in MAY_BE_EMPTY:
            return "the value is empty: give one, or omit the option"
        case _:
            return None


def _help_record(param: Any, ctx: Any) -> tuple[str, str] | None:
    record = param.get_help_record(ctx)
    if record is None:
        return None
    names, words = record
    for alias in (each for each in param.opts if isinstance(each, Alias)):
        names = names.replace(f", {alias}", "", 1)
    return names, words


class _Group(TyperGroup):
    """A group that makes a deferred command when it is asked for."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        deferred = deferred_of(found)
        return (name, found if deferred is None else command_of(deferred.function, str(name)), rest)


def deferred_of(command: Any) -> Deferred | None:
    """The deferred command behind a function or a command of Typer's, if there is one."""
    function = getattr(command, "callback", command)
    return getattr(function, "deferred", None) or getattr(getattr(function, "__wrapped__", None), "deferred", None)


def command_of(function: Function, name: str) -> Any:
    """A function as a command.

    Args:
        function: Its parameters are the options.
        name: Of the command.
    """
    single = App(cls=TyperGroup)
    single.command(name)(function)
    command = typer.main.get_command(single)
    command.name = name
    return command


def name_values(function: Function) -> None:
    """Gives options and arguments of a function that name no value one: `PATH`, `N`, `X`, `TEXT`, `a|b`."""
    for parameter in inspect.signature(function).parameters.values():
        if get_origin(parameter.annotation) is not Annotated:
            continue
        annotation, *metadata = get_args(parameter.annotation)
        for info in metadata:
            if isinstance(info, OptionInfo) and info.metavar is None:
                info.metavar = value_name(annotation)


def value_name(annotation: Any) -> str | None:
    """The name of an option's value in its help; None for a flag.

    >>> [value_name(each) for each in (list[Path], int | None, Literal["a", "b"], bool)]
    ['PATH', 'N', 'a|b', None]
    """
    origin, inner = get_origin(annotation), get_args(annotation)
    if annotation is type(None) or annotation is bool:
        return None
    if origin is Annotated:
        return value_name(inner[0])
    if origin is Literal:
        return "|".join(map(str, inner))
    if origin is list or origin is tuple:
        return value_name(inner[0])
    if origin is Union or isinstance(annotation, type(int | str)):
        return next((name for each in inner if (name := value_name(each))), None)
    simple = {Path: "PATH", int: "N", float: "X", str: "TEXT"}
    return simple.get(annotation)
