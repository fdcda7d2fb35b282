"""The command `replay`: a stored result, computed again."""

import contextlib
import io
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from lazarus_introspect.cli.outputs import NOT_SETTINGS, option_name
from lazarus_introspect.errors import RequestError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lazarus_introspect.analysis import Replay
    from lazarus_introspect.analysis.replay import Setting, StoredCommand


def replay(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="JSON of a command of `lazarus introspect`, printed with --json.")],
    model: Annotated[
        str | None, typer.Option("-m", "--model", help="Use this model [default: as the result names it].")
    ] = None,
    tolerance: Annotated[
        float,
        typer.Option("--tolerance", help="Largest difference that counts as equal: relative, or absolute below 1."),
    ] = 1e-4,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Run the command of a result again, and say whether the result is equal or what differs.

    Equal is bit for bit, or within the tolerance. The exit code is 0 if the result is equal, and 1 if it is not.

    Example: lens.json -m smollm2-360m
    """
    from lazarus_core.console import quiet, show
    from lazarus_core.strict_json import parse_object
    from lazarus_introspect.analysis import replayed

    if not 0 <= tolerance < float("inf"):
        raise RequestError(f"--tolerance {tolerance}: give a number of at least 0", "LI-E105")
    stored, given = _stored(file)
    name, settings = given.name, dict(given.settings)
    command = _found(context, file, name)
    if model is not None:
        if "--model" not in settings:
            raise RequestError(f"{file}: `{name}` has no option --model; it cannot use another one", "LI-E105")
        settings["--model"] = model
    words = _words(command, settings, file)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), quiet():
        command.main(["--json", *words], prog_name=f"lazarus-introspect {name}", standalone_mode=False)
    result = replayed(stored, parse_object(printed.getvalue()), tolerance=tolerance)
    if as_json:
        show(result.model_dump_json())
    else:
        _show(result, stored)
    if not result.is_equal:
        raise typer.Exit(1)


def _stored(file: Path) -> "tuple[dict[str, Any], StoredCommand]":
    from pydantic import ValidationError

    from lazarus_core.strict_json import read_object
    from lazarus_introspect.analysis.replay import StoredCommand

    found: dict[str, Any] = read_object(file)
    if not {"analysis", "command"} <= found.keys():
        raise RequestError(f"{file} is no result of `lazarus introspect`; print one with --json", "LI-E105")
    if found["command"] is None:
        raise RequestError(
            f"{file} was computed from Python and names no command; compute it again with a command", "LI-E105"
        )
    try:
        return found, StoredCommand.model_validate(found["command"])
    except ValidationError:
        raise RequestError(f"{file}: `command` needs a `name` and `settings`", "LI-E105") from None


def _found(context: typer.Context, file: Path, name: str) -> Any:
    """The command of a name, below the group that this command is in."""
    at: Any = context.parent.command if context.parent is not None else None
    for word in name.split(" "):
        at = at.get_command(context, word) if hasattr(at, "get_command") else None
        if at is None or word == "replay":
            raise RequestError(f"{file}: there is no command {name!r} in this version", "LI-E105")
    if hasattr(at, "get_command"):
        raise RequestError(f"{file}: {name!r} is a group of commands", "LI-E105")
    return at


def _words(command: Any, settings: "dict[str, Setting]", file: Path) -> list[str]:
    """The command line of settings.

    Raises:
        RequestError: The command has no such setting.
    """
    options: dict[str, Any] = {}
    arguments: list[Any] = []
    for each in command.params:
        if each.name in NOT_SETTINGS:
            continue
        if each.param_type_name == "argument":
            arguments.append(each)
        else:
            options |= {option_name(each, value): each for value in (True, False)}
    names = {each.name for each in arguments}
    unknown = [name for name in settings if name not in options and name not in names]
    if unknown:
        raise RequestError(f"{file}: the command has no setting {unknown[0]!r} in this version", "LI-E105")
    words: list[str] = []
    for name, value in settings.items():
        if name in options and isinstance(value, bool):
            is_off = name in (options[name].secondary_opts or ())
            words += [name] if value or is_off else []
        elif name in options:
            words += [f"{name}={each}" for each in _listed(value)]
    given = [each for argument in arguments for each in _listed(settings.get(argument.name, []))]
    return [*words, "--", *map(str, given)]


def _listed(value: "Setting") -> "Sequence[Setting]":
    return value if isinstance(value, list) else [value]


def _show(result: "Replay", stored: dict[str, Any]) -> None:
    from lazarus_core.console import show
    from lazarus_tokenkit.tables import aligned

    weights = str(stored.get("provenance", {}).get("weights", "none"))[:16]
    same = not result.fingerprints
    rows = [
        ("command", result.command),
        ("model", f"the same weights and tokenizer ({weights})" if same else "another one"),
        *(("", f"{each.place}: {_short(each.stored)}, now {_short(each.again)}") for each in result.fingerprints),
        ("versions", "the same" if not result.versions else "others"),
        *(("", f"{each.place}: {each.stored}, now {each.again}") for each in result.versions),
        ("result", _verdict(result)),
    ]
    if result.differences:
        first = result.differences[0]
        rows.append(("first", f"{first.place}: {_short(first.stored)}, now {_short(first.again)}"))
    show(aligned(rows))


def _verdict(result: "Replay") -> str:
    if result.is_bit_equal:
        return f"equal, bit for bit: {result.values:,} values"
    if not result.num_different:
        same = f"{result.values:,} values within {result.tolerance:g}; the largest difference is {result.largest:.2g}"
        return f"equal: {same}" if result.is_equal else f"of another model, but {same}"
    return f"differs: {result.num_different:,} of {result.values:,} values"


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 70 else f"{text[:67]}..."
