"""A command that reads its settings from a file, `--set` and options, and prints them with `--print-config`."""

import inspect
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Generic

import typer

from lazarus_core.console import show_line, warn
from lazarus_core.settings.file import Unwrap
from lazarus_core.settings.layers import Layers, Model
from lazarus_core.settings.options import Option, parameters_of, values_of
from lazarus_core.settings.schema import Key, schema_of
from lazarus_core.settings.show import settings_lines
from lazarus_core.settings.sources import SettingsError, Source

if TYPE_CHECKING:
    from pydantic import ValidationError

CONFIG_HELP = "Settings file, .toml or .json."
SET_HELP = "Set a setting by its name. It overrides the file; options override it."
PRINT_HELP = "Print every setting with its source as TOML, and exit."


@dataclass(frozen=True)
class SettingsCommand(Generic[Model]):
    """What makes a command of settings.

    Args:
        title: The command as it is called, for the head of what `--print-config` prints.
        model: The settings.
        options: Options that give settings, in the order of the help.
        start: Does the work; given the settings, and by name what `more` declares.
        refusal: Says what flags got wrong, in their names.
        more: Options that are no settings, such as `--force`.
        complete: Refuses what does not go together, and adds defaults that follow from other settings.
        names: Keys of settings that are a path or a name.
        unwrap: Takes the settings out of a file that holds more.
        other_config: The setting that a file gives which `--config` names and which is no file of settings; None where it
            is one.
        derived: Keys of settings that follow from others; `--print-config` prints them as comments.
        config_help: Help of `--config`.
    """

    title: str
    model: type[Model]
    options: Sequence[Option]
    start: Callable[..., None]
    refusal: Callable[["ValidationError"], Exception]
    more: Sequence[inspect.Parameter] = ()
    complete: Callable[[Layers[Model]], None] = lambda _: None
    names: Collection[Key] = ()
    unwrap: Unwrap | None = None
    other_config: Callable[[Path], Key | None] = lambda _: None
    derived: Callable[[Model], Collection[Key]] = lambda _: ()
    config_help: str = CONFIG_HELP

    def function(self) -> Callable[..., None]:
        """A function whose parameters are the options of the command, for Typer."""
        parameters = [
            _parameter("config", Annotated[Path | None, _option("--config", help=self.config_help)], None),
            _parameter(
                "sets", Annotated[list[str] | None, _option("--set", help=SET_HELP, metavar="NAME=VALUE")], None
            ),
            _parameter("print_config", Annotated[bool, _option("--print-config", help=PRINT_HELP)], False),
            *parameters_of(schema_of(self.model), self.options),
            *self.more,
        ]
        others = [each.name for each in self.more]

        def run(config: Path | None, sets: list[str] | None, print_config: bool, **given: Any) -> None:
            rest = {name: given.pop(name) for name in others}
            if print_config and rest.get("as_json"):
                raise typer.BadParameter("--json has no effect with --print-config, which prints TOML")
            settings, sources = self.read(config, sets or (), given)
            if print_config:
                show_line(f"# {self.title} --config FILE; paths are relative to {Path.cwd()}")
                for line in settings_lines(settings, sources, self.derived(settings)):
                    show_line(line)
            else:
                self.start(settings, **rest)

        run.__signature__ = inspect.Signature(parameters)  # pyright: ignore[reportFunctionMemberAccess] (typer reads it)
        run.__annotations__ = {each.name: each.annotation for each in parameters}
        return run

    def read(self, file: Path | None, sets: Sequence[str], given: Mapping[str, Any]) -> tuple[Model, dict[Key, Source]]:
        """The settings and the source of each.

        Args:
            file: `--config`.
            sets: `--set`, in their order.
            given: Values of options by parameter; None for one that was not given.

        Raises:
            SettingsError: The file or `--set` cannot be used; all lines but the last are printed.
            InputError: The file cannot be read.
        """
        from pydantic import ValidationError

        layers = Layers(self.model, self.names)
        flags = values_of(layers.schema, self.options, given)
        key = None if file is None else self.other_config(file)
        if key is not None:
            flags[key], file = file, None
        try:
            if file is not None:
                layers.add_file(file, self.unwrap)
            layers.add_sets(sets)
            layers.add_flags(flags, {option.key: option.names[-1] for option in self.options})
            layers.check()
            self.complete(layers)
            return layers.settings()
        except SettingsError as error:
            for words, code in error.problems[:-1]:
                warn(f"error: {words} [{code}]")
            raise
        except ValidationError as error:
            raise self.refusal(error) from error


def missing(option: str) -> Exception:
    """What Typer says of an option that has to be given.

    Args:
        option: Its names in quotes, such as `'-o' / '--output'`.
    """
    usage_error: Any = typer.BadParameter.__base__
    return usage_error(f"Missing option {option}")


def _option(name: str, **given: Any) -> Any:
    return typer.Option(name, rich_help_panel="Settings", **given)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
