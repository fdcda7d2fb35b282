"""Data files to samples. Whatever is wrong with a row is said once, with file, line and field.

The first row decides the form of all rows. A row's `id` is its name; rows without one are named by their place: the
path inside a directory of texts, the position elsewhere. Memory does not grow with the file, but for eight bytes a
row that has a name, which find names that occur twice.
"""

import hashlib
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lazarus_core.bounded import MAX_ID_BYTES
from lazarus_tokenkit.errors import SampleError
from lazarus_tokenkit.samples.files import Paths, PlacedRow, count_objects, kind, list_names, read_objects
from lazarus_tokenkit.samples.kinds import JSON, Sample
from lazarus_tokenkit.samples.schemas import FieldNames, sample_maker

__all__ = ["FieldNames", "Row", "as_paths", "count_lines", "read_rows", "read_samples"]


class Row(NamedTuple):
    """A sample and where it stands.

    Args:
        sample: The sample.
        path: Its file.
        line: Its 1-based line, or its number where the form has no lines.
    """

    sample: Sample
    path: Path
    line: int

    @property
    def place(self) -> str:
        """`file:line`, for messages."""
        return f"{self.path}:{self.line}"


def read_samples(paths: Paths, fields: FieldNames | None = None) -> Iterator[Sample]:
    """Samples of one or more files, in order.

    Args:
        paths: Files of any form that `files` reads: .jsonl(.gz), .json, .csv, .parquet, .txt, a directory of texts.
        fields: Names of the fields, where they are not the standard ones.

    Raises:
        SampleError: Whatever is wrong with a file or a row.
    """
    return (row.sample for row in read_rows(paths, fields))


def read_rows(paths: Paths, fields: FieldNames | None = None) -> Iterator[Row]:
    """`read_samples` with the place of each; a name that occurs twice is refused at the end."""
    wanted = fields or FieldNames()
    make: Callable[[JSON, str], Sample] | None = None
    form, first = "", ""
    ledger = _Ledger()
    for position, row in enumerate(_objects(paths)):
        if make is None:
            names = _resolved(wanted, row)
            make, form, first = sample_maker(names), names.form, row.place
        given = _given_name(row)
        ledger.add(given)
        try:
            sample = make(row.members, str(position) if given is None else given)
        except SampleError as error:
            own = FieldNames().resolve(row.members)
            is_other = position > 0 and own is not None and own.form != form
            more = f"; all rows have to be `{form}`, as {first} is" if is_other else ""
            raise SampleError(f"{row.place}: {error.message}{more}", error.code) from error
        yield Row(sample, row.path, row.line)
    if not ledger.count:
        raise SampleError(f"{', '.join(map(str, as_paths(paths)))} is empty: no rows", "LT-E303")
    if ledger.may_repeat():
        _refuse_repeated(paths)


def count_lines(paths: Paths) -> int | None:
    """Number of rows: what a progress bar counts to; None where only reading tells."""
    counts = [count_objects(path) for path in as_paths(paths)]
    return None if None in counts else sum(count or 0 for count in counts)


def as_paths(paths: Paths) -> list[Path]:
    """One path or several, as a list."""
    return [Path(paths)] if isinstance(paths, Path | str) else [Path(path) for path in paths]


class _Ledger:
    """Names seen so far, as 64-bit digests; positions are only written down once a row has a name of its own."""

    def __init__(self) -> None:
        self.count = 0
        self._digests = array("Q")
        self._has_names = False

    def add(self, name: str | None) -> None:
        if name is not None and not self._has_names:
            self._has_names = True
            self._digests.extend(_digest(str(position)) for position in range(self.count))
        if self._has_names:
            self._digests.append(_digest(str(self.count) if name is None else name))
        self.count += 1

    def may_repeat(self) -> bool:
        """Whether two digests are equal: almost surely a name that occurs twice."""
        seen = np.sort(np.frombuffer(self._digests, dtype=np.uint64))
        return bool((seen[1:] == seen[:-1]).any())


def _refuse_repeated(paths: Paths) -> None:
    """Reads again to name the rows; with 64 bits, rows that merely look alike are no worry, and pass."""
    places: dict[str, str] = {}
    for position, row in enumerate(_objects(paths)):
        name = _given_name(row) or str(position)
        if name in places:
            raise SampleError(f"{row.place}: id {name!r} stands in {places[name]} too; ids must be unique", "LT-E314")
        places[name] = row.place


def _resolved(wanted: FieldNames, first: PlacedRow) -> FieldNames:
    names = wanted.resolve(first.members)
    if names is None:
        raise SampleError(
            f"{first.place}: no field `messages`, `text`, `prompt` with `completion`, or `chosen` with `rejected` among"
            f" {list_names(first.members)}; name the fields, such as --prompt-field question --completion-field answer",
            "LT-E310",
        )
    return names


def _objects(paths: Paths) -> Iterator[PlacedRow]:
    return (row for path in as_paths(paths) for row in read_objects(path))


def _given_name(row: PlacedRow) -> str | None:
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
        raise SampleError(
            f"{place}: `id` has {len(name.encode()):,} bytes; at most {MAX_ID_BYTES:,} are read", "LT-E312"
        )
    return name


def _digest(name: str) -> int:
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
