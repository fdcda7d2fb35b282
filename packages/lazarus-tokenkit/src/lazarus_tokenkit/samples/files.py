"""Reads data files as rows: JSON Lines, JSON, CSV, Parquet, text, Hugging Face data sets.

A row is an object with its file and line. This module reports invalid files; `schemas` reports invalid fields. Files are
streamed; only JSON arrays are read whole. A row has at most `MAX_ROW_BYTES`, also in a compressed file.
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
from lazarus_core.jsonl import BlankLine, numbered_lines
from lazarus_core.printable import name_as_utf8
from lazarus_core.strict_json import BOM
from lazarus_core.strict_json import kind as json_kind
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.json_rows import MALFORMED, NOT_UTF8, parse_json
from lazarus_tokenkit.samples.reader_plugins import plugged_rows, plugged_suffixes

JSON = dict[str, Any]
Paths = Path | str | Sequence[Path | str]
"""One data path or several."""

LINES = (".jsonl", ".jsonl.gz", ".ndjson")
TEXTS = (".txt", ".md", ".rst")
SUFFIXES = (*LINES, ".json", ".csv", ".tsv", ".parquet", *TEXTS)
INDEX = ".idx"
"""Suffix of an index of Megatron; `.bin` has its ids. `lazarus-corpus` reads them."""
HUB = "hf:"
"""Prefix of a data set on the hub: `hf:owner/name`, `hf:owner/name:config`, `hf:owner/name:config:split`."""
PARQUET_ROWS = 100
"""Rows decoded at a time. With dictionary encoding, one text of `MAX_ROW_BYTES` can occur in all of them."""
MAX_ROW_BYTES = 12 << 20
"""Bytes of one row. A tokenizer needs up to 140 bytes of memory a byte of text (measured: `byte`, tokenizers 0.23), so a
row needs up to 1.7 GiB. The Bible has 4.5 MB, the longest row of the Pile's books 8 MB."""
NOT_TRUNCATED = ("cut off", "after a CR", "a comma after the value", "write null")
"""Words of errors that name another cause than a truncated file, or say so themselves."""
SHOWN_NAMES = 12
"""Largest number of field names in one message."""
NO_FILE, TOO_LARGE = "LT-E302", "LT-E316"


class PlacedRow(NamedTuple):
    """A row with its place.

    Args:
        members: The fields.
        path: The file.
        line: 1-based line, or 1-based row number for formats without lines.
        name: Id that follows from the place, such as the path of a text file; None means the row's position.
    """

    members: JSON
    path: Path
    line: int
    name: str | None = None

    @property
    def place(self) -> str:
        """File and line for messages, as `file:line`."""
        return f"{self.path}:{self.line}"


def read_objects(path: Path) -> Iterator[PlacedRow]:
    """Yields the rows of a file, a directory of text files or a data set.

    Raises:
        SampleError: The file is missing or malformed. The message names file and line.
    """
    if str(path).startswith(HUB):
        return _hub_rows(path)
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
    """Returns the files that contain the rows: the file itself, or all files of a directory, sorted.

    An index of Megatron has its ids in a second file.
    """
    if str(path).startswith(HUB):
        return []
    if path.suffix == INDEX:
        return [path, path.with_suffix(".bin")]
    return sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]


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
        raise _out_of_bounds(error) from error
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


def _out_of_bounds(error: InputError) -> SampleError:
    """Converts an error of `lazarus_core.bounded` to a `SampleError`."""
    return SampleError(error.message, TOO_LARGE if error.code == BEYOND_BOUND else NO_FILE)


def _read_whole(path: Path, max_bytes: int) -> bytes:
    """Reads a whole file without its byte order mark."""
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
                    raise SampleError(f"{place}: the row and the header have different numbers of cells", "LT-E308")
                yield PlacedRow(row, path, reader.line_num)
    except InputError as error:
        raise _out_of_bounds(error) from error
    except csv.Error as error:
        raise SampleError(f"{path}: malformed CSV: {error}", "LT-E308") from error


class _RowLines(Iterator[str]):
    """Decodes the lines of a CSV file, and limits the lines of one row to `MAX_ROW_BYTES` together."""

    def __init__(self, stream: IO[bytes], path: Path) -> None:
        self._lines = enumerate(read_lines(stream, path, max_bytes=MAX_ROW_BYTES), 1)
        self._path = path
        self.row_bytes = 0
        """Bytes read so far of the current row. The reader resets it after each row."""

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
    """Refuses two columns with the same name: readers would silently keep one of them, and not all the same one."""
    for name, count in Counter(names).items():
        if count > 1:
            raise SampleError(f"{path} has {count} columns `{name}`; rename all but one", "LT-E308")


def _parquet_rows(path: Path) -> Iterator[PlacedRow]:
    parquet = optional_module("pyarrow.parquet", "parquet", str(path))
    arrow_error = optional_module("pyarrow", "parquet", str(path)).ArrowException
    number = 0
    try:
        open_file(path).close()  # refuses anything but a regular file
        file = parquet.ParquetFile(path)
        _refuse_twice(file.schema_arrow.names, path)
        for batch in file.iter_batches(batch_size=PARQUET_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield PlacedRow(_arrow_row(row, f"{path}:{number}"), path, number)
    except InputError as error:
        raise _out_of_bounds(error) from error
    except OverflowError as error:
        raise SampleError(
            f"{path}: after row {number}: {error}; remove the column with that date", "LT-E308"
        ) from error
    except (arrow_error, ArithmeticError, LookupError, MemoryError, OSError, TypeError, ValueError) as error:
        raise SampleError(f"{path} is not Parquet: {_one_line(error)}", "LT-E308") from error


def _arrow_row(row: Mapping[str, Any], place: str) -> JSON:
    """Removes the null members that Arrow added to a row.

    All structs of a column share one type, and Arrow fills absent members with null. With `{"day": 3}` in another row,
    a call `{"city": "Bern"}` is stored as `{"city": "Bern", "day": null}`.
    """
    return {name: _without_null(value) for name, value in _bounded_row(row, place).items()}


def _bounded_row(row: Mapping[str, Any], place: str) -> JSON:
    """Returns a row unless it is too large."""
    size = sum(len(value) for value in row.values() if isinstance(value, str | bytes))
    if size > MAX_ROW_BYTES:
        raise SampleError(f"{place}: the row has more than {MAX_ROW_BYTES:,} characters; split it", TOO_LARGE)
    return dict(row)


def _without_null(value: Any) -> Any:
    match value:
        case dict():
            members = cast("JSON", value)
            return {name: _without_null(member) for name, member in members.items() if member is not None}
        case list():
            return [_without_null(element) for element in cast("list[Any]", value)]
        case _:
            return value


def _plugged_rows(path: Path, rows: Iterable[JSON]) -> Iterator[PlacedRow]:
    """Yields the rows of another package's reader, with the same size limit as all rows."""
    for number, row in enumerate(rows, 1):
        yield PlacedRow(_bounded_row(row, f"{path}:{number}"), path, number)


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
    ) as error:  # the folder is incomplete
        raise SampleError(
            f"{path} is not a complete saved data set: {_one_line(error)}; save it again", "LT-E308"
        ) from error


def _hub_rows(path: Path) -> Iterator[PlacedRow]:
    name, *rest = path.as_posix().removeprefix(HUB).split(":")
    config = rest[0] if rest and rest[0] else None
    split = rest[1] if len(rest) > 1 else "train"
    try:
        datasets = optional_module("datasets", "datasets", name)
        # The hub is streamed. With `HF_HUB_OFFLINE=1` the rows are those of the local cache, which is not streamed.
        is_streamed = not datasets.config.HF_HUB_OFFLINE
        dataset = datasets.load_dataset(name, config, split=split, streaming=is_streamed)
        for number, row in enumerate(dataset, 1):
            yield PlacedRow(_arrow_row(row, f"{name}:{number}"), path, number)
    except (OSError, ValueError) as error:
        raise SampleError(f"data set `{name}`: {_one_line(error)}", "LT-E309") from error


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def optional_module(name: str, extra: str, what: str) -> Any:
    """Imports a module of an optional dependency.

    Args:
        name: Name of the module.
        extra: Name of the extra that installs it.
        what: The data that needs it, for the message.

    Raises:
        SampleError: The module is not installed.
    """
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
