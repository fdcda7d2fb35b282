"""A row with its place in a file, and the bounds of a row."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from lazarus_core.bounded import BEYOND_BOUND
from lazarus_core.errors import InputError
from lazarus_tokenkit.errors import SampleError

JSON = dict[str, Any]
MAX_ROW_BYTES = 12 << 20
"""Bytes of one row. A tokenizer needs up to 140 bytes of memory a byte of text (measured: `byte`, tokenizers 0.23), so a
row needs up to 1.7 GiB. The Bible has 4.5 MB, the longest row of the Pile's books 8 MB."""
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


def out_of_bounds(error: InputError) -> SampleError:
    """Converts an error of `lazarus_core.bounded` to a `SampleError`."""
    return SampleError(error.message, TOO_LARGE if error.code == BEYOND_BOUND else NO_FILE)


def refuse_repeated_names(names: Iterable[str], path: Path) -> None:
    """Refuses two columns with the same name: readers would silently keep one of them, and not all the same one.

    Args:
        names: Names of the columns.
        path: The file, for the message.
    """
    for name, count in Counter(names).items():
        if count > 1:
            raise SampleError(f"{path} has {count} columns `{name}`; rename all but one", "LT-E308")


def bounded_row(row: Mapping[str, Any], place: str) -> JSON:
    """Returns a row unless it is too large.

    Args:
        row: The fields.
        place: Its place, for the message.

    Raises:
        SampleError: It has more than `MAX_ROW_BYTES` characters.
    """
    size = sum(len(value) for value in row.values() if isinstance(value, str | bytes))
    if size > MAX_ROW_BYTES:
        raise SampleError(f"{place}: the row has more than {MAX_ROW_BYTES:,} characters; split it", TOO_LARGE)
    return dict(row)
