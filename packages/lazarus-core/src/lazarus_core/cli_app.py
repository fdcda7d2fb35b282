"""The one `Typer` of every Lazarus command line: help without names of types, and commands whose options are made late.

`PATH`, `N` (a whole number), `X` (a number) and `TEXT` name the values of options that have no name of their own.
"""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import typer
from typer.models import ArgumentInfo, OptionInfo

from lazarus_core.commands.command import Alias as Alias
from lazarus_core.commands.command import Command, Group

Function = Callable[..., Any]


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
        register = super().command(*args, **{"cls": Command, **settings})

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


class _Group(Group):
    """A group that makes a deferred command when it is asked for."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, found, rest = super().resolve_command(ctx, args)
        deferred = deferred_of(found)
        if deferred is not None:
            is_hidden = found.hidden
            found = command_of(deferred.function, str(name))
            found.hidden = is_hidden
        return name, found, rest


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
    single = App(cls=Group)
    single.command(name)(function)
    command = typer.main.get_command(single)
    command.name = name
    return command


def name_values(function: Function) -> None:
    """Gives options of a function that name no value one: `PATH`, `N`, `X`, `TEXT`, `a|b`. Arguments get capitals."""
    for parameter in inspect.signature(function).parameters.values():
        if get_origin(parameter.annotation) is not Annotated:
            continue
        annotation, *metadata = get_args(parameter.annotation)
        for info in metadata:
            if isinstance(info, OptionInfo) and info.metavar is None:
                info.metavar = value_name(annotation)
            elif isinstance(info, ArgumentInfo) and info.metavar is None:
                info.metavar = parameter.name.upper()


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
