"""Recognises the artifacts that Lazarus commands write: runs, recipes, corpora, plans, models, tokenizers.

An artifact is recognised by its own files, never by its name. Symbolic links to folders are not followed.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from lazarus_cli.operations.errors import OperationError
from lazarus_core.errors import LazarusError
from lazarus_core.reasons import absent_or
from lazarus_core.strict_json import read_object
from lazarus_train.run_dir import is_run

JSON = dict[str, Any]
RUN, RECIPE, CORPUS, PLAN, MODEL, TOKENIZER = "run", "recipe", "corpus", "plan", "model", "tokenizer"
RECIPE_LOCK, RECIPE_STATE = "lazarus.lock", ".lazarus"
"""Lock of a finished recipe, and the folder with the records of its stages."""
MAX_FOLDERS = 100_000
"""Largest number of folders that a search enters."""
MAX_DEPTH = 16
"""Deepest folder that a search enters."""
MAX_BYTES = 64 << 20
"""Largest JSON file that is read to recognise an artifact."""


class Artifact(NamedTuple):
    """An artifact.

    Args:
        path: Its folder.
        kind: What it is: run, recipe, corpus, plan, model or tokenizer.
    """

    path: Path
    kind: str


def kind_of(path: Path) -> str | None:
    """What a folder is; None if it is no artifact."""
    if is_run(path):
        return RUN
    if (path / RECIPE_LOCK).is_file() or (path / RECIPE_STATE / "lock").is_file():
        return RECIPE
    if _members(path / "metadata.json").get("plan_format_version") is not None:
        return PLAN
    if str(_members(path / "manifest.json").get("format", "")).startswith("lazarus-corpus-"):
        return CORPUS
    if "model_type" in _members(path / "config.json"):
        return MODEL
    return TOKENIZER if (path / "tokenizer.json").is_file() or any(path.glob("*.model")) else None


def find_artifacts(folder: Path) -> Iterator[Artifact]:
    """Searches a folder, itself included, for artifacts, in the order of their paths.

    Artifacts inside another one are its parts and are left out, except the runs and corpora of a recipe, and the runs
    inside a run.

    Args:
        folder: Where the search begins.

    Raises:
        OperationError: It is no folder, or it has more than `MAX_FOLDERS` folders.
    """
    if not folder.is_dir():
        raise OperationError(f"{absent_or(folder, 'is a file')}: give a folder", "LC-E270")
    entered = 0
    waiting = [(folder, 0, False)]
    while waiting:
        here, depth, in_run = waiting.pop()
        entered += 1
        if entered > MAX_FOLDERS:
            raise OperationError(
                f"{folder} has more than {MAX_FOLDERS:,} folders: give the folder of the runs", "LC-E270"
            )
        kind = kind_of(here)
        if kind is not None and (kind == RUN or not in_run):
            yield Artifact(here, kind)
        if kind in (None, RUN, RECIPE) and depth < MAX_DEPTH:
            inner = _folders(here)
            if kind == RUN or in_run:
                inner = [each for each in inner if is_run(each)]  # as `control`
            waiting += [(each, depth + 1, in_run or kind == RUN) for each in reversed(inner)]


def walk_folders(folder: Path, is_end: Callable[[Path], bool], depth: int = MAX_DEPTH) -> Iterator[Path]:
    """A folder and all folders in it, in no certain order, at most `MAX_FOLDERS`. Links are not followed.

    Args:
        folder: Where to begin.
        is_end: Whether the folders inside a folder are left out.
        depth: How deep to go; 0 gives the folder alone.

    Raises:
        OperationError: There are more folders.
    """
    waiting, entered = [(folder, depth)], 0
    while waiting:
        here, left = waiting.pop()
        entered += 1
        if entered > MAX_FOLDERS:
            raise OperationError(
                f"{folder} has more than {MAX_FOLDERS:,} folders: give the folder of the runs", "LC-E270"
            )
        yield here
        if left and not is_end(here):
            waiting += [(each, left - 1) for each in _folders(here)]


def _folders(path: Path) -> list[Path]:
    """The folders in a folder, sorted; links, hidden ones and those that cannot be read are left out."""
    try:
        with os.scandir(path) as entries:
            names = [each.name for each in entries if each.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    return [path / name for name in sorted(names) if not name.startswith(".")]


def _members(path: Path) -> JSON:
    """The members of a JSON file; {} if there is none that can be read."""
    try:
        return read_object(path, max_bytes=MAX_BYTES)
    except (LazarusError, OSError):
        return {}
