"""Data files to rows, whatever the form: JSON Lines, JSON, CSV, Parquet, text, a Hugging Face data set.

A row is an object with its place. What is wrong with a file is said here; what is wrong with a row's fields, by `forms`.
Files are read as they come: only JSON arrays are held whole.
"""

import csv
import gzip
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NamedTuple, cast

from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.strict_json import MALFORMED, NOT_UTF8, parse_json

JSON = dict[str, Any]
Paths = Path | str | Sequence[Path | str]
"""Where data are: one place or several."""

LINES = (".jsonl", ".jsonl.gz", ".ndjson")
TEXTS = (".txt", ".md", ".rst")
SUFFIXES = (*LINES, ".json", ".csv", ".tsv", ".parquet", *TEXTS)
HUB = "hf:"
"""`hf:owner/name`, `hf:owner/name:config`, `hf:owner/name:config:split`: a data set of the hub."""
UTF8_BOM = b"\xef\xbb\xbf"
PARQUET_ROWS = 1000
NO_FILE = "LT-E302"


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
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a text"
        case list():
            return "a list"
        case dict():
            return "an object"
        case bytes():
            return "bytes"
        case _:  # Parquet has more kinds than JSON
            return f"a {type(cast('object', value)).__name__}"


def list_names(names: Iterable[str]) -> str:
    """Names for a message."""
    return ", ".join(f"`{name}`" for name in sorted(names)) or "no fields at all"


def _line_rows(path: Path) -> Iterator[PlacedRow]:
    blank = 0
    for number, line in enumerate(_lines(path), 1):
        if number == 1:
            line = line.removeprefix(UTF8_BOM)
        if line.isspace():
            blank = blank or number
            continue
        if blank:  # at the end of a file it is a matter of taste, elsewhere a row is missing
            raise SampleError(f"{path}:{blank}: blank line between rows; remove it", "LT-E304")
        try:
            row = parse_json(line, path, number)
        except SampleError as error:
            if line.endswith(b"\n") or error.code != MALFORMED:
                raise
            words = "it is the last line and has no end, so the file seems cut off; fetch or write it again"
            raise SampleError(f"{error.message}; {words}", MALFORMED) from error
        yield PlacedRow(_object(row, path, number), path, number)


def _lines(path: Path) -> Iterator[bytes]:
    """The lines of a file, with their ends."""
    try:
        with _open(path) as stream:
            yield from stream
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SampleError(f"{path} is not a whole gzip file: {error}", NO_FILE) from error


def _open(path: Path) -> IO[bytes]:
    return cast("IO[bytes]", gzip.open(path)) if path.suffix == ".gz" else path.open("rb")


def _object(value: Any, path: Path, number: int) -> JSON:
    if not isinstance(value, dict):
        raise SampleError(f"{path}:{number}: the row is {kind(value)}, not an object", "LT-E307")
    return cast("JSON", value)


def _json_rows(path: Path) -> Iterator[PlacedRow]:
    content = path.read_bytes().removeprefix(UTF8_BOM)
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
    csv.field_size_limit(1 << 30)  # the default of 131,072 is less than a long document
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
            _refuse_twice(reader.fieldnames or (), path)
            for row in reader:
                place = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise SampleError(f"{place}: the row has not as many cells as the head", "LT-E308")
                yield PlacedRow(row, path, reader.line_num)
    except UnicodeDecodeError as error:
        raise SampleError(f"{path}:{_line_not_utf8(path)}: not UTF-8; convert the file", NOT_UTF8) from error
    except csv.Error as error:
        raise SampleError(f"{path}: malformed CSV: {error}", "LT-E308") from error


def _line_not_utf8(path: Path) -> int:
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            try:
                line.decode()
            except UnicodeDecodeError:
                return number
    raise AssertionError(f"{path} changed while it was read")


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
        file = parquet.ParquetFile(path)
        _refuse_twice(file.schema_arrow.names, path)
        for batch in file.iter_batches(batch_size=PARQUET_ROWS):
            for row in batch.to_pylist():
                number += 1
                yield PlacedRow(_arrow_row(row), path, number)
    except OverflowError as error:
        where = f"{path}: behind row {number}"
        raise SampleError(f"{where}: {error}; leave the column with that date out", "LT-E308") from error
    except (arrow_error, ValueError, OSError) as error:
        raise SampleError(f"{path} is not Parquet: {_one_line(error)}", "LT-E308") from error


def _arrow_row(row: Mapping[str, Any]) -> JSON:
    """A row without the members that Arrow gave it.

    Every struct of a column has all members that any has, with null for those that it came without: a call
    `{"city": "Bern"}` beside another `{"day": 3}` would become `{"city": "Bern", "day": null}`.
    """
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
        text = path.read_bytes().removeprefix(UTF8_BOM).decode()
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
        yield from _text_rows(file, file.relative_to(path).as_posix())


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
            yield PlacedRow(_arrow_row(row), path, number)
    except (ArithmeticError, LookupError, OSError, TypeError, ValueError) as error:  # of a folder that is not whole
        raise SampleError(f"{path} is no whole saved data set: {_one_line(error)}; save it again", "LT-E308") from error


def _hub_rows(path: Path) -> Iterator[PlacedRow]:
    name, *rest = path.as_posix().removeprefix(HUB).split(":")
    config = rest[0] if rest and rest[0] else None
    split = rest[1] if len(rest) > 1 else "train"
    try:
        dataset = optional_module("datasets", "datasets", name).load_dataset(name, config, split=split, streaming=True)
        for number, row in enumerate(dataset, 1):
            yield PlacedRow(_arrow_row(row), path, number)
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
