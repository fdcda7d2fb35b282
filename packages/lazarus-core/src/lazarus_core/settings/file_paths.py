"""Paths in files of settings, which are relative to the file's folder."""

import contextlib
from pathlib import Path
from typing import Any, cast, get_args, get_origin

from lazarus_core.settings.schema import Setting, members


def from_folder(setting: Setting, value: Any, folder: Path, *, is_name: bool) -> Any:
    """A value of a file with its paths, relative to the file's folder, as paths from here.

    Args:
        setting: The setting that has the value.
        value: As the file has it. What is no path comes back unchanged.
        folder: Folder of the file.
        is_name: Whether a value that is no path there can be a name.
    """
    if is_name:
        is_path = isinstance(value, str) and value and (value.startswith(("./", "../")) or _is_there(folder / value))
        return str(folder / value) if is_path else value
    if not _holds_paths(setting.annotation):
        return value
    match value:
        case str() | list():
            return _placed(cast("Any", value), folder)
        case dict():
            pairs = cast("dict[str, Any]", value).items()
            return {name: _placed(each, folder) for name, each in pairs}
        case _:
            return value


def _placed(value: Any, folder: Path) -> Any:
    """A path or a list of paths, relative to a folder. An empty text is no path, least of all that of the folder."""
    match value:
        case "":
            return value
        case str():
            return str(folder / value)
        case list():
            return [_placed(each, folder) for each in cast("list[Any]", value)]
        case _:
            return value


def _holds_paths(annotation: Any) -> bool:
    found = members(annotation)
    return any(
        part is Path or (get_origin(part) in (tuple, list, dict) and any(map(_holds_paths, get_args(part))))
        for part in found
    )


def _is_there(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError):
        return path.exists()
    return False
