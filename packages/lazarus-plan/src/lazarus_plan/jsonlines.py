r"""JSON Lines, read strictly: whatever is wrong is one error that names file, line, column and byte.

A line is one JSON object (RFC 8259) in UTF-8 without a byte order mark. Refused is what readers understand differently
or not at all: a member that stands twice, NaN and Infinity, an integer that Python refuses to read for its size, half of a
surrogate pair, a blank line. CR LF and a last line without a line feed are read.

>>> parse_object(b'{"id":"a","length":17}\n')
{'id': 'a', 'length': 17}
>>> parse_object(b'{"id":"a","id":"b"}\n')
Traceback (most recent call last):
    ...
lazarus_plan.jsonlines.MalformedLine: member 'id' stands twice
"""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast

from lazarus_plan.canonical import JSON
from lazarus_plan.errors import PlanError

BOM = b"\xef\xbb\xbf"
Fault = Literal["encoding", "syntax", "type"]
"""encoding: the bytes are no text. syntax: the text is no JSON that all readers understand alike. type: it is no object."""
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class MalformedLine(PlanError):
    """A line that is not one JSON object.

    Args:
        problem: What is wrong, in words.
        fault: Which kind of wrong.
        at: Where in the line: 0-based byte; None if it is all of it.
        column: Where in the line: 1-based character; None if it is all of it.
        place: `file:line`, or nothing where no file is known.
        offset: Of the line in the file, in bytes.
    """

    def __init__(
        self,
        problem: str,
        fault: Fault,
        at: int | None = None,
        column: int | None = None,
        place: str = "",
        offset: int | None = None,
    ) -> None:
        where = place + (f":{column}" if place and column else "")
        far = f" (offset {offset + (at or 0)} in the file)" if offset is not None else ""
        super().__init__(f"{where}: {problem}{far}" if place else problem, "LP-E003")
        self.problem = problem
        self.fault: Fault = fault
        self.at, self.column, self.place, self.offset = at, column, place, offset

    def placed(self, place: str, offset: int) -> "MalformedLine":
        """The same, of a line that stands at `place`, `offset` bytes into the file."""
        return MalformedLine(self.problem, self.fault, self.at, self.column, place, offset)


class PlacedObject(NamedTuple):
    """An object and where it stands.

    Args:
        members: The object.
        line: 1-based.
        offset: Of the line's first byte in the file.
    """

    members: JSON
    line: int
    offset: int


def read_objects(path: Path | str) -> Iterator[PlacedObject]:
    """The objects of a file, line by line, in memory of one line.

    Raises:
        MalformedLine: The first line that is wrong, with its place.
        OSError: The file cannot be read.
    """
    offset = 0
    with Path(path).open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield PlacedObject(parse_object(line), number, offset)
            except MalformedLine as error:
                raise error.placed(f"{path}:{number}", offset) from error
            offset += len(line)


def parse_object(line: bytes) -> JSON:
    """The object that a line holds, its end included or not.

    Raises:
        MalformedLine: Says what is wrong; `placed` adds where.
    """
    if line.startswith(BOM):
        raise MalformedLine("a byte order mark stands before the object: save the file without it", "encoding", 0)
    try:
        text = line.decode()
    except UnicodeDecodeError as error:
        raise MalformedLine(f"byte {error.start + 1} of the line is not UTF-8", "encoding", error.start) from error
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as error:
        raise _syntax(text, error) from error
    except RecursionError as error:
        raise MalformedLine("nested too deeply", "syntax") from error
    except ValueError as error:  # int() refuses texts of more than sys.get_int_max_str_digits()
        raise _too_long(text) from error
    if not isinstance(value, dict):
        raise MalformedLine("not a JSON object", "type")
    members = cast("JSON", value)
    if _SURROGATE.search(line):  # rare enough to look twice: the other half may follow
        _refuse_half(text, members)
    return members


def _unique(pairs: list[tuple[str, Any]]) -> JSON:
    members = dict(pairs)
    if len(members) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for place, name in enumerate(names) if name in names[:place])
        raise MalformedLine(f"member {twice!r} stands twice", "syntax")
    return members


def _refuse_constant(name: str) -> float:
    raise MalformedLine(f"{name} is no number of JSON", "syntax")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _syntax(text: str, error: json.JSONDecodeError) -> MalformedLine:
    if not text.strip():
        return MalformedLine("a blank line", "syntax")
    problem = f"not JSON: {error.msg}"
    if not text.endswith("\n"):
        problem += ", and no line feed follows: the file was cut off"
    return _at(text, error.pos, problem)


def _too_long(text: str) -> MalformedLine:
    most = sys.get_int_max_str_digits()
    found = re.search(rf"\d{{{most + 1},}}", text)
    digits = f"{len(found[0]):,} digits" if found else f"more than {most:,} digits"
    return _at(text, found.start() if found else 0, f"an integer of {digits}")


def _refuse_half(text: str, members: JSON) -> None:
    try:
        json.dumps(members, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(error.object[error.start]):04x}"
        problem = "half of a surrogate pair, which no UTF-8 text can hold"
        raise _at(text, max(text.lower().find(half), 0), problem) from error


def _at(text: str, position: int, problem: str) -> MalformedLine:
    return MalformedLine(problem, "syntax", len(text[:position].encode()), position + 1)
