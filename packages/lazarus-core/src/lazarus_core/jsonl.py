r"""Strict reader for JSON Lines. Every problem is one error that names file, line, column and byte offset.

A line is one JSON object as `lazarus_core.strict_json` reads it. Blank lines are accepted at the end of a file and refused
between rows, where a row may be missing. CR LF and a last line without a line feed are read; a byte order mark at the start of the file is skipped, elsewhere it is refused.

>>> parse_object(b'{"id":"a","length":17}\n')
{'id': 'a', 'length': 17}
>>> parse_object(b'{"id":"a","id":"b"}\n')
Traceback (most recent call last):
    ...
lazarus_core.strict_json.MalformedJson: member 'id' occurs twice
"""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from lazarus_core.bounded import open_file, read_lines
from lazarus_core.canonical import JSON
from lazarus_core.strict_json import BOM
from lazarus_core.strict_json import MalformedJson as MalformedLine
from lazarus_core.strict_json import parse_object as parse_object

__all__ = ["BlankLine", "MalformedLine", "PlacedObject", "numbered_lines", "parse_object", "read_objects"]

MAX_BLANK_LINES = 1000
"""Maximum number of blank lines at the end of a file. A small compressed file can contain any number of them."""


class BlankLine(MalformedLine):
    """A blank line between rows, or too many at the end."""


class PlacedObject(NamedTuple):
    """An object and its place in the file.

    Args:
        members: The object.
        line: 1-based.
        offset: Position of the line's first byte in the file.
    """

    members: JSON
    line: int
    offset: int


def read_objects(path: Path | str) -> Iterator[PlacedObject]:
    """Iterate over the objects of a file, one line in memory at a time.

    Raises:
        MalformedLine: The first line that is wrong, with its place.
        InputError: It is no regular file (LP-E011), or a line is too long (LP-E012).
        OSError: The file cannot be read.
    """
    with open_file(path) as stream:
        for number, offset, content in numbered_lines(read_lines(stream, path), path):
            try:
                yield PlacedObject(parse_object(content), number, offset)
            except MalformedLine as error:
                raise error.placed(f"{path}:{number}", offset) from error


def numbered_lines(lines: Iterable[bytes], place: Path | str) -> Iterator[tuple[int, int, bytes]]:
    """Iterate over the lines with content: 1-based number, offset of the first byte, content without a byte order mark.

    Args:
        lines: All lines of a file, with their line feeds.
        place: The file, for messages.

    Raises:
        BlankLine: A blank line is followed by another row, or there are too many.
    """
    offset = 0
    blank: tuple[int, int] | None = None  # number and offset of the first blank line
    for number, line in enumerate(lines, 1):
        content = line.removeprefix(BOM) if number == 1 else line
        if content.strip():
            if blank is not None:
                words = "blank line between rows; remove it"
                raise BlankLine(words, "syntax", place=f"{place}:{blank[0]}", offset=blank[1])
            yield number, offset, content
        else:
            blank = blank or (number, offset)
            if number - blank[0] >= MAX_BLANK_LINES:
                words = f"{MAX_BLANK_LINES:,} blank lines; remove them"
                raise BlankLine(words, "syntax", place=f"{place}:{number}", offset=offset)
        offset += len(line)
