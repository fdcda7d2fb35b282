"""Data files to rows, whatever the form: JSON Lines, JSON, CSV, Parquet, text, a Hugging Face data set.

A row is an object with its place. What is wrong with a file is said here; what is wrong with a row's fields, by `forms`.
Files are read as they come: only JSON arrays are held whole. A row has at most `MAX_ROW_BYTES`, however small the file
that unpacks to it.
"""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from lazarus_core.bounded import BEYOND_BOUND, MAX_FILE_BYTES, open_file, read_bytes, read_lines
from lazarus_core.errors import InputError
from lazarus_core.printable import name_as_utf8
from lazarus_core.strict_json import BOM
from lazarus_core.strict_json import kind as json_kind
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.json_rows import MALFORMED, NOT_UTF8, parse_json

JSON = dict[str, Any]
Paths = Path | str | Sequence[Path | str]
"""Where data are: one place or several."""

LINES = (".jsonl", ".jsonl.gz", ".ndjson")
TEXTS = (".txt", ".md", ".rst")
SUFFIXES = (*LINES, ".json", ".csv", ".tsv", ".parquet", *TEXTS)
HUB = "hf:"
"""`hf:owner/name`, `hf:owner/name:config`, `hf:owner/name:config:split`: a data set of the hub."""
PARQUET_ROWS = 100
"""Rows decoded at a time. A dictionary may repeat one text of `MAX_ROW_BYTES` in all of them."""
MAX_ROW_BYTES = 12 << 20
"""Of one row. A tokenizer takes up to 140 bytes of memory for a byte of text (measured: `byte`, tokenizers 0.23): 1.7 GiB.
The Bible has 4.5 MB, the longest row of the Pile's books 8 MB."""
SHOWN_NAMES = 12
"""Names of fields in one message."""
MAX_BLANK_LINES = 1000
"""At the end of a file: blank lines are skipped there, and compress to nothing."""
NO_FILE, TOO_LARGE = "LT-E302", "LT-E316"


class PlacedRow(NamedTuple):
    """A row and where it stands.

    Args:
        members: Its fields.
        path: Its file.
        line: Its 1-based line, or its number where the form has no lines.
        name: The name that its place gives it, or None: its position.
    """

    members: JSON
    path: Path
    line: int
    name: str | None = None

    @property
    def place(self) -> str:
        """`file:line`, for messages."""
        return f"{self.path}:{self.line}"


def read_objects(path: Path) -> Iterator[PlacedRow]:
    """The rows of a file, a directory of texts or a data set.

    Raises:
        SampleError: Whatever is wrong with it; the message names file and line.
    """
    if str(path).startswith(HUB):
        return _hub_rows(path)
    if path.is_dir():
        return _directory_rows(path)
    if not path.exists():
        raise SampleError(f"{path} does not exist", NO_FILE)
    for suffixes, read in _READERS.items():
        if path.name.endswith(suffixes):
            return read(path)
    raise SampleError(f"{path} is not one of {', '.join(SUFFIXES)}: give JSON Lines files", NO_FILE)


def data_files(path: Path) -> list[Path]:
    """The files that hold the rows: the file itself, or all of a directory, sorted."""
    if str(path).startswith(HUB):
        return []
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


def count_objects(path: Path) -> int | None:
    """Number of rows, where counting is cheaper than reading; None elsewhere."""
    if not path.name.endswith(LINES) or not path.is_file():
        return None
    return sum(1 for _ in _lines(path))


def kind(value: Any) -> str:
    """What a value is, in words."""
    match value:
        case bytes():  # Parquet has more kinds than JSON
            return "bytes"
        case _:
            return json_kind(value)


def list_names(names: Iterable[str]) -> str:
    """Names for a message."""
    listed = sorted(names)
    rest = f" and {len(listed) - SHOWN_NAMES} more" if len(listed) > SHOWN_NAMES else ""
    return ", ".join(f"`{name}`" for name in listed[:SHOWN_NAMES]) + rest or "no fields at all"


def _line_rows(path: Path) -> Iterator[PlacedRow]:
    blank = 0
    for number, line in enumerate(_lines(path), 1):
        if number == 1:
            line = line.removeprefix(BOM)
        if line.isspace():
            blank = blank or number
            if number - blank >= MAX_BLANK_LINES:
                raise SampleError(f"{path}:{number}: {MAX_BLANK_LINES:,} blank lines; remove them", "LT-E304")
            continue
        if blank:  # at the end of a file it is a matter of taste, elsewhere a row is missing
            raise SampleError(f"{path}:{blank}: blank line between rows; remove it", "LT-E304")
        try:
            row = parse_json(line, path, number)
        except SampleError as error:
            if line.endswith(b"\n") or error.code != MALFORMED or "cut off" in error.message:
                raise
            words = "it is the last line and has no end, so the file seems cut off; fetch or write it again"
            raise SampleError(f"{error.message}; {words}", MALFORMED) from error
        yield PlacedRow(_object(row, path, number), path, number)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, with their ends."""
    try:
        with _open(path) as stream:
            yield from read_lines(stream, path, max_bytes=MAX_ROW_BYTES)
    except InputError as error:
        raise _out_of_bounds(error) from error
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SampleError(f"{path} is not a whole gzip file: {error}", NO_FILE) from error


@contextmanager
def _open(path: Path) -> Generator[IO[bytes]]:
    with open_file(path) as stream:
        if path.suffix != ".gz":
            yield stream
            return
        with gzip.GzipFile(fileobj=stream) as unpacked:
            yield cast("IO[bytes]", unpacked)


def _out_of_bounds(error: InputError) -> SampleError:
    """What `lazarus_core.bounded` refuses, as an error of data."""
    return SampleError(error.message, TOO_LARGE if error.code == BEYOND_BOUND else NO_FILE)


def _read_whole(path: Path, max_bytes: int) -> bytes:
    """The content of a file, without a byte order mark at its start."""
    try:
        return read_bytes(path, max_bytes).removeprefix(BOM)
    except InputError as error:
        raise _out_of_bounds(error) from error


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
            words = f"{error.message}; line 1 is a row by itself: if each line is, name the file {path.stem}.jsonl"
            raise SampleError(words, MALFORMED) from error
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


def _csv_rows(path: Path) -> Iterator[PlacedRow]:
    csv.field_size_limit(MAX_ROW_BYTES)  # the default of 131,072 is less than a long document
    try:
        with open_file(path) as stream:
            lines = _RowLines(stream, path)
            reader = csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
            _refuse_twice(reader.fieldnames or (), path)
            for row in reader:
                lines.row_bytes = 0
                place = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise SampleError(f"{place}: the row has not as many cells as the head", "LT-E308")
                yield PlacedRow(row, path, reader.line_num)
    except InputError as error:
        raise _out_of_bounds(error) from error
    except csv.Error as error:
        raise SampleError(f"{path}: malformed CSV: {error}", "LT-E308") from error


class _RowLines(Iterator[str]):
    """The lines of a CSV file as texts; those of one row have together at most `MAX_ROW_BYTES`."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._lines = enumerate(read_lines(stream, path, max_bytes=MAX_ROW_BYTES), 1)
        self._path = path
        self.row_bytes = 0
        """Of the row that is being read."""

    def __next__(self) -> str:
        number, line = next(self._lines)
        self.row_bytes += len(line)
        if self.row_bytes > MAX_ROW_BYTES:
            raise SampleError(
                f"{self._path}:{number}: the row has more than {MAX_ROW_BYTES:,} bytes; split it", TOO_LARGE
            )
        try:
            return (line.removeprefix(BOM) if number == 1 else line).decode()
        except UnicodeDecodeError as error:
            raise SampleError(f"{self._path}:{number}: not UTF-8; convert the file", NOT_UTF8) from error


def _refuse_twice(names: Iterable[str], path: Path) -> None:
    """Of two columns of one name, readers take one in silence, and not all the same."""
    for name, count in Counter(names).items():
        if count > 1:
            raise SampleError(f"{path} has {count} columns `{name}`; rename all but one", "LT-E308")


def _parquet_rows(path: Path) -> Iterator[PlacedRow]:
    parquet = optional_module("pyarrow.parquet", "parquet", str(path))
    arrow_error = optional_module("pyarrow", "parquet", str(path)).ArrowException
    number = 0
    try:
        open_file(path).close()  # refuses what is no regular file
        file = parquet.ParquetFile(path)
        _refuse_twice(file.schema_arrow.names, path)
        for batch in file.iter_batches(batch_size=PARQUET_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield PlacedRow(_arrow_row(row, f"{path}:{number}"), path, number)
    except InputError as error:
        raise _out_of_bounds(error) from error
    except OverflowError as error:
        where = f"{path}: behind row {number}"
        raise SampleError(f"{where}: {error}; leave the column with that date out", "LT-E308") from error
    except (arrow_error, ArithmeticError, LookupError, MemoryError, OSError, TypeError, ValueError) as error:
        raise SampleError(f"{path} is not Parquet: {_one_line(error)}", "LT-E308") from error


def _arrow_row(row: Mapping[str, Any], place: str) -> JSON:
    """A row without the members that Arrow gave it.

    Every struct of a column has all members that any has, with null for those that it came without: a call
    `{"city": "Bern"}` beside another `{"day": 3}` would become `{"city": "Bern", "day": null}`.
    """
    size = sum(len(value) for value in row.values() if isinstance(value, str | bytes))
    if size > MAX_ROW_BYTES:
        raise SampleError(f"{place}: the row has more than {MAX_ROW_BYTES:,} characters; split it", TOO_LARGE)
    return {name: _without_null(value) for name, value in row.items()}


def _without_null(value: Any) -> Any:
    match value:
        case dict():
            members = cast("JSON", value)
            return {name: _without_null(member) for name, member in members.items() if member is not None}
        case list():
            return [_without_null(element) for element in cast("list[Any]", value)]
        case _:
            return value


def _text_rows(path: Path, name: str | None = None) -> Iterator[PlacedRow]:
    try:
        text = _read_whole(path, MAX_ROW_BYTES).decode()
    except UnicodeDecodeError as error:
        raise SampleError(f"{path}: byte {error.start + 1} is not UTF-8; convert the file", NOT_UTF8) from error
    yield PlacedRow({"text": text}, path, 1, name)


def _directory_rows(path: Path) -> Iterator[PlacedRow]:
    if any((path / name).is_file() for name in ("dataset_dict.json", "state.json")):
        yield from _saved_rows(path)
        return
    texts = [file for file in data_files(path) if file.suffix in TEXTS]
    if not texts:
        raise SampleError(
            f"{path} is a directory without {', '.join(TEXTS)}: give JSON Lines files, texts or a saved data set",
            NO_FILE,
        )
    for file in texts:
        yield from _text_rows(file, name_as_utf8(file.relative_to(path).as_posix()))


def _saved_rows(path: Path) -> Iterator[PlacedRow]:
    datasets = optional_module("datasets", "datasets", str(path))
    try:
        dataset = datasets.load_from_disk(str(path))
        if hasattr(dataset, "keys"):
            split, *others = dataset
            if others:
                raise SampleError(
                    f"{path} has the splits {', '.join(dataset)}: give one, such as {path / split}", "LT-E302"
                )
            dataset = dataset[split]
        for number, row in enumerate(dataset, 1):
            yield PlacedRow(_arrow_row(row, f"{path}:{number}"), path, number)
    except (
        AttributeError,
        MemoryError,
        ArithmeticError,
        LookupError,
        OSError,
        TypeError,
        ValueError,
    ) as error:  # of a folder that is not whole
        raise SampleError(f"{path} is no whole saved data set: {_one_line(error)}; save it again", "LT-E308") from error


def _hub_rows(path: Path) -> Iterator[PlacedRow]:
    name, *rest = path.as_posix().removeprefix(HUB).split(":")
    config = rest[0] if rest and rest[0] else None
    split = rest[1] if len(rest) > 1 else "train"
    try:
        dataset = optional_module("datasets", "datasets", name).load_dataset(name, config, split=split, streaming=True)
        for number, row in enumerate(dataset, 1):
            yield PlacedRow(_arrow_row(row, f"{name}:{number}"), path, number)
    except (OSError, ValueError) as error:
        raise SampleError(f"data set `{name}`: {_one_line(error)}", "LT-E309") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def optional_module(name: str, extra: str, what: str) -> Any:
    """A module that an extra brings, as an open type: what crosses the border is typed where it is called."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise SampleError(f"{what}: to read it, install lazarus-tokenkit[{extra}]", "LT-E309") from error


_READERS: Mapping[tuple[str, ...], Callable[[Path], Iterator[PlacedRow]]] = {
    LINES: _line_rows,
    (".json",): _json_rows,
    (".csv", ".tsv"): _csv_rows,
    (".parquet",): _parquet_rows,
    TEXTS: _text_rows,
}
