"""Reads data files as samples. Errors name file, line and field.

The first row decides the form of all rows. A row without `id` gets an id from its place: the relative path in a
directory of text files, the position elsewhere. Memory use is constant except for eight bytes a row in data with ids,
which detect duplicate ids.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lazarus_core.bounded import MAX_ID_BYTES
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.files import INDEX, Paths, count_objects, kind, list_names, read_objects
from lazarus_tokenkit.samples.kinds import JSON, Sample
from lazarus_tokenkit.samples.placed_row import PlacedRow
from lazarus_tokenkit.samples.schemas import FieldNames, absent_fields, deciding_fields, sample_maker
from lazarus_tokenkit.samples.useless import UselessRows

__all__ = ["FieldNames", "Row", "as_paths", "count_lines", "read_rows", "read_samples"]


class Row(NamedTuple):
    """A sample with its place.

    Args:
        sample: Content of the row.
        path: File that contains the row.
        line: 1-based line, or 1-based row number for formats without lines.
    """

    sample: Sample
    path: Path
    line: int

    @property
    def place(self) -> str:
        """File and line for messages, as `file:line`."""
        return f"{self.path}:{self.line}"


def read_samples(paths: Paths, fields: FieldNames | None = None) -> Iterator[Sample]:
    """Yields the samples of one or more files, in order.

    Args:
        paths: Data files: .jsonl(.gz), .json, .csv, .tsv, .parquet, .txt, .md, .rst, a directory of text files, a saved
            data set, or `hf:owner/name`.
        fields: Names of the fields, or None for the standard names.

    Raises:
        SampleError: A file or a row is invalid.
    """
    return (row.sample for row in read_rows(paths, fields))


def read_rows(paths: Paths, fields: FieldNames | None = None) -> Iterator[Row]:
    """Yields the samples of one or more files with their places. See `read_samples`.

    Every row is a sample. One warning counts the preferences whose chosen and rejected answers are equal, and one the rows
    with an empty answer.

    Args:
        paths: Data files.
        fields: Names of the fields, or None for the standard names.

    Raises:
        SampleError: A file or a row is invalid. Duplicate ids are detected after the last row.
    """
    wanted = fields or FieldNames()
    make: Callable[[JSON, str], Sample] | None = None
    form, absent = "", frozenset[str]()
    first: PlacedRow | None = None
    seen_ids = _SeenIds()
    useless = UselessRows()
    for position, row in enumerate(_objects(paths)):
        if make is None or first is None:
            names = _resolved(wanted, row)
            make, form, first = sample_maker(names), names.form, row
            absent = absent_fields(row.members)
        given = _row_id(row)
        seen_ids.add(given)
        try:
            sample = make(row.members, str(position) if given is None else given)
        except SampleError as error:
            # If the row has the standard fields of another form, the message names the row that decided the form.
            own = FieldNames().resolve(row.members)
            is_other = position > 0 and own is not None and own.form != form
            more = f"; all rows must have the form of the first row, `{form}` in {first.place}" if is_other else ""
            raise SampleError(f"{row.place}: {error.message}{more}", error.code) from error
        if not absent.isdisjoint(row.members):
            _refuse_other_form(row, first, wanted, form)
        useless.count(sample, row.place)
        yield Row(sample, row.path, row.line)
    if seen_ids.count and useless.equal == seen_ids.count:
        raise SampleError(
            f"{useless.first_equal}: chosen and rejected are equal in every row, so there is nothing to prefer; check the"
            " names of the fields",
            "LT-E220",
        )
    useless.warn()
    if not seen_ids.count:
        raise SampleError(f"{', '.join(map(str, as_paths(paths)))} is empty: no rows; give a file with rows", "LT-E303")
    if seen_ids.may_repeat():
        _refuse_repeated(paths)


def count_lines(paths: Paths) -> int | None:
    """Returns the number of rows for a progress bar, or None if counting would mean reading the data."""
    counts = [count_objects(path) for path in as_paths(paths)]
    return None if None in counts else sum(count or 0 for count in counts)


def as_paths(paths: Paths) -> list[Path]:
    """Returns one path or several as a list. The prefix of an index of Megatron stands for the index."""
    given = [Path(paths)] if isinstance(paths, Path | str) else [Path(path) for path in paths]
    return [_indexed(path) for path in given]


def _indexed(path: Path) -> Path:
    index = path.with_name(path.name + INDEX) if path.name else path
    return index if not path.exists() and index.is_file() else path


class _SeenIds:
    """The ids seen so far, as 64-bit digests. Positions are stored only after the first row with its own id."""

    def __init__(self) -> None:
        self.count = 0
        self._digests = array("Q")
        self._has_names = False

    def add(self, name: str | None) -> None:
        # An id may equal the position of another row, so earlier positions are added with the first id.
        if name is not None and not self._has_names:
            self._has_names = True
            self._digests.extend(_digest(str(position)) for position in range(self.count))
        if self._has_names:
            self._digests.append(_digest(str(self.count) if name is None else name))
        self.count += 1

    def may_repeat(self) -> bool:
        """Whether two digests are equal, which almost certainly means a duplicate id."""
        # Equal digests are neighbours after sorting.
        seen = np.sort(np.frombuffer(self._digests, dtype=np.uint64))
        return bool((seen[1:] == seen[:-1]).any())


def _refuse_repeated(paths: Paths) -> None:
    """Reads the data again to name the rows with a duplicate id. A collision of two digests alone is accepted."""
    places: dict[str, str] = {}
    for position, row in enumerate(_objects(paths)):
        name = _row_id(row) or str(position)
        if name in places:
            raise SampleError(
                f"{row.place}: id {name!r} is also the id of {places[name]}; ids must be unique", "LT-E314"
            )
        places[name] = row.place


def _resolved(wanted: FieldNames, first: PlacedRow) -> FieldNames:
    names = wanted.resolve(first.members)
    if names is None:
        raise SampleError(
            f"{first.place}: no field `messages`, `text`, `prompt` with `completion`, or `chosen` with `rejected` among"
            f" {list_names(first.members)}; name the fields, such as `prompt`: question and `completion`: answer",
            "LT-E310",
        )
    return names


def _refuse_other_form(row: PlacedRow, first: PlacedRow, wanted: FieldNames, form: str) -> None:
    """Refuses a row with a field that would not be read, only because the first row lacks it."""
    names = deciding_fields(row.members, first.members, wanted)
    if names:
        listed = " and ".join(f"`{name}`" for name in names)
        raise SampleError(
            f"{row.place}: {listed} would not be read, because the first row, {first.place}, lacks {'it' if len(names) == 1 else 'them'};"
            f" all rows must have the form of the first row, `{form}`: add it to all rows or remove it, or name the fields to read",
            "LT-E311",
        )


def _objects(paths: Paths) -> Iterator[PlacedRow]:
    return (row for path in as_paths(paths) for row in read_objects(path))


def _row_id(row: PlacedRow) -> str | None:
    match row.members.get("id"):
        case None:
            return row.name
        case str(name) if name:
            return _bounded(name, row.place)
        case int(number) if not isinstance(number, bool):
            return _bounded(str(number), row.place)
        case "" if row.path.suffix in (".csv", ".tsv"):
            return None
        case other:
            raise SampleError(f"{row.place}: `id` is {kind(other)}, not a text or an integer", "LT-E312")


def _bounded(name: str, place: str) -> str:
    if len(name) > MAX_ID_BYTES or (not name.isascii() and len(name.encode()) > MAX_ID_BYTES):
        raise SampleError(f"{place}: `id` has {len(name.encode()):,} bytes; the limit is {MAX_ID_BYTES:,}", "LT-E312")
    return name


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
