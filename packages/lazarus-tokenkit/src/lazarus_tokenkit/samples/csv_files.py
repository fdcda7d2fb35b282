"""Rows of CSV and TSV files."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from lazarus_core.bounded import open_file, read_lines
from lazarus_core.errors import InputError
from lazarus_core.strict_json import BOM
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.json_rows import NOT_UTF8
from lazarus_tokenkit.samples.placed_row import (
    MAX_ROW_BYTES,
    TOO_LARGE,
    PlacedRow,
    out_of_bounds,
    refuse_repeated_names,
)


def csv_rows(path: Path) -> Iterator[PlacedRow]:
    """Yields the rows of a CSV or TSV file with a header."""
    csv.field_size_limit(MAX_ROW_BYTES)  # the default of 131,072 is less than a long document
    try:
        with open_file(path) as stream:
            lines = _RowLines(stream, path)
            reader = csv.DictReader(lines, delimiter="\t" if path.suffix == ".tsv" else ",", strict=True)
            refuse_repeated_names(reader.fieldnames or (), path)
            for row in reader:
                lines.row_bytes = 0
                place = f"{path}:{reader.line_num}"
                if None in row or None in row.values():
                    raise SampleError(f"{place}: the row and the header have different numbers of cells", "LT-E308")
                yield PlacedRow(row, path, reader.line_num)
    except InputError as error:
        raise out_of_bounds(error) from error
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
