"""Reads data files as rows: JSON Lines, JSON, CSV, Parquet, text, Hugging Face data sets.

A row is an object with its file and line. This module reports invalid files; `schemas` reports invalid fields. Files are
streamed; only JSON arrays are read whole. A row has at most `MAX_ROW_BYTES`, also in a compressed file.
"""

import gzip
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, cast

from lazarus_core.bounded import MAX_FILE_BYTES, open_file, read_bytes, read_lines
from lazarus_core.errors import InputError
from lazarus_core.jsonl import BlankLine, numbered_lines
from lazarus_core.printable import name_as_utf8
from lazarus_core.strict_json import BOM
from lazarus_core.strict_json import kind as json_kind
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.arrow_tables import HUB, hub_rows, parquet_rows, saved_rows
from lazarus_tokenkit.samples.csv_files import csv_rows
from lazarus_tokenkit.samples.json_rows import MALFORMED, NOT_UTF8, parse_json
from lazarus_tokenkit.samples.placed_row import JSON, MAX_ROW_BYTES, NO_FILE, PlacedRow, bounded_row, out_of_bounds
from lazarus_tokenkit.samples.reader_plugins import plugged_rows, plugged_suffixes

Paths = Path | str | Sequence[Path | str]
"""One data path or several."""

LINES = (".jsonl", ".jsonl.gz", ".ndjson")
TEXTS = (".txt", ".md", ".rst")
SUFFIXES = (*LINES, ".json", ".csv", ".tsv", ".parquet", *TEXTS)
INDEX = ".idx"
"""Suffix of an index of Megatron; `.bin` has its ids. `lazarus-corpus` reads them."""
NOT_TRUNCATED = ("cut off", "after a CR", "a comma after the value", "write null")
"""Words of errors that name another cause than a truncated file, or say so themselves."""
SHOWN_NAMES = 12
"""Largest number of field names in one message."""


def read_objects(path: Path) -> Iterator[PlacedRow]:
    """Yields the rows of a file, a directory of text files or a data set.

    Raises:
        SampleError: The file is missing or malformed. The message names file and line.
    """
    if str(path).startswith(HUB):
        return hub_rows(path)
    if path.is_dir():
        return _directory_rows(path)
    if not path.exists():
        raise SampleError(f"{path} does not exist: correct the path", NO_FILE)
    for suffixes, read in _READERS.items():
        if path.name.endswith(suffixes):
            return read(path)
    if (rows := plugged_rows(path)) is not None:
        return _plugged_rows(path, rows)
    known = ", ".join([*SUFFIXES, *plugged_suffixes()])
    raise SampleError(f"{path} is not one of {known}: give JSON Lines files", NO_FILE)


def data_files(path: Path) -> list[Path]:
    """Returns the files that contain the rows: the file itself, or all visible files of a directory, sorted.

    An index of Megatron has its ids in a second file.
    """
    if str(path).startswith(HUB):
        return []
    if path.suffix == INDEX:
        return [path, path.with_suffix(".bin")]
    return sorted(visible_files(path)) if path.is_dir() else [path]


def visible_files(folder: Path) -> list[Path]:
    """Returns the files of a folder and its subfolders, in no order, without those that have a hidden name (`.git/`, `._a`)."""
    found = (
        file for file in folder.rglob("*") if not any(part.startswith(".") for part in file.relative_to(folder).parts)
    )
    return [file for file in found if file.is_file()]


def count_objects(path: Path) -> int | None:
    """Returns the number of rows of a JSON Lines file, or None for other formats, where counting means reading."""
    if not path.name.endswith(LINES) or not path.is_file():
        return None
    return sum(1 for _ in _lines(path))


def kind(value: Any) -> str:
    """Returns the type of a value in words, for messages."""
    match value:
        case bytes():  # a type that Parquet has and JSON lacks
            return "bytes"
        case _:
            return json_kind(value)


def list_names(names: Iterable[str]) -> str:
    """Lists names for a message, at most `SHOWN_NAMES`."""
    listed = sorted(names)
    rest = f" and {len(listed) - SHOWN_NAMES} more" if len(listed) > SHOWN_NAMES else ""
    return ", ".join(f"`{name}`" for name in listed[:SHOWN_NAMES]) + rest or "no fields at all"


def _line_rows(path: Path) -> Iterator[PlacedRow]:
    try:
        for number, _, line in numbered_lines(_lines(path), path):
            row = _parse_line(line, path, number)
            if isinstance(row, list) and number == 1:
                raise SampleError(f"{path}:1: the row is a list, not an object; {_list_hint(path)}", "LT-E307")
            yield PlacedRow(_object(row, path, number), path, number)
    except BlankLine as error:
        raise SampleError(f"{error.place}: {error.problem}", "LT-E304") from error


def _parse_line(line: bytes, path: Path, number: int) -> Any:
    try:
        return parse_json(line, path, number)
    except SampleError as error:
        if number == 1 and line.lstrip().startswith(b"["):
            raise SampleError(f"{error.message}; {_list_hint(path)}", error.code) from error
        if line.endswith(b"\n") or error.code != MALFORMED or any(words in error.message for words in NOT_TRUNCATED):
            raise
        hint = "it is the last line and has no line feed, so the file may be truncated; fetch or write it again"
        raise SampleError(f"{error.message}; {hint}", MALFORMED) from error


def _list_hint(path: Path) -> str:
    unpack = "unpack it and " if path.suffix == ".gz" else ""
    name = path.name.removesuffix(".gz").removesuffix(path.with_suffix("").suffix if unpack else path.suffix)
    return f"the file begins with a list: if it is one JSON list, {unpack}rename it to {name}.json"


def _lines(path: Path) -> Iterator[bytes]:
    """Yields the lines of a file, with their line feeds."""
    try:
        with _open(path) as stream:
            yield from read_lines(stream, path, max_bytes=MAX_ROW_BYTES)
    except InputError as error:
        raise out_of_bounds(error) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SampleError(f"{path} is not a complete gzip file: {error}", NO_FILE) from error


@contextmanager
def _open(path: Path) -> Generator[IO[bytes]]:
    with open_file(path) as stream:
        if path.suffix != ".gz":
            yield stream
            return
        with gzip.GzipFile(fileobj=stream) as unpacked:
            yield cast("IO[bytes]", unpacked)


def _read_whole(path: Path, max_bytes: int) -> bytes:
    """Reads a whole file without its byte order mark."""
    try:
        return read_bytes(path, max_bytes).removeprefix(BOM)
    except InputError as error:
        raise out_of_bounds(error) from error


def _object(value: Any, path: Path, number: int) -> JSON:
    if not isinstance(value, dict):
        raise SampleError(f"{path}:{number}: the row is {kind(value)}, not an object", "LT-E307")
    return cast("JSON", value)


def _json_rows(path: Path) -> Iterator[PlacedRow]:
    content = _read_whole(path, MAX_FILE_BYTES)
    try:
        rows = parse_json(content, path)
    except SampleError as error:
        if error.code == MALFORMED and _begins_with_a_row(content):
            hint = f"line 1 is a complete row: if every line is one, rename the file to {path.stem}.jsonl"
            raise SampleError(f"{error.message}; {hint}", MALFORMED) from error
        raise
    if not isinstance(rows, list):
        raise SampleError(f"{path} is {kind(rows)}, not a list of rows", "LT-E307")
    for number, row in enumerate(cast("list[Any]", rows), 1):
        yield PlacedRow(_object(row, path, number), path, number)


def _begins_with_a_row(content: bytes) -> bool:
    """Whether the first of several lines is an object, as in JSON Lines."""
    first, _, rest = content.partition(b"\n")
    try:
        return bool(rest.strip()) and isinstance(parse_json(first, Path()), dict)
    except SampleError:
        return False


def _plugged_rows(path: Path, rows: Iterable[JSON]) -> Iterator[PlacedRow]:
    """Yields the rows of another package's reader, with the same size limit as all rows."""
    for number, row in enumerate(rows, 1):
        yield PlacedRow(bounded_row(row, f"{path}:{number}"), path, number)


def _text_rows(path: Path, name: str | None = None) -> Iterator[PlacedRow]:
    try:
        text = _read_whole(path, MAX_ROW_BYTES).decode()
    except UnicodeDecodeError as error:
        raise SampleError(f"{path}: byte {error.start + 1} is not UTF-8; convert the file", NOT_UTF8) from error
    yield PlacedRow({"text": text}, path, 1, name)


def _directory_rows(path: Path) -> Iterator[PlacedRow]:
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        yield from saved_rows(path)
        return
    texts = [file for file in data_files(path) if file.suffix in TEXTS]
    if not texts:
        raise SampleError(
            f"{path} is a directory without {', '.join(TEXTS)}: give JSON Lines files, texts or a saved data set",
            NO_FILE,
        )
    for file in texts:
        yield from _text_rows(file, name_as_utf8(file.relative_to(path).as_posix()))


_READERS: Mapping[tuple[str, ...], Callable[[Path], Iterator[PlacedRow]]] = {
    LINES: _line_rows,
    (".json",): _json_rows,
    (".csv", ".tsv"): csv_rows,
    (".parquet",): parquet_rows,
    TEXTS: _text_rows,
}
