"""Options of a command made from the settings of a model: one definition for the file, `--set` and the command line.

An option's type, limits and help are those of the field. Its first docstring sentence is the help; `Default: words.` in the
docstring is shown as `[default: words]`.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer

from lazarus_core.cli_app import value_name
from lazarus_core.commands.values import MAY_BE_EMPTY
from lazarus_core.settings.schema import Key, Schema, Setting, members

_SIMPLE = (bool, int, float, str, Path)


@dataclass(frozen=True)
class Option:
    """An option of a command.

    Args:
        key: The setting that it gives.
        names: Its names, such as `("-o", "--output")`; `--x/--no-x` for one that can be switched off.
        is_repeated: Whether it is given once for each value of a list or map.
        metavar: Name of its value; None takes one that its type gives.
        choices: Values that this command offers; None offers all of the setting.
        help: None takes the field's.
        default: In words; None takes the field's.
        read: From what was given to the setting's value; None takes it as it is, a list with commas.
        least: Smallest value that the parser takes; other limits are the model's.
        prefix: Beginning of the help.
        is_flag: Whether the option has no value, whatever the setting's type is.
        heading: Heading of its group in the help; None takes one by its name.
    """

    key: Key
    names: tuple[str, ...]
    is_repeated: bool = False
    metavar: str | None = None
    choices: tuple[str, ...] | None = None
    help: str | None = None
    default: str | None = None
    read: Callable[[Any], Any] | None = None
    least: float | None = None
    prefix: str = ""
    is_flag: bool = False
    heading: str | None = None

    @property
    def parameter(self) -> str:
        """Name of the function's parameter."""
        return "__".join(self.key)


def parameters_of(schema: Schema, options: Iterable[Option]) -> list[inspect.Parameter]:
    """Parameters of a function for Typer, one for each option. Their value is None if the option is not given.

    Args:
        schema: Schema of the settings.
        options: Options of the command; the key of each is in the schema.
    """
    return [_parameter(schema.settings[option.key], option) for option in options]


def values_of(schema: Schema, options: Iterable[Option], given: Mapping[str, Any]) -> dict[Key, Any]:
    """Values of settings by key, from what the function was called with.

    Args:
        schema: Of the settings.
        options: All of the command.
        given: By parameter; None for an option that was not given.
    """
    found: dict[Key, Any] = {}
    for option in options:
        value = given.get(option.parameter)
        if value is None:
            continue
        setting = schema.settings[option.key]
        if option.read is not None:
            found[option.key] = option.read(value)
        elif setting.is_table:
            found[option.key] = {}
        elif setting.is_list and not option.is_repeated:
            found[option.key] = tuple(value.split(",")) if value else ()
        else:
            found[option.key] = tuple(value) if option.is_repeated else value
    return found


def _parameter(setting: Setting, option: Option) -> inspect.Parameter:
    base = _option_type(setting, option)
    default = setting.default if option.default is None else option.default
    words = (option.help or setting.help).rstrip(".")
    if option.prefix:
        words = f"{option.prefix}{words[:1].lower()}{words[1:]}"
    shown = f"{words} [default: {default}]." if default else f"{words}."
    metavar = option.metavar or ("A,B" if setting.is_list and not option.is_repeated else value_name(base))
    info = typer.Option(
        *option.names,
        help=shown,
        metavar=metavar,
        show_default=False,
        min=option.least,
        rich_help_panel=option.heading,
    )
    kind: Any = list[base] if option.is_repeated else base
    annotation: Any = Annotated[kind | None, info]
    if option.read is not None or (setting.is_list and not option.is_repeated):
        annotation = Annotated[kind | None, info, MAY_BE_EMPTY]  # an empty list, or a value of an own form
    return inspect.Parameter(option.parameter, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _option_type(setting: Setting, option: Option) -> Any:
    """The type that the parser checks a value by."""
    if option.choices is not None:
        return Literal[option.choices]
    if setting.is_table or option.is_flag:
        return bool
    if option.read is not None and not option.is_repeated and (setting.is_map or setting.is_list):
        return str
    parts = members(setting.annotation)
    if any(get_origin(part) is Literal for part in parts):
        return parts[0]
    if setting.is_map:
        return str
    if setting.is_list and option.is_repeated:
        inner = next(get_args(part)[0] for part in parts if get_origin(part) in (tuple, list))
        return next((part for part in members(inner) if part in _SIMPLE), str)  # `read` makes other types of texts
    if setting.is_list:
        return str
    return next(part for part in parts if part in _SIMPLE)
