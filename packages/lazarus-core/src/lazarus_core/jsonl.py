r"""Strict reader for JSON Lines. Every problem is one error that names file, line, column and byte offset.

A line is one JSON object as `lazarus_core.strict_json` reads it. A blank line is refused. CR LF and a last line without a
line feed are read; a byte order mark at the start of the file is skipped, elsewhere it is refused.

>>> parse_object(b'{"id":"a","length":17}\n')
{'id': 'a', 'length': 17}
>>> parse_object(b'{"id":"a","id":"b"}\n')
Traceback (most recent call last):
    ...
lazarus_core.strict_json.MalformedJson: member 'id' occurs twice
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from lazarus_core.bounded import open_file, read_lines
from lazarus_core.canonical import JSON
from lazarus_core.strict_json import BOM
from lazarus_core.strict_json import MalformedJson as MalformedLine
from lazarus_core.strict_json import parse_object as parse_object

__all__ = ["MalformedLine", "PlacedObject", "parse_object", "read_objects"]


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
    offset = 0
    with open_file(path) as stream:
        for number, line in enumerate(read_lines(stream, path), 1):
            content = line.removeprefix(BOM) if number == 1 else line
            try:
                yield PlacedObject(parse_object(content), number, offset)
            except MalformedLine as error:
                raise error.placed(f"{path}:{number}", offset) from error
            offset += len(line)
