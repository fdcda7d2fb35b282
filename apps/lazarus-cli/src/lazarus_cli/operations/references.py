"""What other runs, plans and links use, so that a cleanup leaves it."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from lazarus_cli.operations.artifacts import MAX_BYTES, walk_folders
from lazarus_core.errors import LazarusError
from lazarus_core.strict_json import read_object
from lazarus_train.run_dir import is_run, run_record

JSON = dict[str, Any]


DEPTH = 4
"""How deep other folders are searched for runs and links."""


def used_paths(folders: Iterable[Path]) -> tuple[frozenset[Path], frozenset[int]]:
    """Paths that runs and links in some folders use, and the steps at which plans in them were rebased.

    Args:
        folders: Searched with the folders in them, `DEPTH` deep; links are read, not followed.

    Returns:
        Absolute paths without links, and steps.
    """
    used: set[Path] = set()
    rebased: set[int] = set()
    seen: set[Path] = set()
    for place in folders:
        if place.resolve() in seen or not place.is_dir():
            continue
        for folder in walk_folders(place, lambda _: False, DEPTH):
            seen.add(folder.resolve())
            if is_run(folder):
                used |= _inputs(folder)
            rebased |= _rebased_at(folder)
            used |= _targets(folder)
    return frozenset(used), frozenset(rebased)


def _inputs(run: Path) -> set[Path]:
    """Every path in the settings of a run but its output."""
    record = run_record(run)
    began_in, config = Path(str(record["folder"])), cast("JSON", record["config"])
    texts = _texts([value for name, value in config.items() if name != "output"])
    return {(began_in / text).resolve() for text in texts if "/" in text or (began_in / text).exists()}


def _texts(value: Any) -> Iterator[str]:
    """Texts in settings that may be paths."""
    match value:
        case str() if 0 < len(value) < os.pathconf("/", "PC_PATH_MAX") and "\0" not in value and "\n" not in value:
            yield value
        case dict():
            for each in cast("JSON", value).values():
                yield from _texts(each)
        case list():
            for each in cast("list[Any]", value):
                yield from _texts(each)
        case _:
            return


def _rebased_at(folder: Path) -> set[int]:
    try:
        parent = read_object(folder / "metadata.json", max_bytes=MAX_BYTES).get("parent")
    except (LazarusError, OSError):
        return set()
    steps = cast("JSON", parent).get("steps") if isinstance(parent, dict) else None
    return {steps} if isinstance(steps, int) else set()


def _targets(folder: Path) -> set[Path]:
    """Targets of the links in a folder; those of `latest` and `best` are the run's own and are left to it."""
    try:
        with os.scandir(folder) as entries:
            links = [Path(each.path) for each in entries if each.is_symlink()]
    except OSError:
        return set()
    return {each.resolve() for each in links if each.name not in ("latest", "best")}
