"""Items of data files: rows with their places, a seeded sample of them, and digests of the files."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from lazarus_core.bounded import open_file
from lazarus_models.errors import EvaluationError
from lazarus_models.evaluation.task import TaskSettings
from lazarus_tokenkit.samples import PlacedRow, read_objects

Value = TypeVar("Value")
BAD_ROW, NO_ITEMS = "LM-E502", "LM-E503"
_MAX_FILES = 10_000
_CHUNK = 1 << 20
"""Bytes of a file that are read at once."""


def rows_of(path: Path) -> list[PlacedRow]:
    """The rows of a data file, with their places.

    Raises:
        SampleError: The file is missing or malformed.
        EvaluationError: It has no rows.
    """
    found = list(read_objects(path))
    if not found:
        raise EvaluationError(f"{path} has no rows; give a file with items", NO_ITEMS)
    return found


def sampled(items: Sequence[Value], settings: TaskSettings) -> list[Value]:
    """The items that `limit` keeps: a random sample without replacement, in the order of the data.

    Args:
        items: All items.
        settings: `limit` and `seed`.
    """
    if settings.limit is None or settings.limit >= len(items):
        return list(items)
    chosen = np.random.default_rng(settings.seed).choice(len(items), settings.limit, replace=False)
    return [items[place] for place in sorted(chosen.tolist())]


def digests_of(paths: Mapping[str, Path]) -> dict[str, str]:
    """SHA-256 of data files by the name of their setting; of a folder, one digest of names and contents.

    Raises:
        EvaluationError: A folder has too many files.
    """
    return {name: f"sha256:{_folder(path) if path.is_dir() else _file(path)}" for name, path in paths.items()}


def _folder(path: Path) -> str:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    if len(files) > _MAX_FILES:
        raise EvaluationError(f"{path} has more than {_MAX_FILES:,} files; give one data file", NO_ITEMS)
    sha = hashlib.sha256()
    for file in files:
        sha.update(f"{file.relative_to(path).as_posix()}\0{_file(file)}\n".encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def _file(path: Path) -> str:
    sha = hashlib.sha256()
    with open_file(path) as stream:
        while chunk := stream.read(_CHUNK):
            sha.update(chunk)
    return sha.hexdigest()


def text_of(row: PlacedRow, *names: str) -> str:
    """A text field of a row.

    Args:
        row: The row.
        names: Names of the field; the first one that the row has counts.

    Raises:
        EvaluationError: The row has none of them, or the value is no text.
    """
    value = value_of(row, *names)
    if not isinstance(value, str):
        raise bad_row(row, f"`{_present(row, names)}` must be a text")
    return value


def value_of(row: PlacedRow, *names: str) -> Any:
    """A field of a row.

    Args:
        row: The row.
        names: Names of the field; the first one that the row has counts.

    Raises:
        EvaluationError: The row has none of them.
    """
    name = _present(row, names)
    if name is None:
        has = ", ".join(f"`{each}`" for each in list(row.members)[:8]) or "no fields"
        raise bad_row(row, f"`{names[0]}` is missing; the row has {has}")
    return row.members[name]


def bad_row(row: PlacedRow, words: str) -> EvaluationError:
    """The error of a row.

    Args:
        row: The row.
        words: What is wrong, and the way out.
    """
    return EvaluationError(f"{row.place}: {words}", BAD_ROW)


def row_ids(rows: Sequence[PlacedRow]) -> list[str]:
    """The id of each row: its field `id` if every row has another one, else its position."""
    given = [row.members.get("id") for row in rows]
    texts = [str(each) for each in given if isinstance(each, str | int)]
    return texts if len(set(texts)) == len(rows) else [str(place) for place in range(len(rows))]


def _present(row: PlacedRow, names: Sequence[str]) -> str | None:
    return next((name for name in names if row.members.get(name) is not None), None)
